/*
** builder.c -- writing a table, front to back, in large pieces.
**
** A data block is closed when the next entry would make it larger than the target; its separator
** can only be chosen when the next key is known, so the index entry waits until then.
*/
#include "base/alloc.h"
#include "base/sabotage.h"
#include "table/block.h"
#include "table/codec.h"
#include "table/filter.h"
#include "table/index.h"
#include "table/lifetimes.h"

enum { WRITE_BYTES = 256 << 10 };
#define INDEX_MAX ((size_t)3 << 30) /* with the next separator it stays below 4 GiB */

struct table_builder {
    fkv_env *env;
    env_file *file;
    table_options opt;
    table_footer footer;
    block_builder block;
    uint32_t block_space; /* the keyspace of the block's rows; only with opt.rules */
    buf pending;          /* bytes not yet written */
    uint64_t written;     /* file offset where `pending` begins */
    buf compressed;
    codec_state codec;
    buf index;
    uint32_t blocks;
    block_handle waiting; /* a block whose index entry is due */
    int has_waiting;
    buf separator;
    buf last_key;
    buf hashes; /* uint64_t each */
    buf ranges; /* encoded range block */
    buf range_low, range_high;
    int range_high_set;
    lifetimes lives;
    table_summary summary;
    fkv_status failed;
};

/* LZ4 where it is built in: a third less on disk for values that compress by half, fills as fast,
** and a block that has to be read costs a microsecond more (README, "Numbers"). */
void table_options_default(table_options *out)
{
    *out = (table_options){.block_bytes = 4096,
                           .restart_interval = 8,
                           .bloom_bits = 10,
                           .codec = codec_available(CODEC_LZ4) ? CODEC_LZ4 : CODEC_NONE};
}

void table_summary_release(table_summary *s)
{
    buf_release(&s->smallest);
    buf_release(&s->largest);
    *s = (table_summary){0};
}

fkv_status table_builder_new(fkv_env *env, env_file *file, const table_options *opt,
                             table_builder **out)
{
    table_builder *b = NULL;
    fkv_status rc;

    *out = NULL;
    if (!codec_available(opt->codec))
        return FKV_RAISEF(FKV_UNSUPPORTED, "this build lacks the %s codec", codec_name(opt->codec));
    b = alloc_zero(sizeof *b);
    if (!b) return FKV_RAISE(FKV_NOMEM);
    b->env = env;
    b->file = file;
    b->opt = *opt;
    if (b->opt.block_bytes > BLOCK_TARGET_MAX) b->opt.block_bytes = BLOCK_TARGET_MAX;
    if (b->opt.bloom_bits > 64) b->opt.bloom_bits = 64;
    b->block.interval = opt->restart_interval;
    if (b->block.interval < 1) b->block.interval = 1;
    if (b->block.interval > RESTART_INTERVAL_MAX) b->block.interval = RESTART_INTERVAL_MAX;
    rc = env->random(env, &b->footer.unique_id, sizeof b->footer.unique_id);
    if (rc) {
        alloc_free(b);
        return rc;
    }
    *out = b;
    return FKV_OK;
}

void table_builder_free(table_builder *b)
{
    if (!b) return;
    block_builder_release(&b->block);
    buf_release(&b->pending);
    buf_release(&b->compressed);
    codec_state_release(&b->codec);
    buf_release(&b->index);
    buf_release(&b->separator);
    buf_release(&b->last_key);
    buf_release(&b->hashes);
    buf_release(&b->ranges);
    buf_release(&b->range_low);
    buf_release(&b->range_high);
    table_summary_release(&b->summary);
    alloc_free(b);
}

uint64_t table_builder_bytes(const table_builder *b)
{
    return b->written + b->pending.size + b->block.bytes.size + b->index.size + b->ranges.size +
           b->footer.entries * b->opt.bloom_bits / 8;
}

uint64_t table_builder_entries(const table_builder *b)
{
    return b->footer.entries;
}

static fkv_status write_pending(table_builder *b)
{
    fkv_status rc = buf_status(&b->pending);

    if (!rc && b->pending.size)
        rc = b->env->file_write(b->env, b->file, b->written, b->pending.data, b->pending.size);
    if (rc) return rc;
    b->written += b->pending.size;
    buf_clear(&b->pending);
    return FKV_OK;
}

/* Append a block with its trailer. */
static fkv_status append_block(table_builder *b, fkv_slice content, codec_id codec, int level,
                               block_handle *out)
{
    uint64_t offset = b->written + b->pending.size;
    size_t start;

    if (codec != CODEC_NONE &&
        codec_compress(&b->codec, codec, level, content.data, content.size, &b->compressed)) {
        content = buf_slice(&b->compressed);
        b->footer.codecs |= 1u << codec;
    } else {
        codec = CODEC_NONE;
    }
    start = b->pending.size;
    buf_append(&b->pending, content.data, content.size);
    buf_append_u8(&b->pending, (uint8_t)codec);
    if (b->pending.failed) return FKV_RAISE(FKV_NOMEM);
    buf_append_u32(&b->pending,
                   block_check(b->footer.unique_id, offset, b->pending.data + start, content.size));
    *out = (block_handle){offset, content.size};
    return b->pending.size >= WRITE_BYTES ? write_pending(b) : buf_status(&b->pending);
}

static fkv_status flush_block(table_builder *b)
{
    const codec_rule *rule = b->opt.rules ? codec_rules_find(b->opt.rules, b->block_space) : NULL;
    fkv_slice content;
    fkv_status rc = block_builder_finish(&b->block, &content);

    if (!rc && rule) {
        rc = append_block(b, content, (codec_id)rule->codec, rule->level, &b->waiting);
    } else if (!rc) {
        rc = append_block(b, content, b->opt.codec, b->opt.codec_level, &b->waiting);
    }
    block_builder_reset(&b->block);
    b->has_waiting = 1;
    b->blocks++;
    return rc;
}

/* A block has rows of one keyspace only, where that matters. */
static int starts_another_space(const table_builder *b, fkv_slice key)
{
    return b->opt.rules && codec_rules_space(key) != b->block_space;
}

/* The next key (or the end) is known: index the block that waits for it. */
static fkv_status index_waiting(table_builder *b, fkv_slice next_key)
{
    if (!b->has_waiting) return FKV_OK;
    index_separator(buf_slice(&b->last_key), next_key, &b->separator);
    index_append(&b->index, buf_slice(&b->separator), b->waiting);
    b->has_waiting = 0;
    if (b->separator.failed) return FKV_RAISE(FKV_NOMEM);
    if (b->index.size > INDEX_MAX)
        return FKV_RAISEF(FKV_TOOBIG, "the keys are too long for one table's index");
    return buf_status(&b->index);
}

static fkv_status add(table_builder *b, entry_kind kind, fkv_slice key, fkv_slice value,
                      int64_t expires_ms)
{
    fkv_status rc = FKV_OK;

    if (kind < ENTRY_PUT || kind > ENTRY_PUT_EXPIRES) return FKV_RAISE(FKV_INVALID);
    if (key.size > FKV_KEY_MAX || value.size > FKV_VALUE_MAX)
        return FKV_RAISEF(FKV_TOOBIG, "a row of %zu bytes does not fit a table",
                          key.size + value.size);
    if (b->footer.entries && slice_compare(buf_slice(&b->last_key), key) >= 0)
        return FKV_RAISEF(FKV_CORRUPT, "keys out of order while writing a table");
    if (b->block.entries &&
        (block_builder_bytes(&b->block) + key.size + value.size + 16 > b->opt.block_bytes ||
         starts_another_space(b, key)))
        rc = flush_block(b);
    b->block_space = codec_rules_space(key);
    if (!rc) rc = index_waiting(b, key.data ? key : fkv_slice_of("", 0));
    if (rc) return rc;
    if (b->footer.entries == 0) buf_set(&b->summary.smallest, key);
    block_builder_add(&b->block, kind, key, value, expires_ms);
    if (b->opt.bloom_bits) {
        uint64_t hash = hash64(key.data, key.size, 0);
        buf_append(&b->hashes, &hash, sizeof hash);
    }
    buf_set(&b->last_key, key);
    b->footer.entries++;
    b->footer.deletions += kind == ENTRY_DELETE;
    if (kind == ENTRY_PUT_EXPIRES) {
        b->footer.expiring++;
        lifetimes_add(&b->lives, expires_ms);
    }
    b->footer.raw_bytes += key.size + value.size;
    return b->last_key.failed || b->hashes.failed || b->block.bytes.failed ||
                   b->summary.smallest.failed
               ? FKV_RAISE(FKV_NOMEM)
               : FKV_OK;
}

fkv_status table_builder_add(table_builder *b, entry_kind kind, fkv_slice key, fkv_slice value,
                             int64_t expires_ms)
{
    if (!b->failed) b->failed = add(b, kind, key, value, expires_ms);
    return b->failed;
}

fkv_status table_builder_add_range(table_builder *b, fkv_slice from, fkv_slice to)
{
    if (b->failed) return b->failed;
    if (slice_compare(from, to) >= 0 ||
        (b->range_high_set && slice_compare(from, buf_slice(&b->range_high)) < 0)) {
        b->failed = FKV_RAISEF(FKV_CORRUPT, "range tombstones out of order while writing a table");
        return b->failed;
    }
    if (!b->range_high_set) buf_set(&b->range_low, from);
    b->range_high_set = 1;
    buf_append_slice(&b->ranges, from);
    buf_append_slice(&b->ranges, to);
    buf_set(&b->range_high, to);
    b->footer.range_count++;
    if (b->ranges.failed || b->range_low.failed || b->range_high.failed)
        b->failed = FKV_RAISE(FKV_NOMEM);
    return b->failed;
}

/* Bounds over entries and ranges. */
static fkv_status settle_bounds(table_builder *b)
{
    table_summary *s = &b->summary;

    if (b->footer.entries) buf_set(&s->largest, buf_slice(&b->last_key));
    if (s->largest.failed) return FKV_RAISE(FKV_NOMEM); /* setting it again would forget that */
    if (b->range_high_set) {
        fkv_slice low = buf_slice(&b->range_low), high = buf_slice(&b->range_high);
        if (!b->footer.entries || slice_compare(low, buf_slice(&s->smallest)) < 0)
            buf_set(&s->smallest, low);
        if (!b->footer.entries || slice_compare(high, buf_slice(&s->largest)) > 0) {
            buf_set(&s->largest, high);
            s->largest_open = 1;
        }
    }
    return s->smallest.failed || s->largest.failed ? FKV_RAISE(FKV_NOMEM) : FKV_OK;
}

static fkv_status write_filter(table_builder *b)
{
    buf filter = {0};
    fkv_status rc;

    if (b->hashes.size == 0) return FKV_OK;
    filter_build((const uint64_t *)(const void *)b->hashes.data, b->hashes.size / 8,
                 b->opt.bloom_bits, &filter);
    rc = buf_status(&filter);
    if (!rc) rc = append_block(b, buf_slice(&filter), CODEC_NONE, 0, &b->footer.filter);
    buf_release(&filter);
    return rc;
}

static fkv_status finish(table_builder *b)
{
    uint8_t footer[FOOTER_BYTES];
    fkv_status rc = FKV_OK;

    if (b->block.entries) rc = flush_block(b);
    if (!rc) rc = index_waiting(b, fkv_slice_of(NULL, 0));
    if (rc) return rc;
    b->footer.data_end = b->written + b->pending.size;
    rc = write_filter(b);
    if (!rc && b->ranges.size)
        rc = append_block(b, buf_slice(&b->ranges), CODEC_NONE, 0, &b->footer.ranges);
    index_finish(&b->index, b->blocks);
    if (!rc) rc = buf_status(&b->index);
    if (!rc) rc = append_block(b, buf_slice(&b->index), CODEC_NONE, 0, &b->footer.index);
    if (!rc) rc = settle_bounds(b);
    if (rc) return rc;
    footer_encode(&b->footer, b->written + b->pending.size, footer);
    buf_append(&b->pending, footer, sizeof footer);
    rc = write_pending(b);
    if (!rc && !SABOTAGE(4)) rc = b->env->file_sync(b->env, b->file);
    return rc;
}

static int64_t half_gone(table_builder *b)
{
    uint64_t half = (b->footer.entries + 1) / 2, gone = b->footer.deletions;

    return lifetimes_moment(&b->lives, half > gone ? half - gone : 0);
}

fkv_status table_builder_finish(table_builder *b, table_summary *out)
{
    *out = (table_summary){0};
    if (!b->failed) b->failed = finish(b);
    if (b->failed) return b->failed;
    b->summary.file_bytes = b->written;
    b->summary.unique_id = b->footer.unique_id;
    b->summary.entries = b->footer.entries;
    b->summary.deletions = b->footer.deletions;
    b->summary.expiring = b->footer.expiring;
    b->summary.ranges = b->footer.range_count;
    b->summary.raw_bytes = b->footer.raw_bytes;
    b->summary.first_expiry = b->lives.first_ms;
    b->summary.half_gone = half_gone(b);
    *out = b->summary;
    b->summary = (table_summary){0};
    return FKV_OK;
}
