/*
** fuzz_format.h -- signing the files of a store: whatever their content has become, the checksums
** are right again. All of it is safe on any bytes.
*/
#ifndef FKV_TESTS_FUZZ_FORMAT_H
#define FKV_TESTS_FUZZ_FORMAT_H

#include "fuzz.h"
#include "table/format.h"
#include "wal/format.h"

static inline int sign_block(uint8_t *file, size_t size, uint64_t unique_id, block_handle h)
{
    if (h.size == 0 || h.offset > size || h.size > size - h.offset ||
        size - h.offset - h.size < BLOCK_TRAILER)
        return 0;
    put_u32(file + h.offset + h.size + 1,
            block_check(unique_id, h.offset, file + h.offset, (size_t)h.size));
    return 1;
}

static inline block_handle handle_at(const uint8_t *p)
{
    return (block_handle){get_u64(p), get_u64(p + 8)};
}

/* A table: the blocks its footer and index name, and the footer. */
static inline void sign_table(uint8_t *file, size_t size)
{
    uint8_t *footer = file + size - FOOTER_BYTES;
    const uint8_t *p, *end;
    block_handle index;
    uint64_t id;

    if (size < FOOTER_BYTES) return;
    id = get_u64(footer + FOOT_UNIQUE_ID);
    index = handle_at(footer + FOOT_INDEX);
    if (index.offset <= size && index.size <= size - index.offset && index.size > 4) {
        p = file + index.offset;
        end = p + index.size - 4;
        while (p && p < end) {
            block_handle h = {0};
            uint64_t n = 0;
            p = get_varint64(p, end, &n);
            if (!p || n > (uint64_t)(end - p)) break;
            p = get_varint64(p + n, end, &h.offset);
            if (p) p = get_varint64(p, end, &h.size);
            if (p) (void)sign_block(file, size, id, h);
        }
    }
    (void)sign_block(file, size, id, handle_at(footer + FOOT_FILTER));
    (void)sign_block(file, size, id, handle_at(footer + FOOT_RANGES));
    (void)sign_block(file, size, id, index);
    put_u32(footer + FOOT_CRC, checksum_at(TABLE_MAGIC, size - FOOTER_BYTES, footer, FOOT_CRC));
}

/* A log segment: its header and its records, as far as they follow each other. */
static inline void sign_log(uint8_t *file, size_t size, uint64_t store_id, uint64_t number)
{
    uint64_t lsn, salt;
    size_t at = WAL_SEGMENT_HEADER;

    if (size < WAL_SEGMENT_HEADER) return;
    put_u32(file + SEG_CRC, checksum_at(store_id, number, file, SEG_CRC));
    lsn = get_u64(file + SEG_START_LSN);
    salt = get_u64(file + SEG_SALT);
    while (size - at >= WAL_RECORD_HEADER) {
        uint8_t *p = file + at;
        size_t bytes = (size_t)get_u32(p + REC_SIZE) + WAL_RECORD_HEADER;
        if (bytes > size - at || p[REC_TYPE] == 0) return;
        put_u64(p + REC_LSN, lsn);
        put_u32(p + REC_CRC, wal_record_crc(salt, lsn, p, bytes));
        at += bytes;
        lsn += bytes;
    }
}

static inline void sign_manifest(uint8_t *file, size_t size)
{
    if (size < 16) return;
    put_u32(file + 8, (uint32_t)(size - 16));
    put_u32(file + 12, checksum_at(get_u32(file), get_u64(file + 4), file + 16, size - 16));
}

/* -- one file in a memory file system ---------------------------------------------------------- */

static inline void must(fkv_status rc)
{
    FUZZ_CHECK(rc == FKV_OK);
}

static inline void put_file(fkv_env *env, env_dir *dir, const char *name, const uint8_t *bytes,
                            size_t size)
{
    env_file *file = NULL;

    must(env->file_open(env, dir, name, ENV_WRITE | ENV_CREATE, &file));
    if (size) must(env->file_write(env, file, 0, bytes, size));
    must(env->file_sync(env, file));
    env->file_close(env, file);
}

static inline void get_file(fkv_env *env, env_dir *dir, const char *name, buf *out)
{
    env_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;

    must(env->file_open(env, dir, name, ENV_READ, &file));
    must(env->file_size(env, file, &size));
    buf_clear(out);
    FUZZ_CHECK(buf_reserve(out, (size_t)size + 1));
    must(env->file_read(env, file, 0, out->data, (size_t)size, &got));
    out->size = got;
    env->file_close(env, file);
}

#endif
