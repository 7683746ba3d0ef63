/*
** configure.c -- options that change while the store is open.
**
** New tables are written by the new options, old ones stay as they are until they are merged. The
** block cache takes its new size at once; memtables keep theirs until the store is opened anew,
** because a transaction that fits one must fit the next.
*/
#include "store/store.h"

fkv_status store_table_options(const fkv_options *o, table_options *out)
{
    if (o->block_bytes && (o->block_bytes < 256 || o->block_bytes > (1u << 20)))
        return FKV_RAISEF(FKV_INVALID, "block_bytes must be between 256 and 1048576");
    if (o->codec && !codec_available((codec_id)(o->codec - 1)))
        return FKV_RAISEF(FKV_UNSUPPORTED, "this build has no %s codec",
                          codec_name((codec_id)(o->codec - 1)));
    if (o->block_bytes) out->block_bytes = o->block_bytes;
    if (o->bloom_bits) out->bloom_bits = o->bloom_bits - 1;
    if (o->codec) {
        out->codec = (codec_id)(o->codec - 1);
        out->codec_level = o->codec_level;
    }
    return FKV_OK;
}

fkv_status fkv_configure(fkv_store *s, const fkv_options *o)
{
    table_options now;
    fkv_status rc;

    s->env->mutex_lock(s->env, s->mu);
    now = s->table;
    rc = store_table_options(o, &now);
    if (!rc) {
        s->table = now;
        if (o->memory_bytes >= MEMORY_MIN) s->options.memory_bytes = o->memory_bytes;
    }
    s->env->mutex_unlock(s->env, s->mu);
    if (!rc && o->memory_bytes) store_fit_cache(s);
    return rc;
}

fkv_status fkv_set_codec(fkv_store *s, uint32_t space, int codec, int level)
{
    codec_rule rule = {space, CODEC_NO_RULE, (uint8_t)level};
    codec_rules all;
    int fits;

    if (codec && !codec_available((codec_id)(codec - 1)))
        return FKV_RAISEF(FKV_UNSUPPORTED, "this build has no %s codec",
                          codec_name((codec_id)(codec - 1)));
    if (codec) rule.codec = (uint8_t)(codec - 1);
    s->env->mutex_lock(s->env, s->mu);
    all = s->man.codecs;
    codec_rules_overlay(&all, &s->codecs);
    fits = codec_rules_set(&all, rule) && codec_rules_set(&s->codecs, rule);
    s->env->mutex_unlock(s->env, s->mu);
    return fits || !codec ? FKV_OK
                          : FKV_RAISEF(FKV_TOOBIG,
                                       "more than %d tables have a compression of "
                                       "their own",
                                       CODEC_RULES_MAX);
}

const char *fkv_codec_name(int codec)
{
    return codec_available((codec_id)codec) ? codec_name((codec_id)codec) : NULL;
}
