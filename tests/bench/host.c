/* host.c -- folders, clocks and counters for the benchmark. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

void bench_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fprintf(stderr, "bench: ");
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    _exit(1);
}

FILE *bench_create(const bench_options *o, const char *name)
{
    char path[PATH_SIZE + 32];
    FILE *f;

    (void)snprintf(path, sizeof path, "%s/%s", o->out, name);
    f = fopen(path, "w");
    if (!f) bench_fail("%s cannot be written", path);
    return f;
}

double bench_now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void host_path(char *out, const bench_options *o, const char *name)
{
    if ((size_t)snprintf(out, PATH_SIZE, "%s/%s", o->dir, name) >= PATH_SIZE)
        bench_fail("%s: too long", o->dir);
}

void host_make_dir(const char *path)
{
    if (mkdir(path, 0777) && errno != EEXIST) bench_fail("%s: %s", path, strerror(errno));
}

static double tree_bytes;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)path;
    (void)at;
    if (type == FTW_F) tree_bytes += (double)st->st_blocks * 512;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

double host_disk_bytes(const char *dir)
{
    tree_bytes = 0;
    (void)nftw(dir, add_file, 16, FTW_DEPTH | FTW_PHYS);
    return tree_bytes;
}

void host_remove(const char *dir)
{
    (void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void host_flush(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY);

    if (fd < 0 || syncfs(fd)) bench_fail("syncfs %s: %s", dir, strerror(errno));
    (void)close(fd);
}

/* A number from a file of lines "name: number"; 0 if it is not there. */
static double number_in(const char *path, const char *name)
{
    FILE *f = fopen(path, "r");
    size_t size = strlen(name);
    char line[256];
    double found = 0;

    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, size) == 0) found = strtod(line + size, NULL);
    (void)fclose(f);
    return found;
}

double host_peak_bytes(void)
{
    return number_in("/proc/self/status", "VmHWM:") * 1024;
}

double host_others_seconds(void)
{
    FILE *f = fopen("/proc/stat", "r");
    char line[256] = "", *at = line + 3;
    struct rusage mine;
    double busy = 0;

    if (!f || !fgets(line, sizeof line, f)) bench_fail("/proc/stat: %s", strerror(errno));
    (void)fclose(f);
    for (int i = 0; i < 8; i++) { /* user nice system idle iowait irq softirq steal */
        double ticks = strtod(at, &at);
        if (i < 3 || i == 7) busy += ticks;
    }
    (void)getrusage(RUSAGE_CHILDREN, &mine);
    return busy / (double)sysconf(_SC_CLK_TCK) -
           (double)(mine.ru_utime.tv_sec + mine.ru_stime.tv_sec) -
           (double)(mine.ru_utime.tv_usec + mine.ru_stime.tv_usec) / 1e6;
}

double host_written_bytes(void)
{
    return number_in("/proc/self/io", "write_bytes:");
}

double host_wait_quiet(void)
{
    const struct timespec pause = {0, 20000000};
    double start = bench_now(), last = start, written = host_written_bytes();

    while (bench_now() - last < 1.5) {
        double now;
        (void)nanosleep(&pause, NULL);
        now = host_written_bytes();
        if (now > written) last = bench_now();
        written = now;
    }
    return last - start;
}

double host_sync_rate(const char *dir, uint64_t count)
{
    static char block[65536];
    enum { RECORD = 160 };
    char path[PATH_SIZE + 16];
    double start, took;
    int fd;

    (void)snprintf(path, sizeof path, "%s.fdatasync", dir);
    memset(block, 'f', sizeof block);
    fd = open(path, O_RDWR | O_CREAT, 0644);
    if (fd < 0 || pwrite(fd, block, sizeof block, 0) != sizeof block || fsync(fd))
        bench_fail("%s: %s", path, strerror(errno));
    start = bench_now();
    for (uint64_t i = 0; i < count; i++) {
        off_t at = (off_t)(i * RECORD % (sizeof block - RECORD));
        if (pwrite(fd, block, RECORD, at) != RECORD || fdatasync(fd))
            bench_fail("%s: %s", path, strerror(errno));
    }
    took = bench_now() - start;
    (void)close(fd);
    (void)unlink(path);
    return took;
}
