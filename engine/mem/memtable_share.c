#include "mem/memtable_share.h"

#include <assert.h>

#include "base/alloc.h"
#include "base/sabotage.h"

#define SHARE_MAGIC 0x316d656d766b6661u /* another one when records or nodes change */
enum { SHARE_BYTES = 8192, READ_TRIES = 1000 };

enum { TAKEN = 1, OFFERED = 2, GENERATION = 4 };

/* What changes with every commit, word by word. */
typedef struct shared_reach {
    _Atomic uint64_t from_lsn, end_lsn, seq, host_id;
    _Atomic uint64_t first_log, last_log, before_seq, before_host, records, record_bytes;
    _Atomic uint64_t point_count, point_floor;
    struct {
        _Atomic uint64_t id, seq_before;
    } points[HOST_POINTS];
} shared_reach;

typedef struct memtable_share {
    _Atomic uint64_t uses;
    _Atomic uint64_t magic, session; /* and on to `older`: set before OFFERED */
    _Atomic uint64_t base_seq, full_bytes;
    _Atomic uint64_t older_region, older_generation;
    _Atomic uint32_t version;
    shared_reach reach;
} memtable_share;
_Static_assert(sizeof(memtable_share) <= SHARE_BYTES, "two pages");

static memtable_share *share_of(const env_region *r)
{
    return r->base;
}

static uint8_t *arena_of(const env_region *r)
{
    return (uint8_t *)r->base + SHARE_BYTES;
}

static size_t arena_size(const env_region *r)
{
    return r->size - SHARE_BYTES;
}

static uint64_t generation_of(uint64_t uses)
{
    return uses / GENERATION;
}

/* -- the owner ------------------------------------------------------------------------------- */

/* Has nobody borrowed it? Then nobody can any more, until it is offered again. */
static int take_back(env_region *r)
{
    memtable_share *share = share_of(r);
    uint64_t uses = atomic_load(&share->uses);

    return !(uses & TAKEN) && atomic_compare_exchange_strong(
                                  &share->uses, &uses, (generation_of(uses) + 1) * GENERATION);
}

static env_region *region_for(fkv_env *env, memtable_spare *spare, size_t size)
{
    env_region *r = spare ? atomic_exchange(&spare->region, NULL) : NULL;

    if (r) memtable_permit(arena_of(r), arena_size(r));
    if (r && (r->size != size || atomic_load(r->forked) || !take_back(r))) {
        env->region_free(env, r);
        r = NULL;
    }
    if (r) return r;
    r = env->region_new(env, size);
    if (r) atomic_store(&share_of(r)->uses, GENERATION);
    return r;
}

fkv_status memtable_new_shared(fkv_env *env, memtable_spare *spare, size_t full_bytes,
                               uint64_t base_seq, memtable **out)
{
    env_region *r = region_for(env, spare, SHARE_BYTES + memtable_arena_bytes(full_bytes));
    memtable_share *share;
    fkv_status rc;

    if (!r) return memtable_new(env, spare, full_bytes, base_seq, out);
    rc = memtable_new_in(env, r, arena_of(r), arena_size(r), base_seq, out);
    if (rc) {
        env->region_free(env, r);
        return rc;
    }
    (*out)->spare = spare;
    (*out)->full_bytes = full_bytes;
    memtree_clear(&(*out)->tree);
    share = share_of(r);
    atomic_store(&share->magic, SHARE_MAGIC);
    atomic_store(&share->base_seq, base_seq);
    atomic_store(&share->full_bytes, full_bytes);
    atomic_store(&share->older_region, 0);
    return FKV_OK;
}

void memtable_leave_region(memtable *m)
{
    env_region *r = m->region;
    fkv_env *env = m->tree.env;

    if (m->spare && !m->borrowed) {
        memtable_forbid(arena_of(r), arena_size(r));
        r = atomic_exchange(&m->spare->region, r);
        if (r) memtable_permit(arena_of(r), arena_size(r));
    }
    env->region_free(env, r);
    m->region = NULL;
    m->tree = (memtree){0};
}

/* Who reads a new word reads an odd version after it, or a later one. (Fences would say it with
** relaxed words; the thread sanitizer knows none.) */
#define PUT(field, value) atomic_store_explicit(&to->field, value, memory_order_release)
#define GET(field) atomic_load_explicit(&from->field, memory_order_acquire)

/* Those that it does not have yet: mostly one, or none. */
static void write_points(shared_reach *to, const host_points *points, int anew)
{
    uint64_t i = atomic_load_explicit(&to->point_count, memory_order_relaxed);

    if (anew || i > points->count) i = 0; /* here, or there */
    if (points->count > HOST_POINTS && i < points->count - HOST_POINTS)
        i = points->count - HOST_POINTS;
    for (; i < points->count; i++) {
        PUT(points[i % HOST_POINTS].id, points->items[i % HOST_POINTS].id);
        PUT(points[i % HOST_POINTS].seq_before, points->items[i % HOST_POINTS].seq_before);
    }
    PUT(point_count, points->count);
    PUT(point_floor, points->floor);
}

/* All words at once, for who reads them meanwhile. */
static void write_reach(memtable *m, const memtable_reach *reach, const host_points *points,
                        int anew)
{
    memtable_share *share = share_of(m->region);
    uint32_t version = atomic_load_explicit(&share->version, memory_order_relaxed) | 1;
    shared_reach *to = &share->reach;

    atomic_store_explicit(&share->version, version, memory_order_relaxed);
    PUT(from_lsn, reach->from_lsn);
    PUT(end_lsn, reach->end_lsn);
    PUT(seq, reach->seq);
    PUT(host_id, reach->host_id);
    PUT(first_log, atomic_load_explicit(&m->first_log, memory_order_relaxed));
    PUT(last_log, atomic_load_explicit(&m->last_log, memory_order_relaxed));
    PUT(before_seq, m->before_seq);
    PUT(before_host, m->before_host);
    PUT(records, atomic_load_explicit(&m->records, memory_order_relaxed));
    PUT(record_bytes, m->record_bytes);
    write_points(to, points, anew);
    atomic_store_explicit(&share->version, version + 1, memory_order_release);
}

void memtable_begin_at(memtable *m, const memtable_reach *reach, const host_points *points,
                       const memtable *older)
{
    memtable_share *share;

    assert(!m->borrowed);
    m->from_lsn = reach->from_lsn;
    if (!m->region) return;
    share = share_of(m->region);
    /* (First: who reads where it begins now must not go on to what came before that.) */
    atomic_store(&share->older_region, 0);
    write_reach(m, reach, points, 1);
    if (!older || !older->region || older->borrowed) return;
    atomic_store(&share->older_region, older->region->name);
    atomic_store(&share->older_generation,
                 generation_of(atomic_load(&share_of(older->region)->uses)));
}

void memtable_tell(memtable *m, uint64_t end_lsn, uint64_t seq, uint64_t host_id,
                   const host_points *points)
{
    memtable_reach reach = {m->from_lsn, end_lsn, seq, host_id};

    if (m->region) write_reach(m, &reach, points, 0);
}

uint64_t memtable_offer(memtable *m, uint64_t session)
{
    if (!m->region || m->borrowed) return 0;
    atomic_store(&share_of(m->region)->session, session);
    atomic_fetch_or(&share_of(m->region)->uses, OFFERED);
    return m->region->name;
}

/* -- the borrower ---------------------------------------------------------------------------- */

/* Take it, if it is what is wanted: it stays as it is from then on. */
static int take(memtable_share *share, uint64_t session, uint64_t generation)
{
    uint64_t uses = atomic_load(&share->uses);

    if (atomic_load(&share->magic) != SHARE_MAGIC) return 0;
    do {
        if (!(uses & OFFERED) || (generation && generation_of(uses) != generation)) return 0;
    } while (!SABOTAGE(40) && !atomic_compare_exchange_weak(&share->uses, &uses, uses | TAKEN));
    return atomic_load(&share->session) == session;
}

static void read_points(const shared_reach *from, host_points *points)
{
    points->count = GET(point_count);
    points->floor = GET(point_floor);
    for (uint64_t i = 0; i < HOST_POINTS && i < points->count; i++)
        points->items[i] = (host_point){GET(points[i].id), GET(points[i].seq_before)};
}

static int read_reach(memtable_share *share, memtable *m, memtable_reach *reach,
                      host_points *points)
{
    const shared_reach *from = &share->reach;

    for (int i = 0; i < READ_TRIES; i++) {
        uint32_t version = atomic_load_explicit(&share->version, memory_order_acquire);
        if (version & 1) continue;
        *reach = (memtable_reach){GET(from_lsn), GET(end_lsn), GET(seq), GET(host_id)};
        atomic_store(&m->first_log, GET(first_log));
        atomic_store(&m->last_log, GET(last_log));
        m->before_seq = GET(before_seq);
        m->before_host = GET(before_host);
        atomic_store(&m->records, GET(records));
        m->record_bytes = (size_t)GET(record_bytes);
        read_points(from, points);
        if (atomic_load_explicit(&share->version, memory_order_relaxed) == version) return 1;
    }
    return 0;
}

fkv_status memtable_borrow(fkv_env *env, memtable_name name, uint64_t session, memtable **out,
                           memtable_reach *reach, host_points *points, memtable_name *older)
{
    env_region *r = name.region ? env->region_open(env, name.region, SHARE_BYTES) : NULL;
    memtable_share *share;
    memtable *m = NULL;
    fkv_status rc;

    *out = NULL;
    if (!r) return FKV_NOTFOUND;
    share = share_of(r);
    rc = r->size > SHARE_BYTES && take(share, session, name.generation) ? FKV_OK : FKV_NOTFOUND;
    if (!rc)
        rc = memtable_new_in(env, r, arena_of(r), arena_size(r), atomic_load(&share->base_seq), &m);
    if (rc) {
        env->region_free(env, r);
        return rc;
    }
    m->borrowed = 1;
    m->full_bytes = (size_t)atomic_load(&share->full_bytes);
    if (!read_reach(share, m, reach, points)) {
        memtable_unref(m);
        return FKV_NOTFOUND;
    }
    m->from_lsn = reach->from_lsn;
    m->last_seq = m->limit_seq = reach->seq;
    *older =
        (memtable_name){atomic_load(&share->older_region), atomic_load(&share->older_generation)};
    *out = m;
    return FKV_OK;
}
