/* A table's index: searches agree with a walk from the beginning, and what was put in comes out.
** test-modes: release asan */
#include <stdlib.h>

#include "base/alloc.h"
#include "check.h"
#include "table/index.h"

enum { KEYS_MAX = 700, KEY_ROOM = 64 };

typedef struct key {
    size_t size;
    uint8_t bytes[KEY_ROOM];
} key;

/* How the keys of one index are made: few letters and short tails give ties and neighbours. */
typedef struct shape {
    size_t common;     /* bytes that all begin with */
    int ties;          /* eight more that most have in common, so that prefixes tie */
    uint64_t alphabet; /* of the tail */
    size_t tail_max;
} shape;

typedef struct sample {
    key keys[KEYS_MAX];
    block_handle handles[KEYS_MAX];
    size_t count;
    uint64_t data_end;
} sample;

static fkv_slice slice_of(const key *k)
{
    return fkv_slice_of(k->bytes, k->size);
}

static int compare(const void *a, const void *b)
{
    return slice_compare(slice_of(a), slice_of(b));
}

static key make_key(const shape *s)
{
    key k = {.size = s->common};
    size_t tail = check_below(s->tail_max + 1);

    memset(k.bytes, 'p', s->common);
    for (int i = 0; s->ties && i < 8; i++)
        k.bytes[k.size++] = check_below(20) ? 1 : (uint8_t)check_below(3);
    if (s->ties && check_below(4) == 0) k.size -= check_below(9);
    for (size_t i = 0; i < tail; i++) k.bytes[k.size++] = (uint8_t)check_below(s->alphabet);
    return k;
}

static void make_sample(const shape *how, size_t wanted, sample *s)
{
    *s = (sample){.count = 0};
    for (size_t i = 0; i < wanted; i++) s->keys[i] = make_key(how);
    qsort(s->keys, wanted, sizeof *s->keys, compare);
    for (size_t i = 0; i < wanted; i++) {
        block_handle *h = &s->handles[s->count];
        if (s->count && compare(&s->keys[s->count - 1], &s->keys[i]) == 0) continue;
        s->keys[s->count++] = s->keys[i];
        *h = (block_handle){s->data_end, 1 + check_below(check_below(3) ? 5000 : 1ull << 40)};
        s->data_end += h->size + BLOCK_TRAILER;
    }
}

static void open_index(const sample *s, table_index *x)
{
    buf bytes = {0};
    block *b;

    for (size_t i = 0; i < s->count; i++)
        index_append(&bytes, slice_of(&s->keys[i]), s->handles[i]);
    index_finish(&bytes, (uint32_t)s->count);
    b = block_new(bytes.size);
    REQUIRE(b);
    memcpy(b->data, bytes.data, bytes.size);
    buf_release(&bytes);
    REQUIRE_OK(index_open(x, b, s->data_end));
}

/* One that is there, one beside it, or any. */
static key pick_key(const shape *how, const sample *s)
{
    key k = s->count && check_below(4) ? s->keys[check_below(s->count)] : make_key(how);

    switch (check_below(5)) {
    case 0:
        if (k.size < KEY_ROOM) k.bytes[k.size++] = 0;
        break;
    case 1:
        if (k.size) k.size--;
        break;
    case 2:
        if (k.size) k.bytes[check_below(k.size)] += (uint8_t)(check_below(3) - 1);
        break;
    default:
        break;
    }
    return k;
}

static void check_index(const shape *how, size_t wanted)
{
    static sample s;
    table_index x;
    size_t wrong = 0;

    make_sample(how, wanted, &s);
    open_index(&s, &x);
    CHECK(x.count == s.count);
    for (size_t i = 0; i < s.count; i++) {
        block_handle h = index_handle(&x, i);
        CHECK(h.offset == s.handles[i].offset && h.size == s.handles[i].size);
        CHECK(slice_equal(index_key(&x, i), slice_of(&s.keys[i])));
    }
    for (size_t i = 0; i < 60 + 2 * s.count; i++) {
        key k = pick_key(how, &s);
        uint8_t *alone = malloc(k.size ? k.size : 1); /* so that no byte behind it is read */
        size_t expected = 0;
        REQUIRE(alone);
        memcpy(alone, k.bytes, k.size);
        while (expected < s.count && compare(&s.keys[expected], &k) < 0) expected++;
        wrong += index_find(&x, fkv_slice_of(alone, k.size)) != expected;
        free(alone);
    }
    CHECK(wrong == 0);
    index_release(&x);
}

static void a_search_agrees_with_a_walk(void)
{
    static const uint64_t alphabets[] = {2, 3, 256};

    for (int i = 0; i < 600; i++) {
        shape how = {check_below(3) ? check_below(20) : 0, (int)check_below(2),
                     alphabets[check_below(3)], 1 + check_below(15)};
        size_t groups = 16 * check_below(7), wanted = groups + check_below(3);
        if (wanted && check_below(2)) wanted--;
        check_index(&how, check_below(4) ? wanted : check_below(KEYS_MAX));
    }
}

TEST_MAIN("test_index", TEST_CASE(a_search_agrees_with_a_walk))
