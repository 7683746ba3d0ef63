/*
** wal_reader.c -- replaying a log segment, and knowing why it ends.
**
** A record that fails its checksum is either the tail of a log whose last writes never reached the
** disk, or bytes that were safely there and have been damaged since. Cutting the log at the second
** kind would lose acknowledged commits in silence, so the two must be told apart:
**
**   1. Every record carries durable_lsn: when it was written, everything below that had been
**      synced. If a valid record behind the bad place, or before it, claims a durable_lsn beyond
**      it, the bad bytes had been durable: FKV_CORRUPT.
**   2. The next segment's start_lsn says where this one ends (limit_lsn). Durable claims found in
**      later segments are checked by recovery, which knows them all.
**   3. Otherwise it is a torn tail: the log ends there.
**
** Looking for records behind the bad place is cheap: they start at multiples of 8 and each names
** its own LSN, so one comparison a step rejects nearly everything before a checksum is computed.
** A record of an earlier file in recycled blocks fails because the checksum has this file's salt.
*/
#include "base/alloc.h"
#include "wal/format.h"

struct wal_reader {
    fkv_env *env;
    uint8_t *bytes;
    size_t mapped, size; /* of the file; what could be read */
    wal_segment_info info;
    uint64_t salt;
    uint64_t position; /* LSN of the next record */
    uint64_t durable;
    uint64_t tried; /* bytes of what looked like records in searches */
    char name[FILENAME_BYTES_MAX];
};

static int all_zero(const uint8_t *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

fkv_status wal_header_parse(const uint8_t *h, size_t got, uint64_t store_id, const char *name,
                            wal_segment_info *info, uint64_t *salt)
{
    if (got < WAL_SEGMENT_HEADER ||
        get_u32(h + SEG_CRC) != checksum_at(store_id, info->number, h, SEG_CRC))
        return FKV_RAISEF(FKV_CORRUPT, "%s: damaged log header, or another store's, at offset 0",
                          name);
    if (get_u32(h + SEG_MAGIC) != WAL_MAGIC || get_u64(h + SEG_NUMBER) != info->number)
        return FKV_RAISEF(FKV_CORRUPT, "%s: not a log segment of this number", name);
    if (get_u32(h + SEG_VERSION) != WAL_VERSION)
        return FKV_RAISEF(FKV_UNSUPPORTED, "%s: log format %u is newer than this fastkv", name,
                          get_u32(h + SEG_VERSION));
    info->previous = get_u64(h + SEG_PREVIOUS);
    info->start_lsn = get_u64(h + SEG_START_LSN);
    if (info->start_lsn > WAL_LSN_MAX)
        return FKV_RAISEF(FKV_CORRUPT, "%s: an impossible position at offset 24", name);
    *salt = get_u64(h + SEG_SALT);
    memcpy(info->boot_id, h + SEG_BOOT_ID, sizeof info->boot_id);
    return FKV_OK;
}

static fkv_status parse_header(wal_reader *r, uint64_t store_id, uint64_t number)
{
    const uint8_t *h = r->bytes;

    if (r->size < WAL_SEGMENT_HEADER ||
        get_u32(h + SEG_CRC) != checksum_at(store_id, number, h, SEG_CRC)) {
        /* The header is synced before the first record. If there is none, this is a segment whose
        ** creation was cut short, or one whose damage costs nothing. */
        if (r->size <= WAL_SEGMENT_HEADER ||
            all_zero(h + WAL_SEGMENT_HEADER, r->size - WAL_SEGMENT_HEADER)) {
            r->info.empty = 1;
            return FKV_OK;
        }
    }
    return wal_header_parse(h, r->size, store_id, r->name, &r->info, &r->salt);
}

/* A reader with the whole file in memory and nothing parsed. */
static fkv_status load_segment(fkv_env *env, env_dir *dir, uint64_t number, wal_reader **out)
{
    wal_reader *r = alloc_zero(sizeof *r);
    env_file *file = NULL;
    uint64_t size = 0;
    fkv_status rc;

    *out = NULL;
    if (!r) return FKV_RAISE(FKV_NOMEM);
    filename_wal(number, r->name);
    r->env = env;
    r->info.number = number;
    rc = env->file_open(env, dir, r->name, ENV_READ | ENV_UNCACHED, &file);
    if (!rc) rc = env->file_size(env, file, &size);
    if (!rc && size > SIZE_MAX / 2) rc = FKV_RAISEF(FKV_CORRUPT, "%s: impossible size", r->name);
    if (!rc) {
        r->mapped = (size_t)size;
        r->bytes = env->map(env, r->mapped, 1);
        if (!r->bytes) rc = FKV_RAISE(FKV_NOMEM);
    }
    if (!rc) rc = env->file_read(env, file, 0, r->bytes, (size_t)size, &r->size);
    env->file_close(env, file);
    if (rc) {
        wal_reader_close(r);
        return rc;
    }
    *out = r;
    return FKV_OK;
}

fkv_status wal_reader_open(fkv_env *env, env_dir *dir, uint64_t store_id, uint64_t number,
                           wal_reader **out)
{
    fkv_status rc = load_segment(env, dir, number, out);

    if (rc) return rc;
    rc = parse_header(*out, store_id, number);
    (*out)->position = (*out)->info.start_lsn;
    if (rc) {
        wal_reader_close(*out);
        *out = NULL;
    }
    return rc;
}

fkv_status wal_segment_blank(fkv_env *env, env_dir *dir, uint64_t number, int *blank)
{
    wal_reader *r = NULL;
    fkv_status rc = load_segment(env, dir, number, &r);

    *blank = 0;
    if (rc) return rc;
    *blank = r->size <= WAL_SEGMENT_HEADER ||
             all_zero(r->bytes + WAL_SEGMENT_HEADER, r->size - WAL_SEGMENT_HEADER);
    wal_reader_close(r);
    return FKV_OK;
}

void wal_reader_close(wal_reader *r)
{
    if (!r) return;
    r->env->unmap(r->env, r->bytes, r->mapped);
    alloc_free(r);
}

const wal_segment_info *wal_reader_info(const wal_reader *r)
{
    return &r->info;
}

uint64_t wal_reader_position(const wal_reader *r)
{
    return r->position;
}

uint64_t wal_reader_durable(const wal_reader *r)
{
    return r->durable;
}

int wal_record_parse(const uint8_t *p, size_t left, uint64_t salt, uint64_t lsn, wal_record *out,
                     uint64_t *durable)
{
    uint32_t size;

    if (left < WAL_RECORD_HEADER) return 0;
    size = get_u32(p + REC_SIZE);
    if (get_u64(p + REC_LSN) != lsn || size % 8 != 0 || size > left - WAL_RECORD_HEADER) return 0;
    if (get_u32(p + REC_CRC) != wal_record_crc(salt, lsn, p, WAL_RECORD_HEADER + (size_t)size))
        return 0;
    out->type = (wal_type)p[REC_TYPE];
    out->flags = p[REC_FLAGS];
    out->count = get_u32(p + REC_COUNT);
    out->lsn = lsn;
    out->first_seq = get_u64(p + REC_FIRST_SEQ);
    out->ref = get_u64(p + REC_REF);
    out->payload = p + WAL_RECORD_HEADER;
    out->size = size;
    *durable = get_u64(p + REC_DURABLE);
    return out->type >= WAL_PREPARE && out->type <= WAL_ABORT;
}

/* Is there a whole, valid record at this LSN? */
static int parse_record(const wal_reader *r, uint64_t lsn, wal_record *out, uint64_t *durable)
{
    uint64_t offset = WAL_SEGMENT_HEADER + (lsn - r->info.start_lsn);

    if (offset > r->size) return 0;
    return wal_record_parse(r->bytes + offset, r->size - (size_t)offset, r->salt, lsn, out,
                            durable);
}

/* Find a record at or behind *lsn. 1 and *lsn, 0 there is none, -1 the search has cost too much:
** each record is looked at once, and few bytes look like one by chance, but a forger can make all
** of a segment look like the beginning of large ones. */
static int find_record(wal_reader *r, uint64_t *lsn, wal_record *out, uint64_t *durable)
{
    uint64_t end = r->size - WAL_SEGMENT_HEADER, most = 16 * (uint64_t)r->size + (1 << 20);

    for (uint64_t at = *lsn - r->info.start_lsn; at + WAL_RECORD_HEADER <= end; at += 8) {
        const uint8_t *p = r->bytes + WAL_SEGMENT_HEADER + at;
        if (get_u64(p + REC_LSN) != r->info.start_lsn + at) continue;
        if (get_u32(p + REC_SIZE) <= end - at) r->tried += get_u32(p + REC_SIZE);
        if (r->tried > most) return -1;
        *lsn = r->info.start_lsn + at;
        if (parse_record(r, *lsn, out, durable)) return 1;
    }
    return 0;
}

/* The bytes at `position` are no record. Had they been durable? */
static fkv_status judge_end(wal_reader *r)
{
    uint64_t bad = r->position, lsn = bad + 8, durable;
    wal_record record;
    int found;

    while ((found = find_record(r, &lsn, &record, &durable)) > 0) {
        if (durable > r->durable) r->durable = durable;
        lsn += WAL_RECORD_HEADER + record.size;
    }
    if (found < 0 || (r->durable > bad && !SABOTAGE(30)))
        return FKV_RAISEF(FKV_CORRUPT, "%s: damaged log record at offset %llu", r->name,
                          (unsigned long long)(WAL_SEGMENT_HEADER + (bad - r->info.start_lsn)));
    return FKV_NOTFOUND;
}

fkv_status wal_reader_next(wal_reader *r, uint64_t limit_lsn, wal_record *out)
{
    uint64_t durable = 0;

    if (r->info.empty || r->position >= limit_lsn) return FKV_NOTFOUND;
    if (!parse_record(r, r->position, out, &durable)) return judge_end(r);
    if (durable > r->durable) r->durable = durable;
    r->position += WAL_RECORD_HEADER + out->size;
    return FKV_OK;
}

/* The first record knows as well where it is. */
static int first_record_lsn(const wal_reader *r, uint64_t *lsn)
{
    const uint8_t *p = r->bytes + WAL_SEGMENT_HEADER;
    wal_record record;
    uint64_t durable;

    *lsn = get_u64(p + REC_LSN);
    return *lsn <= WAL_LSN_MAX &&
           wal_record_parse(p, r->size - WAL_SEGMENT_HEADER, r->salt, *lsn, &record, &durable);
}

fkv_status wal_reader_open_damaged(fkv_env *env, env_dir *dir, uint64_t store_id, uint64_t number,
                                   wal_reader **out, int *sure)
{
    fkv_status rc = load_segment(env, dir, number, out);
    wal_reader *r = *out;
    const uint8_t *h;
    uint64_t lsn;

    *sure = 0;
    if (rc) return rc;
    r->info.empty = r->size < WAL_SEGMENT_HEADER + WAL_RECORD_HEADER ||
                    all_zero(r->bytes + WAL_SEGMENT_HEADER, r->size - WAL_SEGMENT_HEADER);
    if (r->info.empty) return FKV_OK;
    h = r->bytes;
    r->salt = get_u64(h + SEG_SALT);
    r->info.previous = get_u64(h + SEG_PREVIOUS);
    memcpy(r->info.boot_id, h + SEG_BOOT_ID, sizeof r->info.boot_id);
    r->info.start_lsn = get_u64(h + SEG_START_LSN);
    *sure = get_u32(h + SEG_CRC) == checksum_at(store_id, number, h, SEG_CRC);
    /* No record can be proved without the salt: a bit that has flipped in it is flipped back. */
    for (int bit = -1; !*sure && bit < 64; bit++) {
        r->salt = get_u64(h + SEG_SALT) ^ (bit < 0 ? 0 : (uint64_t)1 << bit);
        *sure = first_record_lsn(r, &lsn);
        if (*sure) r->info.start_lsn = lsn;
    }
    r->info.empty = r->info.start_lsn > WAL_LSN_MAX;
    r->position = r->info.start_lsn;
    return FKV_OK;
}

int wal_reader_search(wal_reader *r, uint64_t limit_lsn, wal_record *out, uint64_t *skipped)
{
    uint64_t lsn = r->position, durable;

    *skipped = 0;
    if (r->info.empty || r->position >= limit_lsn) return 0;
    if (find_record(r, &lsn, out, &durable) <= 0 || lsn >= limit_lsn) return 0;
    *skipped = lsn - r->position;
    if (durable > r->durable) r->durable = durable;
    r->position = lsn + WAL_RECORD_HEADER + out->size;
    return 1;
}

uint64_t wal_reader_rest(const wal_reader *r)
{
    uint64_t at, used = r->size;

    if (r->info.empty) return 0;
    at = WAL_SEGMENT_HEADER + (r->position - r->info.start_lsn);
    while (used > at && r->bytes[used - 1] == 0) used--;
    return used > at ? used - at : 0;
}

uint64_t wal_reader_limit(const wal_reader *r)
{
    return r->info.empty ? 0 : r->info.start_lsn + (r->size - WAL_SEGMENT_HEADER);
}
