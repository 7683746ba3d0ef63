#include "mem/memtable.h"

#include <assert.h>

#include "base/alloc.h"
#include "base/sabotage.h"
#include "mem/memtable_share.h"

/* Whoever still reads in a memtable that has gone is to be found out. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(p, bytes) ASAN_POISON_MEMORY_REGION(p, bytes)
#define UNPOISON(p, bytes) ASAN_UNPOISON_MEMORY_REGION(p, bytes)
#else
#define POISON(p, bytes) ((void)(p), (void)(bytes))
#define UNPOISON(p, bytes) ((void)(p), (void)(bytes))
#endif

void memtable_forbid(uint8_t *arena, size_t bytes)
{
    POISON(arena, bytes);
}

void memtable_permit(uint8_t *arena, size_t bytes)
{
    UNPOISON(arena, bytes);
}

/* Not full means used < full_bytes; a batch adds at most full_bytes of records and nodes; and nodes
** may be owed from before: 96 a record against at least 64 used (24 of record, 40 of node), so less
** than 2 * full_bytes. Pages that are never touched cost nothing. */
size_t memtable_arena_bytes(size_t full_bytes)
{
    return full_bytes * 4 + 65536;
}

/* As it is made in either kind of memory. */
static void begin(memtable *m, memtable_spare *spare, size_t full_bytes, uint64_t base_seq)
{
    m->spare = spare;
    atomic_init(&m->refs, 1);
    m->base_seq = m->last_seq = base_seq;
    m->limit_seq = UINT64_MAX;
    m->full_bytes = full_bytes;
    atomic_init(&m->first_log, UINT64_MAX);
}

fkv_status memtable_new(fkv_env *env, memtable_spare *spare, size_t full_bytes, uint64_t base_seq,
                        memtable **out)
{
    memtable *m = alloc_zero(sizeof *m);
    uint8_t *arena = m && spare ? atomic_exchange(&spare->arena, NULL) : NULL;
    fkv_status rc = FKV_OK;

    *out = NULL;
    if (!m) return FKV_RAISE(FKV_NOMEM);
    if (arena) {
        memtable_permit(arena, memtable_arena_bytes(full_bytes));
        memtree_reuse(&m->tree, env, arena, memtable_arena_bytes(full_bytes));
    } else {
        rc = memtree_init(&m->tree, env, memtable_arena_bytes(full_bytes), NULL);
    }
    if (rc) {
        alloc_free(m);
        return rc;
    }
    begin(m, spare, full_bytes, base_seq);
    *out = m;
    return FKV_OK;
}

fkv_status memtable_new_in(fkv_env *env, env_region *region, uint8_t *arena, size_t size,
                           uint64_t base_seq, memtable **out)
{
    memtable *m = alloc_zero(sizeof *m);

    *out = NULL;
    if (!m) return FKV_RAISE(FKV_NOMEM);
    begin(m, NULL, 0, base_seq);
    m->region = region;
    m->tree = (memtree){.env = env, .arena = arena, .capacity = size, .records = arena};
    *out = m;
    return FKV_OK;
}

void memtable_ref(memtable *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
}

void memtable_unref(memtable *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) > 1) return;
    if (m->region) {
        memtable_leave_region(m);
    } else if (m->spare && m->tree.capacity == memtable_arena_bytes(m->full_bytes)) {
        memtable_forbid(m->tree.arena, m->tree.capacity);
        m->tree.arena = atomic_exchange(&m->spare->arena, m->tree.arena);
        if (m->tree.arena) memtable_permit(m->tree.arena, m->tree.capacity);
    }
    memtree_release(&m->tree);
    alloc_free(m);
}

void memtable_spare_release(memtable_spare *spare, fkv_env *env, size_t full_bytes)
{
    uint8_t *arena = atomic_exchange(&spare->arena, NULL);
    env_region *region = atomic_exchange(&spare->region, NULL);

    if (region) memtable_permit(region->base, region->size);
    env->region_free(env, region);
    if (!arena) return;
    memtable_permit(arena, memtable_arena_bytes(full_bytes));
    env->unmap(env, arena, memtable_arena_bytes(full_bytes));
}

int memtable_full(const memtable *m)
{
    return memtree_used(&m->tree) >= m->full_bytes ||
           memtree_ranges(&m->tree) >= MEMTABLE_RANGES_MAX ||
           m->last_seq - m->base_seq > UINT32_MAX / 2;
}

void memtable_note_log(memtable *m, uint64_t lsn, uint64_t before_seq, uint64_t before_host)
{
    if (atomic_load(&m->first_log) == UINT64_MAX) {
        m->before_seq = before_seq;
        m->before_host = before_host;
        atomic_store(&m->first_log, lsn);
    }
    atomic_store(&m->last_log, lsn);
}

static size_t room_needed(const memtable *m, size_t size, uint32_t count)
{
    uint64_t records = atomic_load(&m->records) + count;
    return m->record_bytes + size + MEMTREE_NODE_BYTES(records) + 4096;
}

int memtable_has_room(const memtable *m, size_t size, uint32_t count)
{
    return room_needed(m, size, count) <= m->tree.capacity;
}

fkv_status memtable_room(memtable *m, size_t size, uint32_t count)
{
    size_t need = room_needed(m, size, count);
    memtree larger = {0};
    fkv_status rc;

    if (need <= m->tree.capacity) return FKV_OK;
    assert(atomic_load(&m->records) == 0);
    rc = memtree_init(&larger, m->tree.env, need, NULL);
    if (rc) return rc;
    if (m->region) memtable_leave_region(m); /* nobody has heard of it yet */
    memtree_release(&m->tree);
    m->tree = larger;
    return FKV_OK;
}

void memtable_loosen(memtable *m)
{
    assert(atomic_load(&m->records) == 0);
    m->loose = 1;
}

void memtable_link(memtable *m)
{
    if (!m->loose) return;
    m->loose = 0;
    memtree_link_all(&m->tree, (size_t)atomic_load(&m->records));
}

void memtable_apply(memtable *m, const uint8_t *payload, size_t size, uint64_t first_seq)
{
    uint32_t ref = memtree_alloc(&m->tree, size);
    uint32_t end = ref + (uint32_t)(size / MEM_UNIT);
    uint64_t count = 0;

    assert(memtree_used(&m->tree) <= m->tree.capacity);
    memcpy(memtree_at(&m->tree, ref), payload, size);
    while (ref < end) {
        mem_record *r = memtree_at(&m->tree, ref);
        entry_kind kind = mem_record_kind(r);
        r->seq = (uint32_t)(first_seq + count - m->base_seq);
        count++;
        if (m->loose ? kind == ENTRY_RANGE_DELETE : kind != ENTRY_NEW_SPACE)
            memtree_link(&m->tree, ref);
        ref += (uint32_t)(mem_record_bytes(kind, r->key_kind >> 3, r->value_size) / MEM_UNIT);
    }
    m->record_bytes += size;
    m->last_seq = first_seq + count - 1;
    atomic_fetch_add_explicit(&m->records, count, memory_order_relaxed);
}

/* What no honest batch holds, and what later layers rely on not to be there. */
static int is_plausible(const mem_record *r, const uint8_t *content)
{
    size_t key_size = r->key_kind >> 3;

    switch (mem_record_kind(r)) {
    case ENTRY_PUT:
    case ENTRY_DELETE:
    case ENTRY_PUT_EXPIRES:
        return key_size <= FKV_KEY_MAX && r->value_size <= FKV_VALUE_MAX;
    case ENTRY_RANGE_DELETE:
        return key_size <= FKV_KEY_MAX && r->value_size <= FKV_KEY_MAX &&
               slice_compare(fkv_slice_of(content, key_size),
                             fkv_slice_of(content + key_size, r->value_size)) < 0;
    case ENTRY_NEW_SPACE:
        return key_size == 4;
    default:
        return 0;
    }
}

int memtable_payload_check(const uint8_t *payload, size_t size, uint32_t count)
{
    size_t at = 0;
    uint32_t seen = 0;

    if (SABOTAGE(22)) return 1;

    while (at < size) {
        mem_record r;
        size_t bytes;
        if (size - at < sizeof r) return 0;
        memcpy(&r, payload + at, sizeof r);
        entry_kind kind = mem_record_kind(&r);
        bytes = mem_record_bytes(kind, r.key_kind >> 3, r.value_size); /* < 2^33: no overflow */
        if (bytes > size - at || !is_plausible(&r, payload + at + sizeof r)) return 0;
        at += bytes;
        seen++;
    }
    return seen == count;
}
