/*
** dead.c -- stretches of keys without a live row, so that nobody has to find that out again.
**
** A queue is written at one end and deleted from at the other. What was deleted stays as tombstones
** until a flush or a compaction drops them, and whoever asks for the first row walks over all of
** them, every time: the cost of one pop grows with the number of pops before it. So a cursor that
** has walked over many dead entries from where it was positioned notes the stretch [from, to) here,
** and the next one that is positioned inside it begins at `to`.
**
** A note holds for every snapshot that is not older than the one it was found with, until somebody
** puts a row into the stretch. Deletions, expiry, flushes and compactions do not matter: the note
** says something about rows, not about entries. Therefore:
**
**   a put     store_announce() is called before rows become visible, and forgets the notes that
**             they touch. So a snapshot that sees the row was taken after the note was forgotten.
**   a note    is only taken if nothing was announced beyond its snapshot: a put that was not seen
**             by the walk, and is not visible yet, would not find the note to forget it. Announcing
**             and noting each first write their own word (announced_seq, dead_count) and then read
**             the other's, so at least one of the two sees the other.
**
** What a transaction itself has put and not committed is not announced: cursors that show it do not
** use notes.
*/
#include "base/alloc.h"
#include "store/store.h"

static int is_inside(const dead_run *d, fkv_slice key)
{
    return slice_compare(key, buf_slice(&d->from)) >= 0 &&
           slice_compare(key, buf_slice(&d->to)) < 0;
}

/* dead_mutex held. */
static void forget(fkv_store *s, dead_run *d)
{
    buf_release(&d->from);
    buf_release(&d->to);
    atomic_fetch_sub(&s->dead_count, 1);
}

static int in_use(const dead_run *d)
{
    return d->to.size > 0;
}

void store_forget_dead(fkv_store *s)
{
    atomic_store(&s->announced_seq, UINT64_MAX); /* no walk ends there */
    if (atomic_load(&s->dead_count) == 0) return;
    s->env->mutex_lock(s->env, s->dead_mutex);
    for (int i = 0; i < DEAD_RUNS; i++)
        if (in_use(&s->dead[i])) forget(s, &s->dead[i]);
    s->env->mutex_unlock(s->env, s->dead_mutex);
}

/* Forget what this row is put into. dead_mutex held. */
static void forget_around(fkv_store *s, fkv_slice key)
{
    for (int i = 0; i < DEAD_RUNS; i++)
        if (in_use(&s->dead[i]) && is_inside(&s->dead[i], key)) forget(s, &s->dead[i]);
}

void store_announce(fkv_store *s, uint64_t seq, const uint8_t *payload, size_t size)
{
    size_t at = 0;

    atomic_store(&s->announced_seq, seq);
    if (atomic_load(&s->dead_count) == 0) return;
    s->env->mutex_lock(s->env, s->dead_mutex);
    while (at < size) {
        mem_record r;
        memcpy(&r, payload + at, sizeof r);
        entry_kind kind = mem_record_kind(&r);
        fkv_slice key = fkv_slice_of(payload + at + sizeof r, r.key_kind >> 3);
        if (kind == ENTRY_PUT || kind == ENTRY_PUT_EXPIRES) forget_around(s, key);
        at += mem_record_bytes(kind, key.size, r.value_size);
    }
    s->env->mutex_unlock(s->env, s->dead_mutex);
}

/* Where a new note goes: in the place of one that it takes in, else of the oldest. */
static dead_run *place_for(fkv_store *s, fkv_slice from)
{
    for (int i = 0; i < DEAD_RUNS; i++)
        if (in_use(&s->dead[i]) && slice_equal(buf_slice(&s->dead[i].from), from))
            return &s->dead[i];
    return &s->dead[s->dead_next++ % DEAD_RUNS];
}

void store_note_dead(fkv_store *s, fkv_slice from, fkv_slice to, uint64_t seq)
{
    dead_run *d;

    if (slice_compare(from, to) >= 0) return;
    s->env->mutex_lock(s->env, s->dead_mutex);
    d = place_for(s, from);
    if (in_use(d)) forget(s, d);
    buf_set(&d->from, from);
    buf_set(&d->to, to);
    d->seq = seq;
    if (buf_status(&d->from) || buf_status(&d->to)) { /* then not */
        buf_release(&d->from);
        buf_release(&d->to);
    } else {
        atomic_fetch_add(&s->dead_count, 1);
        if (atomic_load(&s->announced_seq) != seq) forget(s, d);
    }
    s->env->mutex_unlock(s->env, s->dead_mutex);
}

int store_skip_dead(fkv_store *s, fkv_slice key, uint64_t seq, buf *to)
{
    int found = 0;

    if (atomic_load(&s->dead_count) == 0) return 0;
    s->env->mutex_lock(s->env, s->dead_mutex);
    for (int i = 0; i < DEAD_RUNS && !found; i++) {
        const dead_run *d = &s->dead[i];
        if (!in_use(d) || seq < d->seq || !is_inside(d, key)) continue;
        buf_set(to, buf_slice(&d->to));
        found = buf_status(to) == FKV_OK;
    }
    s->env->mutex_unlock(s->env, s->dead_mutex);
    return found;
}
