/*
** wal_tail.c -- reading a log segment that grows.
**
** Another process appends while we read. Bytes below the LSN that the writers have published are
** whole records; what lies beyond is being written, or is what a dead writer left. So a read never
** goes beyond the limit it is given, and with no limit what was read is not kept.
*/
#include <string.h>

#include "base/alloc.h"
#include "wal/format.h"

enum { CHUNK = 256 << 10 };

struct wal_tail {
    fkv_env *env;
    env_file *file;
    wal_segment_info info;
    uint64_t salt;
    uint64_t position; /* LSN of the next record */
    uint8_t *bytes;    /* of the file, from position `from` on */
    size_t size, capacity;
    uint64_t from;
    int beyond; /* the bytes may be such as are being written */
    char name[FILENAME_BYTES_MAX];
};

fkv_status wal_tail_open(fkv_env *env, env_dir *dir, uint64_t store_id, uint64_t number,
                         wal_tail **out)
{
    wal_tail *t = alloc_zero(sizeof *t);
    uint8_t header[WAL_SEGMENT_HEADER];
    size_t got = 0;
    fkv_status rc;

    *out = NULL;
    if (!t) return FKV_RAISE(FKV_NOMEM);
    t->env = env;
    t->info.number = number;
    filename_wal(number, t->name);
    rc = env->file_open(env, dir, t->name, ENV_READ, &t->file);
    if (!rc) rc = env->file_read(env, t->file, 0, header, sizeof header, &got);
    if (!rc) rc = wal_header_parse(header, got, store_id, t->name, &t->info, &t->salt);
    if (rc) {
        wal_tail_close(t);
        return rc;
    }
    t->position = t->info.start_lsn;
    *out = t;
    return FKV_OK;
}

void wal_tail_close(wal_tail *t)
{
    if (!t) return;
    t->env->file_close(t->env, t->file);
    alloc_free(t->bytes);
    alloc_free(t);
}

const wal_segment_info *wal_tail_info(const wal_tail *t)
{
    return &t->info;
}

uint64_t wal_tail_position(const wal_tail *t)
{
    return t->position;
}

void wal_tail_seek(wal_tail *t, uint64_t lsn)
{
    t->position = lsn;
    t->size = 0;
}

/* Let the buffer begin at `position`, with room for so many bytes; what it has from there on stays:
** it lay below a limit, so it will not change. */
static fkv_status make_room(wal_tail *t, size_t bytes)
{
    size_t keep = 0;

    if (t->position >= t->from && t->position - t->from < t->size) {
        keep = t->size - (size_t)(t->position - t->from);
        memmove(t->bytes, t->bytes + (t->size - keep), keep);
    }
    t->size = keep;
    t->from = t->position;
    if (bytes > t->capacity) {
        uint8_t *larger = alloc_resize(t->bytes, bytes);
        if (!larger) return FKV_RAISE(FKV_NOMEM);
        t->bytes = larger;
        t->capacity = bytes;
    }
    return FKV_OK;
}

/* Have at least `want` bytes from `position` on in memory, if the file goes that far. */
static fkv_status fill(wal_tail *t, size_t want, uint64_t limit_lsn)
{
    uint64_t left = limit_lsn - t->position;
    size_t bytes = want < CHUNK ? CHUNK : want, got = 0;
    fkv_status rc;

    if (t->size && t->position >= t->from && t->position - t->from + want <= t->size) return FKV_OK;
    if (bytes > left) bytes = (size_t)left;
    if (t->beyond) t->size = 0;
    rc = make_room(t, bytes);
    if (rc) return rc;
    if (t->size >= bytes) return FKV_OK;
    rc = t->env->file_read(t->env, t->file,
                           WAL_SEGMENT_HEADER + (t->from + t->size - t->info.start_lsn),
                           t->bytes + t->size, bytes - t->size, &got);
    t->size = rc ? 0 : t->size + got;
    return rc;
}

fkv_status wal_tail_next(wal_tail *t, uint64_t limit_lsn, wal_record *out)
{
    uint64_t durable, at;
    fkv_status rc;

    if (t->position >= limit_lsn || limit_lsn - t->position < WAL_RECORD_HEADER)
        return FKV_NOTFOUND;
    if (limit_lsn == UINT64_MAX || t->beyond) t->size = 0;
    t->beyond = limit_lsn == UINT64_MAX;
    rc = fill(t, WAL_RECORD_HEADER, limit_lsn);
    if (rc) return rc;
    at = t->position - t->from;
    if (t->size < at + WAL_RECORD_HEADER) return FKV_NOTFOUND;
    if (get_u64(t->bytes + at + REC_LSN) == t->position) {
        uint32_t size = get_u32(t->bytes + at + REC_SIZE);
        uint64_t file_bytes = 0;
        if (size > t->size - at - WAL_RECORD_HEADER) { /* not all of it is in memory */
            rc = t->env->file_size(t->env, t->file, &file_bytes);
            if (rc) return rc;
            if (size > file_bytes || size > limit_lsn - t->position) return FKV_NOTFOUND;
            rc = fill(t, WAL_RECORD_HEADER + (size_t)size, limit_lsn);
            if (rc) return rc;
            at = t->position - t->from;
        }
    }
    if (!wal_record_parse(t->bytes + at, t->size - (size_t)at, t->salt, t->position, out, &durable))
        return FKV_NOTFOUND;
    t->position += WAL_RECORD_HEADER + out->size;
    return FKV_OK;
}
