#include "base/alloc.h"
#include "io/filename.h"
#include "version/version.h"

fkv_status file_meta_new(table_home *home, uint64_t number, uint64_t max_seq,
                         table_summary *summary, file_meta **out)
{
    file_meta *f = alloc_zero(sizeof *f);

    *out = NULL;
    if (!f) return FKV_RAISE(FKV_NOMEM);
    atomic_init(&f->refs, 1);
    f->home = home;
    f->number = number;
    f->max_seq = max_seq;
    f->summary = *summary;
    *summary = (table_summary){0};
    *out = f;
    return FKV_OK;
}

void file_meta_ref(file_meta *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

void table_home_remove(table_home *home, uint64_t number, uint64_t edit)
{
    char name[FILENAME_BYTES_MAX];

    if (home->remove) {
        home->remove(home->arg, number, edit);
        return;
    }
    filename_table(number, name);
    fkv_ignore(home->env->file_remove(home->env, home->dir, name));
}

void file_meta_unref(file_meta *f)
{
    uint64_t obsolete;
    table *t;

    if (!f || atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) > 1) return;
    t = atomic_load_explicit(&f->table, memory_order_relaxed);
    table_free(t);
    obsolete = atomic_load(&f->obsolete);
    if (obsolete) table_home_remove(f->home, f->number, obsolete);
    table_summary_release(&f->summary);
    alloc_free(f);
}

fkv_status file_meta_table(file_meta *f, table **out)
{
    fkv_env *env = f->home->env;
    char name[FILENAME_BYTES_MAX];
    env_file *file = NULL;
    fkv_status rc = FKV_OK;
    table *t = atomic_load_explicit(&f->table, memory_order_acquire);

    *out = t;
    if (t) return FKV_OK;
    env->mutex_lock(env, f->home->mutex);
    t = atomic_load_explicit(&f->table, memory_order_relaxed);
    if (!t) {
        filename_table(f->number, name);
        rc = env->file_open(env, f->home->dir, name, ENV_READ, &file);
        if (rc == FKV_NOTFOUND)
            rc = FKV_RAISEF(FKV_CORRUPT, "%s: this table of the store is missing", name);
        if (!rc)
            rc = table_open(env, file, name, f->summary.unique_id, f->summary.file_bytes,
                            f->home->cache, &t);
        if (!rc) rc = table_expect(t, &f->summary);
        if (rc) table_free(t);
        if (!rc) atomic_store_explicit(&f->table, t, memory_order_release);
    }
    env->mutex_unlock(env, f->home->mutex);
    *out = rc ? NULL : t;
    return rc;
}
