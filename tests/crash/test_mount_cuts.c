/*
** Real power cuts: file systems that are shut down while a process commits through SQL.
**
** What simulated cuts cannot test is what they take for granted: how ext4 and xfs order what they
** write, and what SQLite does beside us. So here a disk is mounted (mount_util.h), a child commits
** transactions numbered 1, 2, 3 … to native and fastkv tables of one database, and says through a
** pipe which ones have been acknowledged, until at a random moment nothing reaches the disk any
** more. The file system is mounted again, another process opens the database and compares all of
** it with what transactions 1 … N leave, N being the number that the tables show. Then it goes on
** from there: histories live through many cuts.
**
** Nothing may be there by half, and the integrity checks find nothing. What must be there, by what
** the user has asked for:
**
**   WAL, FULL         all that has been acknowledged, and at most the one after it
**   DELETE, EXTRA     the same
**   DELETE, FULL      SQLite does not promise its last transaction here (nobody syncs the removal
**                     of the journal): of those to native tables alone, the last may be undone
**   DELETE, NORMAL    as well the last of those to fastkv tables alone
**   WAL, NORMAL       the same; one that changed both kinds is there if its COMMIT has returned
**
** What is acknowledged while the cut is being made does not count: an fsync that is under way then
** may succeed without having written anything, on ext4 and xfs alike.
**
** A snapshot is a copy of the disk as it is at one moment, by reflink, while the child goes on: a
** power cut without a shutdown's side effects. The disk is an ext4 image on xfs. (Not the store's
** files one by one: copies made one after the other are of different moments, and nothing is
** promised about them; that is what fastkv_backup is for.)
**
** Every cut looks like another boot to the store, as it is where the power goes. The counts are
** those of `make verify` at FKV_TEST_SCALE=10.
**
** test-verify test-modes: release
*/
#include "txn/txn_util.h"

#include "mount_util.h"

enum { GROUPS = 60, MEMBERS = 4, BULK = 90, BULK_BYTES = 1500, VALUE_MAX = 1600 };
enum { HISTORY = 1 << 20 };
enum { EXT4_MB = 64, XFS_MB = 320, LIFE_CUTS = 12 };
enum { EXT4_CUTS = 60, XFS_CUTS = 20, SNAPSHOTS = 20 };

/* May acknowledged commits to tables of one kind alone be gone after a cut? */
typedef struct setting {
    const char *journal, *synchronous;
    int lossy; /* NATIVE, FASTKV */
} setting;

enum { NATIVE = 1, FASTKV = 2, BOTH = 3 };

static const setting settings[] = {{"WAL", "FULL", 0},
                                   {"DELETE", "EXTRA", 0},
                                   {"WAL", "NORMAL", BOTH},
                                   {"DELETE", "FULL", NATIVE},
                                   {"DELETE", "NORMAL", BOTH}};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

/* Where a database is, and how it is to be used. */
typedef struct scene {
    const char *at;
    const setting *as;
} scene;

/* -- what transaction n does, and what is there after it --------------------------------------- */

static uint8_t lost[HISTORY]; /* those that a cut has taken, which it may */

static int sides_of(uint64_t n)
{
    if (n % 23 == 5) return BOTH;
    return n % 5 < 2 ? BOTH : n % 5 == 2 ? NATIVE : FASTKV;
}

static int is_bulk(uint64_t n)
{
    return n % 23 == 5;
}

static int is_delete(uint64_t n)
{
    return n % 10 == 3;
}

static int64_t group_of(uint64_t n)
{
    return (int64_t)(n * 7919 % GROUPS);
}

/* The value that transaction n gives row k: bytes that do not compress. */
static int value_of(uint64_t n, int64_t k, uint8_t out[VALUE_MAX])
{
    int size = is_bulk(n) ? BULK_BYTES : (int)(16 + n * 31 % 400);
    uint64_t x = n * 1000003 + (uint64_t)k * 2654435761u + 88172645463325252u;

    for (int i = 0; i < size; i += 8) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(out + i, &x, 8);
    }
    return size;
}

/* Who has written each group last, on one side, up to transaction n; and the bulk rows. */
typedef struct model {
    uint64_t group[GROUPS], bulk, last;
} model;

static void model_of(uint64_t n, int side, model *m)
{
    *m = (model){.bulk = 0};
    for (uint64_t i = 1; i <= n; i++) {
        if (!(sides_of(i) & side) || lost[i % HISTORY]) continue;
        m->last = i;
        if (is_bulk(i)) m->bulk = i;
        m->group[group_of(i)] = i;
    }
}

/* The last transaction up to n that changed all of these. */
static uint64_t last_of(uint64_t n, int sides)
{
    while (n && ((sides_of(n) & sides) != sides || lost[n % HISTORY])) n--;
    return n;
}

/* -- the child that commits -------------------------------------------------------------------- */

static sqlite3 *connect(const char *at, const setting *as)
{
    sqlite3 *db = txn_open(at, "a.db");

    (void)sqlite3_busy_timeout(db, 10000);
    CHECK_SQL(db, SQLITE_OK, "PRAGMA synchronous = %s", as->synchronous);
    return db;
}

static int make_tables(void *arg)
{
    const scene *sc = arg;
    const setting *as = sc->as;
    sqlite3 *db = connect(sc->at, as);

    CHECK_SQL(db, SQLITE_OK, "PRAGMA journal_mode = %s", as->journal);
    CHECK_SQL(db, SQLITE_OK,
              "BEGIN; CREATE TABLE n(k INTEGER PRIMARY KEY, by, v);"
              "CREATE VIRTUAL TABLE f USING fastkv(k INTEGER PRIMARY KEY, by, v, memory = '1MB');"
              "INSERT INTO n VALUES(-1, 0, NULL); INSERT INTO f VALUES(-1, 0, NULL); COMMIT");
    CHECK_CLOSE(db);
    return check_failures;
}

/* (Not by this process: who has opened a store knows what boot it is, and so do its children.) */
static void set_up(const char *at, const setting *as)
{
    scene sc = {.at = at, .as = as};

    CHECK(in_child(make_tables, &sc) == 0);
}

static int put(sqlite3_stmt *s, int64_t k, uint64_t n)
{
    uint8_t value[VALUE_MAX];
    int size = value_of(n, k, value);

    (void)sqlite3_bind_int64(s, 1, k);
    (void)sqlite3_bind_int64(s, 2, (sqlite3_int64)n);
    (void)sqlite3_bind_blob(s, 3, value, size, SQLITE_TRANSIENT);
    (void)sqlite3_step(s);
    return sqlite3_reset(s);
}

/* Everything of transaction n in one table. */
static int write_side(sqlite3 *db, const char *table, uint64_t n)
{
    int64_t first = group_of(n) * MEMBERS;
    sqlite3_stmt *s = NULL;
    char sql[64];
    int rc;

    (void)snprintf(sql, sizeof sql, "REPLACE INTO %s VALUES(?, ?, ?)", table);
    rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
    if (!rc && is_delete(n)) {
        rc = run(db, "DELETE FROM %s WHERE k >= %lld AND k < %lld", table, (long long)first,
                 (long long)first + MEMBERS);
    } else {
        for (int i = 0; i < MEMBERS && !rc; i++) rc = put(s, first + i, n);
    }
    for (int i = 0; is_bulk(n) && i < BULK && !rc; i++) rc = put(s, 100000 + i, n);
    (void)sqlite3_finalize(s);
    return rc ? rc : run(db, "UPDATE %s SET by = %lld WHERE k = -1", table, (long long)n);
}

static int transaction(sqlite3 *db, uint64_t n)
{
    int rc = run(db, "BEGIN IMMEDIATE");

    if (!rc && sides_of(n) & FASTKV) rc = write_side(db, "f", n);
    if (!rc && sides_of(n) & NATIVE) rc = write_side(db, "n", n);
    if (!rc && check_below(20) == 0)
        rc = run(db, "SAVEPOINT x; UPDATE f SET by = 0; DELETE FROM n; ROLLBACK TO x; RELEASE x");
    return rc ? rc : run(db, "COMMIT");
}

static const char *doing = "nothing";

static int tidy_up(sqlite3 *db)
{
    static const char *const commands[] = {"flush", "flush", "settle", "compact"};

    if (check_below(3) == 0) {
        doing = "checkpointing";
        return run(db, "PRAGMA wal_checkpoint");
    }
    return run(db, "INSERT INTO f(f) VALUES('%s')", commands[check_below(4)]);
}

static char said[PATH_ROOM]; /* the file with a writer's last words */

/* Until something fails, which must not be before the power does. */
static void be_writer(const char *at, const setting *as, uint64_t from, int acks)
{
    sqlite3 *db = connect(at, as);
    for (uint64_t n = from;; n++) {
        doing = "flushing or compacting";
        if (check_below(25) == 0 && tidy_up(db)) break;
        doing = "a transaction";
        if (transaction(db, n)) break;
        if (write(acks, &n, sizeof n) != sizeof n) break;
    }
    (void)printf("the writer, %s: %d, %s (errno %d)\n", doing, sqlite3_extended_errcode(db),
                 sqlite3_errmsg(db), sqlite3_system_errno(db));
}

typedef struct writer {
    pid_t pid;
    int acks; /* the pipe */
    uint64_t acknowledged;
} writer;

static void start_writer(writer *w, const char *at, const setting *as, uint64_t from)
{
    int ends[2];

    w->acknowledged = from - 1;
    w->acks = -1;
    if (pipe2(ends, O_CLOEXEC)) abort();
    (void)fflush(stdout);
    check_seed = check_random() | 1;
    w->pid = fork();
    if (w->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(ends[0]);
        if (!freopen(said, "w", stdout)) _exit(1);
        be_writer(at, as, from, ends[1]);
        (void)fflush(stdout);
        _exit(0);
    }
    if (w->pid < 0) abort();
    (void)close(ends[1]);
    (void)fcntl(ends[0], F_SETFL, O_NONBLOCK);
    w->acks = ends[0];
}

/* What has been acknowledged up to now. */
static void hear(writer *w)
{
    uint64_t n;

    while (read(w->acks, &n, sizeof n) == sizeof n) w->acknowledged = n;
}

/* Or something has failed before the power did. */
static void check_alive(const writer *w)
{
    int alive = waitpid(w->pid, NULL, WNOHANG) == 0, c;
    FILE *f = alive ? NULL : fopen(said, "r");

    CHECK(alive);
    while (f && (c = fgetc(f)) != EOF) (void)putchar(c);
    if (f) (void)fclose(f);
}

static void end_writer(writer *w)
{
    (void)kill(w->pid, SIGKILL);
    (void)waitpid(w->pid, NULL, 0);
    hear(w);
    (void)close(w->acks);
}

/* -- the child that judges --------------------------------------------------------------------- */

typedef struct verdict {
    uint64_t native, fastkv; /* the last transaction found of each kind */
    int wrong;
} verdict;

static void check_row(sqlite3_stmt *s, int64_t k, uint64_t by)
{
    uint8_t value[VALUE_MAX];
    int size = value_of(by, k, value);

    CHECK(sqlite3_column_int64(s, 0) == k);
    CHECK((uint64_t)sqlite3_column_int64(s, 1) == by);
    CHECK(sqlite3_column_bytes(s, 2) == size &&
          memcmp(sqlite3_column_blob(s, 2), value, (size_t)size) == 0);
}

/* The table must be exactly what transactions 1 … n leave. */
static void check_side(sqlite3 *db, const char *table, const model *m)
{
    int failures = check_failures;
    sqlite3_stmt *s = NULL;
    char sql[64];

    (void)snprintf(sql, sizeof sql, "SELECT k, by, v FROM %s ORDER BY k", table);
    REQUIRE(sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(s) == SQLITE_ROW && sqlite3_column_int64(s, 0) == -1);
    CHECK((uint64_t)sqlite3_column_int64(s, 1) == m->last);
    for (int64_t g = 0; g < GROUPS; g++) {
        if (!m->group[g] || is_delete(m->group[g])) continue;
        for (int i = 0; i < MEMBERS && check_failures == failures; i++) {
            CHECK(sqlite3_step(s) == SQLITE_ROW);
            check_row(s, g * MEMBERS + i, m->group[g]);
        }
    }
    for (int i = 0; m->bulk && i < BULK && check_failures == failures; i++) {
        CHECK(sqlite3_step(s) == SQLITE_ROW);
        check_row(s, 100000 + i, m->bulk);
    }
    if (check_failures == failures) CHECK(sqlite3_step(s) == SQLITE_DONE);
    if (check_failures != failures) (void)printf("in %s: %s\n", table, sqlite3_errmsg(db));
    (void)sqlite3_finalize(s);
}

static void check_sound(sqlite3 *db)
{
    sqlite3_str *rows = sqlite3_str_new(db);

    CHECK(run_rows(db, "PRAGMA integrity_check", rows) == SQLITE_OK);
    CHECK(run_rows(db, "SELECT severity FROM fastkv_check('f') WHERE severity <> 'info'", rows) ==
          SQLITE_OK);
    CHECK(sqlite3_str_value(rows) && strcmp(sqlite3_str_value(rows), "3'ok'\n3'ok'\n") == 0);
    sqlite3_free(sqlite3_str_finish(rows));
}

/* One kind of tables: what must be there, and no more than can be. */
static void check_number(uint64_t n, int side, const setting *as, uint64_t at_least,
                         uint64_t at_most)
{
    CHECK(n <= at_most);
    CHECK(n >= last_of(at_least, as->lossy & side ? BOTH : side));
}

static verdict check_all(const scene *sc, uint64_t at_least, uint64_t acknowledged)
{
    sqlite3 *db = connect(sc->at, sc->as);
    int64_t fastkv = number(db, "SELECT by FROM f WHERE k = -1");
    int64_t native = number(db, "SELECT by FROM n WHERE k = -1");
    verdict v = {.native = (uint64_t)native, .fastkv = (uint64_t)fastkv};
    model m;

    CHECK(native >= 0 && fastkv >= 0);
    if (!check_failures) {
        check_number(v.native, NATIVE, sc->as, at_least, acknowledged + 1);
        check_number(v.fastkv, FASTKV, sc->as, at_least, acknowledged + 1);
        CHECK(last_of(v.native, BOTH) == last_of(v.fastkv, BOTH));
    }
    if (!check_failures) {
        model_of(v.native, NATIVE, &m);
        check_side(db, "n", &m);
        model_of(v.fastkv, FASTKV, &m);
        check_side(db, "f", &m);
        check_sound(db);
    }
    if (check_failures)
        (void)printf("native %" PRId64 ", fastkv %" PRId64 ", acknowledged %" PRIu64 ", %" PRIu64
                     " of them for good; %s\n",
                     native, fastkv, acknowledged, at_least, sqlite3_errmsg(db));
    CHECK_CLOSE(db);
    v.wrong = check_failures != 0;
    return v;
}

/* What a cut has left, looked at by a process that has just come. Transactions up to `at_least`
** must be there, and none after the one that follows `acknowledged`. */
static verdict judge(const scene *sc, uint64_t at_least, uint64_t acknowledged)
{
    verdict v = {.wrong = 1};
    int ends[2], status = -1;
    pid_t child;

    if (pipe2(ends, O_CLOEXEC)) abort();
    (void)fflush(stdout);
    child = fork();
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        check_failures = 0;
        v = check_all(sc, at_least, acknowledged);
        (void)fflush(stdout);
        _exit(write(ends[1], &v, sizeof v) != sizeof v);
    }
    if (child < 0) abort();
    (void)close(ends[1]);
    if (read(ends[0], &v, sizeof v) != sizeof v) v.wrong = 1;
    (void)close(ends[0]);
    (void)waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(!v.wrong);
    return v;
}

/* -- cuts -------------------------------------------------------------------------------------- */

static const char *refused; /* why nothing can be mounted here */
static char folder[PATH_ROOM];
static long cuts, commits;

static void skip(const char *what, const char *why)
{
    (void)printf("SKIPPED %s: %s\n", what, why);
}

/* The last transaction there is; those before it that are gone are remembered. */
static uint64_t go_on_after(const verdict *v)
{
    uint64_t n = v->native > v->fastkv ? v->native : v->fastkv;

    for (uint64_t i = v->native + 1; i <= n; i++) lost[i % HISTORY] |= sides_of(i) == NATIVE;
    for (uint64_t i = v->fastkv + 1; i <= n; i++) lost[i % HISTORY] |= sides_of(i) == FASTKV;
    return n;
}

/* One life of a disk: write, cut, mount, look. How many transactions there are, UINT64_MAX if
** something was wrong. */
static uint64_t one_cut(disk *d, const setting *as, uint64_t from)
{
    uint32_t how = check_below(8) ? NO_LOG_FLUSH : LOG_FLUSH;
    scene sc = {.at = d->at, .as = as};
    int failures = check_failures;
    uint64_t at_least;
    verdict v;
    writer w;

    start_writer(&w, d->at, as, from);
    (void)usleep((useconds_t)(3000 + check_below(check_below(4) ? 60000 : 300000)));
    check_alive(&w);
    hear(&w);
    at_least = w.acknowledged;
    CHECK(disk_cut(d, how) == 0);
    (void)usleep((useconds_t)check_below(3000));
    end_writer(&w);
    commits += (long)(w.acknowledged - from + 1);
    CHECK(disk_unmount(d) == 0);
    CHECK(disk_check(d) == 0);
    CHECK(disk_new_boot() == 0);
    CHECK(disk_mount(d) == 0);
    if (check_failures != failures) return UINT64_MAX;
    v = judge(&sc, at_least, w.acknowledged);
    cuts++;
    return v.wrong ? UINT64_MAX : go_on_after(&v);
}

/* Unsynced data must really be gone, or the cuts prove nothing; and what was synced be there. */
static int loses_what_is_not_synced(disk *d)
{
    char synced[DISK_PATH], unsynced[DISK_PATH];
    struct stat st;
    int fd, well = 1;

    disk_path(synced, d->at, "synced");
    disk_path(unsynced, d->at, "unsynced");
    fd = open(synced, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    well &= fd >= 0 && write(fd, "synced", 6) == 6 && fsync(fd) == 0 && close(fd) == 0;
    fd = open(unsynced, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    well &= fd >= 0 && write(fd, "lost", 4) == 4 && close(fd) == 0;
    well &= disk_cut(d, NO_LOG_FLUSH) == 0 && disk_unmount(d) == 0 && disk_mount(d) == 0;
    return well && stat(synced, &st) == 0 && st.st_size == 6 && stat(unsynced, &st) != 0;
}

static void cut_disks(const char *type, long megabytes, long wanted)
{
    int failures = check_failures;

    for (long done = 0; done < wanted && check_failures == failures;) {
        const setting *as = &settings[done / LIFE_CUTS % SETTINGS];
        uint64_t seed = check_seed, n = 0;
        disk d;
        int error = disk_create(&d, type, folder, "disk", megabytes);
        if (error) {
            skip(type, error == ENOENT ? "no mkfs for it" : strerror(error));
            return;
        }
        memset(lost, 0, sizeof lost);
        if (done == 0) CHECK(loses_what_is_not_synced(&d));
        set_up(d.at, as);
        for (int i = 0; i < LIFE_CUTS && done < wanted && n != UINT64_MAX; i++, done++)
            n = one_cut(&d, as, n + 1);
        if (check_failures != failures)
            (void)printf("%s, %s, %s: cut %ld, seed %" PRIu64 "\n", type, as->journal,
                         as->synchronous, done, seed);
        disk_free(&d);
    }
}

static void power_cuts_on_ext4(void)
{
    if (refused) {
        skip("power cuts on ext4", refused);
        return;
    }
    cut_disks("ext4", EXT4_MB, EXT4_CUTS * (long)txn_scale());
}

static void power_cuts_on_xfs(void)
{
    if (refused) {
        skip("power cuts on xfs", refused);
        return;
    }
    cut_disks("xfs", XFS_MB, XFS_CUTS * (long)txn_scale());
}

/* -- snapshots --------------------------------------------------------------------------------- */

/* The disk's image as it is now, as another disk. */
static int snapshot(const disk *of, disk *copy, const char *where)
{
    int from = open(of->image, O_RDONLY | O_CLOEXEC), to, rc;

    *copy = (disk){.type = of->type, .loop = -1};
    disk_path(copy->image, where, "copy");
    disk_path(copy->at, folder, "snapshot");
    to = open(copy->image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    rc = from < 0 || to < 0 ? -1 : ioctl(to, FICLONE, from);
    if (from >= 0) (void)close(from);
    if (to >= 0) (void)close(to);
    return rc;
}

static void one_snapshot(const disk *d, const char *where, const setting *as, writer *w)
{
    uint64_t at_least;
    scene sc = {.as = as};
    disk copy;

    check_alive(w);
    hear(w);
    at_least = w->acknowledged;
    CHECK(snapshot(d, &copy, where) == 0);
    hear(w);
    CHECK(disk_open(&copy) == 0);
    if (!copy.mounted) return;
    CHECK(disk_new_boot() == 0);
    sc.at = copy.at;
    (void)judge(&sc, at_least, w->acknowledged);
    cuts++;
    disk_free(&copy);
}

static void snapshots_of_a_disk(const setting *as, const disk *below, long wanted)
{
    int failures = check_failures;
    writer w;
    disk d;

    if (disk_create(&d, "ext4", below->at, "inner", EXT4_MB)) {
        CHECK(!"an ext4 image on xfs");
        return;
    }
    memset(lost, 0, sizeof lost);
    set_up(d.at, as);
    start_writer(&w, d.at, as, 1);
    for (long i = 0; i < wanted && check_failures == failures; i++) {
        (void)usleep((useconds_t)(1000 + check_below(30000)));
        one_snapshot(&d, below->at, as, &w);
    }
    end_writer(&w);
    commits += (long)w.acknowledged;
    disk_free(&d);
}

static void snapshots_by_reflink(void)
{
    long wanted = SNAPSHOTS * (long)txn_scale();
    disk below;
    int error;

    if (refused) {
        skip("snapshots", refused);
        return;
    }
    error = disk_create(&below, "xfs", folder, "below", XFS_MB);
    if (error) {
        skip("snapshots", error == ENOENT ? "no mkfs.xfs" : strerror(error));
        return;
    }
    for (int i = 0; i < 2; i++) snapshots_of_a_disk(&settings[i], &below, wanted / 2);
    disk_free(&below);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {TEST_CASE(power_cuts_on_ext4), TEST_CASE(power_cuts_on_xfs),
                                      TEST_CASE(snapshots_by_reflink)};
    int rc;

    txn_folder(folder);
    (void)snprintf(said, sizeof said, "%.200s/said", folder);
    refused = disk_private(folder);
    rc = check_main("test_mount_cuts", cases, sizeof cases / sizeof cases[0], argc, argv);
    (void)printf("%ld cuts, %ld commits\nPOINTS mount-cut cuts %ld\n", cuts, commits, cuts);
    (void)umount2(BOOT_ID, MNT_DETACH);
    txn_remove(folder);
    return rc;
}
