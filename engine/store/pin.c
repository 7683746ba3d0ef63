/*
** pin.c -- which table files somebody may still read.
**
** Within a process a file goes with its last reference. Other processes say by a lock which
** manifests' tables they read: a shared lock on LOCK_PIN + edit. Edits and files are numbered from
** one counter, so a file `n` that manifest `e` no longer names can only be in manifests between the
** two: it may go when nobody pins one of n … e-1. Until then it is remembered, and tried again.
**
** A reader pins first and then looks whether its manifest is still the newest; whoever removes
** makes the new manifest the newest first and then looks for pins. One of them sees the other.
**
** A process that dies leaves files that nobody remembers. They are those that the newest manifest
** does not name, nobody makes (LOCK_MAKING + number), and no pinned manifest can name: swept away
** by a later writer.
*/
#include "base/alloc.h"
#include "base/sabotage.h"
#include "io/filename.h"
#include "store/store.h"

static store_pin *find_pin(fkv_store *s, uint64_t edit)
{
    for (size_t i = 0; i < s->pin_count; i++)
        if (s->pins[i].edit == edit) return &s->pins[i];
    return NULL;
}

static int locks_matter(const fkv_store *s)
{
    return s->lock && s->sharing != SHARING_NOT;
}

static fkv_status add_pin(fkv_store *s, uint64_t edit)
{
    if (s->pin_count == s->pin_capacity) {
        size_t capacity = s->pin_capacity ? s->pin_capacity * 2 : 8;
        store_pin *pins = alloc_resize(s->pins, capacity * sizeof *pins);
        if (!pins) return FKV_RAISE(FKV_NOMEM);
        s->pins = pins;
        s->pin_capacity = capacity;
    }
    if (locks_matter(s)) {
        fkv_status rc = s->env->file_lock(s->env, s->lock, LOCK_PIN + edit, ENV_LOCK_SHARED);
        if (rc) return rc;
    }
    s->pins[s->pin_count++] = (store_pin){edit, 1};
    return FKV_OK;
}

void store_change_lock(fkv_store *s, env_file *lock)
{
    s->env->mutex_lock(s->env, s->pin_mutex);
    s->lock = lock;
    for (size_t i = 0; lock && locks_matter(s) && i < s->pin_count; i++)
        fkv_ignore(s->env->file_lock(s->env, lock, LOCK_PIN + s->pins[i].edit, ENV_LOCK_SHARED));
    s->env->mutex_unlock(s->env, s->pin_mutex);
}

fkv_status store_pin_edit(fkv_store *s, uint64_t edit)
{
    fkv_status rc = FKV_OK;
    store_pin *p;

    s->env->mutex_lock(s->env, s->pin_mutex);
    p = find_pin(s, edit);
    if (p) {
        p->count++;
    } else {
        rc = add_pin(s, edit);
    }
    s->env->mutex_unlock(s->env, s->pin_mutex);
    return rc;
}

void store_unpin_edit(fkv_store *s, uint64_t edit)
{
    store_pin *p;

    s->env->mutex_lock(s->env, s->pin_mutex);
    p = find_pin(s, edit);
    if (p && --p->count == 0) {
        if (locks_matter(s))
            fkv_ignore(s->env->file_lock(s->env, s->lock, LOCK_PIN + edit, ENV_UNLOCK));
        *p = s->pins[--s->pin_count];
    }
    s->env->mutex_unlock(s->env, s->pin_mutex);
}

/* May another process read file `number`, which is in no manifest from `edit` on? */
static int pinned_elsewhere(fkv_store *s, uint64_t number, uint64_t edit)
{
    int held = 0;

    if (!locks_matter(s) || edit <= number) return 0;
    return s->env->file_locked(s->env, s->lock, LOCK_PIN + number, edit - number, &held) || held;
}

static void remove_file(fkv_store *s, uint64_t number)
{
    char name[FILENAME_BYTES_MAX];

    filename_table(number, name);
    /* What will not go now is swept away by a later writer. */
    fkv_ignore(s->env->file_remove(s->env, s->dir, name));
    store_made(s, number);
}

void store_remove_table(void *arg, uint64_t number, uint64_t edit)
{
    fkv_store *s = arg;
    int kept = 0;

    if (store_forked(s)) return;
    if (pinned_elsewhere(s, number, edit)) {
        s->env->mutex_lock(s->env, s->pin_mutex);
        if (s->doomed_count == s->doomed_capacity) {
            size_t capacity = s->doomed_capacity ? s->doomed_capacity * 2 : 8;
            doomed_file *files = alloc_resize(s->doomed, capacity * sizeof *files);
            if (files) {
                s->doomed = files;
                s->doomed_capacity = capacity;
            }
        }
        if (s->doomed_count < s->doomed_capacity)
            s->doomed[s->doomed_count++] = (doomed_file){number, edit};
        s->env->mutex_unlock(s->env, s->pin_mutex);
        kept = 1; /* without memory for the note it is swept away later */
    }
    if (!kept) remove_file(s, number);
    if (edit == FILE_UNNAMED) store_drop_run_name(s, number); /* it may be a run, rolled back */
}

void store_remove_doomed(fkv_store *s)
{
    s->env->mutex_lock(s->env, s->pin_mutex);
    for (size_t i = s->doomed_count; i-- > 0;) {
        doomed_file f = s->doomed[i];
        if (pinned_elsewhere(s, f.number, f.edit)) continue;
        s->doomed[i] = s->doomed[--s->doomed_count];
        remove_file(s, f.number);
    }
    s->env->mutex_unlock(s->env, s->pin_mutex);
}

/* -- numbers -------------------------------------------------------------------------------- */

uint64_t store_take_number(fkv_store *s)
{
    return atomic_fetch_add(&atomic_load(&s->page)->next_number, 1);
}

fkv_status store_new_number(void *arg, uint64_t *out)
{
    fkv_store *s = arg;

    *out = store_take_number(s);
    if (s->sharing != SHARING_FULLY) return FKV_OK;
    return s->env->file_lock(s->env, s->lock, LOCK_MAKING + *out, ENV_LOCK_EXCLUSIVE);
}

void store_made(fkv_store *s, uint64_t number)
{
    if (s->sharing == SHARING_FULLY)
        fkv_ignore(s->env->file_lock(s->env, s->lock, LOCK_MAKING + number, ENV_UNLOCK));
}

/* -- sweeping ------------------------------------------------------------------------------- */

typedef struct sweep {
    fkv_store *s;
    const version *tables;
    uint64_t limit; /* numbers from here on were given out after the sweep began */
    uint64_t edit;  /* of the newest manifest */
    int tables_too, logs_gone, keeps, synced;
} sweep;

/* May a view of this process, or of another one, be reading it? (It is judged for each table by
** itself: there is nearly always somebody who reads an old manifest, and what those leave that are
** killed meanwhile would only grow.) */
static int may_be_read(const sweep *w, uint64_t number)
{
    fkv_store *s = w->s;
    int pinned = 0;

    s->env->mutex_lock(s->env, s->pin_mutex);
    for (size_t i = 0; i < s->pin_count; i++)
        pinned |= s->pins[i].edit >= number && s->pins[i].edit < w->edit;
    for (size_t i = 0; i < s->doomed_count; i++) pinned |= s->doomed[i].number == number;
    s->env->mutex_unlock(s->env, s->pin_mutex);
    return pinned || pinned_elsewhere(s, number, w->edit);
}

static fkv_status sync_dir(fkv_store *s)
{
    fkv_status rc = s->env->dir_sync(s->env, s->dir);

    if (rc == FKV_IOERR_SYNC) store_poison(s);
    return rc;
}

/* Whoever renamed the newest manifest into place may have died before that was durable, and the one
** before it needs what is removed here. (Whoever has it on the list of the doomed may be
** quicker.) */
static fkv_status sweep_away(sweep *w, const char *name)
{
    fkv_store *s = w->s;
    fkv_status rc = w->synced ? FKV_OK : sync_dir(s);

    if (rc) return rc;
    w->synced = 1;
    rc = s->env->file_remove(s->env, s->dir, name);
    return rc == FKV_NOTFOUND ? FKV_OK : rc;
}

static fkv_status sweep_file(void *arg, const char *name)
{
    sweep *w = arg;
    fkv_store *s = w->s;
    uint64_t number = 0;
    file_kind kind = filename_parse(name, &number);
    int held = 0;

    /* (A backup that ended early, and whose database is not this one.) */
    if (kind == FILE_MANIFEST_TMP || strcmp(name, FILENAME_MANIFEST_NEXT) == 0)
        return sweep_away(w, name);
    if (kind == FILE_RUN) return w->keeps ? FKV_OK : sweep_away(w, name);
    if (kind == FILE_WAL && number < w->limit && !store_knows_log(s, number) &&
        !store_keeps_log(s, number)) {
        w->logs_gone = 1;
        return sweep_away(w, name);
    }
    if (kind != FILE_TABLE || !w->tables_too || number >= w->limit) return FKV_OK;
    for (int i = 0; i < FKV_LEVELS; i++)
        for (size_t j = 0; j < w->tables->levels[i].count; j++)
            if (w->tables->levels[i].files[j]->number == number) return FKV_OK;
    if (locks_matter(s) && !SABOTAGE(38)) {
        fkv_status rc = s->env->file_locked(s->env, s->lock, LOCK_MAKING + number, 1, &held);
        if (rc || held) return rc;
    }
    return may_be_read(w, number) ? FKV_OK : sweep_away(w, name);
}

fkv_status store_sweep(fkv_store *s)
{
    uint64_t limit = atomic_load(&atomic_load(&s->page)->next_number);
    sweep w = {.s = s, .limit = limit};
    superversion *v = NULL;
    fkv_status rc = store_begin_install(s);

    if (rc) return rc;
    rc = store_find_logs(s);
    if (rc) {
        store_end_install(s);
        return rc;
    }
    v = store_current(s);
    w.tables = v->tables;
    s->env->mutex_lock(s->env, s->mu);
    store_let_previous_go(s);
    w.edit = s->man.edit;
    w.keeps = s->keep_wanted || log_keeping_on(&s->man.keep);
    s->env->mutex_unlock(s->env, s->mu);
    /* (A spilled transaction that the host may yet bring back has its tables in no manifest. Those
    ** being made in this process would be ours to know: there are none yet.) */
    w.tables_too = atomic_load(&store_page(s)->unsettled_lsn) == UINT64_MAX;
    rc = s->env->dir_list(s->env, s->dir, sweep_file, &w);
    superversion_unref(v);
    store_end_install(s);
    /* A log that comes back after a power cut would stand in the chain again. */
    return rc || !w.logs_gone ? rc : sync_dir(s);
}
