/*
** test_connections.c -- threads and connections on one database, through SQL.
**
** A bank. Accounts are rows of a fastkv table, TOTAL is what they hold together, and no transfer
** changes it. While writers transfer (BEGIN IMMEDIATE … COMMIT or ROLLBACK, savepoints with
** nonsense that is taken back, whole branches deleted by a range tombstone and put in again),
** readers ask for the sum in one statement, walk all accounts, and compare prefixes with points;
** one thread orders flushes and compactions, and a guest opens and closes connections and creates
** and drops a table of its own, so that everybody's schema changes under their statements. The
** budget of memory is the smallest there is: memtables rotate, transactions spill, levels fill.
**
** Every other transaction also counts itself in a second fastkv table and in a native one: whoever
** reads must find the two agree. At the end all is opened anew and compared with what the writers
** know to be committed.
**
** SQLite itself is not built with TSan; its mutexes are seen all the same.
*/
#include "bank.h"

/* -- writers -------------------------------------------------------------------------------- */

/* Do what would ruin the bank, and take it back. */
static int nonsense(worker *w)
{
    static const char *const what[] = {
        "UPDATE account SET amount = amount + 7",
        "DELETE FROM account WHERE branch >= 'c'",
        "INSERT INTO account(account) VALUES ('truncate')",
        "REPLACE INTO account VALUES ('a', 1, 1000000, NULL), ('zz', 1, 1000000, NULL)",
        "UPDATE account SET no = no + 100 WHERE branch = 'b'",
        "UPDATE tally SET n = n + 1"};
    uint64_t inner = dice(w, 3);

    if (!WANT(w, run(w, "SAVEPOINT outside") == SQLITE_OK)) return 0;
    for (uint64_t n = 1 + dice(w, 3); n > 0; n--) {
        if (inner && !WANT(w, run(w, "SAVEPOINT inside") == SQLITE_OK)) return 0;
        if (!WANT(w, run(w, "%s", what[dice(w, 6)]) == SQLITE_OK)) return 0;
        if (inner == 1 && !WANT(w, run(w, "ROLLBACK TO inside") == SQLITE_OK)) return 0;
        if (inner && !WANT(w, run(w, "RELEASE inside") == SQLITE_OK)) return 0;
    }
    return WANT(w, run(w, "ROLLBACK TO outside; RELEASE outside") == SQLITE_OK);
}

/* Delete a branch with one range tombstone and put its accounts in again. */
static int rebuild_branch(worker *w, char branch)
{
    int64_t amounts[PER_BRANCH][COLUMNS];

    for (int i = 0; i < PER_BRANCH; i++)
        if (!WANT(w, ask(w, amounts[i], "SELECT amount FROM account WHERE branch='%c' AND no=%d",
                         branch, i) == SQLITE_OK))
            return 0;
    if (!WANT(w, run(w, "INSERT INTO account(account, arg) VALUES ('delete-prefix', '%c')",
                     branch) == SQLITE_OK))
        return 0;
    for (int i = 0; i < PER_BRANCH; i++)
        if (!WANT(w, run(w, "INSERT INTO account VALUES ('%c', %d, %lld, randomblob(600))", branch,
                         i, (long long)amounts[i][0]) == SQLITE_OK))
            return 0;
    return 1;
}

static int move_money(worker *w, int from, int to, int sum)
{
    static const char absolute[] =
        "REPLACE INTO account VALUES ('%c', %d, %lld, randomblob(%d)), ('%c', %d, %lld, "
        "zeroblob(%d))";
    static const char relative[] = "UPDATE account SET amount = amount + %d, pad = randomblob(%d) "
                                   "WHERE branch = '%c' AND no = %d";
    static const char read_both[] =
        "SELECT a.amount, b.amount FROM account AS a, account AS b WHERE a.branch = '%c' AND "
        "a.no = %d AND b.branch = '%c' AND b.no = %d";
    int pad = 300 + (int)dice(w, 2500), i = from % PER_BRANCH, j = to % PER_BRANCH;
    int64_t old[COLUMNS], now[COLUMNS];
    char a = branch_of(from), b = branch_of(to);

    if (!WANT(w, ask(w, old, read_both, a, i, b, j) == SQLITE_OK)) return 0;
    if (dice(w, 2)) {
        if (!WANT(w, run(w, absolute, a, i, (long long)(old[0] - sum), pad, b, j,
                         (long long)(old[1] + sum), pad) == SQLITE_OK))
            return 0;
    } else if (!WANT(w, run(w, relative, -sum, pad, a, i) == SQLITE_OK) ||
               !WANT(w, run(w, relative, sum, pad, b, j) == SQLITE_OK)) {
        return 0;
    }
    return WANT(w, ask(w, now, read_both, a, i, b, j) == SQLITE_OK) &&
           WANT(w, now[0] == old[0] - sum && now[1] == old[1] + sum);
}

/* Inside a write transaction everything that was committed is seen, and the own writes as well. */
static int books_are_right(worker *w)
{
    int64_t v[COLUMNS];

    return WANT(w, ask(w, v,
                       "SELECT (SELECT sum(amount) FROM account), (SELECT count(*) FROM ledger JOIN"
                       " tally USING (writer) WHERE ledger.n IS NOT tally.n), (SELECT count(*) FROM"
                       " ledger JOIN tally USING (writer))") == SQLITE_OK) &&
           WANT(w, v[0] == TOTAL && v[1] == 0 && v[2] == WRITERS);
}

/* One transaction; one that does not count itself changes no native table. 0 after a complaint. */
static int transfer(worker *w)
{
    int from = (int)dice(w, ACCOUNTS), to = (from + 1 + (int)dice(w, ACCOUNTS - 1)) % ACCOUNTS;
    int sum = 1 + (int)dice(w, 50), keeps = dice(w, 5) != 0, counts = (int)dice(w, 2);

    if (!WANT(w, run(w, "BEGIN IMMEDIATE") == SQLITE_OK) || !books_are_right(w)) return 0;
    if (dice(w, 3) == 0 && !nonsense(w)) return 0;
    if (!WANT(w, run(w, "SAVEPOINT all_of_it") == SQLITE_OK)) return 0;
    if (!move_money(w, from, to, sum)) return 0;
    if (dice(w, 6) == 0 && !rebuild_branch(w, branch_of((int)dice(w, ACCOUNTS)))) return 0;
    if (dice(w, 40) == 0 &&
        !WANT(w, run(w, "UPDATE account SET pad = randomblob(3000)") == SQLITE_OK)) /* it spills */
        return 0;
    if (counts &&
        !WANT(w, run(w,
                     "REPLACE INTO tally VALUES (%d, %lld); UPDATE ledger SET n = n + 1 WHERE "
                     "writer = %d",
                     w->id, (long long)w->counted + 1, w->id) == SQLITE_OK))
        return 0;
    if (!WANT(w, run(w, "RELEASE all_of_it") == SQLITE_OK)) return 0;
    if (dice(w, 3) == 0 && !nonsense(w)) return 0;
    if (!books_are_right(w) ||
        !WANT(w, run(w, keeps ? "COMMIT" : "ROLLBACK") == SQLITE_OK)) /* and that is that */
        return 0;
    if (keeps) {
        w->delta[from] -= sum;
        w->delta[to] += sum;
        w->committed++;
        w->counted += counts;
    } else {
        w->rolled_back++;
    }
    return 1;
}

static void *writer_main(void *arg)
{
    worker *w = arg;

    if (open_db(w, SQLITE_OPEN_NOMUTEX))
        for (unsigned i = 0; i < w->at->rounds && !atomic_load(&w->at->stop); i++)
            if (!transfer(w)) break;
    if (w->db && !sqlite3_get_autocommit(w->db)) (void)run(w, "ROLLBACK");
    close_db(w);
    atomic_fetch_sub(&w->at->writing, 1);
    return NULL;
}

/* -- readers ------------------------------------------------------------------------------- */

static int is_open(bank *b)
{
    return atomic_load(&b->writing) > 0 && !atomic_load(&b->stop);
}

static void *reader_main(void *arg)
{
    worker *w = arg;

    if (open_db(w, SQLITE_OPEN_NOMUTEX))
        while (look(w) && is_open(w->at)) {}
    close_db(w);
    return NULL;
}

/* -- upkeep, and a guest -------------------------------------------------------------------- */

static int upkeep(worker *w)
{
    static const char *const orders[] = {"('flush', NULL)", "('compact', NULL)", "('compact', 'c')",
                                         "('settle', NULL)", "('integrity-check', NULL)"};

    w->looks++;
    return WANT(w, run(w, "INSERT INTO account(account, arg) VALUES %s", orders[dice(w, 5)]) ==
                       SQLITE_OK);
}

static void *upkeep_main(void *arg)
{
    worker *w = arg;
    int64_t v[COLUMNS];

    if (open_db(w, SQLITE_OPEN_NOMUTEX)) {
        while (upkeep(w) && is_open(w->at)) (void)usleep(1000 + (useconds_t)dice(w, 20000));
        (void)WANT(w, run(w, "INSERT INTO account(account) VALUES ('compact')") == SQLITE_OK);
        (void)WANT(w,
                   ask(w, v,
                       "SELECT sum(value) FILTER (WHERE name = 'flushes'), sum(value) FILTER "
                       "(WHERE name = 'compactions') FROM fastkv_stats('account')") == SQLITE_OK);
        w->flushes = v[0];
        w->compactions = v[1];
    }
    close_db(w);
    return NULL;
}

/* Create a table and its rows in one transaction, look, drop it. */
static int visit(worker *w)
{
    int64_t v[COLUMNS];
    int keeps = dice(w, 4) != 0;

    if (!WANT(w, run(w,
                     "BEGIN IMMEDIATE; CREATE VIRTUAL TABLE guest USING fastkv(k, v, " TINY ");"
                     "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < %d)"
                     "INSERT INTO guest SELECT i, i FROM r",
                     GUESTS) == SQLITE_OK) ||
        !WANT(w, run(w, keeps ? "COMMIT" : "ROLLBACK") == SQLITE_OK))
        return 0;
    w->looks++;
    if (!keeps) return look(w);
    if (dice(w, 2)) {
        close_db(w);
        if (!open_db(w, SQLITE_OPEN_NOMUTEX)) return 0;
    }
    if (!look(w)) return 0;
    if (ask(w, v, "SELECT count(*), (SELECT sum(amount) FROM account) FROM guest") == SQLITE_OK &&
        !WANT(w, v[0] == GUESTS && v[1] == TOTAL))
        return 0;
    return WANT(w, run(w, "DROP TABLE guest") == SQLITE_OK);
}

static void *guest_main(void *arg)
{
    worker *w = arg;
    int well = 1;

    for (int first = 1; well && (first || is_open(w->at)); first = 0) {
        well = open_db(w, SQLITE_OPEN_NOMUTEX) && visit(w);
        close_db(w);
        (void)usleep((useconds_t)dice(w, 5000));
    }
    return NULL;
}

static void start(worker *w, void *(*main)(void *))
{
    if (pthread_create(&w->thread, NULL, main, w)) exit(2);
}

/* -- the tests ------------------------------------------------------------------------------ */

static void many_connections(const char *journal, unsigned rounds)
{
    worker crew[THREADS], first;
    int threads_before, files_before;
    bank b;

    start_counting();
    threads_before = threads();
    files_before = files();
    atomic_store(&complaints, 0);
    REQUIRE(found_bank(&b, &first, journal, SQLITE_OPEN_NOMUTEX));
    b.rounds = rounds * (unsigned)scale();
    atomic_store(&b.writing, WRITERS);
    for (int i = 0; i < THREADS; i++) hire(&crew[i], &b, i);
    for (int i = 0; i < WRITERS; i++) start(&crew[i], writer_main);
    for (int i = 0; i < READERS; i++) start(&crew[WRITERS + i], reader_main);
    start(&crew[WRITERS + READERS], upkeep_main);
    start(&crew[WRITERS + READERS + 1], guest_main);
    for (int i = 0; i < THREADS; i++) CHECK(pthread_join(crew[i].thread, NULL) == 0);

    CHECK(crew[WRITERS + READERS].flushes > 1 && crew[WRITERS + READERS].compactions > 0);
    (void)printf(
        "%s: %d + %d + %d transactions, %d looks (%d late), %d orders, %d visits, %d flushes, %d "
        "compactions\n",
        journal, (int)crew[0].committed, (int)crew[1].committed, (int)crew[2].committed,
        (int)(crew[WRITERS].looks + crew[WRITERS + 1].looks),
        (int)(crew[WRITERS].late + crew[WRITERS + 1].late), (int)crew[WRITERS + READERS].looks,
        (int)crew[WRITERS + READERS + 1].looks, (int)crew[WRITERS + READERS].flushes,
        (int)crew[WRITERS + READERS].compactions);
    for (int i = 0; i < WRITERS; i++) CHECK(crew[i].committed > 0);
    CHECK(crew[0].rolled_back + crew[1].rolled_back + crew[2].rolled_back > 0);
    for (int i = WRITERS; i < THREADS; i++) CHECK(crew[i].looks > 0);
    for (int i = 0; i < THREADS; i++) /* a SELECT never has to wait, and is hardly ever late */
        CHECK(crew[i].refused == 0 && crew[i].late <= 2 + crew[i].looks / 50);
    close_db(&first);
    CHECK(comes_to(threads, threads_before));
    audit(&b, crew, WRITERS, 1);
    CHECK(comes_to(threads, threads_before) && files() == files_before);
    CHECK(complaints == 0);
    close_bank(&b);
}

static void many_connections_wal(void)
{
    many_connections("WAL", 40);
}

static void many_connections_rollback_journal(void)
{
    many_connections("DELETE", 24);
}

/* A transaction that reads, one that writes: they are not in each other's way, whoever is first. */
static void a_reader_beside_a_writer(void)
{
    static const char native_last[] =
        "SELECT (SELECT sum(amount) FROM account), (SELECT count(*) FROM ledger)";
    worker w, r;
    int64_t v[COLUMNS];
    bank b;

    atomic_store(&complaints, 0);
    REQUIRE(found_bank(&b, &w, "WAL", SQLITE_OPEN_NOMUTEX));
    hire(&r, &b, 0);
    if (open_db(&r, SQLITE_OPEN_NOMUTEX)) {
        CHECK(sqlite3_busy_timeout(w.db, 100) == 0 && sqlite3_busy_timeout(r.db, 100) == 0);
        (void)WANT(&w, run(&w, "BEGIN IMMEDIATE; UPDATE account SET amount = 0") == SQLITE_OK);
        (void)WANT(&r, run(&r, "BEGIN") == SQLITE_OK);
        (void)WANT(&r, ask(&r, v, native_last) == SQLITE_OK);
        (void)WANT(&r, v[0] == TOTAL && v[1] == WRITERS);
        if (!sqlite3_get_autocommit(r.db)) (void)run(&r, "COMMIT");
        (void)WANT(&w, run(&w, "ROLLBACK") == SQLITE_OK);

        (void)WANT(&r, run(&r, "BEGIN") == SQLITE_OK);
        (void)WANT(&r, ask(&r, v, native_last) == SQLITE_OK);
        (void)WANT(&w, run(&w, "BEGIN IMMEDIATE; UPDATE account SET amount = 0; DELETE FROM "
                               "ledger; COMMIT") == SQLITE_OK);
        (void)WANT(&r, ask(&r, v, native_last) == SQLITE_OK);
        (void)WANT(&r, v[0] == TOTAL && v[1] == WRITERS);
        if (!sqlite3_get_autocommit(r.db)) (void)run(&r, "COMMIT");
    }
    close_db(&r);
    close_db(&w);
    CHECK(complaints == 0);
    close_bank(&b);
}

/* A connection for every transaction, and nobody who keeps the store open: who comes first opens
** it while who was last still closes it. */
static void *passer_by_main(void *arg)
{
    worker *w = arg;

    for (unsigned i = 0; i < w->at->rounds && !atomic_load(&w->at->stop); i++) {
        int well = open_db(w, SQLITE_OPEN_NOMUTEX) && transfer(w) && look(w);
        if (!well && w->db) (void)run(w, "ROLLBACK");
        close_db(w);
    }
    return NULL;
}

static void everybody_opens_and_closes(void)
{
    worker crew[WRITERS], first;
    bank b;

    atomic_store(&complaints, 0);
    REQUIRE(found_bank(&b, &first, "WAL", SQLITE_OPEN_NOMUTEX));
    b.rounds = 12u * (unsigned)scale();
    close_db(&first);
    for (int i = 0; i < WRITERS; i++) hire(&crew[i], &b, i);
    for (int i = 0; i < WRITERS; i++) start(&crew[i], passer_by_main);
    for (int i = 0; i < WRITERS; i++) CHECK(pthread_join(crew[i].thread, NULL) == 0);
    for (int i = 0; i < WRITERS; i++) CHECK(crew[i].committed && crew[i].refused == 0);
    audit(&b, crew, WRITERS, 1);
    CHECK(complaints == 0);
    close_bank(&b);
}

/* -- one connection for all ----------------------------------------------------------------- */

/* A transfer in one statement, which nobody can come between. */
static int move_at_once(worker *w, int keeps)
{
    int from = (int)dice(w, ACCOUNTS), to = (from + 1 + (int)dice(w, ACCOUNTS - 1)) % ACCOUNTS;
    int sum = 1 + (int)dice(w, 50);

    if (!WANT(w, run(w,
                     "UPDATE account SET pad = randomblob(2000), amount = amount + CASE WHEN "
                     "branch = '%c' AND no = %d THEN %d ELSE %d END WHERE (branch = '%c' AND "
                     "no = %d) OR (branch = '%c' AND no = %d)",
                     branch_of(from), from % PER_BRANCH, -sum, sum, branch_of(from),
                     from % PER_BRANCH, branch_of(to), to % PER_BRANCH) == SQLITE_OK))
        return 0;
    if (!keeps) return 1;
    w->delta[from] -= sum;
    w->delta[to] += sum;
    w->committed++;
    return 1;
}

/* BEGIN … COMMIT belongs to the connection: the others have to stay out. */
static int transaction_for_all(worker *w)
{
    sqlite3_mutex *mutex = sqlite3_db_mutex(w->db);
    int keeps = dice(w, 2) == 0, well;

    sqlite3_mutex_enter(mutex);
    well = WANT(w, run(w, "BEGIN") == SQLITE_OK) && move_at_once(w, keeps) &&
           (dice(w, 2) || nonsense(w)) && look_at_sum(w) &&
           WANT(w, run(w, keeps ? "COMMIT" : "ROLLBACK") == SQLITE_OK);
    if (!well) (void)run(w, "ROLLBACK");
    sqlite3_mutex_leave(mutex);
    w->rolled_back += !keeps;
    return well;
}

static void *sharer_main(void *arg)
{
    worker *w = arg;
    int well = 1;

    for (unsigned i = 0; well && i < w->at->rounds && !atomic_load(&w->at->stop); i++) {
        uint64_t what = dice(w, 16);
        if (what < 6) {
            well = move_at_once(w, 1);
        } else if (what < 8) {
            well = transaction_for_all(w);
        } else {
            well = what == 8 ? upkeep(w) : look(w);
        }
    }
    finish_scans(w);
    return NULL;
}

static void one_connection_for_all(void)
{
    worker crew[4], first;
    bank b;

    atomic_store(&complaints, 0);
    REQUIRE(found_bank(&b, &first, "WAL", SQLITE_OPEN_FULLMUTEX));
    b.rounds = 150u * (unsigned)scale();
    for (int i = 0; i < 4; i++) {
        hire(&crew[i], &b, i);
        crew[i].db = first.db;
        crew[i].shared = 1;
    }
    for (int i = 0; i < 4; i++) start(&crew[i], sharer_main);
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(crew[i].thread, NULL) == 0);
        CHECK(crew[i].committed > 0);
    }
    CHECK(look_at_sum(&first));
    close_db(&first);
    audit(&b, crew, 4, 0);
    CHECK(complaints == 0);
    close_bank(&b);
}

/* -- what is left --------------------------------------------------------------------------- */

/* Reading starts no thread; a flush needs some; the last close ends them and leaves no file
** open, whichever way the connections are closed. */
static void nothing_is_left_behind(void)
{
    int threads_before, files_before;
    worker w[3];
    bank b;

    start_counting();
    threads_before = threads();
    files_before = files();
    atomic_store(&complaints, 0);
    REQUIRE(found_bank(&b, &w[0], "WAL", SQLITE_OPEN_NOMUTEX));
    CHECK(run(&w[0], "INSERT INTO account(account) VALUES ('flush')") == SQLITE_OK);
    CHECK(threads() > threads_before && files() > files_before); /* or they cannot be counted */
    close_db(&w[0]);
    CHECK(comes_to(threads, threads_before) && files() == files_before);
    for (int i = 0; i < 100 * scale() && !complaints; i++) {
        int count = 1 + i % 3;
        sqlite3_stmt *half = NULL;
        for (int j = 0; j < count; j++) {
            hire(&w[j], &b, j);
            if (open_db(&w[j], SQLITE_OPEN_NOMUTEX)) CHECK(look_at_sum(&w[j]));
        }
        CHECK(threads() == threads_before);
        if (i % 2) {
            CHECK(run(&w[0], "UPDATE tally SET n = n + 1") == SQLITE_OK);
            CHECK(run(&w[0], "INSERT INTO tally(tally) VALUES ('flush')") == SQLITE_OK);
            CHECK(threads() > threads_before);
        }
        if (i % 4 == 3) { /* the connection goes when its last statement does */
            CHECK(sqlite3_prepare_v2(w[0].db, "SELECT no FROM account", -1, &half, NULL) == 0);
            CHECK(sqlite3_step(half) == SQLITE_ROW);
            CHECK(sqlite3_close_v2(w[0].db) == SQLITE_OK);
            CHECK(threads() > threads_before);
            CHECK(sqlite3_finalize(half) == SQLITE_OK);
        }
        for (int j = half != NULL; j < count; j++) close_db(&w[j]);
        CHECK(comes_to(threads, threads_before) && files() == files_before);
    }
    CHECK(complaints == 0);
    close_bank(&b);
}

TEST_MAIN("test_connections", TEST_CASE(many_connections_wal),
          TEST_CASE(many_connections_rollback_journal), TEST_CASE(everybody_opens_and_closes),
          TEST_CASE(a_reader_beside_a_writer), TEST_CASE(one_connection_for_all),
          TEST_CASE(nothing_is_left_behind))
