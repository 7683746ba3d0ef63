/*
** Any bytes as a log segment. test-modes: asan
**
** Records come in order and lie inside the file; a transaction that passes its check goes into a
** memtable, whose index must then be whole; the list of tables in a spilled one is read.
*/
#include "fuzz_format.h"
#include "mem/batch.h"
#include "mem/memtable.h"
#include "version/manifest.h"

enum { STORE_ID = 0x5707e, NUMBER = 7, RECORDS_MAX = 10000 };

static void try_memtable(fkv_env *env, const wal_record *w)
{
    memtable *m = NULL;
    mem_view view;
    iter *it = NULL;
    uint64_t rows = 0, back = 0;

    if (!memtable_payload_check(w->payload, w->size, w->count)) return;
    must(memtable_new(env, NULL, 4096, w->first_seq - 1, &m));
    if (memtable_room(m, w->size, w->count)) goto done;
    memtable_apply(m, w->payload, w->size, w->first_seq);
    FUZZ_CHECK(memtree_check(&m->tree) != UINT64_MAX);
    view = memtable_view(m, m->last_seq);
    must(memtree_iter_new(&m->tree, &view, &it));
    for (it->ops->first(it); it->entry; it->ops->next(it)) rows++;
    for (it->ops->last(it); it->entry; it->ops->prev(it)) back++;
    FUZZ_CHECK(rows == back && !it->status && rows <= w->count);
    iter_close(it);
done:
    memtable_unref(m);
}

static void try_tables(fkv_env *env, const wal_record *w)
{
    table_home home = {.env = env};
    run_list runs = run_list_of(w->payload, w->size);

    while (runs.left > 0) {
        file_meta *f = NULL;
        if (run_list_next(&runs, &home, &f)) return;
        FUZZ_CHECK(runs.at <= runs.end);
        file_meta_unref(f);
    }
}

static void replay(fkv_env *env, env_dir *dir, uint64_t limit, size_t size)
{
    wal_reader *r = NULL;
    uint64_t start;
    wal_record w;
    fkv_status rc;

    if (wal_reader_open(env, dir, STORE_ID, NUMBER, &r)) return;
    start = wal_reader_info(r)->start_lsn;
    for (int n = 0; n < RECORDS_MAX; n++) {
        uint64_t before = wal_reader_position(r);
        rc = wal_reader_next(r, limit, &w);
        if (rc) break;
        FUZZ_CHECK(w.lsn == before && wal_reader_position(r) == w.lsn + WAL_RECORD_HEADER + w.size);
        FUZZ_CHECK(wal_reader_position(r) - start <= size - WAL_SEGMENT_HEADER);
        if (w.type == WAL_PREPARE && w.flags & WAL_FLAG_RUNS) try_tables(env, &w);
        if (w.type == WAL_PREPARE && !(w.flags & WAL_FLAG_RUNS)) try_memtable(env, &w);
    }
    wal_reader_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[FILENAME_BYTES_MAX];
    fkv_env *env = NULL;
    env_dir *dir = NULL;
    int blank;

    filename_wal(NUMBER, name);
    must(env_mem_new(&env));
    must(env->dir_open(env, "d", ENV_WRITE | ENV_CREATE, &dir));
    put_file(env, dir, name, data, size);
    replay(env, dir, UINT64_MAX, size);
    if (size > 100) replay(env, dir, get_u64(data + SEG_START_LSN) + data[99], size);
    must(wal_segment_blank(env, dir, NUMBER, &blank));
    env->dir_close(env, dir);
    env_mem_free(env);
    return 0;
}

static void fuzz_seal(uint8_t *data, size_t size)
{
    sign_log(data, size, STORE_ID, NUMBER);
}

/* A batch as a transaction would make it. */
static void add_batch(fkv_env *env, wal_segment *s, int n, uint64_t *seq)
{
    batch *b = NULL;
    uint8_t *bytes = NULL, *copy = NULL;
    size_t size = 0, copy_size = 0;
    uint64_t lsn = 0;
    wal_record r = {.type = WAL_PREPARE, .flags = (uint8_t)(n & 1), .first_seq = *seq};

    must(batch_new(env, 1 << 16, &b));
    for (int i = 0; i < 1 + n * 3; i++) {
        char key[24];
        fkv_slice k = fkv_slice_of(key, (size_t)snprintf(key, sizeof key, "key-%03d", i * 37 % 50));
        batch_add(b, (entry_kind)(1 + i % 3), k, fkv_slice_of("some value", i % 3 == 1 ? 0 : 10),
                  i);
        if (i % 5 == 4) batch_add(b, ENTRY_RANGE_DELETE, k, fkv_slice_of("key-040", 7), 0);
    }
    must(batch_payload(b, &bytes, &size, &copy, &copy_size));
    r.size = (uint32_t)size;
    r.count = batch_live(b);
    *seq += r.count;
    must(wal_segment_append(s, &r, bytes, wal_segment_start(s), 2, &lsn));
    must(wal_segment_mark(s, n % 3 == 2 ? WAL_ABORT : WAL_COMMIT, lsn, lsn));
    if (copy) env->unmap(env, copy, copy_size);
    batch_unref(b);
}

static void add_runs(wal_segment *s, uint64_t seq)
{
    table_summary summary = {.file_bytes = 4000, .unique_id = 77, .entries = 9};
    table_home home = {0};
    file_meta *f = NULL;
    uint64_t lsn;
    buf b = {0};
    wal_record r = {.type = WAL_PREPARE, .flags = WAL_FLAG_RUNS, .count = 9, .first_seq = seq};

    buf_set(&summary.smallest, fkv_slice_of("aa", 2));
    buf_set(&summary.largest, fkv_slice_of("zz", 2));
    must(file_meta_new(&home, 12, seq, &summary, &f));
    for (unsigned i = 0; i < WAL_RECORD_HEADER; i++) buf_append_u8(&b, 0);
    buf_append_u64(&b, 3);
    buf_append_u64(&b, 2);
    manifest_put_file(&b, 0, f);
    manifest_put_file(&b, 0, f);
    while (b.size % 8) buf_append_u8(&b, 0);
    r.size = (uint32_t)(b.size - WAL_RECORD_HEADER);
    must(
        wal_segment_append(s, &r, b.data + WAL_RECORD_HEADER, lsn = wal_segment_start(s), 2, &lsn));
    file_meta_unref(f);
    buf_release(&b);
}

static int fuzz_seed(int i, buf *out)
{
    char name[FILENAME_BYTES_MAX];
    wal_segment *s = NULL;
    fkv_env *env = NULL;
    env_dir *dir = NULL;
    uint64_t seq = 1;

    if (i >= 8) return 0;
    filename_wal(NUMBER, name);
    must(env_mem_new(&env));
    must(env->dir_open(env, "d", ENV_WRITE | ENV_CREATE, &dir));
    must(wal_segment_new(env, dir, STORE_ID, NUMBER, 5, (uint64_t)i * 1000, &s));
    for (int n = 0; n < i; n++) add_batch(env, s, n, &seq);
    if (i & 1) add_runs(s, seq);
    get_file(env, dir, name, out);
    out->size = WAL_SEGMENT_HEADER + (size_t)(wal_segment_end(s) - wal_segment_start(s)) + 64;
    wal_segment_free(s);
    env->dir_close(env, dir);
    env_mem_free(env);
    return 1;
}

FUZZ_MAIN("log", 12000)
