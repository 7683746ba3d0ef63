/*
** Seeded schedules: a small crew and the store's own threads, one thread at a time, in an order
** that a seed gives (engine/io/env_sched.c); what they play and what they must find is in
** schedule.h.
**
** Each seed draws how often threads are switched and stalled, how long an operation on a file
** takes, the sizes of memtables, tables and blocks, who plays and how long, and whether they are
** one process or two. Memtables are as small as can be, so in a play of some thirty transactions
** there are flushes, compactions, new log segments, writers that wait, and last closes beside
** opens.
**
**   plain       nothing fails
**   one fault   one operation fails, once: whoever is told so may give up, and nothing else is
**   wrong a death     there are two processes; one dies at some operation, the other goes on, and a
**               third one comes
**   power cut   from some operation on all fail; then what was not synced is lost, or half of it,
**               and the store is opened: nothing durable is missing, commits only from the end,
**               none is there by half. They go on from there, and it is opened once more.
**
** FKV_TEST_SEED=<the seed that is printed> plays that one first in each test.
*/
#include "threads/schedule.h"

enum { CREW_MAX = 5 };

typedef struct role {
    const char *name;
    int (*acts[8])(actor *a); /* drawn alike */
} role;

static const role roles[] = {
    {"writer",
     {transaction, transaction, transaction, transaction, transaction, look, look_as_of,
      transaction}},
    {"reader", {look, look, look, look, look_as_of, look, look, come_again}},
    {"keeper", {keep_up, keep_up, keep_up, keep_up, look, transaction, keep_up, come_again}},
    {"feeder", {read_feed, read_feed, look, transaction, read_feed, read_feed, look, come_again}},
    {"copier", {back_up, look, look_as_of, transaction, keep_up, look, look, back_up}},
};

/* What is left to do for one who has opened it for reading. */
static int (*const read_only[8])(actor *a) = {look, look,      look,       look_as_of,
                                              look, read_feed, come_again, come_again};

typedef struct member {
    actor who;
    const role *plays;
    int acts;
    env_thread *thread;
} member;

static uint64_t seeds, points, deaths;

static void stuck(void *arg, const char *what)
{
    const play *p = arg;

    (void)printf("seed %" PRIu64 ": %s\n", p->seed, what);
    (void)printf("0 passed, 1 failed\n");
    (void)fflush(stdout);
    _Exit(1);
}

static int one_of(play *p, const int *values, size_t count)
{
    return values[roll(&p->chance, count)];
}

#define ONE_OF(p, ...)                                                                             \
    one_of((p), (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static play *play_new(uint64_t seed, int mortal)
{
    play *p = calloc(1, sizeof *p);
    env_sched how = {.seed = seed, .stuck = stuck, .arg = p};

    if (!p) abort();
    world_begins(&p->w);
    p->files = p->w.files;
    if (env_fault_new(p->files, &p->faulty)) abort();
    for (int i = 0; i < 2; i++) process_begins(&p->mortal[i], &p->w);
    p->seed = seed;
    p->one_page = mortal;
    p->chance = seed | 1;
    for (int i = 0; i < 4; i++) (void)roll(&p->chance, 2);
    how.switch_one_in = (uint32_t)ONE_OF(p, 0, 1, 2, 3, 4, 8, 16);
    how.stall_one_in = (uint32_t)ONE_OF(p, 0, 0, 20, 100, 300);
    p->slow = roll(&p->chance, 6) == 0;
    how.stall_us = p->slow ? 30 * 1000 * 1000 : 1000 * 1000;
    how.op_us = (uint32_t)ONE_OF(p, 0, 10, 100, 2000);
    if (env_sched_new(mortal ? &p->mortal[0].env : p->faulty, &how, &p->env)) abort();
    p->options = (fkv_options){.create = 1,
                               .memory_bytes = 1 << 20,
                               .memtable_bytes = (size_t)ONE_OF(p, 32768, 32768, 65536),
                               .table_bytes = (size_t)ONE_OF(p, 4096, 16384, 32768),
                               .block_bytes = (uint32_t)ONE_OF(p, 256, 1024, 4096)};
    return p;
}

static uint64_t play_free(play *p)
{
    uint64_t trace = env_sched_trace(p->env);

    points += env_sched_points(p->env);
    env_sched_free(p->env);
    env_fault_free(p->faulty);
    world_ends(&p->w);
    free(p);
    return trace;
}

static void member_main(void *arg)
{
    member *m = arg;
    actor *a = &m->who;
    int well = come(a);

    for (int i = 0; well && i < m->acts && !a->at->complaints; i++)
        well = a->reads_only ? read_only[dice(a, 8)](a) : m->plays->acts[dice(a, 8)](a);
    leave(a);
}

/* A crew plays in one process or in two. mortal: the second one may die. */
static void crew_plays(play *p, const role *only, int acts, process *mortal)
{
    int size = 2 + (int)roll(&p->chance, CREW_MAX - 1);
    member crew[CREW_MAX];
    fkv_env *other = NULL;

    if ((mortal || roll(&p->chance, 3) == 0) &&
        env_sched_beside(p->env, mortal ? &mortal->env : p->faulty, &other))
        abort();
    for (int i = 0; i < size; i++) {
        member *m = &crew[i];
        *m = (member){.acts = acts, .who = {.at = p, .id = i, .env = p->env}};
        m->plays = i == 0 ? &roles[0] : only ? only : &roles[roll(&p->chance, 5)];
        m->who.chance = p->chance * 77 + (uint64_t)i * 2 + 1;
        if (other && i % 2) m->who.env = other, m->who.lives = mortal;
    }
    for (int i = 0; i < size; i++) {
        fkv_status rc = p->env->thread_start(p->env, member_main, &crew[i], crew[i].plays->name,
                                             &crew[i].thread);
        if (rc && !play_fired(p)) abort();
    }
    for (int i = 0; i < size; i++) p->env->thread_join(p->env, crew[i].thread);
    env_sched_free(other);
}

/* Opened anew the store has what some transaction from `from` on left. Its number, or UINT32_MAX.
** */
static uint32_t look_after(play *p, uint32_t from)
{
    actor a = {.at = p, .id = -1, .env = p->env, .chance = p->seed | 1};
    fkv_snapshot *snap = NULL;
    uint32_t number = UINT32_MAX;
    int same = 0;

    if (come(&a) && WANT(&a, !fkv_snapshot_new(a.store, &snap))) {
        number = number_in(&a, snap);
        if (WANT(&a, number != UINT32_MAX && number >= from && number <= p->given + 1)) {
            if (number <= p->given) same = has_rows(snap, &p->after[number], number, 0) == 1;
            for (uint32_t i = 0; i < p->doubts && number > p->given && !same; i++) {
                same = has_rows(snap, &p->doubtful[i], number, 0) == 1;
                if (same && number < NUMBERS_MAX) p->after[number] = p->doubtful[i];
            }
            (void)WANT(&a, same);
        }
    }
    fkv_snapshot_release(snap);
    if (a.store) (void)WANT(&a, !fkv_verify(a.store));
    leave(&a);
    return p->complaints ? UINT32_MAX : number;
}

static void disarm(play *p)
{
    (void)play_fired(p);
    env_fault_set(p->faulty, NULL);
    p->armed = p->fired = 0;
}

static void summary_of(const play *p, const char *what)
{
    static int told; /* of the failures; some are the audit's */

    if (p->complaints || check_failures > told)
        (void)printf("%s: FKV_TEST_SEED=%" PRIu64 "\n", what, p->seed);
    told = check_failures;
    seeds++;
}

static int scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;

    return n > 0 ? n : 1;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNT(n) ((n) / 16 * scale())
#else
#define COUNT(n) ((n)*scale())
#endif

/* -- the tests --------------------------------------------------------------------------------- */

static uint64_t plain(uint64_t seed)
{
    play *p = play_new(seed, 0);

    crew_plays(p, NULL, 5 + (int)roll(&p->chance, 40), NULL);
    if (!p->complaints && look_after(p, p->given) != UINT32_MAX) crew_plays(p, NULL, 5, NULL);
    summary_of(p, "plain");
    return play_free(p);
}

/* Anything may fail once; of threads, that one cannot be started. */
static uint64_t one_fault(uint64_t seed)
{
    play *p = play_new(seed, 0);
    env_fault fault = {.kinds = 1 << roll(&p->chance, 8), .partial = (int)roll(&p->chance, 2)};

    fault.status = fault.kinds == ENV_OP_SYNC     ? FKV_IOERR_SYNC
                   : fault.kinds == ENV_OP_THREAD ? FKV_NOMEM
                   : roll(&p->chance, 2)          ? FKV_IOERR
                                                  : FKV_FULL;
    fault.countdown = 1 + roll(&p->chance, fault.kinds < ENV_OP_RENAME ? 300 : 30);
    p->armed = 1;
    env_fault_set(p->faulty, &fault);
    crew_plays(p, NULL, 5 + (int)roll(&p->chance, 40), NULL);
    disarm(p);
    if (!p->complaints) (void)look_after(p, p->given);
    summary_of(p, "one fault");
    return play_free(p);
}

static uint64_t power_cut(uint64_t seed)
{
    play *p = play_new(seed, 0);
    env_fault fault = {.kinds = ENV_OP_WRITE | ENV_OP_SYNC | ENV_OP_OPEN | ENV_OP_RENAME |
                                ENV_OP_REMOVE,
                       .countdown = 1 + roll(&p->chance, 600),
                       .persistent = 1,
                       .status = FKV_IOERR,
                       .partial = (int)roll(&p->chance, 2)};
    uint32_t found;

    p->armed = p->cut = 1;
    env_fault_set(p->faulty, &fault);
    crew_plays(p, NULL, 5 + (int)roll(&p->chance, 40), NULL);
    disarm(p);
    if (env_mem_crash(p->w.disk, roll(&p->chance, 3) * seed)) abort();
    found = p->complaints ? UINT32_MAX : look_after(p, p->durable);
    if (found != UINT32_MAX) {
        p->given = p->acknowledged = found;
        p->cut = 0;
        p->was_cut = 1;
        for (uint32_t i = found + 1; i < NUMBERS_MAX; i++) p->hosted[i] = 0;
        crew_plays(p, &roles[2], 6, NULL);
        if (!p->complaints) (void)look_after(p, p->given);
    }
    summary_of(p, "power cut");
    return play_free(p);
}

static void many(uint64_t (*one)(uint64_t seed), int count)
{
    uint64_t first = check_seed;
    int failures = check_failures;

    for (int i = 0; i < count && check_failures == failures; i++) {
        (void)one(check_seed);
        (void)check_random();
    }
    check_seed = first;
}

static uint64_t a_death(uint64_t seed)
{
    play *p = play_new(seed, 1);

    p->mortal[1].dies_at = 1 + roll(&p->chance, 1 << (4 + roll(&p->chance, 8)));
    p->mortal[1].half = (int)roll(&p->chance, 2);
    crew_plays(p, NULL, 5 + (int)roll(&p->chance, 30), &p->mortal[1]);
    deaths += (uint64_t)p->mortal[1].dead;
    process_begins(&p->mortal[1], &p->w);
    if (!p->complaints) crew_plays(p, NULL, 5, &p->mortal[1]);
    if (!p->complaints) (void)look_after(p, p->given - (p->in_doubt != 0));
    summary_of(p, "a death");
    return play_free(p);
}

static void every_snapshot_is_one_that_was(void)
{
    many(plain, COUNT(160));
}

static void one_fault_costs_one_call(void)
{
    many(one_fault, COUNT(160));
}

static void a_death_takes_nothing_with_it(void)
{
    many(a_death, COUNT(160));
    (void)printf("%" PRIu64 " deaths\n", deaths);
}

static void a_power_cut_takes_only_the_end(void)
{
    many(power_cut, COUNT(160));
}

static void the_same_seed_is_the_same_play(void)
{
    for (int i = 0; i < COUNT(16); i++)
        CHECK(plain(check_seed + (uint64_t)i) == plain(check_seed + (uint64_t)i));
}

static void summary(void)
{
    (void)printf("%" PRIu64 " points\n", points);
    (void)printf("POINTS schedules seeds %" PRIu64 "\n", seeds);
}

TEST_MAIN("test_schedules", TEST_CASE(every_snapshot_is_one_that_was),
          TEST_CASE(one_fault_costs_one_call), TEST_CASE(a_death_takes_nothing_with_it),
          TEST_CASE(a_power_cut_takes_only_the_end), TEST_CASE(the_same_seed_is_the_same_play),
          TEST_CASE(summary))
