/*
** manifest_model.h -- what test_manifest*.c share: random manifests over random versions, exact
** comparison, and a directory of a memory file system to save and load them in.
*/
#ifndef FKV_TESTS_MANIFEST_MODEL_H
#define FKV_TESTS_MANIFEST_MODEL_H

#include "base/coding.h"
#include "check.h"
#include "io/filename.h"
#include "version/manifest.h"

static table_home home; /* no table is ever opened */

/* -- random content ------------------------------------------------------------------------- */

/* Numbers of every length that a varint can have, but for those that are refused. */
static inline uint64_t any_number(void)
{
    return check_random() >> (2 + check_below(62));
}

/* The same for numbers of files (FILENAME_NUMBER_NAMED). */
static inline uint64_t any_file(void)
{
    return check_random() >> (4 + check_below(60));
}

static inline void random_key(buf *out, uint32_t rank)
{
    uint8_t head[4];

    put_be32(head, rank); /* ascending ranks make ascending keys */
    buf_clear(out);
    buf_append(out, head, sizeof head);
    for (uint64_t n = check_below(20) ? check_below(12) : check_below(3000); n > 0; n--)
        buf_append_u8(out, (uint8_t)check_random());
}

static inline file_meta *random_file(uint64_t number, uint32_t from, uint32_t to)
{
    table_summary s = {.file_bytes = any_number(),
                       .unique_id = check_random(),
                       .entries = any_number(),
                       .deletions = any_number(),
                       .expiring = any_number(),
                       .ranges = any_number(),
                       .raw_bytes = any_number(),
                       .largest_open = (uint8_t)check_below(2)};
    file_meta *f = NULL;

    if (s.expiring) { /* else they are not written */
        s.first_expiry = (int64_t)check_random();
        s.half_gone = (int64_t)check_random();
    }
    random_key(&s.smallest, from);
    random_key(&s.largest, to);
    if (from == 0) buf_clear(&s.smallest); /* the empty key is a key */
    if (buf_status(&s.smallest) || buf_status(&s.largest)) exit(2);
    if (file_meta_new(&home, number, check_below(4) ? any_number() : 7, &s, &f)) exit(2);
    return f;
}

static inline void put_file(version_edit *e, int level, file_meta *f)
{
    if (version_edit_add(e, level, f)) exit(2);
    file_meta_unref(f); /* the edit holds it */
}

static inline version *apply(version_edit *e)
{
    version *empty = NULL, *v = NULL;

    if (version_new_empty(&empty) || version_apply(empty, e, &v)) exit(2);
    version_unref(empty);
    version_edit_release(e);
    return v;
}

static inline version *random_version(uint64_t most)
{
    version_edit e = {0};

    for (int level = 0; level < FKV_LEVELS; level++) {
        uint32_t rank = (uint32_t)check_below(3);
        uint64_t count = check_below(3) ? check_below(most + 1) : 0;
        for (uint64_t i = 0; i < count; i++, rank += 2)
            put_file(&e, level, random_file(any_file(), rank, rank + 1));
    }
    return apply(&e);
}

static inline manifest random_manifest(void)
{
    manifest m = {.edit = any_number(),
                  .next_number = any_file(),
                  .next_space = (uint32_t)any_number(),
                  .last_seq = any_number(),
                  .log_number = any_file(),
                  .log_tail = any_file(),
                  .log_lsn = any_number(),
                  .clean_lsn = check_below(2) ? UINT64_MAX : any_number(),
                  .clock_ms = (int64_t)any_number(),
                  .host_id = any_number(),
                  .tables_lsn = any_number()};

    m.codecs.count = (uint32_t)(check_below(3) ? 0 : check_below(CODEC_RULES_MAX + 1));
    for (uint32_t i = 0, space = 0; i < m.codecs.count; i++) {
        space += 1 + (uint32_t)check_below(1000);
        m.codecs.items[i] = (codec_rule){space, (uint8_t)check_below(4), (uint8_t)check_random()};
    }
    for (size_t i = 0; i < sizeof m.uuid; i++) m.uuid[i] = (uint8_t)check_random();
    return m;
}

/* -- comparing ------------------------------------------------------------------------------ */

static inline int same_codecs(const codec_rules *a, const codec_rules *b)
{
    if (a->count != b->count) return 0;
    for (uint32_t i = 0; i < a->count; i++) {
        const codec_rule *x = &a->items[i], *y = &b->items[i];
        if (x->space != y->space || x->codec != y->codec || x->level != y->level) return 0;
    }
    return 1;
}

static inline int same_manifest(const manifest *a, const manifest *b)
{
    return memcmp(a->uuid, b->uuid, 16) == 0 && a->edit == b->edit &&
           a->next_number == b->next_number && a->next_space == b->next_space &&
           a->last_seq == b->last_seq && a->log_number == b->log_number &&
           a->log_tail == b->log_tail && a->log_lsn == b->log_lsn && a->clean_lsn == b->clean_lsn &&
           a->clock_ms == b->clock_ms && a->host_id == b->host_id &&
           same_codecs(&a->codecs, &b->codecs) && a->tables_lsn == b->tables_lsn;
}

static inline int same_file(const file_meta *a, const file_meta *b)
{
    const table_summary *x = &a->summary, *y = &b->summary;

    return a->number == b->number && a->max_seq == b->max_seq && b->home == &home &&
           x->file_bytes == y->file_bytes && x->unique_id == y->unique_id &&
           x->entries == y->entries && x->deletions == y->deletions && x->expiring == y->expiring &&
           x->ranges == y->ranges && x->raw_bytes == y->raw_bytes &&
           x->first_expiry == y->first_expiry && x->half_gone == y->half_gone &&
           x->largest_open == y->largest_open && slice_equal(file_smallest(a), file_smallest(b)) &&
           slice_equal(file_largest(a), file_largest(b));
}

static inline int same_version(const version *a, const version *b)
{
    for (int i = 0; i < FKV_LEVELS; i++) {
        if (a->levels[i].count != b->levels[i].count) return 0;
        if (a->levels[i].bytes != b->levels[i].bytes) return 0;
        for (size_t j = 0; j < a->levels[i].count; j++)
            if (!same_file(a->levels[i].files[j], b->levels[i].files[j])) return 0;
    }
    return 1;
}

/* -- a directory, and the bytes in it ------------------------------------------------------- */

typedef struct disk {
    fkv_env *mem, *fault;
    env_dir *dir;
} disk;

typedef struct state { /* what one manifest says */
    manifest m;
    version *v;
} state;

static inline fkv_status disk_open(disk *d)
{
    fkv_status rc = env_mem_new(&d->mem);

    if (!rc) rc = env_fault_new(d->mem, &d->fault);
    return rc ? rc : d->mem->dir_open(d->mem, "d", ENV_CREATE, &d->dir);
}

static inline void disk_close(disk *d)
{
    d->mem->dir_close(d->mem, d->dir);
    env_fault_free(d->fault);
    env_mem_free(d->mem);
}

static inline fkv_status disk_crash(disk *d, uint64_t seed)
{
    fkv_status rc;

    d->mem->dir_close(d->mem, d->dir);
    d->dir = NULL;
    rc = env_mem_crash(d->mem, seed);
    return rc ? rc : d->mem->dir_open(d->mem, "d", 0, &d->dir);
}

static inline state state_new(uint64_t most)
{
    return (state){random_manifest(), random_version(most)};
}

static inline fkv_status save(disk *d, const state *s, int *maybe_new)
{
    return manifest_save(d->fault, d->dir, &s->m, s->v, maybe_new);
}

static inline fkv_status load(disk *d, state *out)
{
    return manifest_load(d->fault, d->dir, &home, &out->m, &out->v);
}

/* Loads, and is exactly this? */
static inline int holds(disk *d, const state *s)
{
    state got = {0};
    int good = load(d, &got) == FKV_OK && same_manifest(&s->m, &got.m) && same_version(s->v, got.v);

    version_unref(got.v);
    return good;
}

/* The content of a file, to be freed; exits if it is not there. */
static inline uint8_t *bytes_of(disk *d, const char *name, size_t *size)
{
    env_file *file = NULL;
    uint64_t length = 0;
    uint8_t *bytes;

    if (d->mem->file_open(d->mem, d->dir, name, ENV_READ, &file)) exit(2);
    if (d->mem->file_size(d->mem, file, &length)) exit(2);
    bytes = malloc((size_t)length + 64);
    if (!bytes || d->mem->file_read(d->mem, file, 0, bytes, (size_t)length, size)) exit(2);
    d->mem->file_close(d->mem, file);
    return bytes;
}

static inline void set_bytes(disk *d, const char *name, const uint8_t *bytes, size_t size)
{
    env_file *file = NULL;

    fkv_ignore(d->mem->file_remove(d->mem, d->dir, name)); /* may be absent */
    if (d->mem->file_open(d->mem, d->dir, name, ENV_WRITE | ENV_CREATE, &file)) exit(2);
    if (d->mem->file_write(d->mem, file, 0, bytes, size)) exit(2);
    if (d->mem->file_sync(d->mem, file) || d->mem->dir_sync(d->mem, d->dir)) exit(2);
    d->mem->file_close(d->mem, file);
}

#endif
