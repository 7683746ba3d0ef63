/*
** A spilled transaction that is rolled back leaves no names of runs behind.
**
** Where changes are kept, the tables of a spilled transaction get a second name before it is logged
** (store/keep.c). It stayed when the transaction was rolled back, and with it the table's bytes,
** until the log of that time was not kept any more.
*/
#include "../processes/world.h"

#include "fastkv.h"
#include "io/filename.h"

enum { ROWS = 24, VALUE_BYTES = 2000 };

typedef struct scene {
    world w;
    process old, young;
    fkv_store *store;
    fkv_txn *txn;
} scene;

static int ask_host(void *arg, uint64_t id)
{
    (void)arg;
    (void)id;
    return 0;
}

static fkv_status open_as(process *p, fkv_store **s, fkv_txn **t)
{
    fkv_options o = {.env = &p->env,
                     .create = 1,
                     .codec = 1, /* none */
                     .memtable_bytes = 32768,
                     .memory_bytes = 1 << 20,
                     .inline_background = 1,
                     .host_committed = ask_host};
    fkv_status rc = fkv_open("store", &o, s);

    if (!rc) rc = fkv_txn_new(*s, t);
    if (!rc) fkv_txn_set_host(*t, ask_host, NULL);
    return rc;
}

static void put(fkv_txn *t, char space, int count)
{
    static const char value[VALUE_BYTES];
    char key[16];

    CHECK_STATUS(fkv_txn_begin(t, 0), FKV_OK);
    for (int i = 0; i < count; i++) {
        size_t n = (size_t)snprintf(key, sizeof key, "%c%03d", space, i);
        CHECK_STATUS(fkv_txn_put(t, fkv_slice_of(key, n), fkv_slice_of(value, sizeof value)),
                     FKV_OK);
    }
}

static void commit(fkv_txn *t)
{
    CHECK_STATUS(fkv_txn_prepare(t, FKV_SYNC), FKV_OK);
    fkv_txn_commit(t);
}

static void begin(scene *c)
{
    *c = (scene){0};
    world_begins(&c->w);
    process_begins(&c->old, &c->w);
    process_begins(&c->young, &c->w);
    REQUIRE_OK(open_as(&c->old, &c->store, &c->txn));
    fkv_keep_changes(c->store, (uint64_t)1 << 30, 0);
    put(c->txn, 'k', 1);
    commit(c->txn);
}

static void end(scene *c)
{
    fkv_txn_free(c->txn);
    fkv_close(c->store);
    world_ends(&c->w);
}

static fkv_status count_run(void *arg, const char *name)
{
    uint64_t number;

    *(int *)arg += filename_parse(name, &number) == FILE_RUN;
    return FKV_OK;
}

static int runs(scene *c)
{
    env_dir *dir = NULL;
    int n = 0;

    if (c->w.files->dir_open(c->w.files, "store", 0, &dir)) abort();
    CHECK_STATUS(c->w.files->dir_list(c->w.files, dir, count_run, &n), FKV_OK);
    c->w.files->dir_close(c->w.files, dir);
    return n;
}

static int changes(fkv_store *s)
{
    fkv_changes *c = NULL;
    fkv_change change;
    int n = 0;
    fkv_status rc = fkv_changes_new(s, 0, &c);

    while (!rc && !(rc = fkv_changes_next(c, &change))) n++;
    CHECK_STATUS(rc, FKV_NOTFOUND);
    fkv_changes_free(c);
    return n;
}

static void rolled_back(void)
{
    scene c;

    begin(&c);
    put(c.txn, 'a', ROWS);
    CHECK_STATUS(fkv_txn_prepare(c.txn, FKV_SYNC), FKV_OK);
    CHECK(runs(&c) > 0);
    fkv_txn_rollback(c.txn);
    CHECK(runs(&c) == 0);
    CHECK(changes(c.store) == 1);
    end(&c);
}

static void rolled_back_in_part(void)
{
    uint64_t mark;
    int both, one;
    scene c;

    begin(&c);
    put(c.txn, 'a', ROWS);
    CHECK_STATUS(fkv_txn_mark(c.txn, &mark), FKV_OK);
    put(c.txn, 'b', ROWS);
    CHECK_STATUS(fkv_txn_prepare(c.txn, FKV_SYNC), FKV_OK);
    both = runs(&c);
    fkv_txn_rollback_to(c.txn, mark);
    commit(c.txn);
    one = runs(&c);
    CHECK(one > 0 && one < both);
    CHECK_STATUS(fkv_settle(c.store), FKV_OK);
    CHECK(runs(&c) == one);
    CHECK(changes(c.store) == 1 + ROWS);
    end(&c);
}

/* At whatever operation the log cannot be written. */
static void not_prepared(void)
{
    fkv_status rc = FKV_IOERR;

    for (uint64_t n = 1; rc; n++) {
        scene c;
        begin(&c);
        put(c.txn, 'a', ROWS);
        c.old.fails_at = c.old.ops + n;
        rc = fkv_txn_prepare(c.txn, FKV_SYNC);
        c.old.fails_at = 0;
        fkv_txn_rollback(c.txn);
        CHECK(!rc || strstr(fkv_errmsg(), "injected"));
        CHECK(runs(&c) == 0);
        end(&c);
    }
}

/* Its process dies, and the one beside it, or the next to come, finds it prepared. */
static void left_by_the_dead(int hosted, int beside)
{
    fkv_store *s = NULL;
    fkv_txn *t = NULL;
    uint64_t id;
    scene c;

    begin(&c);
    if (beside) CHECK_STATUS(open_as(&c.young, &s, &t), FKV_OK);
    put(c.txn, 'a', ROWS);
    CHECK_STATUS(hosted ? fkv_txn_prepare_hosted(c.txn, FKV_SYNC, &id)
                        : fkv_txn_prepare(c.txn, FKV_SYNC),
                 FKV_OK);
    process_dies(&c.old);
    CHECK(runs(&c) > 0);
    if (!beside) CHECK_STATUS(open_as(&c.young, &s, &t), FKV_OK);
    put(t, 'c', 1);
    commit(t);
    CHECK(runs(&c) == 0);
    CHECK(changes(s) == 2);
    fkv_txn_free(t);
    fkv_close(s);
    end(&c);
}

static void its_process_dies(void)
{
    left_by_the_dead(0, 0);
    left_by_the_dead(0, 1);
    left_by_the_dead(1, 0);
}

TEST_MAIN("test_run_names", TEST_CASE(rolled_back), TEST_CASE(rolled_back_in_part),
          TEST_CASE(not_prepared), TEST_CASE(its_process_dies))
