/*
** borrow.c -- coming to a busy store without reading its log.
**
** Who writes offers the active memtable, whose name is on the page, and behind it the one that was
** sealed before it, and so on (mem/memtable_share.h). Who comes reads the newest manifest, borrows
** memtables back to the one that begins at or before the manifest's tables_lsn, and stands where
** the newest of them ends: what the log says between the two is in what was borrowed. From there it
** follows the log like everybody (follow.c). If a link is missing (its process has died, or is
** another user's, or cannot be seen from here, or was busy in just that moment), it begins at
** tables_lsn with nothing in memory, and reads the log from there.
**
** A memtable is made for the log from some point on: that of a manifest which is taken up, the end
** of the one before it, or the end of a spilled transaction, whose tables are newer than all that
** is in memory. So to begin at or before tables_lsn is to lack nothing that the tables lack.
**
** Borrowed memtables are sealed ones here. Their owner will flush them; the flusher of this process
** does only if something of its own lies on top of them, or if it is told to.
*/
#include "mem/memtable_share.h"

#include "base/sabotage.h"
#include "store/store.h"

enum { CHAIN_MAX = SEALED_MAX + 2, TRIES = 20 };

fkv_status store_new_memtable(fkv_store *s, int for_writing, uint64_t base_seq, memtable **out)
{
    memtable_spare *spare = for_writing ? &s->spare : NULL;

    if (s->sharing == SHARING_FULLY && (for_writing || s->first))
        return memtable_new_shared(s->env, spare, s->options.memtable_bytes, base_seq, out);
    return memtable_new(s->env, spare, s->options.memtable_bytes, base_seq, out);
}

void store_begin_memtable(fkv_store *s, memtable *m, uint64_t from_lsn, uint64_t end_lsn)
{
    memtable_reach reach = {from_lsn, end_lsn, s->last_seq, s->host_id};

    memtable_begin_at(m, &reach, &s->points, NULL);
}

void store_continue_memtable(fkv_store *s, memtable *m, uint64_t lsn)
{
    memtable_reach reach = {lsn, lsn, s->last_seq, s->host_id};

    store_tell(s, lsn);
    if (atomic_load(&s->active->records)) {
        memtable_begin_at(m, &reach, &s->points, s->active);
    } else { /* it goes */
        store_begin_memtable(s, m, s->active->from_lsn, lsn);
    }
}

void store_tell(fkv_store *s, uint64_t end_lsn)
{
    memtable_tell(s->active, end_lsn, s->last_seq, s->host_id, &s->points);
}

void store_offer(fkv_store *s)
{
    uint64_t name;

    if (s->sharing != SHARING_FULLY) return;
    for (size_t i = 0; i < s->current->sealed_count; i++)
        (void)memtable_offer(s->current->sealed[i], s->session);
    /* (What recovery has replayed it did not know the end of.) */
    store_tell(s, atomic_load(&s->followed));
    name = memtable_offer(s->active, s->session);
    if (name) atomic_store(&store_page(s)->offered, name);
}

typedef struct chain {
    memtable *items[CHAIN_MAX]; /* newest first */
    size_t count;
    memtable_reach reach; /* of the newest; and: */
    host_points points;
} chain;

static void release(chain *c)
{
    while (c->count) memtable_unref(c->items[--c->count]);
}

/* Back to one that begins at or before lsn. */
static fkv_status borrow_back_to(fkv_store *s, uint64_t lsn, chain *c)
{
    memtable_name next = {.region = atomic_load(&store_page(s)->offered)};
    uint64_t from = 0;

    for (int i = 0; i < CHAIN_MAX; i++) {
        memtable *m = NULL;
        memtable_reach reach;
        host_points points;
        fkv_status rc = memtable_borrow(s->env, next, s->session, &m, &reach, &points, &next);
        if (rc) return rc;
        if (i == 0) {
            c->reach = reach;
            c->points = points;
        }
        if (reach.end_lsn < from) rc = FKV_NOTFOUND; /* there is a gap */
        from = reach.from_lsn;
        if (!rc && atomic_load(&m->records)) {
            c->items[c->count++] = m;
        } else {
            memtable_unref(m);
        }
        if (rc || reach.from_lsn <= lsn || SABOTAGE(41)) return rc;
    }
    return FKV_NOTFOUND;
}

fkv_status store_borrow(fkv_store *s, const manifest *m, version *tables)
{
    fkv_status rc = FKV_NOTFOUND;

    if (s->sharing != SHARING_FULLY && s->sharing != SHARING_READS) return rc;
    for (int i = 0; i < TRIES; i++) {
        chain c = {0};
        rc = borrow_back_to(s, m->tables_lsn, &c);
        if (!rc && c.reach.end_lsn < m->tables_lsn) rc = FKV_NOTFOUND; /* he has been asleep */
        /* What has just been committed there the page may not say yet. */
        if (!rc && c.reach.end_lsn > atomic_load(&store_page(s)->committed_lsn)) rc = FKV_BUSY;
        if (!rc) rc = store_start_with(s, m, tables, c.items, c.count, &c.reach, &c.points);
        release(&c);
        if (rc != FKV_BUSY) return rc;
    }
    return FKV_NOTFOUND;
}
