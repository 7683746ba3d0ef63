/*
** proc_util.h -- several processes at work on one store: a board that all of them see, children
** that are killed, stopped and started again, and a watchdog.
**
** A child is this program once more (/proc/self/exe with arguments), so that nothing of the
** parent's is open in it. What it has to say stands on the board, a file that everybody maps: a
** write to that is there for the others even if its process is killed in the next moment.
*/
#ifndef FKV_TESTS_PROC_UTIL_H
#define FKV_TESTS_PROC_UTIL_H

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOW = 3 }; /* times as long for a life as in a release build */
#else
enum { SLOW = 1 };
#endif

enum { SLOTS_MAX = 8, NOTE_BYTES = 512, STUCK_MS = 20 * 1000 };

typedef struct slot {
    _Atomic uint64_t steps;  /* grows as long as the child gets on */
    _Atomic uint64_t done;   /* whole pieces of work, over all its lives */
    _Atomic uint64_t set_by; /* refused for a reason that is allowed */
    char doing[64];          /* for the watchdog's note */
    char said[NOTE_BYTES];   /* what was wrong; "" = nothing */
} slot;

typedef struct board {
    _Atomic int stop; /* finish what you are at, close, and end */
    _Atomic uint64_t acknowledged;
    _Atomic uint64_t checks; /* of integrity, passed */
    slot slots[SLOTS_MAX];
} board;

static board *the_board;
static slot *my_slot; /* of a child */

static inline uint64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline void board_open(const char *folder, int create)
{
    char path[512];
    int fd;

    (void)snprintf(path, sizeof path, "%s/board", folder);
    fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (fd < 0 || (create && ftruncate(fd, sizeof *the_board))) abort();
    the_board = mmap(NULL, sizeof *the_board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (the_board == MAP_FAILED) abort();
    (void)close(fd);
}

static inline void board_close(void)
{
    (void)munmap(the_board, sizeof *the_board);
    the_board = NULL;
}

/* -- in a child -------------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static inline void doing(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(my_slot->doing, sizeof my_slot->doing, format, args);
    va_end(args);
    atomic_fetch_add(&my_slot->steps, 1);
}

/* Something is wrong: tell the parent, and end at once. */
__attribute__((format(printf, 1, 2), noreturn)) static inline void fail(const char *format, ...)
{
    char text[NOTE_BYTES];
    va_list args;
    int n;

    n = snprintf(text, sizeof text, "%s: ", my_slot->doing);
    va_start(args, format);
    (void)vsnprintf(text + n, sizeof text - (size_t)n, format, args);
    va_end(args);
    memcpy(my_slot->said, text, sizeof text);
    _exit(1);
}

static inline void acknowledge(uint64_t n)
{
    uint64_t known = atomic_load(&the_board->acknowledged);

    while (known < n && !atomic_compare_exchange_weak(&the_board->acknowledged, &known, n)) {}
    atomic_fetch_add(&my_slot->done, 1);
}

/* -- in the parent ----------------------------------------------------------------------------- */

typedef struct child {
    const char *role;
    pid_t pid;         /* 0 = none */
    uint64_t stopped;  /* until then, ms; 0 = it runs */
    uint64_t steps;    /* seen last, … */
    uint64_t moved_at; /* … and when they had changed */
    int may_end;       /* with status 0, before it is told to */
} child;

typedef struct crew {
    const char *folder;
    child children[SLOTS_MAX];
    size_t count;
    int broken; /* a failure has been told */
    long kills, stops;
} crew;

static inline pid_t spawn(const char *role, size_t index, const char *folder)
{
    char number[24], seed[32];
    pid_t parent = getpid(), pid;

    (void)snprintf(number, sizeof number, "%zu", index);
    (void)snprintf(seed, sizeof seed, "%" PRIu64, check_random() | 1);
    (void)fflush(stdout);
    pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(1);
        (void)execl("/proc/self/exe", "child", "--child", role, number, folder, seed, (char *)NULL);
        _exit(127);
    }
    if (pid < 0) abort();
    return pid;
}

static inline void crew_start(crew *w, size_t i)
{
    child *c = &w->children[i];

    c->pid = spawn(c->role, i, w->folder);
    c->stopped = 0;
    c->moved_at = now_ms();
    c->steps = atomic_load(&the_board->slots[i].steps);
}

static inline void crew_add(crew *w, const char *role, int may_end)
{
    w->children[w->count] = (child){.role = role, .may_end = may_end};
    crew_start(w, w->count++);
}

static inline void crew_tell(const crew *w)
{
    for (size_t i = 0; i < w->count; i++) {
        const child *c = &w->children[i];
        const slot *s = &the_board->slots[i];
        (void)printf("  %zu %-7s %s%s, for %" PRIu64 " ms: %s\n", i, c->role,
                     c->pid ? "alive" : "ended", c->stopped ? " (stopped)" : "",
                     now_ms() - c->moved_at, s->doing);
        if (s->said[0]) (void)printf("    said: %s\n", s->said);
    }
    (void)fflush(stdout);
}

static inline void crew_broken(crew *w)
{
    if (!w->broken) crew_tell(w);
    w->broken = 1;
    check_failures++;
}

static inline void crew_kill(crew *w, size_t i)
{
    child *c = &w->children[i];
    int status;

    (void)kill(c->pid, SIGKILL);
    while (waitpid(c->pid, &status, 0) < 0) {}
    if (!WIFSIGNALED(status) && (WEXITSTATUS(status) != 0 || !c->may_end)) {
        (void)printf("child %zu ended with status %d\n", i, status);
        crew_broken(w);
    }
    c->pid = 0;
}

static inline void crew_kill_all(crew *w)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->children[i].pid) crew_kill(w, i);
}

/* Collect who has ended, wake whose time has come, see that all others get on. `ending`: all may
** end now. */
static inline void crew_watch(crew *w, int ending)
{
    uint64_t now = now_ms();
    int stopped = 0;

    for (size_t i = 0; i < w->count; i++) stopped |= w->children[i].stopped != 0;
    for (size_t i = 0; i < w->count; i++) {
        child *c = &w->children[i];
        uint64_t steps = atomic_load(&the_board->slots[i].steps);
        int status = 0;
        if (!c->pid) continue;
        if (c->stopped && now >= c->stopped) {
            c->stopped = 0;
            (void)kill(c->pid, SIGCONT);
        }
        if (waitpid(c->pid, &status, WNOHANG) == c->pid) {
            c->pid = 0;
            if (status != 0 || !(ending || c->may_end)) {
                (void)printf("child %zu (%s) ended by itself, status %d\n", i, c->role, status);
                crew_broken(w);
            } else if (!ending) {
                crew_start(w, i);
            }
            continue;
        }
        if (steps != c->steps || stopped) c->moved_at = now;
        c->steps = steps;
        if (now - c->moved_at > STUCK_MS) {
            (void)printf("child %zu (%s, process %d) is stuck\n", i, c->role, (int)c->pid);
            crew_broken(w);
            if (getenv("FKV_TEST_WAIT")) (void)pause(); /* for a debugger to look at it */
        }
    }
}

/* Kill or stop children until `kills` have been killed. */
static inline void crew_disturb(crew *w, long kills)
{
    while (w->kills < kills && !w->broken) {
        size_t i = (size_t)check_below(w->count);
        child *c = &w->children[i];
        uint64_t until = now_ms() + (uint64_t)SLOW * check_below(30);
        do {
            (void)usleep(1000);
            crew_watch(w, 0);
        } while (now_ms() < until && !w->broken);
        if (!c->pid || w->broken) continue;
        if (check_below(100) < 55) {
            crew_kill(w, i);
            w->kills++;
            crew_start(w, i);
        } else if (!c->stopped) {
            c->stopped = now_ms() + 5 + check_below(296);
            w->stops++;
            (void)kill(c->pid, SIGSTOP);
        }
    }
}

/* Let them finish. */
static inline void crew_end(crew *w)
{
    int alive = 1;

    atomic_store(&the_board->stop, 1);
    while (alive && !w->broken) {
        (void)usleep(1000);
        crew_watch(w, 1);
        alive = 0;
        for (size_t i = 0; i < w->count; i++) alive |= w->children[i].pid != 0;
    }
    crew_kill_all(w);
}

/* One child that does its work and ends. 1 = all was well. */
static inline int run_alone(const char *role, size_t index, const char *folder)
{
    int status = 0;
    pid_t pid = spawn(role, index, folder);

    while (waitpid(pid, &status, 0) < 0) {}
    if (status == 0) return 1;
    check_failures++;
    (void)printf("%s ended with status %d: %s\n", role, status, the_board->slots[index].said);
    return 0;
}

static inline long test_scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    long n = given ? strtol(given, NULL, 10) : 1;

    return n > 0 ? n : 1;
}

/* What the files of a directory occupy. */
static inline uint64_t folder_bytes(const char *path)
{
    DIR *dir = opendir(path);
    uint64_t bytes = 0;
    struct dirent *e;

    while (dir && (e = readdir(dir)) != NULL) {
        struct stat st;
        if (!fstatat(dirfd(dir), e->d_name, &st, 0) && S_ISREG(st.st_mode))
            bytes += (uint64_t)st.st_blocks * 512;
    }
    if (dir) (void)closedir(dir);
    return bytes;
}

/* "child --child ROLE INDEX FOLDER SEED": 1, and the board open, if this process is one. */
static inline int child_begins(int argc, char **argv)
{
    if (argc != 6 || strcmp(argv[1], "--child") != 0) return 0;
    board_open(argv[4], 0);
    my_slot = &the_board->slots[strtoul(argv[3], NULL, 10) % SLOTS_MAX];
    check_seed = strtoull(argv[5], NULL, 10);
    return 1;
}

#endif
