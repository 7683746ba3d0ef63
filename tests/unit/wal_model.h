/*
** wal_model.h -- what test_wal*.c share: a log segment in some environment, a model of what was
** acknowledged in it, and the comparison of a replay with that model. The model lives on the C
** library's heap, so that failing the engine's allocations leaves it alone.
*/
#ifndef FKV_TESTS_WAL_MODEL_H
#define FKV_TESTS_WAL_MODEL_H

#include "check.h"
#include "wal/format.h"

enum { STORE = 0x5707e, NUMBER = 7, STEP = 256 << 10, TAIL = 1024 };
enum { IN_MEMORY, IN_FAULTS, ON_DISK };

typedef struct sent {
    wal_record r; /* payload: a copy on the C library's heap */
    uint64_t claim;
} sent;

/* A directory, the segment being written in it, and what was acknowledged of it. */
typedef struct journal {
    fkv_env *mem, *fault, *env;
    env_dir *dir;
    wal_segment *segment;
    char path[32];
    uint64_t number, start;
    sent *items;
    size_t count, capacity;
} journal;

typedef struct image {
    uint8_t *bytes;
    size_t size;
} image;

static inline int scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;
    return n > 0 ? n : 1;
}

static inline void *must(void *p)
{
    if (!p) exit(2);
    return p;
}

/* -- writing -------------------------------------------------------------------------------- */

static inline fkv_status journal_open(journal *j, int where)
{
    fkv_status rc = FKV_OK;

    *j = (journal){.env = env_posix(), .path = "/tmp/fkv_test_wal_XXXXXX"};
    if (where == ON_DISK) {
        if (!mkdtemp(j->path)) return FKV_IOERR;
    } else {
        rc = env_mem_new(&j->mem);
        j->env = j->mem;
    }
    if (!rc && where == IN_FAULTS) {
        rc = env_fault_new(j->mem, &j->fault);
        j->env = j->fault;
    }
    if (!rc) rc = j->env->dir_open(j->env, j->path, ENV_CREATE, &j->dir);
    return rc;
}

static inline void journal_forget(journal *j)
{
    wal_segment_free(j->segment);
    j->segment = NULL;
    for (size_t i = 0; i < j->count; i++) free((void *)(uintptr_t)j->items[i].r.payload);
    free(j->items);
    j->items = NULL;
    j->count = j->capacity = 0;
}

static inline fkv_status remove_one(void *arg, const char *name)
{
    journal *j = arg;
    return j->env->file_remove(j->env, j->dir, name);
}

static inline void journal_release(journal *j)
{
    journal_forget(j);
    if (j->env == env_posix()) {
        CHECK_STATUS(j->env->dir_list(j->env, j->dir, remove_one, j), FKV_OK);
        CHECK_STATUS(j->env->dir_remove(j->env, j->path), FKV_OK);
    }
    j->env->dir_close(j->env, j->dir);
    env_fault_free(j->fault);
    env_mem_free(j->mem);
}

/* Cut the power under a journal in memory, and come back. Nothing is being written any more. */
static inline fkv_status journal_crash(journal *j, uint64_t seed)
{
    fkv_status rc;

    wal_segment_free(j->segment);
    j->segment = NULL;
    j->env->dir_close(j->env, j->dir);
    j->dir = NULL;
    rc = env_mem_crash(j->mem, seed);
    return rc ? rc : j->env->dir_open(j->env, j->path, 0, &j->dir);
}

/* Begin a segment; the model starts anew. */
static inline fkv_status begin(journal *j, uint64_t number, uint64_t previous, uint64_t start)
{
    journal_forget(j);
    j->number = number;
    j->start = start;
    return wal_segment_new(j->env, j->dir, STORE, number, previous, start, &j->segment);
}

/* Append a record of random content; what is acknowledged enters the model. */
static inline fkv_status add(journal *j, wal_type type, size_t size, uint64_t claim,
                             unsigned reserve)
{
    uint8_t *room = must(malloc(WAL_RECORD_HEADER + size + 1)), *copy = must(malloc(size + 1));
    uint8_t *payload = room + WAL_RECORD_HEADER;
    sent s = {.claim = claim};
    uint64_t end = wal_segment_end(j->segment), at = 0;
    fkv_status rc;

    for (size_t i = 0; i < size; i += 8) put_u64(payload + i, check_random());
    memcpy(copy, payload, size);
    s.r = (wal_record){.type = type, .size = (uint32_t)size, .payload = copy, .lsn = end};
    if (type == WAL_PREPARE) {
        s.r.flags = (uint8_t)check_below(4);
        s.r.count = (uint32_t)check_random();
        s.r.first_seq = check_random();
        rc = wal_segment_append(j->segment, &s.r, payload, claim, reserve, &at);
        CHECK(rc || at == end);
    } else {
        s.r.ref = check_random();
        rc = wal_segment_mark(j->segment, type, s.r.ref, claim);
    }
    CHECK(wal_segment_end(j->segment) == (rc ? end : end + WAL_RECORD_HEADER + size));
    free(room);
    if (rc) {
        free(copy);
        return rc;
    }
    if (j->count == j->capacity) {
        j->capacity = j->capacity ? j->capacity * 2 : 16;
        j->items = must(realloc(j->items, j->capacity * sizeof *j->items));
    }
    j->items[j->count++] = s;
    return FKV_OK;
}

static inline fkv_status add_any(journal *j, size_t words, uint64_t claim)
{
    uint64_t kind = check_below(4);

    if (kind == 0) return add(j, WAL_COMMIT, 0, claim, 0);
    if (kind == 1) return add(j, WAL_ABORT, 0, claim, 0);
    return add(j, WAL_PREPARE, 8 * (size_t)check_below(words + 1), claim, 2);
}

static inline uint64_t end_of(const journal *j)
{
    const wal_record *last = j->count ? &j->items[j->count - 1].r : NULL;
    return last ? last->lsn + WAL_RECORD_HEADER + last->size : j->start;
}

/* A small segment whose records claim random earlier places, in order as a writer would. */
static inline fkv_status small_segment(journal *j, int records)
{
    uint64_t claim = 8 * check_below(1000);
    fkv_status rc = begin(j, NUMBER, 5, claim);

    for (int i = 0; !rc && i < records; i++) {
        if (check_below(3) == 0 && j->count) claim = j->items[check_below(j->count)].r.lsn;
        if (j->count && claim < j->items[j->count - 1].claim) claim = j->items[j->count - 1].claim;
        rc = add_any(j, 12, claim);
    }
    wal_segment_free(j->segment);
    j->segment = NULL;
    return rc;
}

/* -- files ---------------------------------------------------------------------------------- */

static inline fkv_status load(journal *j, uint64_t number, image *out)
{
    char name[FILENAME_BYTES_MAX];
    env_file *file = NULL;
    uint64_t size = 0;
    fkv_status rc;

    *out = (image){NULL, 0};
    filename_wal(number, name);
    rc = j->env->file_open(j->env, j->dir, name, ENV_READ, &file);
    if (!rc) rc = j->env->file_size(j->env, file, &size);
    out->bytes = must(malloc((size_t)size + 1));
    if (!rc) rc = j->env->file_read(j->env, file, 0, out->bytes, (size_t)size, &out->size);
    j->env->file_close(j->env, file);
    return rc;
}

/* The segment without most of the zeros behind it, so that sweeps over it are quick. */
static inline fkv_status load_short(journal *j, image *out)
{
    size_t used = WAL_SEGMENT_HEADER + (size_t)(end_of(j) - j->start);
    fkv_status rc = load(j, j->number, out);

    if (!rc && out->size > used + TAIL) out->size = used + TAIL;
    return rc;
}

static inline fkv_status store(journal *j, uint64_t number, const image *m)
{
    char name[FILENAME_BYTES_MAX];
    env_file *file = NULL;
    fkv_status rc;

    filename_wal(number, name);
    rc = j->env->file_remove(j->env, j->dir, name);
    if (rc == FKV_NOTFOUND) rc = FKV_OK;
    if (!rc) rc = j->env->file_open(j->env, j->dir, name, ENV_WRITE | ENV_CREATE, &file);
    if (!rc) rc = j->env->file_write(j->env, file, 0, m->bytes, m->size);
    j->env->file_close(j->env, file);
    return rc;
}

/* -- replaying ------------------------------------------------------------------------------ */

static inline int same(const wal_record *a, const wal_record *b)
{
    return a->type == b->type && a->flags == b->flags && a->count == b->count && a->lsn == b->lsn &&
           a->first_seq == b->first_seq && a->ref == b->ref && a->size == b->size &&
           memcmp(a->payload, b->payload, a->size) == 0;
}

/* Replay up to limit: exactly the first `count` records of the model, and then `end`. */
static inline int replays(journal *j, uint64_t number, uint64_t limit, size_t count, fkv_status end)
{
    wal_reader *r = NULL;
    wal_record w;
    size_t n = 0;
    fkv_status rc = wal_reader_open(j->env, j->dir, STORE, number, &r);
    int good = 1;

    if (!rc) {
        while (!(rc = wal_reader_next(r, limit, &w)) && good)
            good = n < j->count && same(&w, &j->items[n++].r);
        good = good && wal_reader_position(r) ==
                           (n ? j->items[n - 1].r.lsn + WAL_RECORD_HEADER + j->items[n - 1].r.size
                              : wal_reader_info(r)->start_lsn);
    }
    if (!good || n != count || rc != end)
        (void)printf("  replayed %zu of %zu and then %d, wanted %zu and %d (%s)\n", n, j->count,
                     (int)rc, count, (int)end, fkv_errmsg());
    wal_reader_close(r);
    return good && n == count && rc == end;
}

/* Opening fails with this status, and the message holds both words. */
static inline int refused(journal *j, uint64_t store_id, uint64_t number, fkv_status status,
                          const char *word, const char *another)
{
    wal_reader *r = NULL;
    fkv_status rc = wal_reader_open(j->env, j->dir, store_id, number, &r);
    int good = rc == status && !r && strstr(fkv_errmsg(), word) && strstr(fkv_errmsg(), another);

    if (!good) (void)printf("  %d \"%s\", wanted %d\n", (int)rc, fkv_errmsg(), (int)status);
    wal_reader_close(r);
    return good;
}

#endif
