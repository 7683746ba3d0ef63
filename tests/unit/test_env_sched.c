/*
** The scheduled env: one thread at a time, in an order that a seed gives, on a clock of its own.
*/
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "dry_heap.h"
#include "io/env.h"

enum { THREADS = 4, ROUNDS = 50 };

typedef struct stage {
    fkv_env *files, *env;
    env_mutex *mutex;
    env_cond *changed;
    int inside; /* the mutex: never two */
    int turns, order[THREADS * ROUNDS];
    int flag;
    uint64_t woken_us;
} stage;

typedef struct actor {
    stage *on;
    int id;
} actor;

static void stuck(void *arg, const char *what)
{
    int *pipe_end = arg;

    if (!pipe_end) {
        (void)printf("stuck: %s\n", what);
        abort();
    }
    _exit(write(*pipe_end, what, strlen(what)) < 0);
}

static void begin(stage *on, env_sched how)
{
    *on = (stage){.inside = 0};
    if (!how.stuck) how.stuck = stuck;
    if (env_mem_new(&on->files) || env_sched_new(on->files, &how, &on->env) ||
        on->env->mutex_new(on->env, &on->mutex) || on->env->cond_new(on->env, &on->changed))
        abort();
}

static void end(stage *on)
{
    on->env->cond_free(on->env, on->changed);
    on->env->mutex_free(on->env, on->mutex);
    env_sched_free(on->env);
    env_mem_free(on->files);
}

static env_thread *start(stage *on, void (*run)(void *arg), void *arg)
{
    env_thread *t = NULL;

    if (on->env->thread_start(on->env, run, arg, "actor", &t)) abort();
    return t;
}

static void act(void *arg)
{
    actor *a = arg;
    stage *on = a->on;
    fkv_env *env = on->env;

    for (int i = 0; i < ROUNDS; i++) {
        env->mutex_lock(env, on->mutex);
        CHECK(!on->inside);
        on->inside = 1;
        env->sleep_us(env, 10); /* others run, and stay outside */
        on->order[on->turns++] = a->id;
        on->inside = 0;
        env->mutex_unlock(env, on->mutex);
    }
}

static void play(stage *on, env_sched how)
{
    env_thread *threads[THREADS];
    actor actors[THREADS];

    begin(on, how);
    for (int i = 0; i < THREADS; i++) {
        actors[i] = (actor){on, i};
        threads[i] = start(on, act, &actors[i]);
    }
    for (int i = 0; i < THREADS; i++) on->env->thread_join(on->env, threads[i]);
    CHECK(on->turns == THREADS * ROUNDS);
}

static void same_seed_same_schedule(void)
{
    uint64_t seed = check_random(), traces[2];
    static stage a, b;

    for (int i = 0; i < 40; i++) {
        env_sched how = {.seed = seed + (uint64_t)i, .switch_one_in = 1u << i % 5};
        how.stall_one_in = i % 3 ? 0 : 20;
        how.stall_us = 1000000;
        play(&a, how);
        play(&b, how);
        traces[i & 1] = env_sched_trace(a.env);
        CHECK(traces[i & 1] == env_sched_trace(b.env));
        CHECK(env_sched_points(a.env) == env_sched_points(b.env));
        CHECK(memcmp(a.order, b.order, sizeof a.order) == 0);
        CHECK(a.env->now_us(a.env) == b.env->now_us(b.env));
        CHECK(i == 0 || traces[0] != traces[1]);
        end(&a);
        end(&b);
    }
}

static void every_order_comes_up(void)
{
    static stage on;
    int first[THREADS] = {0}, changes = 0;

    for (int i = 0; i < 100; i++) {
        play(&on, (env_sched){.seed = check_random(), .switch_one_in = 2});
        first[on.order[0]]++;
        for (int k = 1; k < on.turns; k++) changes += on.order[k] != on.order[k - 1];
        end(&on);
    }
    for (int i = 0; i < THREADS; i++) CHECK(first[i] > 2);
    CHECK(changes > 100 * THREADS * ROUNDS / 4);
}

/* -- waiting ----------------------------------------------------------------------------------- */

static void wait_a_second(void *arg)
{
    stage *on = arg;
    fkv_env *env = on->env;
    uint64_t began = env->now_us(env);

    env->mutex_lock(env, on->mutex);
    while (!on->flag && env->now_us(env) < began + 1000000)
        env->cond_wait(env, on->changed, on->mutex, began + 1000000 - env->now_us(env));
    on->woken_us = env->now_us(env) - began;
    env->mutex_unlock(env, on->mutex);
}

static void time_passes_only_in_waiting(void)
{
    static stage on;

    for (int i = 0; i < 50; i++) {
        env_thread *t;
        int64_t wall;
        begin(&on, (env_sched){.seed = check_random(), .switch_one_in = 1});
        wall = on.env->wall_ms(on.env);
        t = start(&on, wait_a_second, &on);
        on.env->thread_join(on.env, t);
        CHECK(on.woken_us == 1000000);
        on.env->sleep_us(on.env, 86400ull * 1000000);
        CHECK(on.env->wall_ms(on.env) == wall + 1000 + 86400 * 1000);
        end(&on);
    }
}

static void a_wake_comes_before_the_time(void)
{
    static stage on;

    for (int i = 0; i < 50; i++) {
        env_thread *t;
        begin(&on, (env_sched){.seed = check_random(), .switch_one_in = 1});
        t = start(&on, wait_a_second, &on);
        on.env->sleep_us(on.env, 300);
        on.env->mutex_lock(on.env, on.mutex);
        on.flag = 1;
        on.env->cond_wake_all(on.env, on.changed);
        on.env->mutex_unlock(on.env, on.mutex);
        on.env->thread_join(on.env, t);
        CHECK(on.woken_us == 300);
        end(&on);
    }
}

static void operations_take_time(void)
{
    static stage on;
    env_dir *dir = NULL;

    begin(&on, (env_sched){.seed = 1, .op_us = 100});
    for (int i = 0; i < 1000; i++) {
        CHECK_STATUS(on.env->dir_open(on.env, "d", ENV_CREATE, &dir), FKV_OK);
        on.env->dir_close(on.env, dir);
    }
    CHECK(on.env->now_us(on.env) > 1000000 + 1000 * 40);
    CHECK(on.env->now_us(on.env) < 1000000 + 1000 * 60);
    end(&on);
}

/* -- files and locks --------------------------------------------------------------------------- */

static void append_once(void *arg)
{
    stage *on = arg;
    fkv_env *env = on->env;
    env_dir *dir = NULL;
    env_file *file = NULL;
    uint64_t size = 0;

    CHECK_STATUS(env->dir_open(env, "d", ENV_CREATE, &dir), FKV_OK);
    CHECK_STATUS(env->file_open(env, dir, "f", ENV_WRITE | ENV_CREATE, &file), FKV_OK);
    CHECK_STATUS(env->file_size(env, file, &size), FKV_OK);
    CHECK_STATUS(env->file_write(env, file, size, "x", 1), FKV_OK);
    CHECK_STATUS(env->file_size(env, file, &size), FKV_OK);
    on->turns = (int)size;
    env->file_close(env, file);
    env->dir_close(env, dir);
}

/* Appending without a lock is a race: both outcomes must come up, in any kind of schedule. */
static void a_race_is_found(void)
{
    static stage on;

    for (uint32_t n = 1; n <= 16; n *= 2) {
        int lost = 0;
        for (int i = 0; i < 400; i++) {
            env_thread *a, *b;
            begin(&on, (env_sched){.seed = check_random(), .switch_one_in = n});
            a = start(&on, append_once, &on);
            b = start(&on, append_once, &on);
            on.env->thread_join(on.env, a);
            on.env->thread_join(on.env, b);
            lost += on.turns == 1;
            end(&on);
        }
        CHECK(lost > 0 && lost < 400);
    }
}

static void two_processes_lock_each_other_out(void)
{
    static stage on;
    fkv_env *other = NULL;
    env_dir *dir = NULL;
    env_file *mine = NULL, *theirs = NULL;

    begin(&on, (env_sched){.seed = check_random(), .switch_one_in = 1});
    CHECK_STATUS(env_sched_beside(on.env, on.files, &other), FKV_OK);
    CHECK_STATUS(on.env->dir_open(on.env, "d", ENV_CREATE, &dir), FKV_OK);
    CHECK_STATUS(on.env->file_open(on.env, dir, "f", ENV_WRITE | ENV_CREATE, &mine), FKV_OK);
    CHECK_STATUS(other->file_open(other, dir, "f", ENV_WRITE, &theirs), FKV_OK);
    on.env->global_lock(on.env);
    other->global_lock(other); /* each has its own */
    CHECK_STATUS(on.env->file_lock(on.env, mine, 7, ENV_LOCK_EXCLUSIVE), FKV_OK);
    CHECK_STATUS(other->file_lock(other, theirs, 7, ENV_LOCK_EXCLUSIVE), FKV_BUSY);
    other->global_unlock(other);
    on.env->global_unlock(on.env);
    other->file_close(other, theirs);
    on.env->file_close(on.env, mine);
    on.env->dir_close(on.env, dir);
    env_sched_free(other);
    end(&on);
}

static void chance_is_the_seeds(void)
{
    uint64_t a = 0, b = 0;
    static stage on;

    for (int i = 0; i < 2; i++) {
        begin(&on, (env_sched){.seed = 99});
        CHECK_STATUS(on.env->random(on.env, i ? &b : &a, sizeof a), FKV_OK);
        end(&on);
    }
    CHECK(a == b && a != 0);
}

static void a_thread_that_cannot_start(void)
{
    env_fault fault = {.kinds = ENV_OP_THREAD, .countdown = 1, .status = FKV_NOMEM};
    env_sched how = {.seed = 1, .stuck = stuck};
    fkv_env *files = NULL, *faulty = NULL, *env = NULL;
    env_thread *t = NULL;
    stage on = {.inside = 0};

    if (env_mem_new(&files) || env_fault_new(files, &faulty) || env_sched_new(faulty, &how, &env))
        abort();
    on.env = env;
    env_fault_set(faulty, &fault);
    CHECK_STATUS(env->thread_start(env, append_once, &on, "never", &t), FKV_NOMEM);
    CHECK(t == NULL);
    CHECK_STATUS(env->thread_start(env, append_once, &on, "at last", &t), FKV_OK);
    env->thread_join(env, t);
    env->thread_join(env, NULL);
    CHECK(on.turns == 1);
    env_sched_free(env);
    env_fault_free(faulty);
    env_mem_free(files);
}

/* -- what cannot go on ---------------------------------------------------------------------------
** */

static void lock_and_wait(void *arg)
{
    stage *on = arg;

    on->env->mutex_lock(on->env, on->mutex);
    for (;;) on->env->cond_wait(on->env, on->changed, on->mutex, 0);
}

static void wait_for_nobody(stage *on)
{
    env_thread *t = start(on, lock_and_wait, on);

    on->env->thread_join(on->env, t);
}

static void lock_twice(stage *on)
{
    on->env->mutex_lock(on->env, on->mutex);
    on->env->mutex_lock(on->env, on->mutex);
}

static void unlock_what_is_free(stage *on)
{
    on->env->mutex_unlock(on->env, on->mutex);
}

/* A child of this process plays it, and sends what is reported. */
static void report_of(void (*run)(stage *on), char *out, size_t size)
{
    int ends[2], status = 0;
    ssize_t n;
    pid_t child;

    memset(out, 0, size);
    if (pipe(ends)) abort();
    (void)fflush(stdout);
    child = fork();
    if (child == 0) {
        static stage on;
        begin(&on, (env_sched){.seed = 3, .switch_one_in = 2, .stuck = stuck, .arg = &ends[1]});
        run(&on);
        _exit(7);
    }
    (void)close(ends[1]);
    n = read(ends[0], out, size - 1);
    CHECK(n > 0);
    (void)close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void wait_a_while(void *arg)
{
    stage *on = arg;

    on->env->mutex_lock(on->env, on->mutex);
    on->env->cond_wait(on->env, on->changed, on->mutex, 1000000);
    on->env->mutex_unlock(on->env, on->mutex);
}

static void free_what_is_awaited(stage *on)
{
    (void)start(on, wait_a_while, on);
    on->env->sleep_us(on->env, 1000);
    on->env->cond_free(on->env, on->changed);
}

static void wait_without_the_mutex(stage *on)
{
    on->env->cond_wait(on->env, on->changed, on->mutex, 10);
}

static void a_deadlock_is_told(void)
{
    char text[1000];

    report_of(wait_for_nobody, text, sizeof text);
    CHECK(strstr(text, "all threads wait for each other; thread 0 \"main\" waits for the end of "
                       "thread 1; thread 1 \"actor\" waits for condition 3"));
    report_of(lock_twice, text, sizeof text);
    CHECK(strstr(text, "all threads wait for each other; thread 0 \"main\" wants mutex 2, which "
                       "thread 0 has"));
    report_of(unlock_what_is_free, text, sizeof text);
    CHECK(strstr(text, "a mutex is unlocked by a thread that does not have it"));
    report_of(free_what_is_awaited, text, sizeof text);
    CHECK(strstr(text, "a condition is freed for which somebody waits"));
    report_of(wait_without_the_mutex, text, sizeof text);
    CHECK(strstr(text, "a thread waits without the mutex"));
}

static void pass_by(void *arg)
{
    (void)arg;
}

/* Everything that is made, with less and less that it may allocate. */
static void no_memory(void)
{
    env_sched how = {.seed = 1, .stuck = stuck};
    fkv_env *files = NULL, *env = NULL;
    env_mutex *m = NULL;
    env_cond *c = NULL;
    env_thread *t = NULL;
    int failed = 0;

    REQUIRE_OK(env_mem_new(&files));
    alloc_set_hook(&dry_heap);
    for (int n = 0; !env && n < 100; n++) {
        heap_left = n;
        failed += env_sched_new(files, &how, &env) == FKV_NOMEM && !env;
    }
    for (int n = 0; env && !t && n < 100; n++) {
        heap_left = n;
        if (!m) failed += env->mutex_new(env, &m) == FKV_NOMEM && !m;
        if (!c) failed += env->cond_new(env, &c) == FKV_NOMEM && !c;
        failed += env->thread_start(env, pass_by, NULL, "actor", &t) == FKV_NOMEM && !t;
    }
    alloc_set_hook(NULL);
    REQUIRE(env && m && c && t);
    CHECK(failed > 8);
    env->thread_join(env, t);
    env->cond_free(env, c);
    env->mutex_free(env, m);
    env_sched_free(env);
    env_mem_free(files);
}

static void as_many_threads_as_there_is_room_for(void)
{
    env_thread *threads[100] = {0};
    fkv_status rc = FKV_OK;
    static stage on;
    int n = 0;

    begin(&on, (env_sched){.seed = 5});
    while (n < 100 && !rc) rc = on.env->thread_start(on.env, pass_by, NULL, "actor", &threads[n++]);
    CHECK_STATUS(rc, FKV_NOMEM);
    CHECK(strstr(fkv_errmsg(), "too many to schedule") != NULL);
    for (int i = 0; i < n; i++) on.env->thread_join(on.env, threads[i]);
    end(&on);
}

TEST_MAIN("test_env_sched", TEST_CASE(a_deadlock_is_told), TEST_CASE(same_seed_same_schedule),
          TEST_CASE(every_order_comes_up), TEST_CASE(time_passes_only_in_waiting),
          TEST_CASE(a_wake_comes_before_the_time), TEST_CASE(operations_take_time),
          TEST_CASE(a_race_is_found), TEST_CASE(two_processes_lock_each_other_out),
          TEST_CASE(chance_is_the_seeds), TEST_CASE(a_thread_that_cannot_start),
          TEST_CASE(no_memory), TEST_CASE(as_many_threads_as_there_is_room_for))
