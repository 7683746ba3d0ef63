/*
** filename.h -- the names in a store's directory.
**
**   manifest        which tables make up the store (replaced atomically)
**   manifest.tmp    its next version, while being written
**   manifest.next   that of a backup which its database decides about (store/backup.c)
**   lock            byte-range locks; its text says who holds the store
**   NNNNNN.sst      a sorted table
**   NNNNNN.wal      a log segment
**   NNNNNN.run      a second name of a spilled transaction's table, for the change feed
**
** Numbers are decimal, six digits or more, from one counter for both kinds and never reused.
** Any other name is somebody else's file: reported, never touched.
*/
#ifndef FKV_IO_FILENAME_H
#define FKV_IO_FILENAME_H

#include "base/status.h"

#define FILENAME_MANIFEST "manifest"
#define FILENAME_MANIFEST_TMP "manifest.tmp"
#define FILENAME_MANIFEST_NEXT "manifest.next"
#define FILENAME_LOCK "lock"
#define FILENAME_BYTES_MAX 32

typedef enum file_kind {
    FILE_OTHER = 0,
    FILE_MANIFEST,
    FILE_MANIFEST_TMP,
    FILE_LOCK,
    FILE_TABLE,
    FILE_WAL,
    FILE_RUN
} file_kind;

void filename_table(uint64_t number, char out[FILENAME_BYTES_MAX]);
void filename_wal(uint64_t number, char out[FILENAME_BYTES_MAX]);
void filename_run(uint64_t number, char out[FILENAME_BYTES_MAX]);

/* No store comes near these numbers; a forger does, and a file of somebody else's. A name with a
** higher one than FILENAME_NUMBER_MAX is no name of a store. A manifest may go on from half of it,
** and from a file that no manifest names a store goes on up to a quarter: so what is given out
** after either is a name still, and may stand in the next manifest. */
#define FILENAME_NUMBER_MAX ((uint64_t)1 << 61)
#define FILENAME_NUMBER_NAMED (FILENAME_NUMBER_MAX / 2)
#define FILENAME_NUMBER_FOUND (FILENAME_NUMBER_MAX / 4)

/* What a name stands for; *number is set for tables and logs, else 0. Only the exact spelling that
** the functions above produce is recognised. */
file_kind filename_parse(const char *name, uint64_t *number);

#endif
