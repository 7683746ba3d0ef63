/*
** The change feed, while processes die or are stopped at every single operation (world.h).
**
** Each transaction puts rows that nobody has put before, numbered in the order of the commits. So
** what a feed has to tell is known: every row that is in the store, once, in the order of their
** numbers, and no other.
**
**   deaths  Old dies in a transaction, a flush or a compaction; the transaction is small or
**           spilled, a plain one, a hosted one, or one that its host gives up; of the write at
**           which it dies, half is done or nothing. Young is there, or nobody is. It fails if
**           anybody after that is told other rows than those that are in the store; if, once
**           somebody has written, a row is missing that was acknowledged, one is there that was
**           given up, or a transaction by half; if not everything is kept any more; or if the
**           others cannot open, write, flush and compact.
**
**   stops   Old is stopped at reading the feed, or before that at opening the store or at a flush.
**           Meanwhile young commits, flushes and compacts, and drops what is more than is to be
**           kept: of everything, of some, of nothing. It fails if what old is told has a gap or
**           ends before what was there when it began; if it hears of anything else than that this
**           is not kept, or of that although everything is; if the feed from its oldest change on
**           does not begin there or not end with the last row, for both of them and for who opens
**           the store after them; or if young is kept from its work by more than a lock.
*/
#include "crash/crash_util.h"
#include "fastkv.h"

#include "world.h"

enum {
    MEMORY = 1 << 20,
    MEMTABLE = 32 << 10,
    KEY_BYTES = 8, /* a row's number */
    SHORT_VALUE = 10,
    LONG_VALUE = 500,
    ROWS_MAX = 1000
};

/* How many rows a transaction has. SPILLED: their values are long, it is more than a memtable. */
enum { PAIR = 2, SEVERAL = 3, SPILLED = 200 };

/* How many bytes are kept of the log: more than there are, less than young writes while old is
** stopped, none. */
enum { KEEP_ALL = 1 << 30, KEEP_SOME = 700, KEEP_NONE = 1, KEEPS = 3 };

enum { FAILURES_MAX = 10, DEATHS_MIN = 3000, STOPS_MIN = 500 };

typedef enum fate { NEVER, IN_DOUBT, SURE } fate;
typedef enum manner { PLAIN, HOSTED, GIVEN_UP } manner;

typedef struct scene {
    world w;
    process old, young, third;
    fkv_store *old_store, *young_store;
    uint64_t host; /* the last transaction that the host database has committed */
    int next;      /* the number of the next row */
    uint8_t fates[ROWS_MAX];
    uint64_t seqs[ROWS_MAX]; /* of the change that put the row; 0 = nobody was told yet */
    int settled; /* somebody has written since the death, and so found out how all before ended */
    uint64_t keep_bytes;
    int spills; /* one of young's transactions is SPILLED */
    int was_stopped;
    int dropped;        /* from under a reader, which had been told some rows by then */
    uint64_t n;         /* at which operation, … */
    unsigned variation; /* … of which life, … */
    const char *at;     /* … and who was looked at */
} scene;

#define SHOULD(c, condition)                                                                       \
    do {                                                                                           \
        if (condition) break;                                                                      \
        check_failures++;                                                                          \
        (void)printf("%s:%d: operation %" PRIu64 ", variation %u, \"%s\": %s (%s)\n", __FILE__,    \
                     __LINE__, (c)->n, (c)->variation, (c)->at, #condition, fkv_errmsg());         \
    } while (0)

/* -- processes --------------------------------------------------------------------------------- */

static int ask_host(void *arg, uint64_t id)
{
    return ((const scene *)arg)->host == id;
}

static fkv_status open_store(scene *c, process *who, fkv_store **out)
{
    fkv_options o = {.env = &who->env,
                     .create = 1,
                     .memory_bytes = MEMORY,
                     .memtable_bytes = MEMTABLE,
                     .inline_background = 1,
                     .host_committed = ask_host,
                     .host_arg = c};

    return fkv_open("store", &o, out);
}

static void close_store(fkv_store **s)
{
    fkv_close(*s);
    *s = NULL;
}

static fkv_status compact_all(fkv_store *s)
{
    return fkv_compact(s, fkv_slice_of(NULL, 0), fkv_slice_of(NULL, 0));
}

static void scene_begins(scene *c, uint64_t n, unsigned variation, uint64_t keep_bytes)
{
    *c = (scene){.n = n, .variation = variation, .keep_bytes = keep_bytes};
    c->at = "the beginning";
    world_begins(&c->w);
    process_begins(&c->old, &c->w);
    process_begins(&c->young, &c->w);
    process_begins(&c->third, &c->w);
    SHOULD(c, !open_store(c, &c->young, &c->young_store));
    fkv_keep_changes(c->young_store, keep_bytes, 0);
}

/* -- writing ----------------------------------------------------------------------------------- */

static fkv_status put_rows(scene *c, fkv_txn *t, int rows)
{
    static const char value[LONG_VALUE];
    size_t size = rows == SPILLED ? LONG_VALUE : SHORT_VALUE;
    fkv_status rc = FKV_OK;

    if (c->next + rows > ROWS_MAX) abort();
    for (int i = 0; !rc && i < rows; i++) {
        char key[KEY_BYTES + 1];
        (void)snprintf(key, sizeof key, "%0*d", KEY_BYTES, c->next++);
        rc = fkv_txn_put(t, fkv_slice_of(key, KEY_BYTES), fkv_slice_of(value, size));
    }
    return rc;
}

static void decide(scene *c, int first, fate f)
{
    for (int i = first; i < c->next; i++) c->fates[i] = (uint8_t)f;
}

static fkv_status end_hosted(scene *c, const process *who, fkv_txn *t, int first, manner how)
{
    uint64_t id = 0;
    fkv_status rc = fkv_txn_prepare_hosted(t, FKV_NONE, &id);

    if (rc) return rc;
    if (who->dead) return FKV_IOERR; /* its host died with it */
    if (how == GIVEN_UP) {
        fkv_txn_rollback_hosted(t);
        return FKV_OK;
    }
    c->host = id;
    decide(c, first, SURE);
    fkv_txn_commit(t);
    return FKV_OK;
}

static fkv_status end_plain(scene *c, const process *who, fkv_txn *t, int first)
{
    fkv_status rc;

    decide(c, first, IN_DOUBT);
    rc = fkv_txn_prepare(t, FKV_NONE);
    if (rc) return rc;
    fkv_txn_commit(t);
    if (!who->dead) decide(c, first, SURE);
    return FKV_OK;
}

/* One transaction. If it fails, others get its rows' numbers, unless it is by a death. */
static fkv_status commit(scene *c, const process *who, fkv_store *s, int rows, manner how)
{
    int first = c->next;
    fkv_txn *t = NULL;
    fkv_status rc = fkv_txn_new(s, &t);

    if (!rc) fkv_txn_set_host(t, ask_host, c);
    if (!rc) rc = fkv_txn_begin(t, 0);
    if (!rc) rc = put_rows(c, t, rows);
    if (!rc) rc = how == PLAIN ? end_plain(c, who, t, first) : end_hosted(c, who, t, first, how);
    fkv_txn_free(t);
    c->settled = !who->dead && (c->settled || !rc);
    if (rc && !who->dead) {
        decide(c, first, NEVER);
        c->next = first;
    }
    return rc;
}

/* -- reading ----------------------------------------------------------------------------------- */

typedef struct rows {
    int count, first, last;
    uint8_t is[ROWS_MAX];
} rows;

static const rows no_rows = {.first = -1, .last = -1};

/* One more, which has a larger number than those before it, and was written. */
static fkv_status add_row(scene *c, rows *r, fkv_slice key)
{
    char text[KEY_BYTES + 1] = {0};
    int row;

    SHOULD(c, key.size == KEY_BYTES);
    if (key.size != KEY_BYTES) return FKV_CORRUPT;
    memcpy(text, key.data, KEY_BYTES);
    row = (int)strtol(text, NULL, 10);
    SHOULD(c, row > r->last && row < c->next);
    if (row <= r->last || row >= c->next) return FKV_CORRUPT;
    if (r->first < 0) r->first = row;
    r->last = row;
    r->is[row] = 1;
    r->count++;
    return FKV_OK;
}

/* What is told begins with the first row after `since`, as far as that is known. */
static fkv_status read_feed(scene *c, fkv_store *s, uint64_t since, rows *told)
{
    fkv_changes *feed = NULL;
    fkv_change change;
    uint64_t seq = since;
    fkv_status rc = fkv_changes_new(s, since, &feed);

    *told = no_rows;
    if (rc) return rc;
    for (;;) {
        rc = fkv_changes_next(feed, &change);
        if (!rc) rc = add_row(c, told, change.key);
        if (rc) break;
        SHOULD(c, change.kind == FKV_CHANGE_PUT && change.seq > seq);
        seq = change.seq;
        SHOULD(c, c->seqs[told->last] == 0 || c->seqs[told->last] == seq);
        c->seqs[told->last] = seq;
    }
    fkv_changes_free(feed);
    if (told->first > 0) SHOULD(c, c->seqs[told->first - 1] <= since);
    return rc == FKV_NOTFOUND ? FKV_OK : rc;
}

static fkv_status read_rows(scene *c, fkv_store *s, rows *there)
{
    fkv_snapshot *snap = NULL;
    fkv_cursor *cursor = NULL;
    fkv_status rc = fkv_snapshot_new(s, &snap);

    *there = no_rows;
    if (!rc) rc = fkv_cursor_new(snap, NULL, &cursor);
    if (!rc) {
        fkv_cursor_first(cursor);
        for (; !rc && fkv_cursor_valid(cursor); fkv_cursor_next(cursor))
            rc = add_row(c, there, fkv_cursor_key(cursor));
        if (!rc) rc = fkv_cursor_status(cursor);
        fkv_cursor_free(cursor);
    }
    fkv_snapshot_release(snap);
    return rc;
}

/* -- death at every operation ------------------------------------------------------------------ */

/* What makes one life of old's another than the next. */
enum {
    OLD_IS_HOSTED = 1,
    OLD_SPILLS = 2,
    YOUNG_IS_THERE = 4,
    HOST_GIVES_UP = 8, /* old's first transaction, a hosted one */
    OLD_FLUSHES = 16,  /* and compacts */
    HALF_A_WRITE = 32, /* is done of the one at which old dies */
    LIVES = 64
};

/* Only one transaction can be in doubt. */
static void check_fates(scene *c, const rows *there)
{
    int doubtful = -1;

    for (int i = 0; i < c->next; i++) {
        if (c->fates[i] == SURE) SHOULD(c, there->is[i]);
        if (c->fates[i] == NEVER) SHOULD(c, !there->is[i]);
        if (c->fates[i] != IN_DOUBT) continue;
        if (doubtful < 0) doubtful = there->is[i];
        SHOULD(c, there->is[i] == doubtful);
    }
}

static void look(scene *c, fkv_store *s, const char *at)
{
    uint64_t oldest = 0;
    rows told, there;

    c->at = at;
    SHOULD(c, !fkv_changes_oldest(s, &oldest));
    SHOULD(c, oldest == 0);
    SHOULD(c, !read_feed(c, s, oldest, &told));
    SHOULD(c, !read_rows(c, s, &there));
    SHOULD(c, memcmp(told.is, there.is, sizeof told.is) == 0);
    if (c->settled) check_fates(c, &there);
}

static void old_lives(scene *c)
{
    int hosted = c->variation & OLD_IS_HOSTED;
    int large = c->variation & OLD_SPILLS, given_up = c->variation & HOST_GIVES_UP;
    manner first = given_up ? GIVEN_UP : hosted ? HOSTED : PLAIN;
    fkv_status rc;

    SHOULD(c, !open_store(c, &c->old, &c->old_store));
    if (!c->old_store) return;
    if (!(c->variation & YOUNG_IS_THERE)) close_store(&c->young_store);
    c->at = "old's life";
    c->old.dies_at = c->old.ops + c->n;
    c->old.half = c->variation & HALF_A_WRITE;
    rc = commit(c, &c->old, c->old_store, large ? SPILLED : SEVERAL, first);
    if (!rc && !c->old.dead) rc = commit(c, &c->old, c->old_store, PAIR, hosted ? HOSTED : PLAIN);
    if (c->variation & OLD_FLUSHES) {
        if (!rc && !c->old.dead) rc = fkv_flush(c->old_store);
        if (!rc && !c->old.dead) rc = compact_all(c->old_store);
    }
    if (c->old.dead) return;
    c->old.dies_at = 0;
    SHOULD(c, !rc);
    look(c, c->old_store, "old, which lives");
}

static void young_goes_on(scene *c)
{
    look(c, c->young_store, "young");
    SHOULD(c, !commit(c, &c->young, c->young_store, PAIR, PLAIN));
    look(c, c->young_store, "young, which has written");
    SHOULD(c, !fkv_flush(c->young_store));
    look(c, c->young_store, "young, which has flushed");
}

static void third_comes(scene *c)
{
    fkv_store *s = NULL;

    c->at = "third comes";
    SHOULD(c, !open_store(c, &c->third, &s));
    if (!s) return;
    look(c, s, "third");
    SHOULD(c, !commit(c, &c->third, s, PAIR, HOSTED));
    look(c, s, "third, which has written");
    SHOULD(c, !fkv_flush(s));
    SHOULD(c, !compact_all(s));
    look(c, s, "third, which has compacted");
    close_store(&s);
}

/* 0 if old came to the end of its life. */
static int dies(uint64_t n, unsigned variation)
{
    scene c;
    int died;

    scene_begins(&c, n, variation, KEEP_ALL);
    SHOULD(&c, !commit(&c, &c.young, c.young_store, PAIR, PLAIN));
    SHOULD(&c, !fkv_flush(c.young_store));
    SHOULD(&c, !commit(&c, &c.young, c.young_store, PAIR, HOSTED));
    old_lives(&c);
    died = c.old.dead;
    close_store(&c.old_store);
    if (c.young_store) young_goes_on(&c);
    if (n % 2) close_store(&c.young_store);
    third_comes(&c);
    close_store(&c.young_store);
    world_ends(&c.w);
    return died;
}

static uint64_t deaths_covered;

static void deaths(void)
{
    int before = check_failures;

    for (unsigned v = 0; v < LIVES; v++) {
        uint64_t n = 1 + check_below(STRIDE);
        if ((v & HOST_GIVES_UP) && !(v & OLD_IS_HOSTED)) continue;
        for (; check_failures < before + FAILURES_MAX && dies(n, v); deaths_covered++)
            n += 1 + check_below(2 * STRIDE - 1);
    }
    CHECK(deaths_covered * STRIDE > DEATHS_MIN);
}

/* -- stops at every operation ------------------------------------------------------------------ */

typedef enum stopped { AT_READING, AT_A_FLUSH, AT_OPENING, STOPPED } stopped;

/* What may be in the way while one is stopped: the locks that it holds. */
static int is_patient(fkv_status rc)
{
    return rc == FKV_OK || rc == FKV_BUSY;
}

/* The i-th of young's transactions. */
static fkv_status young_commits(scene *c, int i, int few)
{
    return commit(c, &c->young, c->young_store, c->spills && i == 1 ? SPILLED : few,
                  i % 3 == 0 ? HOSTED : PLAIN);
}

static void live_while_stopped(void *arg)
{
    scene *c = arg;

    c->was_stopped = 1;
    for (int i = 0; i < 4; i++) {
        SHOULD(c, is_patient(young_commits(c, i, SEVERAL)));
        SHOULD(c, is_patient(fkv_flush(c->young_store)));
    }
    SHOULD(c, is_patient(compact_all(c->young_store)));
}

static int has_no_gap(const rows *r)
{
    return r->count == 0 || r->count == r->last - r->first + 1;
}

/* Everything from there on that was there at the beginning; or it is not kept. */
static void old_reads(scene *c, uint64_t since)
{
    int least = c->next - 1;
    rows told;
    fkv_status rc = read_feed(c, c->old_store, since, &told);

    SHOULD(c, rc == FKV_OK || (rc == FKV_INVALID && c->keep_bytes != KEEP_ALL));
    SHOULD(c, has_no_gap(&told));
    if (rc) {
        c->dropped += told.count > 0;
        return;
    }
    if (since == 0) SHOULD(c, told.first == 0);
    if (told.count) SHOULD(c, told.last >= least);
}

/* What is kept ends with the last row. */
static void tells_to_the_end(scene *c, fkv_store *s, const char *at)
{
    uint64_t oldest = 0;
    rows told;

    c->at = at;
    SHOULD(c, !fkv_changes_oldest(s, &oldest));
    SHOULD(c, !read_feed(c, s, oldest, &told));
    SHOULD(c, has_no_gap(&told));
    if (told.count) SHOULD(c, told.last == c->next - 1);
    if (c->keep_bytes == KEEP_ALL) SHOULD(c, oldest == 0 && told.count == c->next);
}

static void both_go_on(scene *c)
{
    tells_to_the_end(c, c->old_store, "old goes on");
    tells_to_the_end(c, c->young_store, "young goes on");
    SHOULD(c, !commit(c, &c->old, c->old_store, PAIR, PLAIN));
    SHOULD(c, !fkv_flush(c->old_store));
    SHOULD(c, !commit(c, &c->young, c->young_store, PAIR, PLAIN));
    tells_to_the_end(c, c->young_store, "young, after old has flushed");
    close_store(&c->old_store);
    close_store(&c->young_store);
    SHOULD(c, !open_store(c, &c->young, &c->young_store));
    if (!c->young_store) return;
    tells_to_the_end(c, c->young_store, "opened once more");
    SHOULD(c, fkv_verify(c->young_store) == FKV_OK);
}

static void old_is_stopped(scene *c, stopped where)
{
    uint64_t oldest = 0;

    if (where != AT_OPENING) SHOULD(c, !open_store(c, &c->old, &c->old_store));
    if (where != AT_OPENING && !c->old_store) return;
    if (where == AT_A_FLUSH) SHOULD(c, !commit(c, &c->old, c->old_store, PAIR, PLAIN));
    c->at = "old is stopped";
    c->old.stops_at = c->old.ops + c->n;
    c->old.while_stopped = live_while_stopped;
    c->old.arg = c;
    if (where == AT_OPENING) SHOULD(c, !open_store(c, &c->old, &c->old_store));
    if (!c->old_store) return;
    if (where == AT_A_FLUSH) SHOULD(c, is_patient(fkv_flush(c->old_store)));
    old_reads(c, 0);
    SHOULD(c, !fkv_changes_oldest(c->old_store, &oldest));
    old_reads(c, oldest);
    c->old.stops_at = 0;
}

static uint64_t stops_covered, readers_dropped;

/* 0 if old came to the end without having been stopped. */
static int is_stopped(uint64_t n, unsigned variation)
{
    static const uint64_t keeps[] = {KEEP_ALL, KEEP_SOME, KEEP_NONE};
    stopped where = (stopped)(variation / KEEPS / 2);
    scene c;

    scene_begins(&c, n, variation, keeps[variation % KEEPS]);
    c.spills = variation / KEEPS % 2;
    for (int i = 0; i < 3; i++) {
        SHOULD(&c, !young_commits(&c, i, PAIR));
        SHOULD(&c, !fkv_flush(c.young_store));
    }
    SHOULD(&c, !young_commits(&c, 3, PAIR));
    old_is_stopped(&c, where);
    if (c.old_store) both_go_on(&c);
    close_store(&c.young_store);
    world_ends(&c.w);
    readers_dropped += (uint64_t)c.dropped;
    return c.was_stopped;
}

static void stops(void)
{
    int before = check_failures;

    for (unsigned v = 0; v < STOPPED * 2 * KEEPS; v++) {
        uint64_t n = 1 + check_below(STRIDE);
        for (; check_failures < before + FAILURES_MAX && is_stopped(n, v); stops_covered++)
            n += 1 + check_below(2 * STRIDE - 1);
    }
    (void)printf("%" PRIu64 " deaths, %" PRIu64 " stops\n", deaths_covered, stops_covered);
    CHECK(stops_covered * STRIDE > STOPS_MIN);
    CHECK(readers_dropped > 0);
}

TEST_MAIN("test_feed", TEST_CASE(deaths), TEST_CASE(stops))
