/*
** env_sched.c -- an env under which threads run one at a time, in an order drawn from a seed.
**
** Threads are real ones of the operating system, but only the one that has the baton runs. All
** others stand at a gate of their own, a mutex and a condition of the operating system's. Whoever
** has the baton calls the env every now and then: to lock, to wait, to touch a file. Each such call
** is a point at which it may have to hand the baton on; who gets it is drawn. So the same seed,
** with the same program, gives the same schedule, and a failure can be looked at again.
**
**   - A mutex is a note of who owns it. Who wants one that is owned, waits for a condition, sleeps
**     or joins is not ready, and is not drawn.
**   - Time is counted. It stands still while somebody is ready, but for what operations on files
**     are said to take; when nobody is, it jumps to the first moment for which somebody waits.
**   - If nobody waits for any moment either, they wait for each other: that is told.
**   - A stall is what a real machine does to a thread that it takes the processor from: it sleeps
**     where it stands, with all that it holds. Races that need one thread to be very late need
**     that, for whoever is drawn at random is never far behind.
**
** All that is kept here belongs to whoever has the baton, and is handed on with it. What happens
** between two points happens at once to all others. That is less than what the machine may do,
** where readers go without locks; those are for ThreadSanitizer and
** tests/threads/test_operations.c.
*/
#include "io/env_sched.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

enum { THREADS_MAX = 64, REPORT_BYTES = 4096 };

struct env_mutex {
    uint64_t number; /* for reports: the how manyeth that was made */
    const env_thread *owner;
};

struct env_cond {
    uint64_t number;
};

/* Where a thread waits for the baton. The two are env_posix()'s own. */
typedef struct gate {
    env_mutex *mutex;
    env_cond *opened;
    int open;
} gate;

struct scheduler {
    env_sched how;
    size_t envs; /* that use it */
    uint64_t chance, trace, points, clock_us;
    uint64_t made_threads, made_locks;
    env_thread *me; /* has the baton */
    env_thread *threads[THREADS_MAX];
    size_t count;
};

/* Ready to go on if all of this allows it. */
struct env_thread {
    scheduler *s;
    uint64_t number;
    char name[16];
    gate gate;
    env_thread *real; /* the base's; NULL: the one that made the env */
    void (*run)(void *arg);
    void *arg;
    int ended;
    const env_thread *joins;
    const env_mutex *wants;
    const env_cond *awaits; /* until it is woken, or the time has come */
    uint64_t until_us;      /* 0: no matter; UINT64_MAX: no time */
};

static scheduler *scheduler_of(fkv_env *env)
{
    return ((sched_env *)env->state)->s;
}

static fkv_env *base_of(fkv_env *env)
{
    return ((sched_env *)env->state)->base;
}

/* -- chance ----------------------------------------------------------------------------------- */

/* splitmix64 */
static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t draw(scheduler *s, uint64_t below)
{
    return mix(s->chance += 0x9e3779b97f4a7c15u) % below;
}

static int one_in(scheduler *s, uint32_t n)
{
    return n && draw(s, n) == 0;
}

static void note(scheduler *s, const env_thread *t, int what)
{
    s->trace = mix(s->trace + t->number * 64 + (uint64_t)what) + s->clock_us;
}

/* -- the baton -------------------------------------------------------------------------------- */

static void gate_release(gate *g)
{
    fkv_env *os = env_posix();

    os->mutex_free(os, g->mutex);
    os->cond_free(os, g->opened);
}

static fkv_status gate_init(gate *g)
{
    fkv_env *os = env_posix();
    fkv_status rc = os->mutex_new(os, &g->mutex);

    if (!rc) rc = os->cond_new(os, &g->opened);
    if (rc) gate_release(g);
    return rc;
}

static void gate_open(gate *g)
{
    fkv_env *os = env_posix();

    os->mutex_lock(os, g->mutex);
    g->open = 1;
    os->cond_wake_all(os, g->opened);
    os->mutex_unlock(os, g->mutex);
}

static void gate_pass(gate *g)
{
    fkv_env *os = env_posix();

    os->mutex_lock(os, g->mutex);
    while (!g->open) os->cond_wait(os, g->opened, g->mutex, 0);
    g->open = 0;
    os->mutex_unlock(os, g->mutex);
}

static int is_ready(const scheduler *s, const env_thread *t)
{
    if (t->ended || s->clock_us < t->until_us) return 0;
    if (t->joins) return t->joins->ended;
    return !t->wants || !t->wants->owner;
}

/* What keeps t from going on, as a piece of a sentence. */
static int describe(const env_thread *t, char *out, size_t size)
{
    int n = snprintf(out, size, "thread %llu \"%s\"", (unsigned long long)t->number, t->name);
    char *at = out + n;
    size_t room = size - (size_t)n;

    if (t->joins)
        return n + snprintf(at, room, " waits for the end of thread %llu",
                            (unsigned long long)t->joins->number);
    if (t->awaits)
        return n + snprintf(at, room, " waits for condition %llu",
                            (unsigned long long)t->awaits->number);
    if (t->wants && t->wants->owner)
        return n + snprintf(at, room, " wants mutex %llu, which thread %llu has",
                            (unsigned long long)t->wants->number,
                            (unsigned long long)t->wants->owner->number);
    return n + snprintf(at, room, " could go on");
}

/* The program is wrong, and cannot go on. */
static void fail(scheduler *s, const char *what)
{
    char text[REPORT_BYTES], one[128];
    size_t used = (size_t)snprintf(text, sizeof text, "%s", what);

    for (size_t i = 0; i < s->count; i++) {
        int n = describe(s->threads[i], one, sizeof one);
        if (s->threads[i]->ended || used + (size_t)n + 3 > sizeof text) continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "; %s", one);
    }
    if (s->how.stuck) s->how.stuck(s->how.arg, text);
    __builtin_trap(); /* cover: never -- `stuck` does not return */
}

/* Somebody who is ready, at the moment at which the first one is. */
static env_thread *choose(scheduler *s)
{
    for (;;) {
        env_thread *ready[THREADS_MAX];
        uint64_t next = UINT64_MAX;
        size_t n = 0;
        for (size_t i = 0; i < s->count; i++) {
            env_thread *t = s->threads[i];
            if (is_ready(s, t)) ready[n++] = t;
            if (!t->ended && t->until_us > s->clock_us && t->until_us < next) next = t->until_us;
        }
        if (n) return ready[draw(s, n)];
        if (next == UINT64_MAX) fail(s, "all threads wait for each other");
        s->clock_us = next;
    }
}

static void hand_to(scheduler *s, env_thread *to)
{
    s->me = to;
    note(s, to, 0);
    gate_open(&to->gate);
}

/* Let whoever is drawn go on, and come back when it is our turn and we are ready. */
static void give_way(scheduler *s)
{
    env_thread *self = s->me, *next = choose(s);

    if (next == self) return;
    hand_to(s, next);
    gate_pass(&self->gate);
}

static void pause_for(scheduler *s, uint64_t us)
{
    s->me->until_us = s->clock_us + us;
    give_way(s);
    s->me->until_us = 0;
}

static void point(scheduler *s, int what)
{
    note(s, s->me, what);
    s->points++;
    if (one_in(s, s->how.stall_one_in)) {
        pause_for(s, s->how.stall_us >> draw(s, 16));
    } else if (one_in(s, s->how.switch_one_in)) {
        give_way(s);
    }
}

void sched_point(fkv_env *env, int what)
{
    point(scheduler_of(env), what);
}

void sched_operation(fkv_env *env, int what)
{
    scheduler *s = scheduler_of(env);

    if (s->how.op_us) s->clock_us += draw(s, (uint64_t)s->how.op_us + 1);
    point(s, what);
}

/* -- memory, clocks, chance ------------------------------------------------------------------- */

static void *map(fkv_env *env, size_t size, int dense)
{
    point(scheduler_of(env), AT_MAP);
    return base_of(env)->map(base_of(env), size, dense);
}

static env_region *region_new(fkv_env *env, size_t size)
{
    point(scheduler_of(env), AT_MAP);
    return base_of(env)->region_new(base_of(env), size);
}

static env_region *region_open(fkv_env *env, uint64_t name, size_t writable)
{
    point(scheduler_of(env), AT_MAP);
    return base_of(env)->region_open(base_of(env), name, writable);
}

static void region_free(fkv_env *env, env_region *region)
{
    base_of(env)->region_free(base_of(env), region);
}

static void unmap(fkv_env *env, void *memory, size_t size)
{
    base_of(env)->unmap(base_of(env), memory, size);
}

static uint64_t now_us(fkv_env *env)
{
    return scheduler_of(env)->clock_us;
}

static uint64_t now_ns(fkv_env *env)
{
    return scheduler_of(env)->clock_us * 1000;
}

static int64_t wall_ms(fkv_env *env)
{
    const int64_t begins_ms = 1700000000000; /* some day */

    return begins_ms + (int64_t)(scheduler_of(env)->clock_us / 1000);
}

static void sleep_us(fkv_env *env, uint64_t us)
{
    scheduler *s = scheduler_of(env);

    note(s, s->me, AT_SLEEP);
    pause_for(s, us);
}

/* The world's chance would make every run another one. */
static fkv_status random_bytes(fkv_env *env, void *out, size_t size)
{
    uint8_t *p = out;

    for (size_t i = 0; i < size; i++) p[i] = (uint8_t)draw(scheduler_of(env), 256);
    return FKV_OK;
}

static void boot_id(fkv_env *env, uint8_t out[16])
{
    base_of(env)->boot_id(base_of(env), out);
}

static uint64_t process_id(fkv_env *env)
{
    return base_of(env)->process_id(base_of(env));
}

static uint32_t fork_count(fkv_env *env)
{
    return base_of(env)->fork_count(base_of(env));
}

/* -- threads ---------------------------------------------------------------------------------- */

static fkv_status thread_new(scheduler *s, const char *name, env_thread **out)
{
    env_thread *t = alloc_zero(sizeof *t);
    fkv_status rc;

    *out = NULL;
    if (!t) return FKV_RAISE(FKV_NOMEM);
    rc = gate_init(&t->gate);
    if (rc) {
        alloc_free(t);
        return rc;
    }
    t->s = s;
    t->number = s->made_threads++;
    memcpy(t->name, name, strnlen(name, sizeof t->name - 1));
    *out = t;
    return FKV_OK;
}

static void thread_free(env_thread *t)
{
    gate_release(&t->gate);
    alloc_free(t);
}

static void thread_main(void *arg)
{
    env_thread *t = arg;
    scheduler *s = t->s;

    gate_pass(&t->gate);
    t->run(t->arg);
    t->ended = 1;
    note(s, t, AT_END);
    hand_to(s, choose(s));
}

static fkv_status thread_start(fkv_env *env, void (*run)(void *arg), void *arg, const char *name,
                               env_thread **out)
{
    scheduler *s = scheduler_of(env);
    env_thread *t = NULL;
    fkv_status rc;

    *out = NULL;
    if (s->count == THREADS_MAX)
        return FKV_RAISEF(FKV_NOMEM, "cannot start thread \"%s\": too many to schedule", name);
    rc = thread_new(s, name, &t);
    if (rc) return rc;
    t->run = run;
    t->arg = arg;
    rc = base_of(env)->thread_start(base_of(env), thread_main, t, name, &t->real);
    if (rc) {
        thread_free(t);
        return rc;
    }
    s->threads[s->count++] = t;
    *out = t;
    point(s, AT_START);
    return FKV_OK;
}

static void thread_join(fkv_env *env, env_thread *t)
{
    scheduler *s = scheduler_of(env);
    env_thread *self = s->me;
    size_t at = 0;

    if (!t) return;
    point(s, AT_JOIN);
    self->joins = t;
    if (!t->ended) give_way(s);
    self->joins = NULL;
    base_of(env)->thread_join(base_of(env), t->real);
    while (s->threads[at] != t) at++;
    s->threads[at] = s->threads[--s->count];
    thread_free(t);
}

static fkv_status mutex_new(fkv_env *env, env_mutex **out)
{
    env_mutex *m = alloc_zero(sizeof *m);

    *out = m;
    if (!m) return FKV_RAISE(FKV_NOMEM);
    m->number = ++scheduler_of(env)->made_locks;
    return FKV_OK;
}

static void mutex_free(fkv_env *env, env_mutex *m)
{
    if (m && m->owner) fail(scheduler_of(env), "a mutex is freed that somebody has");
    alloc_free(m);
}

static void take(scheduler *s, env_mutex *m)
{
    env_thread *self = s->me;

    point(s, AT_LOCK);
    self->wants = m;
    if (m->owner) give_way(s);
    self->wants = NULL;
    m->owner = self;
}

static void give(scheduler *s, env_mutex *m)
{
    if (m->owner != s->me) fail(s, "a mutex is unlocked by a thread that does not have it");
    m->owner = NULL;
    point(s, AT_UNLOCK);
}

static void mutex_lock(fkv_env *env, env_mutex *m)
{
    take(scheduler_of(env), m);
}

static void mutex_unlock(fkv_env *env, env_mutex *m)
{
    give(scheduler_of(env), m);
}

static void global_lock(fkv_env *env)
{
    take(scheduler_of(env), ((sched_env *)env->state)->global);
}

static void global_unlock(fkv_env *env)
{
    give(scheduler_of(env), ((sched_env *)env->state)->global);
}

static fkv_status cond_new(fkv_env *env, env_cond **out)
{
    env_cond *c = alloc_zero(sizeof *c);

    *out = c;
    if (!c) return FKV_RAISE(FKV_NOMEM);
    c->number = ++scheduler_of(env)->made_locks;
    return FKV_OK;
}

static void cond_free(fkv_env *env, env_cond *c)
{
    const scheduler *s = scheduler_of(env);

    for (size_t i = 0; c && i < s->count; i++)
        if (s->threads[i]->awaits == c)
            fail(scheduler_of(env), "a condition is freed for which somebody waits");
    alloc_free(c);
}

static void cond_wait(fkv_env *env, env_cond *c, env_mutex *m, uint64_t timeout_us)
{
    enum { SPURIOUS = 64 }; /* one wait in so many ends at once, as the contract allows */
    scheduler *s = scheduler_of(env);
    env_thread *self = s->me;

    if (m->owner != self) fail(s, "a thread waits without the mutex");
    note(s, self, AT_WAIT);
    m->owner = NULL;
    self->wants = m;
    if (!one_in(s, SPURIOUS)) {
        self->awaits = c;
        self->until_us = timeout_us ? s->clock_us + timeout_us : UINT64_MAX;
    }
    give_way(s);
    self->wants = NULL;
    self->awaits = NULL;
    self->until_us = 0;
    m->owner = self;
}

static void cond_wake_all(fkv_env *env, env_cond *c)
{
    scheduler *s = scheduler_of(env);

    point(s, AT_WAKE);
    for (size_t i = 0; i < s->count; i++) {
        env_thread *t = s->threads[i];
        if (t->awaits != c) continue;
        t->awaits = NULL;
        t->until_us = 0;
    }
}

/* -- the object ------------------------------------------------------------------------------- */

static const fkv_env sched_functions = {
    .map = map,
    .unmap = unmap,
    .region_new = region_new,
    .region_open = region_open,
    .region_free = region_free,
    .now_us = now_us,
    .now_ns = now_ns,
    .wall_ms = wall_ms,
    .sleep_us = sleep_us,
    .random = random_bytes,
    .boot_id = boot_id,
    .process_id = process_id,
    .fork_count = fork_count,
    .thread_start = thread_start,
    .thread_join = thread_join,
    .mutex_new = mutex_new,
    .mutex_free = mutex_free,
    .mutex_lock = mutex_lock,
    .mutex_unlock = mutex_unlock,
    .global_lock = global_lock,
    .global_unlock = global_unlock,
    .cond_new = cond_new,
    .cond_free = cond_free,
    .cond_wait = cond_wait,
    .cond_wake_all = cond_wake_all,
};

static fkv_status env_over(fkv_env *base, scheduler *s, fkv_env **out)
{
    sched_env *e = alloc_zero(sizeof *e);
    fkv_status rc;

    *out = NULL;
    if (!e) return FKV_RAISE(FKV_NOMEM);
    e->env = sched_functions;
    e->env.state = e;
    sched_set_files(&e->env);
    e->base = base;
    e->s = s;
    rc = mutex_new(&e->env, &e->global);
    if (rc) {
        alloc_free(e);
        return rc;
    }
    s->envs++;
    *out = &e->env;
    return FKV_OK;
}

fkv_status env_sched_new(fkv_env *base, const env_sched *how, fkv_env **out)
{
    scheduler *s = alloc_zero(sizeof *s);
    fkv_status rc;

    *out = NULL;
    if (!s) return FKV_RAISE(FKV_NOMEM);
    s->how = *how;
    s->chance = how->seed;
    s->clock_us = 1000000; /* a machine that has been on for a while: 0 means "never" to some */
    rc = thread_new(s, "main", &s->me);
    if (!rc) {
        s->threads[s->count++] = s->me;
        rc = env_over(base, s, out);
        if (rc) thread_free(s->me);
    }
    if (rc) alloc_free(s);
    return rc;
}

fkv_status env_sched_beside(fkv_env *env, fkv_env *base, fkv_env **out)
{
    return env_over(base, scheduler_of(env), out);
}

void env_sched_free(fkv_env *env)
{
    scheduler *s;

    if (!env) return;
    s = scheduler_of(env);
    mutex_free(env, ((sched_env *)env->state)->global);
    if (--s->envs == 0) {
        if (s->count > 1) fail(s, "a thread has not been joined");
        thread_free(s->threads[0]);
        alloc_free(s);
    }
    alloc_free(env->state);
}

uint64_t env_sched_trace(fkv_env *env)
{
    return scheduler_of(env)->trace;
}

uint64_t env_sched_points(fkv_env *env)
{
    return scheduler_of(env)->points;
}
