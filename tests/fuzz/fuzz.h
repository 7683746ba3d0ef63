/*
** fuzz.h -- the driver of the fuzz targets: any bytes end in an error or in answers that agree with
** each other; never in a crash, a hang, a leak, or memory out of proportion.
**
** A target is one file test_fuzz_*.c, which defines
**   LLVMFuzzerTestOneInput   look at one input; FUZZ_CHECK what must hold
**   fuzz_seed                make the ith input to begin with
**   fuzz_seal                make the checksums of an input right again, which is done with half
**                            of all inputs
**   fuzz_own_mutation        if FUZZ_OWN_MUTATION is defined: used in three of four rounds, in
**                            place of mutations that know nothing
** and ends with FUZZ_MAIN(name, rounds).
**
** Built as any test it runs by itself: first the seeds and the files in corpus/<name>/, then
** mutations of them: `rounds` times FKV_TEST_SCALE, or FUZZ_SECONDS seconds. A round depends on the
** seed and its number only. Inputs are tried in child processes; one that ends a child is kept in
** the build folder, and given as an argument it is tried alone.
**
** Built with clang -fsanitize=fuzzer -DFUZZ_LIBFUZZER (run_libfuzzer.sh) the same file is a
** libFuzzer target.
*/
#ifndef FKV_TESTS_FUZZ_H
#define FKV_TESTS_FUZZ_H

#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/coding.h"
#include "check.h"

enum { FUZZ_INPUT_MAX = 1 << 18, FUZZ_POOL_MAX = 512, FUZZ_BATCH = 4096 };
#ifndef FUZZ_HANG_SECONDS
#define FUZZ_HANG_SECONDS 10
#endif
#define FUZZ_MEMORY ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static int fuzz_seed(int i, buf *out); /* 0: there is no ith */
static void fuzz_seal(uint8_t *data, size_t size);
#ifdef FUZZ_OWN_MUTATION
static void fuzz_own_mutation(buf *b, const buf *other);
#endif

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: FUZZ_CHECK failed: %s (%s)\n", __FILE__, __LINE__,       \
                          #condition, fkv_errmsg());                                               \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* -- the heap: how much an input may cost, and that all of it comes back ----------------------- */

static _Atomic size_t fuzz_live, fuzz_blocks;
static size_t fuzz_allowed;

static void *fuzz_resize(void *p, size_t size)
{
    size_t old = p ? malloc_usable_size(p) : 0;
    void *q;

    if (fuzz_allowed && size > old && fuzz_live + size - old > fuzz_allowed) {
        (void)fprintf(stderr, "an input may cost %zu bytes, this one wants %zu more than its %zu\n",
                      fuzz_allowed, size, fuzz_live);
        abort();
    }
    q = realloc(p, size);
    if (!q) return NULL;
    fuzz_live += malloc_usable_size(q) - old;
    fuzz_blocks += !p;
    return q;
}

static void fuzz_release(void *p)
{
    fuzz_live -= malloc_usable_size(p);
    fuzz_blocks--;
    free(p);
}

static inline void fuzz_one(const uint8_t *data, size_t size)
{
    size_t blocks = fuzz_blocks;

    fuzz_allowed = fuzz_live + FUZZ_MEMORY + 4 * size;
    (void)alarm(FUZZ_HANG_SECONDS);
    (void)LLVMFuzzerTestOneInput(data, size);
    (void)alarm(0);
    fuzz_allowed = 0;
    FUZZ_CHECK(fuzz_blocks == blocks);
}

/* -- bytes of an input, taken from its front --------------------------------------------------- */

typedef struct fuzz_in {
    const uint8_t *p, *end;
} fuzz_in;

static inline uint32_t fuzz_u8(fuzz_in *in)
{
    return in->p < in->end ? *in->p++ : 0;
}

static inline uint32_t fuzz_u32(fuzz_in *in)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++) v |= fuzz_u8(in) << 8 * i;
    return v;
}

static inline fkv_slice fuzz_take(fuzz_in *in, size_t n)
{
    fkv_slice s =
        fkv_slice_of(in->p, n < (size_t)(in->end - in->p) ? n : (size_t)(in->end - in->p));

    in->p += s.size;
    return s;
}

/* -- mutation ---------------------------------------------------------------------------------- */

static uint64_t fuzz_number(void)
{
    static const uint64_t favourites[] = {
        0,          1,          2,          3,           7,         8,          15,        16,
        0x7f,       0x80,       0xff,       0x100,       0x3fff,    0x4000,     0x7fff,    0xffff,
        0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX, 1ull << 63, UINT64_MAX};

    if (check_below(4) == 0) return check_random() >> check_below(64);
    return favourites[check_below(sizeof favourites / sizeof favourites[0])] - check_below(2);
}

/* Where: anywhere; near the end, where footers and counts are; or near the beginning, where headers
** are, and in a store's input the manifest. */
static size_t fuzz_place(size_t size)
{
    uint64_t dice = check_below(6);

    if (size > 64 && dice == 0) return size - 1 - check_below(64);
    if (size > 512 && dice == 1) return check_below(512);
    return check_below(size);
}

static void fuzz_overwrite(buf *b)
{
    size_t at = fuzz_place(b->size), width = (size_t)1 << check_below(4);
    uint64_t v = fuzz_number();
    uint8_t room[8];

    if (check_below(4) == 0 && b->size - at >= 8) v = get_u64(b->data + at) + check_below(33) - 16;
    put_u64(room, v);
    if (width > b->size - at) width = b->size - at;
    memcpy(b->data + at, room, width);
}

static void fuzz_copy(buf *b, const buf *other)
{
    size_t from = check_below(other->size), to = check_below(b->size);
    size_t n = 1 + check_below(check_below(4) ? 16 : 256);

    if (n > other->size - from) n = other->size - from;
    if (n > b->size - to) n = b->size - to;
    memmove(b->data + to, other->data + from, n);
}

static void fuzz_insert(buf *b)
{
    size_t at = check_below(b->size + 1), n = 1 + check_below(check_below(8) ? 8 : 200);
    uint8_t fill = (uint8_t)check_random();

    if (b->size + n > FUZZ_INPUT_MAX || !buf_reserve(b, n)) return;
    memmove(b->data + at + n, b->data + at, b->size - at);
    for (size_t i = 0; i < n; i++)
        b->data[at + i] = check_below(2) ? fill : (uint8_t)check_random();
    b->size += n;
}

static void fuzz_delete(buf *b)
{
    size_t at = check_below(b->size), n = 1 + check_below(check_below(8) ? 8 : 200);

    if (n > b->size - at) n = b->size - at;
    memmove(b->data + at, b->data + at + n, b->size - at - n);
    b->size -= n;
}

static void fuzz_mutate(buf *b, const buf *other)
{
#ifdef FUZZ_OWN_MUTATION
    if (check_below(4)) {
        fuzz_own_mutation(b, other);
        return;
    }
#endif
    for (uint64_t n = 1 + check_below(check_below(2) ? 2 : 8); n > 0 && b->size; n--) {
        switch (check_below(10)) {
        case 0:
            fuzz_insert(b);
            break;
        case 1:
            fuzz_delete(b);
            break;
        case 2:
            fuzz_copy(b, b);
            break;
        case 3:
            if (other->size) fuzz_copy(b, other);
            break;
        case 4:
            b->data[fuzz_place(b->size)] ^= (uint8_t)(1 << check_below(8));
            break;
        case 5:
            if (check_below(8) == 0) b->size = check_below(b->size);
            break;
        default:
            fuzz_overwrite(b);
        }
    }
}

#ifdef FUZZ_LIBFUZZER

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, max);
    if (seed & 1) fuzz_seal(data, size);
    return size;
}

/* A corpus to begin with: FUZZ_WRITE_SEEDS=folder writes the seeds there. */
static inline int fuzz_begin(void)
{
    const char *folder = getenv("FUZZ_WRITE_SEEDS");
    buf b = {0};

    for (int i = 0; folder && fuzz_seed(i, &b); i++) {
        char path[512];
        FILE *f;
        (void)snprintf(path, sizeof path, "%s/seed-%d", folder, i);
        f = fopen(path, "wb");
        if (!f || fwrite(b.data, 1, b.size, f) != b.size || fclose(f)) abort();
    }
    buf_release(&b);
    if (folder) exit(0);
    return 0;
}

#define FUZZ_MAIN(name, rounds)                                                                    \
    int LLVMFuzzerInitialize(int *argc, char ***argv);                                             \
    int LLVMFuzzerInitialize(int *argc, char ***argv)                                              \
    {                                                                                              \
        (void)argc, (void)argv;                                                                    \
        (void)fuzz_mutate, (void)fuzz_one, (void)fuzz_resize, (void)fuzz_release;                  \
        return fuzz_begin();                                                                       \
    }

#else

/* -- the pool of inputs to begin with ---------------------------------------------------------- */

static buf fuzz_pool[FUZZ_POOL_MAX];
static size_t fuzz_pool_count;

static int fuzz_read_file(const char *path, buf *out)
{
    FILE *f = fopen(path, "rb");
    uint8_t *room = buf_reserve(out, FUZZ_INPUT_MAX);

    if (!f || !room) return 0;
    out->size = fread(room, 1, FUZZ_INPUT_MAX, f);
    (void)fclose(f);
    return 1;
}

static int fuzz_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void fuzz_fill_pool(const char *name)
{
    const char *build = getenv("FASTKV_BUILD");
    struct dirent **files = NULL;
    char folder[512];
    int count;

    for (int i = 0; fuzz_pool_count < FUZZ_POOL_MAX && fuzz_seed(i, &fuzz_pool[fuzz_pool_count]);
         i++) {
        const buf *b = &fuzz_pool[fuzz_pool_count++];
        buf copy = {0};
        buf_append(&copy, b->data, b->size);
        fuzz_seal(copy.data, copy.size);
        if (b->size)
            CHECK(memcmp(copy.data, b->data, b->size) == 0); /* what is right is signed as it was */
        buf_release(&copy);
    }
    (void)snprintf(folder, sizeof folder, "%s%stests/fuzz/corpus/%s", build ? build : "",
                   build ? "/../../" : "", name);
    count = scandir(folder, &files, NULL, fuzz_by_name);
    for (int i = 0; i < count; i++) {
        char path[1024];
        buf *b = &fuzz_pool[fuzz_pool_count];
        (void)snprintf(path, sizeof path, "%s/%s", folder, files[i]->d_name);
        if (files[i]->d_name[0] != '.' && fuzz_pool_count < FUZZ_POOL_MAX)
            fuzz_pool_count += fuzz_read_file(path, b) && b->size > 0;
        free(files[i]);
    }
    free(files);
}

/* -- running ----------------------------------------------------------------------------------- */

/* What a child has in hand, seen by its parent when it has died. */
typedef struct fuzz_shared {
    uint64_t round;
    size_t size;
    uint8_t bytes[FUZZ_INPUT_MAX];
} fuzz_shared;

static fuzz_shared *fuzz_now;
static uint64_t fuzz_first_seed;
static time_t fuzz_end; /* 0: when the rounds are done */

static void fuzz_try(uint64_t round)
{
    buf b = {0};

    check_seed = (fuzz_first_seed + round) * 0x9e3779b97f4a7c15u | 1;
    (void)check_random();
    if (round < fuzz_pool_count) {
        buf_append(&b, fuzz_pool[round].data, fuzz_pool[round].size);
    } else {
        const buf *base = &fuzz_pool[check_below(fuzz_pool_count)];
        buf_append(&b, base->data, base->size);
        fuzz_mutate(&b, &fuzz_pool[check_below(fuzz_pool_count)]);
        if (b.size && check_below(2)) fuzz_seal(b.data, b.size);
    }
    fuzz_now->round = round;
    fuzz_now->size = b.size;
    if (b.size) memcpy(fuzz_now->bytes, b.data, b.size);
    buf_release(&b);
    fuzz_one(fuzz_now->bytes, fuzz_now->size);
}

/* Rounds [from, to) in a child. Where it stopped. */
static uint64_t fuzz_batch(const char *name, uint64_t from, uint64_t to)
{
    int status = 0;
    pid_t child;

    (void)fflush(stdout);
    fuzz_now->round = from;
    child = fork();
    if (child == 0) {
        for (uint64_t round = from; round < to && (!fuzz_end || time(NULL) < fuzz_end); round++)
            fuzz_try(round);
        exit(0); /* here leaks are looked for */
    }
    if (child < 0 || waitpid(child, &status, 0) != child) abort();
    if (status != 0) {
        const char *build = getenv("FASTKV_BUILD");
        char path[512];
        FILE *f;
        check_failures++;
        (void)snprintf(path, sizeof path, "%s/fuzz-%s-%" PRIu64, build ? build : ".", name,
                       fuzz_now->round);
        f = fopen(path, "wb");
        if (!f || fwrite(fuzz_now->bytes, 1, fuzz_now->size, f) != fuzz_now->size || fclose(f))
            (void)printf("could not write %s\n", path);
        (void)printf("FAILED round %" PRIu64 " (%s %d), input kept as %s\n", fuzz_now->round,
                     WIFSIGNALED(status) ? "signal" : "exit code",
                     WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), path);
    }
    return fuzz_now->round + 1;
}

static uint64_t fuzz_setting(const char *name, uint64_t otherwise)
{
    const char *given = getenv(name);
    return given && *given ? strtoull(given, NULL, 0) : otherwise;
}

static inline int fuzz_main(const char *name, uint64_t rounds, int argc, char **argv)
{
    static const alloc_hook hook = {fuzz_resize, fuzz_release};
    uint64_t seconds = fuzz_setting("FUZZ_SECONDS", 0), round = 0;

    fuzz_end = seconds ? time(NULL) + (time_t)seconds : 0;
    alloc_set_hook(&hook);
    fuzz_first_seed = fuzz_setting("FKV_TEST_SEED", (uint64_t)time(NULL) * 1000003u);
    check_seed = fuzz_first_seed | 1;
    fuzz_now =
        mmap(NULL, sizeof *fuzz_now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fuzz_now == MAP_FAILED) abort();
    if (argc > 1) {
        buf b = {0};
        if (!fuzz_read_file(argv[1], &b)) abort();
        fuzz_one(b.data, b.size);
        buf_release(&b);
        return 0;
    }
    (void)printf("test_fuzz_%s: seed %" PRIu64 "\n", name, fuzz_first_seed);
    fuzz_fill_pool(name);
    rounds = seconds ? UINT64_MAX : rounds * fuzz_setting("FKV_TEST_SCALE", 1) + fuzz_pool_count;
    while (round < rounds && check_failures < 3 && (!fuzz_end || time(NULL) < fuzz_end)) {
        uint64_t to = round + FUZZ_BATCH < rounds ? round + FUZZ_BATCH : rounds;
        while (round < to && check_failures < 3 && (!fuzz_end || time(NULL) < fuzz_end))
            round = fuzz_batch(name, round, to);
    }
    for (size_t i = 0; i < fuzz_pool_count; i++) buf_release(&fuzz_pool[i]);
    (void)printf("POINTS fuzz-%s executions %" PRIu64 "\n", name, round);
    (void)printf("%d passed, %d failed\n", check_failures == 0, check_failures);
    return check_failures != 0;
}

#define FUZZ_MAIN(name, rounds)                                                                    \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return fuzz_main(name, rounds, argc, argv);                                                \
    }

#endif
#endif
