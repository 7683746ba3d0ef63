/*
** The auditor itself: for every rule an order of operations that breaks it is reported, and the one
** that keeps it is not.
*/
#include "audit/audit.h"
#include "base/coding.h"
#include "fastkv.h"
#include "store/share.h"
#include "wal/wal.h"

static fkv_env *disk, *faults, *env;
static env_dir *dir;
static char told[8]; /* the rules broken, in a row: "A1" is '1', "A10" is 'T' */
static size_t told_count;

static void hear(void *arg, const char *text)
{
    (void)arg;
    if (told_count < sizeof told - 1) told[told_count++] = text[2] == '0' ? 'T' : text[1];
    told[told_count] = 0;
}

/* What has been broken since the last question? */
static int broke(const char *rules)
{
    int same = strcmp(told, rules) == 0;

    if (!same) (void)printf("reported \"%s\", expected \"%s\"\n", told, rules);
    told_count = 0;
    told[0] = 0;
    return same;
}

#define OK(expression) CHECK_STATUS(expression, FKV_OK)

static void begin(void)
{
    if (env_mem_new(&disk) || env_fault_new(disk, &faults)) abort();
    env = env_audit_new(faults, hear, NULL);
    OK(env->dir_open(env, "d", ENV_CREATE, &dir));
}

static void end(void)
{
    CHECK(broke(""));
    env->dir_close(env, dir);
    env_audit_free(env);
    env_fault_free(faults);
    env_mem_free(disk);
}

/* -- files ------------------------------------------------------------------------------------- */

static env_file *create(const char *name)
{
    env_file *f = NULL;

    OK(env->file_open(env, dir, name, ENV_WRITE | ENV_CREATE | ENV_EXCLUSIVE, &f));
    return f;
}

static void write_at(env_file *f, uint64_t offset, const void *data, size_t size)
{
    OK(env->file_write(env, f, offset, data, size));
}

static void sync_dir(void)
{
    OK(env->dir_sync(env, dir));
}

/* A table, whole and synced, but for its name. */
static void make_table(const char *name)
{
    env_file *f = create(name);

    write_at(f, 0, "rows", 4);
    OK(env->file_sync(env, f));
    env->file_close(env, f);
}

/* FORMAT.md, "Table line", of table `number`. */
static size_t table_line(uint8_t *p, uint8_t number)
{
    memset(p, 0, 20);
    p[2] = number;
    return 20;
}

typedef struct named {
    uint8_t edit, table; /* 0: none */
    uint8_t first_log, last_log, kept;
} named;

static void write_manifest(const char *name, named n, int synced)
{
    uint8_t bytes[256] = {0};
    size_t size = 121;
    env_file *f = create(name);

    put_u32(bytes, 0x4d564b46);
    put_u64(bytes + 32, n.edit);
    put_u64(bytes + 64, n.first_log);
    put_u64(bytes + 72, n.last_log);
    bytes[120] = n.table != 0;
    if (n.table) size += table_line(bytes + size, n.table);
    if (n.kept) {
        put_u64(bytes + size + 1, 1000);
        put_u32(bytes + size + 25, 1);
        put_u64(bytes + size + 29, n.kept);
        size += 1 + 28 + 32;
    }
    put_u32(bytes + 8, (uint32_t)(size - 16));
    write_at(f, 0, bytes, size);
    if (synced) OK(env->file_sync(env, f));
    env->file_close(env, f);
}

static void rename_manifest(named n)
{
    write_manifest("manifest.tmp", n, 1);
    OK(env->file_rename(env, dir, "manifest.tmp", "manifest"));
}

static void install(named n)
{
    rename_manifest(n);
    sync_dir();
}

static void remove_file(const char *name)
{
    OK(env->file_remove(env, dir, name));
}

/* -- the log ----------------------------------------------------------------------------------- */

static env_file *begin_segment(const char *name, uint64_t start_lsn, int synced)
{
    uint8_t header[SEGMENT_HEADER] = {0};
    env_file *f = create(name);

    put_u32(header, 0x57564b46);
    put_u64(header + 24, start_lsn);
    write_at(f, 0, header, sizeof header);
    if (synced) OK(env->file_sync(env, f));
    if (synced) sync_dir();
    return f;
}

static void append(env_file *f, uint64_t offset, wal_type type, uint8_t flags, uint64_t lsn,
                   uint64_t ref, uint64_t durable)
{
    uint8_t r[RECORD_HEADER + 40] = {0};
    size_t size = type == WAL_PREPARE ? sizeof r : RECORD_HEADER;

    put_u32(r + 4, (uint32_t)(size - RECORD_HEADER));
    put_u64(r + 8, lsn);
    put_u64(r + 16, durable);
    put_u64(r + 32, ref);
    r[44] = (uint8_t)type;
    r[45] = flags;
    if (flags & WAL_FLAG_RUNS) {
        put_u64(r + RECORD_HEADER + 8, 1);
        (void)table_line(r + RECORD_HEADER + 16, 4);
    }
    write_at(f, SEGMENT_HEADER + offset, r, size);
}

/* -- the rules --------------------------------------------------------------------------------- */

static void a1_synced_before_named(void)
{
    env_file *f;

    begin();
    make_table("000001.sst");
    sync_dir();
    install((named){.edit = 2, .table = 1});
    CHECK(broke(""));
    make_table("000003.sst");
    install((named){.edit = 4, .table = 3}); /* its name */
    CHECK(broke("1"));
    f = create("000005.sst");
    sync_dir();
    install((named){.edit = 6, .table = 5}); /* its content */
    CHECK(broke("1"));
    env->file_close(env, f);
    install((named){.edit = 8, .table = 7}); /* it is not there */
    CHECK(broke("1"));
    end();
}

static void a1_log_segments(void)
{
    env_file *f;

    begin();
    f = begin_segment("000001.wal", 0, 1);
    append(f, 0, WAL_PREPARE, 0, 0, 0, 0);
    install((named){.edit = 2, .first_log = 1, .last_log = 1}); /* replay: with its header */
    CHECK(broke(""));
    install((named){.edit = 3, .first_log = 2, .kept = 1}); /* kept: whole */
    CHECK(broke("1"));
    OK(env->file_sync(env, f));
    install((named){.edit = 4, .first_log = 2, .kept = 1});
    CHECK(broke(""));
    env->file_close(env, f);
    f = begin_segment("000005.wal", 88, 0);
    rename_manifest((named){.edit = 6, .first_log = 5, .last_log = 5});
    CHECK(broke("11")); /* header and name */
    env->file_close(env, f);
    end();
}

static void a1_runs_in_the_log(void)
{
    env_file *f;

    begin();
    f = begin_segment("000001.wal", 0, 1);
    make_table("000004.sst");
    append(f, 0, WAL_PREPARE, WAL_FLAG_RUNS, 0, 0, 0);
    CHECK(broke("1"));
    sync_dir();
    append(f, 0, WAL_PREPARE, WAL_FLAG_RUNS, 0, 0, 0);
    CHECK(broke(""));
    env->file_close(env, f);
    end();
}

static void a2_named_no_more_before_removed(void)
{
    env_fault fault = {.kinds = ENV_OP_RENAME, .countdown = 1, .status = FKV_IOERR};

    begin();
    make_table("000001.sst");
    make_table("000002.sst");
    sync_dir();
    install((named){.edit = 3, .table = 1});
    install((named){.edit = 4, .table = 2});
    remove_file("000001.sst");
    CHECK(broke(""));
    rename_manifest((named){.edit = 5});
    remove_file("000002.sst"); /* the directory is not synced: 4 may come back */
    CHECK(broke("2"));
    sync_dir();
    make_table("000006.sst");
    sync_dir();
    write_manifest("manifest.tmp", (named){.edit = 7, .table = 6}, 1);
    env_fault_set(faults, &fault);
    CHECK_STATUS(env->file_rename(env, dir, "manifest.tmp", "manifest"), FKV_IOERR);
    env_fault_set(faults, NULL);
    remove_file("000006.sst"); /* 7 may be in place all the same */
    CHECK(broke("2"));
    end();
}

static env_file *open_lock(env_dir *through)
{
    env_file *f = NULL;

    OK(env->file_open(env, through, "lock", ENV_WRITE | ENV_CREATE, &f));
    return f;
}

static void a2_pins_of_other_processes(void)
{
    env_dir *other = NULL;
    env_file *lock, *others;

    begin();
    OK(env->dir_open(env, "d", 0, &other));
    lock = open_lock(dir);
    others = open_lock(other);
    make_table("000001.sst");
    make_table("000002.sst");
    sync_dir();
    install((named){.edit = 3, .table = 1});
    OK(env->file_lock(env, lock, LOCK_PIN + 3, ENV_LOCK_SHARED));
    OK(env->file_lock(env, others, LOCK_PIN + 3, ENV_LOCK_SHARED));
    install((named){.edit = 4, .table = 2});
    remove_file("000001.sst");
    CHECK(broke("2"));
    make_table("000001.sst");
    OK(env->file_lock(env, others, LOCK_PIN + 3, ENV_UNLOCK));
    remove_file("000001.sst"); /* one's own readers are counted in memory */
    CHECK(broke(""));
    env->file_close(env, lock);
    env->file_close(env, others);
    env->dir_close(env, other);
    end();
}

static void a3_log_not_needed_before_removed(void)
{
    env_file *f;

    begin();
    env->file_close(env, begin_segment("000001.wal", 0, 1));
    install((named){.edit = 2, .first_log = 1, .last_log = 1});
    env->file_close(env, begin_segment("000003.wal", 0, 1));
    rename_manifest((named){.edit = 4, .first_log = 3, .last_log = 3});
    remove_file("000001.wal");
    CHECK(broke("3"));
    sync_dir();
    env->file_close(env, begin_segment("000005.wal", 0, 1));
    remove_file("000005.wal"); /* nobody has written to it */
    CHECK(broke(""));
    sync_dir();
    f = begin_segment("000006.wal", 0, 1);
    append(f, 0, WAL_PREPARE, 0, 0, 0, 0);
    env->file_close(env, f);
    remove_file("000006.wal");
    CHECK(broke("3"));
    install((named){.edit = 7, .first_log = 7});
    remove_file("000003.wal");
    CHECK(broke(""));
    end();
}

static void a3_nothing_stands_before_a_segment(void)
{
    begin();
    env->file_close(env, create("000001.wal"));
    env->file_close(env, begin_segment("000002.wal", 0, 1));
    CHECK(broke("3"));
    remove_file("000001.wal"); /* not the last: it is behind nobody */
    remove_file("000002.wal");
    env->file_close(env, begin_segment("000003.wal", 0, 1));
    CHECK(broke("3"));
    remove_file("000003.wal");
    sync_dir();
    env->file_close(env, begin_segment("000004.wal", 0, 1));
    CHECK(broke(""));
    end();
}

static void a4_manifest_synced_before_renamed(void)
{
    begin();
    write_manifest("manifest.tmp", (named){.edit = 1}, 0);
    OK(env->file_rename(env, dir, "manifest.tmp", "manifest"));
    CHECK(broke("4"));
    sync_dir();
    install((named){.edit = 2});
    CHECK(broke(""));
    remove_file("manifest");
    CHECK(broke("4"));
    end();
}

static void a5_durable_before_acknowledged(void)
{
    env_file *f;

    begin();
    f = begin_segment("000001.wal", 0, 1);
    append(f, 0, WAL_PREPARE, WAL_FLAG_SYNC, 0, 0, 0);
    append(f, 88, WAL_COMMIT, 0, 88, 0, 0);
    CHECK(broke("5"));
    OK(env->file_sync(env, f));
    append(f, 136, WAL_PREPARE, WAL_FLAG_SYNC, 136, 0, 136);
    OK(env->file_sync(env, f));
    append(f, 224, WAL_COMMIT, 0, 224, 136, 224);
    append(f, 272, WAL_PREPARE, 0, 272, 0, 224);
    append(f, 360, WAL_COMMIT, 0, 360, 272, 224); /* nobody waits for this one */
    CHECK(broke(""));
    append(f, 408, WAL_ABORT, 0, 408, 0, 408); /* a claim that is not true */
    CHECK(broke("5"));
    env->file_close(env, f);
    end();
}

static void a6_sealed(void)
{
    env_file *table, *log, *next;

    begin();
    make_table("000001.sst");
    sync_dir();
    OK(env->file_open(env, dir, "000001.sst", ENV_WRITE, &table));
    write_at(table, 4, "more", 4);
    OK(env->file_sync(env, table));
    CHECK(broke(""));
    install((named){.edit = 2, .table = 1});
    write_at(table, 8, "more", 4);
    CHECK(broke("6"));
    env->file_close(env, table);
    log = begin_segment("000003.wal", 0, 1);
    append(log, 0, WAL_PREPARE, 0, 0, 0, 0);
    CHECK(broke(""));
    next = begin_segment("000004.wal", 88, 1);
    append(log, 88, WAL_COMMIT, 0, 88, 0, 0);
    CHECK(broke("6"));
    env->file_close(env, log);
    env->file_close(env, next);
    end();
}

static void a7_mapped_as_far_as_it_reaches(void)
{
    env_file *f;
    void *base = NULL;

    begin();
    f = open_lock(dir);
    fkv_ignore(env->file_share(env, f, SHARED_BYTES, &base));
    CHECK(broke("7"));
    env->file_unshare(env, base, SHARED_BYTES);
    OK(env->file_allocate(env, f, 0, SHARED_BYTES));
    OK(env->file_share(env, f, SHARED_BYTES, &base));
    CHECK(broke(""));
    env->file_unshare(env, base, SHARED_BYTES);
    env->file_close(env, f);
    end();
}

static void a8_no_second_sync(void)
{
    env_fault fault = {.kinds = ENV_OP_SYNC, .countdown = 1, .status = FKV_IOERR_SYNC};
    env_file *f;

    begin();
    f = create("000001.sst");
    env_fault_set(faults, &fault);
    CHECK_STATUS(env->file_sync(env, f), FKV_IOERR_SYNC);
    env_fault_set(faults, NULL);
    CHECK(broke(""));
    OK(env->file_sync(env, f));
    CHECK(broke("8"));
    env->file_close(env, f);
    OK(env->file_open(env, dir, "000001.sst", ENV_WRITE, &f)); /* another life */
    OK(env->file_sync(env, f));
    env->file_close(env, f);
    CHECK(broke(""));
    env_fault_set(faults, &fault);
    CHECK_STATUS(env->dir_sync(env, dir), FKV_IOERR_SYNC);
    env_fault_set(faults, NULL);
    sync_dir(); /* which changes nothing */
    rename_manifest((named){.edit = 2, .table = 1});
    CHECK(broke("1"));
    end();
}

static void a9_order_of_locks(void)
{
    static const uint64_t up[] = {LOCK_LIVE, LOCK_CLOSE, LOCK_FLUSH, LOCK_INSTALL};
    env_file *f;

    begin();
    f = open_lock(dir);
    for (size_t i = 0; i < sizeof up / sizeof up[0]; i++)
        OK(env->file_lock(env, f, up[i], ENV_LOCK_EXCLUSIVE));
    OK(env->file_lock(env, f, LOCK_PIN + 7, ENV_LOCK_SHARED));
    CHECK(broke(""));
    OK(env->file_lock(env, f, LOCK_FLUSH, ENV_UNLOCK));
    OK(env->file_lock(env, f, LOCK_FLUSH, ENV_LOCK_EXCLUSIVE));
    CHECK(broke("9")); /* under INSTALL */
    env->file_close(env, f);
    end();
}

static void a10_nothing_slow_in_short(void)
{
    env_mutex *lasting = NULL, *brief = NULL;
    env_cond *cond = NULL;
    env_file *f;

    begin();
    OK(env->mutex_new(env, &lasting));
    OK(env->mutex_new(env, &brief));
    OK(env->cond_new(env, &cond));
    f = open_lock(dir);
    env->mutex_lock(env, lasting);
    write_at(f, 0, "x", 1);
    CHECK(broke(""));
    env->mutex_lock(env, brief);
    OK(env->file_lock(env, f, LOCK_PIN + 7, ENV_LOCK_SHARED));
    CHECK(broke(""));
    write_at(f, 0, "x", 1);
    CHECK(broke("T"));
    env->mutex_unlock(env, brief);
    env->mutex_unlock(env, lasting);
    write_at(f, 0, "x", 1);
    CHECK(broke(""));
    env->file_close(env, f);
    env->cond_free(env, cond);
    env->mutex_free(env, brief);
    env->mutex_free(env, lasting);
    end();
}

/* -- a power cut, and a store ------------------------------------------------------------------ */

static void what_a_power_cut_leaves_is_durable(void)
{
    env_file *f = NULL;
    uint8_t bytes[256];
    size_t got = 0;

    begin();
    make_table("000001.sst");
    sync_dir();
    install((named){.edit = 2, .table = 1});
    rename_manifest((named){.edit = 3});
    env->dir_close(env, dir);
    OK(env_mem_crash(disk, 0));
    OK(env->dir_open(env, "d", 0, &dir));
    OK(env->file_open(env, dir, "manifest", ENV_READ, &f)); /* 2 is back */
    OK(env->file_read(env, f, 0, bytes, sizeof bytes, &got));
    env->file_close(env, f);
    remove_file("000001.sst");
    CHECK(broke("2"));
    end();
}

/* The auditor's reading of a manifest is the engine's. */
static void names_of_a_store(void)
{
    fkv_options o = {.create = 1, .inline_background = 1, .memtable_bytes = 32768};
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    fkv_stats stats;
    manifest_names names;
    env_file *f = NULL;
    uint8_t bytes[4096], value[2000] = {0};
    size_t got = 0;
    uint64_t tables = 0;

    begin();
    o.env = env;
    OK(fkv_open("store", &o, &s));
    fkv_keep_changes(s, (uint64_t)1 << 30, 0);
    OK(fkv_txn_new(s, &t));
    for (uint32_t i = 0; i < 100; i++) {
        fkv_slice key = {(const uint8_t *)&i, sizeof i};
        OK(fkv_txn_begin(t, 0));
        OK(fkv_txn_put_expires(t, key, fkv_slice_of(value, sizeof value), INT64_MAX));
        OK(fkv_txn_prepare(t, (fkv_durability)(i % 3)));
        fkv_txn_commit(t);
    }
    fkv_stats_read(s, &stats);
    for (int i = 0; i < FKV_LEVELS; i++) tables += stats.level_files[i];
    env->dir_close(env, dir);
    OK(env->dir_open(env, "store", 0, &dir));
    OK(env->file_open(env, dir, "manifest", ENV_READ, &f));
    OK(env->file_read(env, f, 0, bytes, sizeof bytes, &got));
    env->file_close(env, f);
    REQUIRE(names_of_manifest(bytes, got, &names));
    CHECK(tables > 1 && names.tables.count == tables);
    CHECK(names.kept.count > 0 && names.log_number > 0 && names.log_tail >= names.log_number);
    number_list_release(&names.tables);
    number_list_release(&names.kept);
    fkv_txn_free(t);
    fkv_close(s);
    end();
}

TEST_MAIN("test_env_audit", TEST_CASE(a1_synced_before_named), TEST_CASE(a1_log_segments),
          TEST_CASE(a1_runs_in_the_log), TEST_CASE(a2_named_no_more_before_removed),
          TEST_CASE(a2_pins_of_other_processes), TEST_CASE(a3_log_not_needed_before_removed),
          TEST_CASE(a3_nothing_stands_before_a_segment),
          TEST_CASE(a4_manifest_synced_before_renamed), TEST_CASE(a5_durable_before_acknowledged),
          TEST_CASE(a6_sealed), TEST_CASE(a7_mapped_as_far_as_it_reaches),
          TEST_CASE(a8_no_second_sync), TEST_CASE(a9_order_of_locks),
          TEST_CASE(a10_nothing_slow_in_short), TEST_CASE(what_a_power_cut_leaves_is_durable),
          TEST_CASE(names_of_a_store))
