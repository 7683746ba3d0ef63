/*
** salvage.c -- reading what is left of a damaged table.
**
** A block that its checksum proves is as it was written; one that fails is lost, with its rows and
** no others. What else may be missing:
**
**   footer    the manifest knows the table's id, or else the footer's own bytes are tried: a wrong
**             one finds no block. Where the meta blocks begin is then not known
**   index     the file is searched for blocks (below)
**   filter    is not needed
**   ranges    lost, if their block is. Without a footer, the first block behind the data that reads
**             as one
**
** Searching. Blocks lie end to end, and the checksum of each stands behind it and covers table and
** offset. So from where a block must begin, the hash is run on and compared wherever what precedes
** could be the end of a block: one pass, and a chance of 2^-32 a comparison to be wrong. Where none
** is found the block is damaged, and every place behind it that could begin one is tried. That is
** bounded: a block without an index is found if it has no more than BLOCK_MAX bytes, behind a
** damaged one WINDOW bytes, and the search gives up when it has looked at many times the file.
*/
#include <stdio.h>

#include "base/alloc.h"
#include "table/reader.h"

enum { BLOCK_MAX = 4 << 20, WINDOW = 128 << 10, SEARCH_MAX = 256 << 20, EFFORT = 32 };

typedef struct salvage {
    table t; /* with index and ranges, as far as they can be read */
    const table_salvager *how;
    buf blocks;    /* block_handles */
    uint8_t *file; /* all of it, to search in */
    uint64_t left; /* bytes that may still be looked at */
    int no_footer;
} salvage;

static fkv_status lose(const salvage *s, uint64_t offset, uint64_t bytes)
{
    return s->how->lost(s->how->arg, offset, bytes);
}

/* Damage is told, and goes on; anything else ends it. */
static fkv_status tell(const salvage *s, fkv_status rc, uint64_t offset, uint64_t bytes)
{
    return rc == FKV_CORRUPT || rc == FKV_IOERR || rc == FKV_UNSUPPORTED ? lose(s, offset, bytes)
                                                                         : rc;
}

static void add_block(salvage *s, uint64_t offset, uint64_t size)
{
    block_handle h = {offset, size};

    buf_append(&s->blocks, &h, sizeof h);
}

/* -- searching ------------------------------------------------------------------------------ */

/* Could `size` bytes, content and codec, be a data block? */
static int may_be_data(const uint8_t *p, size_t size)
{
    uint8_t codec = p[size - 1];
    uint32_t n;

    size--;
    if (codec > CODEC_ZSTD || size < 9) return 0;
    if (codec != CODEC_NONE) {
        n = get_u32(p);
        return n <= COMPRESSED_RAW_MAX && n / COMPRESSED_RATIO_MAX < size - 4;
    }
    n = get_u32(p + size - 4);
    return p[0] == 0 && n > 0 && n <= (size - 4) / 4 && get_u32(p + size - 4 - (size_t)n * 4) == 0;
}

static int may_be_meta(const uint8_t *p, size_t size)
{
    return size > 1 && p[size - 1] == CODEC_NONE;
}

/* The size of the block's content at `at`; 0 if none is found. */
static size_t block_at(salvage *s, uint64_t at, uint64_t end, size_t most,
                       int (*may)(const uint8_t *, size_t))
{
    uint64_t limit = end - at < most ? end - at : most;
    size_t size;

    if (s->left < limit) {
        s->left = 0;
        return 0;
    }
    size = checksum_find_end(s->t.footer.unique_id, at, s->file + at, (size_t)limit, may);
    s->left -= size ? size : limit;
    return size ? size - 1 : 0;
}

static int may_begin(const uint8_t *p)
{
    return p[0] == 0 || (p[3] == 0 && p[2] <= COMPRESSED_RAW_MAX >> 16);
}

/* There is no block at `at`: where is the next one? `end` if nowhere. */
static uint64_t next_block(salvage *s, uint64_t at, uint64_t end)
{
    for (at++; at + 16 < end && s->left; at++)
        if (may_begin(s->file + at) && block_at(s, at, end, WINDOW, may_be_data)) return at;
    return end;
}

/* How many range tombstones are in this block? 0: it is none of them. */
static uint64_t count_ranges(const uint8_t *p, size_t size)
{
    const uint8_t *end = p + size;
    uint64_t slices = 0, n;

    while (p && p < end) {
        p = get_varint64(p, end, &n);
        if (p) p = n > (uint64_t)(end - p) ? NULL : p + n;
        slices++;
    }
    return p && slices % 2 == 0 ? slices / 2 : 0;
}

/* Without a footer: do the meta blocks begin at `at`? They follow each other up to the footer, or
** to where the file was cut. The range tombstones are among them. */
static int is_meta(salvage *s, uint64_t at, uint64_t end)
{
    table *t = &s->t;
    size_t size;

    while (at + FOOTER_BYTES < end && (size = block_at(s, at, end, BLOCK_MAX, may_be_meta)) > 0) {
        uint64_t count = count_ranges(s->file + at, size);
        if (count && !t->range_bytes && !filter_check(fkv_slice_of(s->file + at, size))) {
            t->footer.ranges = (block_handle){at, size};
            t->footer.range_count = count;
            if (table_load_ranges(t)) table_drop_ranges(t);
        }
        at += size + BLOCK_TRAILER;
    }
    if (at + FOOTER_BYTES == end) return 1;
    table_drop_ranges(t);
    return 0;
}

/* Is what was found at the end of a file without a footer a data block, or a meta block that looks
** like one? */
static int decodes(const salvage *s, uint64_t at, size_t size)
{
    return s->file[at + size] != CODEC_NONE || block_restarts_check(s->file + at, size);
}

static fkv_status search(salvage *s, uint64_t end)
{
    uint64_t at = 0;
    fkv_status rc = FKV_OK;

    s->left = s->t.file_bytes * EFFORT + BLOCK_MAX;
    while (!rc && at + BLOCK_TRAILER < end) {
        size_t size = block_at(s, at, end, BLOCK_MAX, may_be_data);
        uint64_t next;
        if (size && decodes(s, at, size)) {
            add_block(s, at, size);
            at += size + BLOCK_TRAILER;
            continue;
        }
        if (s->no_footer && is_meta(s, at, end)) break;
        next = next_block(s, at, end);
        (void)FKV_RAISEF(FKV_CORRUPT, "%s: no data block can be found at offset %llu", s->t.name,
                         (unsigned long long)at);
        rc = lose(s, at, next - at);
        at = next;
    }
    return rc ? rc : buf_status(&s->blocks);
}

static fkv_status load_and_search(salvage *s, uint64_t end)
{
    size_t got = 0;
    fkv_status rc;

    if (s->t.file_bytes > SEARCH_MAX) {
        (void)FKV_RAISEF(FKV_CORRUPT, "%s: too large to be searched for blocks", s->t.name);
        return lose(s, 0, s->t.file_bytes);
    }
    s->file = alloc_bytes((size_t)s->t.file_bytes + 1);
    if (!s->file) return FKV_RAISE(FKV_NOMEM);
    rc = s->t.env->file_read(s->t.env, s->t.file, 0, s->file, (size_t)s->t.file_bytes, &got);
    if (rc) return tell(s, rc, 0, s->t.file_bytes);
    if (got < end) end = got;
    return search(s, end);
}

/* -- the parts ------------------------------------------------------------------------------ */

static fkv_status read_footer(salvage *s, const table_summary *expected)
{
    table *t = &s->t;
    uint8_t bytes[FOOTER_BYTES] = {0};
    uint64_t at = t->file_bytes > FOOTER_BYTES ? t->file_bytes - FOOTER_BYTES : 0;
    size_t got = 0;
    fkv_status rc = t->env->file_read(t->env, t->file, at, bytes, sizeof bytes, &got);

    if (!rc && got < FOOTER_BYTES)
        rc = FKV_RAISEF(FKV_CORRUPT, "%s: the file ends at offset %llu", t->name,
                        (unsigned long long)t->file_bytes);
    if (!rc) rc = footer_decode(bytes, at, t->name, &t->footer);
    if (!rc && expected && t->footer.unique_id != expected->unique_id)
        rc = FKV_RAISEF(FKV_CORRUPT, "%s: is a table of another store or time (id at offset %llu)",
                        t->name, (unsigned long long)(at + FOOT_UNIQUE_ID));
    if (!rc) return FKV_OK;
    s->no_footer = 1;
    t->footer = (table_footer){.codecs = (1u << (CODEC_ZSTD + 1)) - 1};
    t->footer.unique_id = expected ? expected->unique_id : get_u64(bytes + FOOT_UNIQUE_ID);
    return tell(s, rc, at, 0);
}

static fkv_status find_blocks(salvage *s)
{
    table *t = &s->t;
    block *index = NULL;
    fkv_status rc;

    if (s->no_footer) return load_and_search(s, t->file_bytes);
    rc = table_load_ranges(t);
    if (rc) {
        table_drop_ranges(t);
        rc = tell(s, rc, t->footer.ranges.offset, t->footer.ranges.size);
        if (rc) return rc;
    }
    rc = table_load_block(t, t->footer.index, "index", &index);
    if (!rc) rc = index_open(&t->index, index, t->footer.data_end);
    if (rc) {
        index_release(&t->index);
        rc = tell(s, rc, t->footer.index.offset, 0);
        return rc ? rc : load_and_search(s, t->footer.data_end);
    }
    for (size_t i = 0; i < t->index.count; i++) {
        block_handle h = index_handle(&t->index, i);
        add_block(s, h.offset, h.size);
    }
    return buf_status(&s->blocks);
}

static fkv_status give_block(salvage *s, block_handle h)
{
    block_cursor c = {0};
    block *b = NULL;
    fkv_status rc = table_load_block(&s->t, h, "data", &b);

    if (rc) return tell(s, rc, h.offset, h.size + BLOCK_TRAILER);
    block_cursor_open(&c, b->data, b->size);
    for (block_cursor_first(&c); !rc && c.valid; block_cursor_next(&c))
        rc = s->how->entry(s->how->arg, &c.entry.row);
    if (!rc && c.failed)
        rc = c.failed == FKV_NOMEM
                 ? FKV_RAISE(FKV_NOMEM)
                 : tell(s, table_bad_block(&s->t, "data", h.offset), h.offset, h.size);
    block_cursor_release(&c);
    block_unref(b);
    return rc;
}

fkv_status table_salvage(fkv_env *env, env_file *file, const char *name,
                         const table_summary *expected, const table_salvager *how)
{
    salvage s = {.t = {.env = env, .file = file}, .how = how};
    fkv_status rc = env->file_size(env, file, &s.t.file_bytes);

    (void)snprintf(s.t.name, sizeof s.t.name, "%s", name);
    if (!rc) rc = read_footer(&s, expected);
    if (!rc) rc = find_blocks(&s);
    alloc_free(s.file);
    for (uint64_t i = 0; !rc && s.t.range_bytes && i < s.t.footer.range_count; i++)
        rc = how->range(how->arg, s.t.ranges[i].from, s.t.ranges[i].to);
    for (size_t i = 0; !rc && i < s.blocks.size / sizeof(block_handle); i++) {
        block_handle h;
        memcpy(&h, s.blocks.data + i * sizeof h, sizeof h);
        rc = give_block(&s, h);
    }
    table_drop_ranges(&s.t);
    index_release(&s.t.index);
    buf_release(&s.blocks);
    return rc;
}
