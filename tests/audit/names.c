/*
** names.c -- which files a manifest and a log record name: a second reading of FORMAT.md, beside
** that of the engine.
*/
#include "audit/audit.h"
#include "base/coding.h"

enum { BODY = 16, FILES = BODY + 13 * 8, KEPT_HEADER = 28, KEPT_LINE = 32 };

static void add_number(number_list *l, uint64_t number)
{
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? l->capacity * 2 : 16;
        l->items = audit_resize(l->items, l->capacity * sizeof *l->items);
    }
    l->items[l->count++] = number;
}

int number_list_has(const number_list *l, uint64_t number)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->items[i] == number) return 1;
    return 0;
}

void number_list_release(number_list *l)
{
    free(l->items);
    *l = (number_list){0};
}

static const uint8_t *skip(const uint8_t *p, const uint8_t *end, uint64_t bytes)
{
    return p && bytes <= (uint64_t)(end - p) ? p + bytes : NULL;
}

static const uint8_t *skip_bytes(const uint8_t *p, const uint8_t *end)
{
    uint64_t size = 0;

    if (p) p = get_varint64(p, end, &size);
    return skip(p, end, size);
}

/* A table's line; NULL if it is none. */
static const uint8_t *get_table(const uint8_t *p, const uint8_t *end, uint64_t *number)
{
    uint64_t fields[7] = {0}; /* max_seq, file_bytes, entries, deletions, expiring, ranges, raw */

    p = skip(p, end, 2);
    if (p) p = get_varint64(p, end, number);
    p = skip(p, end, 8);
    for (int i = 0; i < 7 && p; i++) p = get_varint64(p, end, &fields[i]);
    if (fields[4]) p = skip(p, end, 16);
    return skip_bytes(skip_bytes(p, end), end);
}

static const uint8_t *get_tables(const uint8_t *p, const uint8_t *end, uint64_t count,
                                 number_list *out)
{
    for (uint64_t i = 0; i < count && p; i++) {
        uint64_t number = 0;
        p = get_table(p, end, &number);
        if (p) add_number(out, number);
    }
    return p;
}

static int get_kept(const uint8_t *p, const uint8_t *end, number_list *out)
{
    uint64_t codecs = 0;
    uint32_t count;

    if (p == end) return 1;
    p = get_varint64(p, end, &codecs);
    p = skip(p, end, codecs * 6);
    if (!p || p == end) return p != NULL;
    if (end - p < KEPT_HEADER) return 0;
    count = get_u32(p + 24);
    p += KEPT_HEADER;
    if ((uint64_t)(end - p) == (uint64_t)count * KEPT_LINE + 8) end -= 8; /* the generation */
    if ((uint64_t)(end - p) != (uint64_t)count * KEPT_LINE) return 0;
    for (; p < end; p += KEPT_LINE) add_number(out, get_u64(p));
    return 1;
}

int names_of_manifest(const uint8_t *p, size_t size, manifest_names *out)
{
    const uint8_t *end = p + size, *at;
    uint64_t files = 0;

    *out = (manifest_names){0};
    if (size < FILES || get_u32(p) != 0x4d564b46 || get_u32(p + 8) != size - BODY) return 0;
    out->edit = get_u64(p + 32);
    out->log_number = get_u64(p + 64);
    out->log_tail = get_u64(p + 72);
    at = get_varint64(p + FILES, end, &files);
    if (at) at = get_tables(at, end, files, &out->tables);
    if (at && get_kept(at, end, &out->kept)) return 1;
    number_list_release(&out->tables);
    number_list_release(&out->kept);
    return 0;
}

int names_of_runs(const uint8_t *payload, size_t size, number_list *out)
{
    *out = (number_list){0};
    if (size < 16) return 0;
    if (get_tables(payload + 16, payload + size, get_u64(payload + 8), out)) return 1;
    number_list_release(out);
    return 0;
}

manifest_names *manifest_copy_of(const node *n)
{
    manifest_names names, *m;

    if (!n || !n->content || !names_of_manifest(n->content, n->content_size, &names)) return NULL;
    m = audit_resize(NULL, sizeof *m);
    *m = names;
    return m;
}

void manifest_names_free(manifest_names *m)
{
    if (!m) return;
    number_list_release(&m->tables);
    number_list_release(&m->kept);
    free(m);
}
