/*
** read.c -- one key: own writes, then memtables from new to old, then tables from new to old. The
** first source that knows the key, or has deleted a range over it, decides.
*/
#include <assert.h>

#include "base/alloc.h"
#include "store/store.h"

/* A value's pin is the address of what keeps it alive: a view, for a memtable's bytes, or, with
** this bit, what a table has given (allocated, so it has no odd address). NULL: own writes. */
#define PIN_TABLE ((uintptr_t)1)

int64_t fkv_clock_ms(fkv_store *s)
{
    int64_t now = s->env->wall_ms(s->env), floor = atomic_load(&s->clock_floor);

    while (now > floor && !atomic_compare_exchange_weak(&s->clock_floor, &floor, now)) {}
    return now > floor ? now : floor;
}

int store_alive(fkv_store *s, uint8_t kind, int64_t expires_ms)
{
    return kind != ENTRY_PUT_EXPIRES || expires_ms > fkv_clock_ms(s);
}

typedef enum verdict { UNKNOWN, FOUND, GONE } verdict;

/* Ask one memory index. */
static verdict ask_tree(const memtree *t, fkv_slice key, const mem_view *view,
                        const mem_record **found)
{
    const mem_record *r = memtree_get(t, key, view);
    fkv_slice from, to;
    uint32_t covered = memtree_ranges(t) ? memtree_covered(t, key, view, &from, &to) : 0;

    if (r && r->seq > covered) {
        if (mem_record_kind(r) == ENTRY_DELETE) return GONE;
        *found = r;
        return FOUND;
    }
    return covered ? GONE : UNKNOWN;
}

static fkv_status give_record(fkv_store *s, const mem_record *r, superversion *view, fkv_value *out)
{
    int64_t expires = mem_record_expires(r);

    if (!store_alive(s, (uint8_t)mem_record_kind(r), expires)) return FKV_NOTFOUND;
    if (view) superversion_ref(view);
    out->pin = view;
    out->value = mem_record_value(r);
    out->expires_ms = expires;
    return FKV_OK;
}

static fkv_status get_from_tables(fkv_store *s, const version *v, fkv_slice key, verdict *decided,
                                  fkv_value *out)
{
    table_value found = {0};
    fkv_status rc = version_get(v, key, &found);

    *decided = UNKNOWN;
    if (rc == FKV_NOTFOUND) return FKV_OK;
    if (rc) return rc;
    *decided = GONE;
    if (found.kind == ENTRY_DELETE || !store_alive(s, found.kind, found.expires_ms)) {
        table_value_release(&found);
        return FKV_OK;
    }
    out->pin = (void *)((uintptr_t)found.pin | PIN_TABLE);
    out->value = found.value;
    out->expires_ms = found.kind == ENTRY_PUT_EXPIRES ? found.expires_ms : 0;
    *decided = FOUND;
    return FKV_OK;
}

static fkv_status get_own(fkv_txn *t, fkv_slice key, verdict *decided, fkv_value *out)
{
    const mem_record *r = NULL;
    mem_view view;
    fkv_status rc;

    *decided = UNKNOWN;
    if (t->writes->count) {
        rc = batch_index(t->writes);
        if (rc) return rc;
        view = batch_view(t->writes);
        *decided = ask_tree(&t->writes->index, key, &view, &r);
        if (*decided == FOUND) return give_record(t->store, r, NULL, out);
    }
    if (*decided == UNKNOWN && t->run_count)
        return get_from_tables(t->store, txn_runs_version(t), key, decided, out);
    return FKV_OK;
}

static fkv_status get(fkv_snapshot *snap, fkv_txn *t, fkv_slice key, fkv_value *out)
{
    fkv_store *s = snap->store;
    superversion *v = snap->view;
    const mem_record *r = NULL;
    verdict decided = UNKNOWN;
    fkv_status rc = FKV_OK;

    *out = (fkv_value){0};
    if (t && t->active) {
        rc = get_own(t, key, &decided, out);
        if (rc || decided != UNKNOWN) return rc ? rc : decided == FOUND ? FKV_OK : FKV_NOTFOUND;
    }
    for (size_t i = 0; i <= v->sealed_count; i++) {
        const memtable *m = i == 0 ? v->active : v->sealed[i - 1];
        mem_view view = memtable_view(m, snap->seq);
        decided = ask_tree(&m->tree, key, &view, &r);
        if (decided == FOUND) return give_record(s, r, v, out);
        if (decided == GONE) return FKV_NOTFOUND;
    }
    rc = get_from_tables(s, v->tables, key, &decided, out);
    return rc ? rc : decided == FOUND ? FKV_OK : FKV_NOTFOUND;
}

fkv_status fkv_get(fkv_snapshot *snap, fkv_txn *t, fkv_slice key, fkv_value *out)
{
    fkv_store *s = snap->store;
    uint64_t number = atomic_fetch_add_explicit(&s->counters.gets, 1, memory_order_relaxed), began;
    fkv_status rc;

    if (number % SAMPLE_GETS) return get(snap, t, key, out);
    began = s->env->now_ns(s->env);
    rc = get(snap, t, key, out);
    histogram_add(&s->counters.get_ns, s->env->now_ns(s->env) - began);
    return rc;
}

void fkv_value_release(fkv_value *value)
{
    uintptr_t pin = (uintptr_t)value->pin;

    if (pin & PIN_TABLE) {
        table_value_release(&(table_value){.pin = (void *)(pin & ~PIN_TABLE)});
    } else {
        superversion_unref(value->pin);
    }
    *value = (fkv_value){0};
}
