/*
** wal_writer.c -- appending to a log segment.
**
** Space is allocated ahead in steps that double from 256 KB to 8 MB: an fdatasync into allocated
** space need not write the file's size, a third of its cost. What was allocated and not written
** reads as zeros, which no record header is.
**
** Allocated is not yet written, and for the first write into each of its blocks most file systems
** note that down, in an inode that the fdatasync has to write as well. So before a small record
** that is to be synced by itself, zeros are written ahead of it, many records' worth: in a row of
** small synced commits, which write whole blocks again and again, they cost next to nothing, and
** each fdatasync is 5 % shorter (ext4). (The zeros need not be synced: that is how it reads
** anyway.)
*/
#include <stdatomic.h>

#include "base/alloc.h"
#include "wal/format.h"

enum { STEP_MIN = 256 << 10, STEP_MAX = 8 << 20 };
enum { SMALL = 4 << 10, ZEROS_AHEAD = 64 << 10, ZEROS = 8 << 10 };

struct wal_segment {
    fkv_env *env;
    env_file *file;
    uint64_t number, start_lsn, salt;
    uint64_t allocated; /* file bytes */
    uint64_t zeroed;    /* up to here blocks have been written, or will be by the next record */
    _Atomic uint64_t end_lsn; /* a syncing thread reads it beside the writer */
};

static fkv_status write_header(wal_segment *s, uint64_t store_id, uint64_t previous)
{
    uint8_t header[WAL_SEGMENT_HEADER] = {0};

    put_u32(header + SEG_MAGIC, WAL_MAGIC);
    put_u32(header + SEG_VERSION, WAL_VERSION);
    put_u64(header + SEG_NUMBER, s->number);
    put_u64(header + SEG_PREVIOUS, previous);
    put_u64(header + SEG_START_LSN, s->start_lsn);
    put_u64(header + SEG_SALT, s->salt);
    s->env->boot_id(s->env, header + SEG_BOOT_ID);
    put_u32(header + SEG_CRC, checksum_at(store_id, s->number, header, SEG_CRC));
    return s->env->file_write(s->env, s->file, 0, header, sizeof header);
}

fkv_status wal_segment_new(fkv_env *env, env_dir *dir, uint64_t store_id, uint64_t number,
                           uint64_t previous, uint64_t start_lsn, wal_segment **out)
{
    char name[FILENAME_BYTES_MAX];
    wal_segment *s = alloc_zero(sizeof *s);
    fkv_status rc;

    *out = NULL;
    if (!s) return FKV_RAISE(FKV_NOMEM);
    s->env = env;
    s->number = number;
    s->start_lsn = start_lsn;
    atomic_init(&s->end_lsn, start_lsn);
    filename_wal(number, name);
    rc = env->random(env, &s->salt, sizeof s->salt);
    if (rc) goto done;
    rc = env->file_open(env, dir, name, ENV_WRITE | ENV_CREATE | ENV_EXCLUSIVE, &s->file);
    if (rc) goto done;
    rc = env->file_allocate(env, s->file, 0, STEP_MIN);
    if (rc) goto done;
    s->allocated = STEP_MIN;
    rc = write_header(s, store_id, previous);
    if (rc) goto done;
    /* Synced before the first record: a header that reads as zeros in front of records is then
    ** damage, never a power cut. */
    if (!SABOTAGE(34)) rc = env->file_sync(env, s->file);
    if (rc) goto done;
    if (!SABOTAGE(35)) rc = env->dir_sync(env, dir);
done:
    if (rc) {
        int created = s->file != NULL;
        wal_segment_free(s);
        /* The first error wins. Were the file to come back after a power cut, it would stand in the
        ** chain between its neighbours. */
        if (created && !env->file_remove(env, dir, name)) fkv_ignore(env->dir_sync(env, dir));
        return rc;
    }
    *out = s;
    return FKV_OK;
}

fkv_status wal_segment_attach(fkv_env *env, env_dir *dir, uint64_t store_id, uint64_t number,
                              uint64_t end_lsn, wal_segment **out)
{
    char name[FILENAME_BYTES_MAX];
    uint8_t header[WAL_SEGMENT_HEADER];
    wal_segment_info info = {.number = number};
    wal_segment *s = alloc_zero(sizeof *s);
    size_t got = 0;
    fkv_status rc;

    *out = NULL;
    if (!s) return FKV_RAISE(FKV_NOMEM);
    s->env = env;
    filename_wal(number, name);
    rc = env->file_open(env, dir, name, ENV_WRITE, &s->file);
    if (!rc) rc = env->file_read(env, s->file, 0, header, sizeof header, &got);
    if (!rc) rc = wal_header_parse(header, got, store_id, name, &info, &s->salt);
    if (!rc) rc = env->file_size(env, s->file, &s->allocated);
    if (rc) {
        wal_segment_free(s);
        return rc;
    }
    s->number = number;
    s->start_lsn = info.start_lsn;
    atomic_init(&s->end_lsn, end_lsn);
    *out = s;
    return FKV_OK;
}

void wal_segment_moved(wal_segment *s, uint64_t end_lsn)
{
    /* What others have allocated beyond our knowledge is allocated once more: nothing happens. */
    atomic_store_explicit(&s->end_lsn, end_lsn, memory_order_release);
}

void wal_segment_free(wal_segment *s)
{
    if (!s) return;
    s->env->file_close(s->env, s->file);
    alloc_free(s);
}

uint64_t wal_segment_number(const wal_segment *s)
{
    return s->number;
}

uint64_t wal_segment_start(const wal_segment *s)
{
    return s->start_lsn;
}

uint64_t wal_segment_end(const wal_segment *s)
{
    return atomic_load_explicit(&s->end_lsn, memory_order_acquire);
}

static fkv_status ensure_allocated(wal_segment *s, uint64_t bytes)
{
    uint64_t step = s->allocated;
    fkv_status rc;

    if (bytes <= s->allocated) return FKV_OK;
    if (step > STEP_MAX) step = STEP_MAX;
    if (step < bytes - s->allocated) step = bytes - s->allocated;
    rc = s->env->file_allocate(s->env, s->file, s->allocated, step);
    if (rc) return rc;
    s->allocated += step;
    return FKV_OK;
}

/* Write zeros behind a record of so many bytes that is to be written at `offset`, the end of the
** log. Where that fails nothing is lost but its use. */
static void zero_ahead(wal_segment *s, uint64_t offset, uint64_t bytes)
{
    static const uint8_t zeros[ZEROS];
    uint64_t at = offset + bytes;
    fkv_status rc = FKV_OK;

    if (at <= s->zeroed || bytes > SMALL) return;
    s->zeroed = at + ZEROS_AHEAD < s->allocated ? at + ZEROS_AHEAD : s->allocated;
    while (!rc && at < s->zeroed) {
        uint64_t left = s->zeroed - at;
        size_t n = left < ZEROS ? (size_t)left : ZEROS - (size_t)(at % ZEROS);
        rc = s->env->file_write(s->env, s->file, at, zeros, n);
        at += n;
    }
    fkv_ignore(rc);
}

static fkv_status append(wal_segment *s, const wal_record *r, uint8_t *record, size_t payload_size,
                         uint64_t durable_lsn, unsigned reserve_marks, uint64_t *lsn)
{
    size_t bytes = WAL_RECORD_HEADER + payload_size;
    uint64_t at = wal_segment_end(s);
    uint64_t offset = WAL_SEGMENT_HEADER + (at - s->start_lsn);
    fkv_status rc;

    if (lsn) *lsn = at;
    rc = ensure_allocated(s, offset + bytes + (uint64_t)reserve_marks * WAL_RECORD_HEADER);
    if (rc) return rc;
    if (r->flags & WAL_FLAG_SYNC) zero_ahead(s, offset, bytes);
    memset(record, 0, WAL_RECORD_HEADER);
    put_u32(record + REC_SIZE, (uint32_t)payload_size);
    put_u64(record + REC_LSN, at);
    put_u64(record + REC_DURABLE, durable_lsn);
    put_u64(record + REC_FIRST_SEQ, r->first_seq);
    put_u64(record + REC_REF, r->ref);
    put_u32(record + REC_COUNT, r->count);
    record[REC_TYPE] = (uint8_t)r->type;
    record[REC_FLAGS] = r->flags;
    put_u32(record + REC_CRC, wal_record_crc(s->salt, at, record, bytes));
    rc = s->env->file_write(s->env, s->file, offset, record, bytes);
    if (rc) return rc;
    atomic_store_explicit(&s->end_lsn, at + bytes, memory_order_release);
    return FKV_OK;
}

fkv_status wal_segment_append(wal_segment *s, const wal_record *r, uint8_t *payload,
                              uint64_t durable_lsn, unsigned reserve_marks, uint64_t *lsn)
{
    return append(s, r, payload - WAL_RECORD_HEADER, r->size, durable_lsn, reserve_marks, lsn);
}

fkv_status wal_segment_mark(wal_segment *s, wal_type type, uint64_t ref, uint64_t durable_lsn)
{
    uint8_t record[WAL_RECORD_HEADER];
    wal_record r = {.type = type, .ref = ref};

    return append(s, &r, record, 0, durable_lsn, 0, NULL);
}

fkv_status wal_segment_sync(wal_segment *s, uint64_t *synced)
{
    uint64_t end = wal_segment_end(s); /* before the sync: what comes meanwhile may miss it */
    fkv_status rc = s->env->file_sync(s->env, s->file);

    if (rc) return rc;
    *synced = end;
    return FKV_OK;
}
