/*
** test_manifest.c -- the one file that says what the store consists of: its content.
**
** What fails here when version/manifest.c is wrong:
**
**   - a table, a bound, a number or the order of level 0 changes between save and load
**     (round_trips, table_lines), or the bytes differ from FORMAT.md, so that older stores cannot
**     be read (bytes_as_documented);
**   - a damaged manifest is believed, so that tables are forgotten or rows come back; or it crashes
**     the reader; or the message does not say which file and where (every_bit, every_cut);
**   - bytes that a checksum vouches for lead the reader out of its buffer, or to a version whose
**     levels are not in order (forgeries, hostile_lines);
**   - a store of a newer fastkv is read as if it were an old one, or called damaged (newer_format).
**
** Replacing a manifest, and what can go wrong in between: test_manifest_replace.c.
*/
#include "manifest_model.h"

#include "base/checksum.h"

enum { HEADER = 16, FIXED = 104 };

static int scale(void)
{
    const char *given = getenv("FKV_TEST_SCALE");
    int n = given ? (int)strtol(given, NULL, 10) : 1;
    return n > 0 ? n : 1;
}

/* Put the right size and checksum into a manifest's header, as a forger would. */
static void forge(uint8_t *bytes, size_t size)
{
    put_u32(bytes + 8, (uint32_t)(size - HEADER));
    put_u32(bytes + 12,
            checksum_at(get_u32(bytes), get_u64(bytes + 4), bytes + HEADER, size - HEADER));
}

/* These bytes are refused with this status, in a sentence that names the file. */
static int refused(disk *d, const uint8_t *bytes, size_t size, fkv_status status, const char *word)
{
    state got = {0};
    fkv_status rc;
    int good;

    set_bytes(d, FILENAME_MANIFEST, bytes, size);
    rc = load(d, &got);
    good = rc == status && !got.v && strncmp(fkv_errmsg(), "manifest: ", 10) == 0 &&
           strstr(fkv_errmsg(), word);
    if (!good)
        (void)printf("  gave %d \"%s\", wanted %d and \"%s\"\n", (int)rc, fkv_errmsg(), (int)status,
                     word);
    version_unref(got.v);
    return good;
}

/* Levels as version.h promises them to every reader? */
static int in_order(const version *v)
{
    for (int i = 0; i < FKV_LEVELS; i++)
        for (size_t j = 1; j < v->levels[i].count; j++) {
            const file_meta *a = v->levels[i].files[j - 1], *b = v->levels[i].files[j];
            if (i > 0 && !file_before(a, file_smallest(b))) return 0;
            if (i == 0 && a->max_seq < b->max_seq) return 0;
            if (i == 0 && a->max_seq == b->max_seq && a->number < b->number) return 0;
        }
    return 1;
}

/* -- tests: what is saved is loaded --------------------------------------------------------- */

static void round_trips(void)
{
    disk d;
    state none;

    REQUIRE_OK(disk_open(&d));
    memset(&none, 0x5a, sizeof none);
    CHECK_STATUS(load(&d, &none), FKV_NOTFOUND);
    CHECK(!none.v && same_manifest(&none.m, &(manifest){0})); /* a new store begins with this */
    for (int round = 0; round < 300 * scale(); round++) {
        state s = state_new(round % 10 ? 6 : 100);
        int maybe_new;

        CHECK_STATUS(save(&d, &s, &maybe_new), FKV_OK);
        CHECK(in_order(s.v) && holds(&d, &s)); /* also over a larger one before it */
        if (round % 20 == 0) {
            REQUIRE_OK(disk_crash(&d, 0)); /* saved is durable */
            CHECK(holds(&d, &s));
        }
        CHECK_STATUS(d.mem->file_remove(d.mem, d.dir, FILENAME_MANIFEST_TMP), FKV_NOTFOUND);
        version_unref(s.v);
    }
    disk_close(&d);
}

/* Offsets and order as numbers, from FORMAT.md and not from manifest.c. */
static void bytes_as_documented(void)
{
    static const char line[] = "\x03\x01\xac\x02" /* level, largest_open, number 300 */
                               "\x08\x07\x06\x05\x04\x03\x02\x01"         /* unique_id */
                               "\x05\x80\x01\x09\x02\x03\x04\x7f"         /* max_seq .. raw_bytes */
                               "\x02\x01\0\0\0\0\0\0\x04\x03\0\0\0\0\0\0" /* expiry */
                               "\x01"                                     /* smallest */
                               "a"
                               "\x02" /* largest */
                               "zz"
                               "\x01" /* one codec: keyspace, zstd, level 19 */
                               "\x04\x03\x02\x01\x03\x13";
    table_summary sum = {128, 0x0102030405060708u, 9, 2, 3, 4, 127, 0x0102, 0x0304, {0}, {0}, 1};
    uint8_t head[FIXED];
    version_edit e = {0};
    file_meta *f = NULL;
    uint8_t *p;
    size_t size;
    int maybe_new;
    state s;
    disk d;

    REQUIRE_OK(disk_open(&d));
    buf_append(&sum.smallest, "a", 1);
    buf_append(&sum.largest, "zz", 2);
    REQUIRE_OK(file_meta_new(&home, 300, 5, &sum, &f));
    put_file(&e, 3, f);
    s = (state){random_manifest(), apply(&e)};
    s.m.codecs = (codec_rules){1, {{0x01020304, CODEC_ZSTD, 19}}};
    memcpy(head, s.m.uuid, 16);
    put_u64(head + 16, s.m.edit);
    put_u64(head + 24, s.m.next_number);
    put_u64(head + 32, s.m.next_space);
    put_u64(head + 40, s.m.last_seq);
    put_u64(head + 48, s.m.log_number);
    put_u64(head + 56, s.m.log_tail);
    put_u64(head + 64, s.m.log_lsn);
    put_u64(head + 72, s.m.clean_lsn);
    put_u64(head + 80, (uint64_t)s.m.clock_ms);
    put_u64(head + 88, s.m.host_id);
    put_u64(head + 96, s.m.tables_lsn);
    CHECK_STATUS(save(&d, &s, &maybe_new), FKV_OK);
    p = bytes_of(&d, "manifest", &size);
    CHECK(size == HEADER + FIXED + 1 + sizeof line - 1);
    CHECK(get_u32(p) == 0x4d564b46 && get_u32(p + 4) == 1 && get_u32(p + 8) == size - HEADER);
    CHECK(get_u32(p + 12) ==
          checksum_at(0x4d564b46, 1 | (uint64_t)(size - HEADER) << 32, p + HEADER, size - HEADER));
    CHECK(memcmp(p + HEADER, head, FIXED) == 0 && p[HEADER + FIXED] == 1);
    CHECK(memcmp(p + HEADER + FIXED + 1, line, sizeof line - 1) == 0);
    free(p);
    version_unref(s.v);
    disk_close(&d);
}

/* The line of a table also stands in the log, where lines follow one another. */
static void table_lines(void)
{
    for (int round = 0; round < 500 * scale(); round++) {
        file_meta *f = random_file(any_file(), 1, 2), *got = NULL;
        int level = (int)check_below(FKV_LEVELS), found = -1;
        const uint8_t *p;
        uint8_t *exact;
        buf b = {0};

        manifest_put_file(&b, level, f);
        exact = malloc(b.size); /* so that reading beyond it is seen */
        if (b.failed || !exact) exit(2);
        memcpy(exact, b.data, b.size);
        p = exact;
        REQUIRE_OK(manifest_get_file(&p, exact + b.size, &home, &found, &got));
        CHECK(p == exact + b.size && found == level && same_file(f, got));
        file_meta_unref(got);
        for (size_t cut = 0; cut < b.size; cut++) {
            p = exact + b.size - cut; /* the bytes must end where the memory does */
            memcpy(exact + b.size - cut, b.data, cut);
            CHECK_STATUS(manifest_get_file(&p, exact + b.size, &home, &found, &got), FKV_CORRUPT);
            CHECK(p == exact + b.size - cut && !got);
        }
        free(exact);
        buf_release(&b);
        file_meta_unref(f);
    }
}

/* -- tests: damage -------------------------------------------------------------------------- */

/* A saved manifest of a few tables, its bytes to be freed. */
static uint8_t *saved(disk *d, size_t most, size_t *size)
{
    uint8_t *bytes = NULL;

    do { /* not one with very long keys: the sweeps go over every bit */
        state s = state_new(most);
        int maybe_new;
        free(bytes);
        if (save(d, &s, &maybe_new)) exit(2);
        version_unref(s.v);
        bytes = bytes_of(d, FILENAME_MANIFEST, size);
    } while (*size > 2000 || (most && *size < 200));
    return bytes;
}

static void every_bit(void)
{
    disk d;

    REQUIRE_OK(disk_open(&d));
    for (int round = 0; round < 5 * scale(); round++) {
        size_t size;
        uint8_t *bytes = saved(&d, round ? 3 : 0, &size);

        for (size_t bit = 0; bit < size * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            REQUIRE(refused(&d, bytes, size, FKV_CORRUPT, "offset"));
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        free(bytes);
    }
    disk_close(&d);
}

static void every_cut(void)
{
    disk d;

    REQUIRE_OK(disk_open(&d));
    for (int round = 0; round < 20 * scale(); round++) {
        size_t size;
        uint8_t *bytes = saved(&d, round ? 3 : 0, &size);

        for (size_t cut = 0; cut < size; cut++) {
            int zeros = 1;
            REQUIRE(refused(&d, bytes, cut, FKV_CORRUPT, "offset"));
            for (size_t i = cut; i < size; i++) zeros = zeros && bytes[i] == 0;
            if (zeros) continue;
            uint8_t *torn = calloc(1, size);
            if (!torn) exit(2);
            memcpy(torn, bytes, cut);
            REQUIRE(refused(&d, torn, size, FKV_CORRUPT, "offset"));
            free(torn);
        }
        for (size_t more = 1; more < 20; more++) {
            bytes[size + more - 1] = (uint8_t)(more % 3);
            REQUIRE(refused(&d, bytes, size + more, FKV_CORRUPT, "offset"));
        }
        free(bytes);
    }
    disk_close(&d);
}

static void newer_format(void)
{
    static const uint32_t newer[] = {2, 3, 1000, UINT32_MAX};
    size_t size;
    uint8_t *bytes;
    disk d;

    REQUIRE_OK(disk_open(&d));
    bytes = saved(&d, 3, &size);
    for (size_t i = 0; i < sizeof newer / sizeof newer[0]; i++) {
        put_u32(bytes + 4, newer[i]);
        forge(bytes, size);
        CHECK(refused(&d, bytes, size, FKV_UNSUPPORTED, "newer"));
        put_u32(bytes + 8, 1); /* and whatever a newer one may keep in the other fields */
        put_u32(bytes + 12,
                checksum_at(get_u32(bytes), get_u64(bytes + 4), bytes + HEADER, size - HEADER));
        CHECK(refused(&d, bytes, size, FKV_UNSUPPORTED, "newer"));
        CHECK(strstr(fkv_errmsg(), "fastkv"));
    }
    put_u32(bytes + 4, 1);
    forge(bytes, size);
    put_u32(bytes + 8, (uint32_t)(size - HEADER + 1)); /* for a size the same trick is damage */
    put_u32(bytes + 12,
            checksum_at(get_u32(bytes), get_u64(bytes + 4), bytes + HEADER, size - HEADER));
    CHECK(refused(&d, bytes, size, FKV_CORRUPT, "size"));
    put_u32(bytes, 0x4d564b47); /* and so it is for a magic */
    forge(bytes, size);
    CHECK(refused(&d, bytes, size, FKV_CORRUPT, "not a fastkv manifest"));
    free(bytes);
    disk_close(&d);
}

/* Bytes that a checksum vouches for are still not trusted with memory. What is read must be whole
** and in order; the rest is refused in a sentence. */
static void forgeries(void)
{
    unsigned read = 0, refusals = 0;
    disk d;

    REQUIRE_OK(disk_open(&d));
    for (int round = 0; round < 300 * scale(); round++) {
        size_t size;
        uint8_t *bytes = saved(&d, 3, &size), *copy = malloc(size);

        if (!copy) exit(2);
        for (int i = 0; i < 40; i++) {
            static const uint8_t nasty[] = {0, 1, 0x7f, 0x80, 0xff};
            size_t n = check_below(8) ? size : HEADER + (size_t)check_below(size - HEADER);
            state got = {0};
            fkv_status rc;

            memcpy(copy, bytes, n);
            for (uint64_t k = check_below(6); k > 0 && n > HEADER + FIXED; k--)
                copy[HEADER + FIXED + check_below(n - HEADER - FIXED)] =
                    check_below(2) ? nasty[check_below(5)] : (uint8_t)check_random();
            forge(copy, n);
            set_bytes(&d, FILENAME_MANIFEST, copy, n);
            rc = load(&d, &got);
            CHECK((rc == FKV_OK) == (got.v != NULL));
            if (rc == FKV_OK) CHECK(in_order(got.v));
            if (rc) CHECK(rc == FKV_CORRUPT && strncmp(fkv_errmsg(), "manifest: ", 10) == 0);
            read += rc == FKV_OK;
            refusals += rc != FKV_OK;
            version_unref(got.v);
        }
        free(copy);
        free(bytes);
    }
    CHECK(read > 200 && refusals > 200);
    disk_close(&d);
}

/* One table line, 20 bytes, in a manifest of its own: each thing that it may not say. */
static void hostile_lines(void)
{
    enum { LINE = HEADER + FIXED + 1 };
    uint8_t bytes[LINE + 64] = {0}, *p = bytes + LINE;
    disk d;

    REQUIRE_OK(disk_open(&d));
    put_u32(bytes, 0x4d564b46);
    put_u32(bytes + 4, 1);
    for (int i = 0; i < 12; i++) {
        static const uint8_t good[] = {1, 0, 9, 1, 1, 1, 1, 1, 1,   1, 1,
                                       5, 5, 5, 5, 0, 0, 0, 1, 'a', 1, 'c'};
        size_t size = LINE + sizeof good;
        const char *word = "bad table entry";
        fkv_status status = FKV_CORRUPT;
        state got = {0};

        bytes[LINE - 1] = 1;
        memcpy(p, good, sizeof good);
        if (i == 0) p[0] = FKV_LEVELS;
        if (i == 1) p[1] = 2;
        if (i == 2) p[18] = 5;    /* a key that is longer than the file */
        if (i == 3) p[20] = 0xff; /* its length is not even whole */
        if (i == 4) memset(p + 2, 0xff, 11);
        if (i == 5) bytes[LINE - 1] = 2;
        if (i == 6) bytes[LINE - 1] = 0, word = "behind the last";
        if (i == 7) size += 1, bytes[LINE + sizeof good] = 0, word = "behind the last";
        if (i == 8) memset(bytes + LINE - 1, 0x80, 12), word = "count";
        if (i == 9) size = HEADER + FIXED - 1, word = "short";
        if (i == 10) { /* two tables in one place of a level */
            memcpy(p + sizeof good, good, sizeof good);
            size += sizeof good;
            bytes[LINE - 1] = 2;
            word = "overlap";
        }
        if (i == 11) status = FKV_OK;
        forge(bytes, size);
        set_bytes(&d, FILENAME_MANIFEST, bytes, size);
        if (status) CHECK(refused(&d, bytes, size, status, word));
        if (!status) CHECK_STATUS(load(&d, &got), FKV_OK);
        version_unref(got.v);
    }
    disk_close(&d);
}

TEST_MAIN("test_manifest", TEST_CASE(round_trips), TEST_CASE(bytes_as_documented),
          TEST_CASE(table_lines), TEST_CASE(every_bit), TEST_CASE(every_cut),
          TEST_CASE(newer_format), TEST_CASE(forgeries), TEST_CASE(hostile_lines))
