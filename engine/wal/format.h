/* format.h -- byte offsets of the log. Normative text: FORMAT.md, "Log segment". */
#ifndef FKV_WAL_FORMAT_H
#define FKV_WAL_FORMAT_H

#include "base/checksum.h"
#include "base/coding.h"
#include "base/sabotage.h"
#include "io/filename.h"
#include "wal/wal.h"

#define WAL_MAGIC 0x57564b46u /* "FKVW" */
#define WAL_VERSION 1u
#define WAL_LSN_MAX ((uint64_t)1 << 62) /* nobody writes as much */

/* Segment header. */
enum {
    SEG_MAGIC = 0,
    SEG_VERSION = 4,
    SEG_NUMBER = 8,
    SEG_PREVIOUS = 16,
    SEG_START_LSN = 24,
    SEG_SALT = 32,
    SEG_BOOT_ID = 40,
    SEG_RESERVED = 56,
    SEG_CRC = 60
};

/* Record header. */
enum {
    REC_CRC = 0,
    REC_SIZE = 4,
    REC_LSN = 8,
    REC_DURABLE = 16,
    REC_FIRST_SEQ = 24,
    REC_REF = 32,
    REC_COUNT = 40,
    REC_TYPE = 44,
    REC_FLAGS = 45,
    REC_RESERVED = 46
};

/* Read a segment's header into info (whose number is set) and *salt. `got` bytes of it are there.
** FKV_CORRUPT when it is damaged or another store's. `name` is for messages. */
FKV_MUST_CHECK fkv_status wal_header_parse(const uint8_t *header, size_t got, uint64_t store_id,
                                           const char *name, wal_segment_info *info,
                                           uint64_t *salt);

/* Is there a whole, valid record of this LSN in the `left` bytes at p? *out then points into them;
** *durable is what it claims. */
int wal_record_parse(const uint8_t *p, size_t left, uint64_t salt, uint64_t lsn, wal_record *out,
                     uint64_t *durable);

/* The checksum of a record: salt and LSN say where it belongs. */
static inline uint32_t wal_record_crc(uint64_t salt, uint64_t lsn, const uint8_t *record,
                                      size_t bytes)
{
    return checksum_at(SABOTAGE(32) ? 0 : salt, lsn, record + REC_SIZE, bytes - REC_SIZE);
}

#endif
