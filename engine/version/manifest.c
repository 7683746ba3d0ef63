#include "version/manifest.h"

#include "base/alloc.h"
#include "base/checksum.h"
#include "base/coding.h"
#include "base/sabotage.h"
#include "io/filename.h"

#define MANIFEST_MAGIC 0x4d564b46u /* "FKVM" */
#define MANIFEST_VERSION 1u
#define MANIFEST_BYTES_MAX UINT32_MAX
#define MANIFEST_NUMBER_MAX ((uint64_t)1 << 62) /* counters go on from here and must not wrap */
enum { MANIFEST_FILES = 16 + 11 * 8 };          /* where they begin in the body */
enum { MANIFEST_HEADER = 16 }; /* magic, version, size of the body, checksum of all but itself */

void manifest_put_file(buf *out, int level, const file_meta *f)
{
    const table_summary *s = &f->summary;

    buf_append_u8(out, (uint8_t)level);
    buf_append_u8(out, s->largest_open);
    buf_append_varint(out, f->number);
    buf_append_u64(out, s->unique_id);
    buf_append_varint(out, f->max_seq);
    buf_append_varint(out, s->file_bytes);
    buf_append_varint(out, s->entries);
    buf_append_varint(out, s->deletions);
    buf_append_varint(out, s->expiring);
    buf_append_varint(out, s->ranges);
    buf_append_varint(out, s->raw_bytes);
    if (s->expiring) {
        buf_append_u64(out, (uint64_t)s->first_expiry);
        buf_append_u64(out, (uint64_t)s->half_gone);
    }
    buf_append_slice(out, file_smallest(f));
    buf_append_slice(out, file_largest(f));
}

static const uint8_t *get_key(const uint8_t *p, const uint8_t *end, buf *out)
{
    uint64_t size;

    p = get_varint64(p, end, &size);
    if (!p || size > (uint64_t)(end - p)) return NULL;
    buf_append(out, p, (size_t)size);
    return p + size;
}

static const uint8_t *get_lifetimes(const uint8_t *p, const uint8_t *end, table_summary *s)
{
    if (s->expiring == 0) return p;
    if (end - p < 16) return NULL;
    s->first_expiry = (int64_t)get_u64(p);
    s->half_gone = (int64_t)get_u64(p + 8);
    return p + 16;
}

static fkv_status bad_manifest(const char *what)
{
    return FKV_RAISEF(FKV_CORRUPT, "manifest: %s", what);
}

fkv_status manifest_get_file(const uint8_t **cursor, const uint8_t *end, table_home *home,
                             int *level, file_meta **out)
{
    const uint8_t *p = *cursor;
    table_summary s = {0};
    uint64_t number = 0, max_seq = 0;
    uint64_t *fields[] = {&max_seq,    &s.file_bytes, &s.entries,  &s.deletions,
                          &s.expiring, &s.ranges,     &s.raw_bytes};
    fkv_status rc = FKV_OK;

    *out = NULL;
    if (end - p < 2 || p[0] >= FKV_LEVELS || p[1] > 1) return bad_manifest("bad table entry");
    *level = p[0];
    s.largest_open = p[1];
    p = get_varint64(p + 2, end, &number);
    if (!p || end - p < 8) return bad_manifest("bad table entry");
    s.unique_id = get_u64(p);
    p += 8;
    for (size_t i = 0; p && i < sizeof fields / sizeof fields[0]; i++)
        p = get_varint64(p, end, fields[i]);
    if (p) p = get_lifetimes(p, end, &s);
    if (p) p = get_key(p, end, &s.smallest);
    if (p) p = get_key(p, end, &s.largest);
    if (!p) {
        rc = bad_manifest("bad table entry");
    } else if (s.smallest.failed || s.largest.failed) {
        rc = FKV_RAISE(FKV_NOMEM);
    } else if (number > FILENAME_NUMBER_NAMED || max_seq > MANIFEST_NUMBER_MAX) {
        rc = bad_manifest("an impossible number");
    } else if (slice_compare(buf_slice(&s.smallest), buf_slice(&s.largest)) >
               -(int)s.largest_open) {
        rc = bad_manifest("a table whose bounds are the wrong way round");
    } else {
        rc = file_meta_new(home, number, max_seq, &s, out);
    }
    table_summary_release(&s);
    if (!rc) *cursor = p;
    return rc;
}

run_list run_list_of(const uint8_t *payload, size_t size)
{
    run_list l = {0};

    if (size < 16) return l;
    l.next_space = get_u64(payload);
    l.left = get_u64(payload + 8);
    l.at = payload + 16;
    l.end = payload + size;
    return l;
}

fkv_status run_list_next(run_list *l, table_home *home, file_meta **out)
{
    int level = 0;

    l->left--;
    return manifest_get_file(&l->at, l->end, home, &level, out);
}

fkv_status run_list_add(run_list l, table_home *home, version_edit *edit)
{
    fkv_status rc = FKV_OK;

    while (!rc && l.left > 0) {
        file_meta *f = NULL;
        rc = run_list_next(&l, home, &f);
        if (!rc) rc = version_edit_add(edit, 0, f);
        file_meta_unref(f);
    }
    return rc;
}

/* Over the body; the version and the size take part as its place. */
static uint32_t body_check(const uint8_t *p, size_t size)
{
    return checksum_at(get_u32(p), get_u64(p + 4), p + MANIFEST_HEADER, size - MANIFEST_HEADER);
}

static void encode_codecs(buf *out, const codec_rules *rules, int always)
{
    if (rules->count == 0 && !always) return;
    buf_append_varint(out, rules->count);
    for (uint32_t i = 0; i < rules->count; i++) {
        buf_append_u32(out, rules->items[i].space);
        buf_append_u8(out, rules->items[i].codec);
        buf_append_u8(out, rules->items[i].level);
    }
}

static void encode_keeping(buf *out, const log_keeping *k)
{
    if (!log_keeping_on(k)) return;
    buf_append_u64(out, k->bytes);
    buf_append_u64(out, k->ms);
    buf_append_u64(out, k->after);
    buf_append_u32(out, k->count);
    for (uint32_t i = 0; i < k->count; i++) {
        buf_append_u64(out, k->logs[i].number);
        buf_append_u64(out, k->logs[i].start_lsn);
        buf_append_u64(out, k->logs[i].first_seq);
        buf_append_u64(out, (uint64_t)k->logs[i].retired_ms);
    }
    buf_append_u64(out, k->generation);
}

#define KEPT_MS_MAX ((uint64_t)1 << 53)

static fkv_status decode_keeping(const uint8_t *p, const uint8_t *end, uint64_t log_number,
                                 log_keeping *k)
{
    *k = (log_keeping){0};
    if (p == end) return FKV_OK;
    if (end - p < 28) return bad_manifest("bytes behind the last codec");
    k->bytes = get_u64(p);
    k->ms = get_u64(p + 8);
    k->after = get_u64(p + 16);
    k->count = get_u32(p + 24);
    p += 28;
    if (!log_keeping_on(k) || k->ms > KEPT_MS_MAX || k->count > KEPT_LOGS_MAX ||
        ((uint64_t)(end - p) != k->count * 32ull && (uint64_t)(end - p) != k->count * 32ull + 8))
        return bad_manifest("a bad list of logs that are kept");
    if ((uint64_t)(end - p) > k->count * 32ull) k->generation = get_u64(end - 8);
    for (uint32_t i = 0; i < k->count; i++, p += 32) {
        kept_log *l = &k->logs[i];
        *l = (kept_log){get_u64(p), get_u64(p + 8), get_u64(p + 16), (int64_t)get_u64(p + 24)};
        if (l->number >= log_number)
            return bad_manifest("a log that is needed among those that are kept");
        if (i > 0 && (l[-1].number >= l->number || l[-1].start_lsn > l->start_lsn))
            return bad_manifest("logs that are kept, out of order");
    }
    return FKV_OK;
}

static fkv_status decode_codecs(const uint8_t **cursor, const uint8_t *end, codec_rules *out)
{
    const uint8_t *p = *cursor;
    uint64_t count = 0;

    *out = (codec_rules){0};
    if (p == end) return FKV_OK;
    p = get_varint64(p, end, &count);
    if (!p || count > CODEC_RULES_MAX || (uint64_t)(end - p) < count * 6 || (!count && p == end))
        return bad_manifest("bytes behind the last table");
    *cursor = p + count * 6;
    for (; p < *cursor; p += 6) {
        codec_rule *rule = &out->items[out->count++];
        *rule = (codec_rule){get_u32(p), p[4], p[5]};
        if (out->count > 1 && rule[-1].space >= rule->space)
            return bad_manifest("codecs out of order");
        if (rule->codec > CODEC_ZSTD) return bad_manifest("an unknown codec");
    }
    return FKV_OK;
}

static void encode(buf *out, const manifest *m, const version *v)
{
    uint64_t files = 0;

    for (int i = 0; i < FKV_LEVELS; i++) files += v->levels[i].count;
    buf_append_u32(out, MANIFEST_MAGIC);
    buf_append_u32(out, MANIFEST_VERSION);
    buf_append_u32(out, 0); /* size and crc: known at the end */
    buf_append_u32(out, 0);
    buf_append(out, m->uuid, sizeof m->uuid);
    buf_append_u64(out, m->edit);
    buf_append_u64(out, m->next_number);
    buf_append_u64(out, m->next_space);
    buf_append_u64(out, m->last_seq);
    buf_append_u64(out, m->log_number);
    buf_append_u64(out, m->log_tail);
    buf_append_u64(out, m->log_lsn);
    buf_append_u64(out, m->clean_lsn);
    buf_append_u64(out, (uint64_t)m->clock_ms);
    buf_append_u64(out, m->host_id);
    buf_append_u64(out, m->tables_lsn);
    buf_append_varint(out, files);
    for (int i = 0; i < FKV_LEVELS; i++)
        for (size_t j = 0; j < v->levels[i].count; j++)
            manifest_put_file(out, i, v->levels[i].files[j]);
    encode_codecs(out, &m->codecs, log_keeping_on(&m->keep));
    encode_keeping(out, &m->keep);
    if (out->failed || out->size > MANIFEST_BYTES_MAX) return;
    put_u32(out->data + 8, (uint32_t)(out->size - MANIFEST_HEADER));
    put_u32(out->data + 12, body_check(out->data, out->size));
}

fkv_status manifest_save_as(fkv_env *env, env_dir *dir, const char *name, const manifest *m,
                            const version *v, int *maybe_new)
{
    buf bytes = {0};
    env_file *file = NULL;
    fkv_status rc;

    *maybe_new = 0;
    encode(&bytes, m, v);
    rc = buf_status(&bytes);
    if (!rc && bytes.size > MANIFEST_BYTES_MAX)
        rc = FKV_RAISEF(FKV_TOOBIG, "the keys at the borders of tables are too large");
    if (rc) goto done;
    rc = env->file_remove(env, dir, FILENAME_MANIFEST_TMP);
    if (rc && rc != FKV_NOTFOUND) goto done;
    rc = env->file_open(env, dir, FILENAME_MANIFEST_TMP, ENV_WRITE | ENV_CREATE | ENV_EXCLUSIVE,
                        &file);
    if (rc) goto done;
    rc = env->file_write(env, file, 0, bytes.data, bytes.size);
    if (rc) goto done;
    if (!SABOTAGE(1)) rc = env->file_sync(env, file);
    if (rc) goto done;
    *maybe_new = 1;
    rc = env->file_rename(env, dir, FILENAME_MANIFEST_TMP, name);
    if (rc) goto done;
    if (!SABOTAGE(2)) rc = env->dir_sync(env, dir);
done:
    env->file_close(env, file);
    buf_release(&bytes);
    return rc;
}

fkv_status manifest_save(fkv_env *env, env_dir *dir, const manifest *m, const version *v,
                         int *maybe_new)
{
    return manifest_save_as(env, dir, FILENAME_MANIFEST, m, v, maybe_new);
}

static fkv_status decode_files(const uint8_t **cursor, const uint8_t *end, table_home *home,
                               version_edit *edit)
{
    uint64_t files = 0;

    *cursor = get_varint64(*cursor, end, &files);
    if (!*cursor) return bad_manifest("bad table count");
    for (uint64_t i = 0; i < files; i++) {
        file_meta *f = NULL;
        int level = 0;
        fkv_status rc = manifest_get_file(cursor, end, home, &level, &f);
        if (!rc) rc = version_edit_add(edit, level, f);
        file_meta_unref(f);
        if (rc) return rc;
    }
    return FKV_OK;
}

static fkv_status decode(const uint8_t *p, size_t size, table_home *home, manifest *m,
                         version_edit *edit)
{
    const uint8_t *end = p + size;
    fkv_status rc;

    if (size < MANIFEST_FILES) return bad_manifest("too short");
    memcpy(m->uuid, p, 16);
    m->edit = get_u64(p + 16);
    m->next_number = get_u64(p + 24);
    m->next_space = (uint32_t)get_u64(p + 32);
    m->last_seq = get_u64(p + 40);
    m->log_number = get_u64(p + 48);
    m->log_tail = get_u64(p + 56);
    m->log_lsn = get_u64(p + 64);
    m->clean_lsn = get_u64(p + 72);
    m->clock_ms = (int64_t)get_u64(p + 80);
    m->host_id = get_u64(p + 88);
    m->tables_lsn = get_u64(p + 96);
    for (int at = 16; at < 104; at += 8) /* clean_lsn may be UINT64_MAX */
        if (get_u64(p + at) > MANIFEST_NUMBER_MAX && (at != 72 || m->clean_lsn != UINT64_MAX))
            return bad_manifest("an impossible number");
    if (get_u64(p + 32) > UINT32_MAX || m->next_number > FILENAME_NUMBER_NAMED ||
        m->log_number > FILENAME_NUMBER_NAMED || m->log_tail > FILENAME_NUMBER_NAMED)
        return bad_manifest("an impossible number");
    p += MANIFEST_FILES;
    rc = decode_files(&p, end, home, edit);
    if (rc) return rc;
    rc = decode_codecs(&p, end, &m->codecs);
    return rc ? rc : decode_keeping(p, end, m->log_number, &m->keep);
}

static fkv_status check_header(const uint8_t *p, size_t size)
{
    if (size < MANIFEST_HEADER || get_u32(p) != MANIFEST_MAGIC)
        return bad_manifest("this is not a fastkv manifest (offset 0)");
    if (get_u32(p + 12) != body_check(p, size) && !SABOTAGE(3))
        return bad_manifest("bad checksum (offset 12)");
    if (get_u32(p + 4) != MANIFEST_VERSION)
        return FKV_RAISEF(FKV_UNSUPPORTED, "manifest: format %u is newer than this fastkv",
                          get_u32(p + 4));
    if (get_u32(p + 8) != size - MANIFEST_HEADER) return bad_manifest("wrong size (offset 8)");
    return FKV_OK;
}

fkv_status manifest_load(fkv_env *env, env_dir *dir, table_home *home, manifest *m, version **out)
{
    return manifest_load_from(env, dir, FILENAME_MANIFEST, home, m, out);
}

static fkv_status read_file(fkv_env *env, env_dir *dir, const char *name, uint8_t **out,
                            size_t *got)
{
    env_file *file = NULL;
    uint64_t size = 0;
    fkv_status rc = env->file_open(env, dir, name, ENV_READ, &file);

    *out = NULL;
    *got = 0;
    if (!rc) rc = env->file_size(env, file, &size);
    if (!rc && size > MANIFEST_BYTES_MAX) rc = bad_manifest("impossible size");
    if (!rc) {
        *out = alloc_bytes((size_t)size);
        if (!*out) rc = FKV_RAISE(FKV_NOMEM);
    }
    if (!rc) rc = env->file_read(env, file, 0, *out, (size_t)size, got);
    env->file_close(env, file);
    return rc;
}

fkv_status manifest_load_from(fkv_env *env, env_dir *dir, const char *name, table_home *home,
                              manifest *m, version **out)
{
    version_edit edit = {0};
    version *empty = NULL;
    uint8_t *bytes = NULL;
    size_t got = 0;
    fkv_status rc;

    *out = NULL;
    *m = (manifest){0};
    rc = read_file(env, dir, name, &bytes, &got);
    if (!rc) rc = check_header(bytes, got);
    if (!rc) rc = decode(bytes + MANIFEST_HEADER, got - MANIFEST_HEADER, home, m, &edit);
    if (!rc) rc = version_new_empty(&empty);
    if (!rc) rc = version_apply(empty, &edit, out);
    version_unref(empty);
    version_edit_release(&edit);
    alloc_free(bytes);
    return rc;
}

fkv_status manifest_check_ages(const manifest *m, const version *v)
{
    for (int i = 0; i < FKV_LEVELS; i++) {
        for (size_t j = 0; j < v->levels[i].count; j++) {
            const file_meta *f = v->levels[i].files[j];
            if (f->max_seq > m->last_seq)
                return FKV_RAISEF(FKV_CORRUPT,
                                  "manifest: table %llu is newer (%llu) than the store (%llu)",
                                  (unsigned long long)f->number, (unsigned long long)f->max_seq,
                                  (unsigned long long)m->last_seq);
        }
    }
    return FKV_OK;
}

fkv_status manifest_load_damaged(fkv_env *env, env_dir *dir, table_home *home, version_edit *out)
{
    uint8_t *bytes = NULL;
    size_t got = 0;
    const uint8_t *p;
    fkv_status rc = read_file(env, dir, FILENAME_MANIFEST, &bytes, &got);

    if (!rc && got > MANIFEST_HEADER + MANIFEST_FILES) {
        p = bytes + MANIFEST_HEADER + MANIFEST_FILES;
        rc = decode_files(&p, bytes + got, home, out);
    }
    alloc_free(bytes);
    return rc == FKV_CORRUPT ? FKV_OK : rc; /* what could be read before that is there */
}
