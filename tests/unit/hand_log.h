/*
** hand_log.h -- a store whose log is written by hand, record by record; opening it, and asking it
** for its rows.
*/
#ifndef FKV_TESTS_HAND_LOG_H
#define FKV_TESTS_HAND_LOG_H

#include "base/alloc.h"
#include "base/coding.h"
#include "check.h"
#include "io/filename.h"
#include "mem/batch.h"
#include "store_util.h"
#include "version/manifest.h"
#include "wal/wal.h"

enum { FIRST = 100 /* the first segment's number */ };

/* A store with the row "base" in a table, and a log by hand. */
typedef struct hand {
    fkv_env *disk, *env; /* env: disk, behind faults */
    env_dir *dir;
    table_home home;
    manifest m;
    version *tables;
    wal_segment *log;
    uint64_t number; /* of it */
    uint64_t seq;    /* the next record's */
} hand;

static int host_says; /* about the last id that it has committed */
static uint64_t host_asked;

static inline int ask_host(void *arg, uint64_t id)
{
    (void)arg;
    host_asked = id;
    return host_says;
}

static inline fkv_options how(const hand *h)
{
    return (fkv_options){
        .env = h->env, .memory_bytes = 1 << 20, .inline_background = 1, .host_committed = ask_host};
}

static inline fkv_status remove_log(void *arg, const char *name)
{
    hand *h = arg;
    uint64_t number;

    if (filename_parse(name, &number) != FILE_WAL) return FKV_OK;
    return h->disk->file_remove(h->disk, h->dir, name);
}

static inline void new_segment(hand *h, uint64_t number, uint64_t previous, uint64_t start)
{
    wal_segment_free(h->log);
    h->log = NULL;
    h->number = number;
    CHECK_STATUS(
        wal_segment_new(h->disk, h->dir, get_u64(h->m.uuid), number, previous, start, &h->log),
        FKV_OK);
}

static inline int hand_open(hand *h)
{
    fkv_options o;
    fkv_store *s = NULL;

    *h = (hand){.disk = NULL};
    host_says = -1;
    host_asked = 0;
    if (env_mem_new(&h->disk) || env_fault_new(h->disk, &h->env)) return 0;
    o = how(h);
    o.create = 1;
    if (fkv_open("s", &o, &s) || store_put(s, "base", FKV_SYNC) || fkv_flush(s)) return 0;
    fkv_close(s);
    h->home.env = h->disk;
    if (h->disk->dir_open(h->disk, "s", 0, &h->dir)) return 0;
    h->home.dir = h->dir;
    if (manifest_load(h->disk, h->dir, &h->home, &h->m, &h->tables)) return 0;
    if (h->disk->dir_list(h->disk, h->dir, remove_log, h)) return 0;
    h->seq = h->m.last_seq + 1;
    h->m.log_lsn = h->m.tables_lsn = 1000;
    h->m.clean_lsn = UINT64_MAX;
    h->m.log_number = FIRST;
    h->m.log_tail = FIRST;
    h->m.next_number = FIRST + 10;
    new_segment(h, FIRST, 0, 1000);
    return h->log != NULL;
}

/* The manifest as it is by now, and the log as far as it was written. */
static inline void hand_finish(hand *h)
{
    int maybe_new;

    wal_segment_free(h->log);
    h->log = NULL;
    h->m.edit++;
    CHECK_STATUS(manifest_save(h->disk, h->dir, &h->m, h->tables, &maybe_new), FKV_OK);
}

static inline void hand_close(hand *h)
{
    wal_segment_free(h->log);
    version_unref(h->tables);
    h->disk->dir_close(h->disk, h->dir);
    env_fault_free(h->env);
    env_mem_free(h->disk);
}

/* Another boot, as after a power cut in which nothing was lost. */
static inline void new_boot(hand *h)
{
    static const char *const synced[] = {"manifest", "lock"};
    char name[FILENAME_BYTES_MAX];
    env_file *file;

    filename_wal(h->number, name);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(
            h->disk->file_open(h->disk, h->dir, i < 2 ? synced[i] : name, ENV_WRITE, &file),
            FKV_OK);
        CHECK_STATUS(h->disk->file_sync(h->disk, file), FKV_OK);
        h->disk->file_close(h->disk, file);
    }
    CHECK_STATUS(h->disk->dir_sync(h->disk, h->dir), FKV_OK);
    h->disk->dir_close(h->disk, h->dir);
    CHECK_STATUS(env_mem_crash(h->disk, 0), FKV_OK);
    CHECK_STATUS(h->disk->dir_open(h->disk, "s", 0, &h->dir), FKV_OK);
    h->home.dir = h->dir;
}

/* A PREPARE with the row `key`; says that the log was durable up to `claim`. */
static inline uint64_t prepare(hand *h, const char *key, int flags, uint64_t claim)
{
    wal_record r = {.type = WAL_PREPARE, .flags = (uint8_t)flags, .first_seq = h->seq, .count = 1};
    fkv_slice k = fkv_slice_of(key, strlen(key));
    uint8_t *bytes = NULL, *copy = NULL;
    size_t size = 0, copy_size = 0;
    uint64_t lsn = 0;
    batch *b = NULL;

    CHECK_STATUS(batch_new(h->disk, 1 << 16, &b), FKV_OK);
    batch_add(b, ENTRY_PUT, k, k, 0);
    CHECK_STATUS(batch_payload(b, &bytes, &size, &copy, &copy_size), FKV_OK);
    r.size = (uint32_t)size;
    CHECK_STATUS(wal_segment_append(h->log, &r, bytes, claim, 2, &lsn), FKV_OK);
    if (copy) h->disk->unmap(h->disk, copy, copy_size);
    batch_unref(b);
    h->seq++;
    return lsn;
}

static inline void mark(hand *h, wal_type type, uint64_t ref)
{
    CHECK_STATUS(wal_segment_mark(h->log, type, ref, 0), FKV_OK);
}

static inline void commit(hand *h, const char *key)
{
    mark(h, WAL_COMMIT, prepare(h, key, WAL_FLAG_SYNC, 0));
}

/* Spoil a segment from this LSN on: nothing of it was ever written. */
static inline void lose_from(hand *h, uint64_t number, uint64_t start_lsn, uint64_t lsn)
{
    static const uint8_t zeros[256];
    char name[FILENAME_BYTES_MAX];
    env_file *file;

    filename_wal(number, name);
    CHECK_STATUS(h->disk->file_open(h->disk, h->dir, name, ENV_WRITE, &file), FKV_OK);
    CHECK_STATUS(h->disk->file_write(h->disk, file, WAL_SEGMENT_HEADER + (lsn - start_lsn), zeros,
                                     sizeof zeros),
                 FKV_OK);
    h->disk->file_close(h->disk, file);
}

static inline int has_segment(hand *h, uint64_t number)
{
    char name[FILENAME_BYTES_MAX];
    env_file *file;
    fkv_status rc;

    filename_wal(number, name);
    rc = h->disk->file_open(h->disk, h->dir, name, ENV_READ, &file);
    h->disk->file_close(h->disk, file);
    return rc == FKV_OK;
}

/* -- looking ---------------------------------------------------------------------------------- */

/* The keys that a store holds, in order, with a space behind each. */
static inline void keys_of(fkv_store *s, char out[256])
{
    fkv_snapshot *snap = NULL;
    fkv_cursor *c = NULL;
    size_t n = 0;

    out[0] = 0;
    if (fkv_snapshot_new(s, &snap) || fkv_cursor_new(snap, NULL, &c)) {
        (void)snprintf(out, 256, "error: %s", fkv_errmsg());
    } else {
        for (fkv_cursor_first(c); fkv_cursor_valid(c) && n < 200; fkv_cursor_next(c)) {
            fkv_slice k = fkv_cursor_key(c);
            n += (size_t)snprintf(out + n, 256 - n, "%.*s ", (int)k.size, (const char *)k.data);
        }
        CHECK_STATUS(fkv_cursor_status(c), FKV_OK);
    }
    fkv_cursor_free(c);
    fkv_snapshot_release(snap);
}

static inline int holds(hand *h, int read_only, const char *keys)
{
    fkv_options o = how(h);
    char found[256];
    fkv_store *s = NULL;
    fkv_status rc;

    o.read_only = read_only;
    rc = fkv_open("s", &o, &s);
    if (rc) {
        (void)printf("  cannot be opened: %d, %s\n", (int)rc, fkv_errmsg());
        return 0;
    }
    keys_of(s, found);
    if (strcmp(found, keys) != 0) (void)printf("  holds %s, and not %s\n", found, keys);
    fkv_close(s);
    return strcmp(found, keys) == 0;
}

/* The same rows for a reader, a writer, whoever comes after that, and after another write. */
static inline void check_rows(hand *h, const char *keys)
{
    fkv_options o = how(h);
    char more[256];
    fkv_store *s = NULL;

    CHECK(holds(h, 1, keys));
    CHECK(holds(h, 0, keys));
    CHECK(holds(h, 1, keys));
    REQUIRE_OK(fkv_open("s", &o, &s));
    CHECK_STATUS(store_put(s, "zz", FKV_SYNC), FKV_OK);
    fkv_close(s);
    (void)snprintf(more, sizeof more, "%szz ", keys);
    CHECK(holds(h, 0, more));
}

/* Opening answers this and says so, for reading and for writing, and changes nothing. */
static inline void check_refused(hand *h, fkv_status status, const char *text)
{
    for (int i = 0; i < 4; i++) {
        fkv_options o = how(h);
        fkv_store *s = NULL;
        o.read_only = i & 1;
        CHECK_STATUS(fkv_open("s", &o, &s), status);
        CHECK(s == NULL && strstr(fkv_errmsg(), text));
        if (!strstr(fkv_errmsg(), text)) (void)printf("  ^ it said: %s\n", fkv_errmsg());
        fkv_close(s);
    }
}

#endif
