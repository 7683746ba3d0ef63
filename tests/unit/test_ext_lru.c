/*
** The order of use, against a list: puts, touches, removals, recounts, at random.
*/
#include "check.h"
#include "lru.h"

enum { KEYS = 300 };

typedef struct model {
    int order[KEYS], count; /* newest first */
    size_t bytes[KEYS];
    int there[KEYS];
} model;

static fkv_slice key_of(int k, char out[16])
{
    return fkv_slice_of(out, (size_t)snprintf(out, 16, "%.*s%d", k % 5, "xxxx", k));
}

static void forget(model *m, int k)
{
    int at = 0;

    if (!m->there[k]) return;
    while (m->order[at] != k) at++;
    memmove(&m->order[at], &m->order[at + 1], (size_t)(--m->count - at) * sizeof(int));
    m->there[k] = 0;
}

static void newest(model *m, int k)
{
    forget(m, k);
    memmove(&m->order[1], &m->order[0], (size_t)m->count++ * sizeof(int));
    m->order[0] = k;
    m->there[k] = 1;
}

static void check(const model *m, const lru *l)
{
    size_t bytes = 0;
    fkv_slice oldest;
    char room[16];

    for (int i = 0; i < m->count; i++)
        bytes += m->bytes[m->order[i]] + key_of(m->order[i], room).size;
    CHECK(lru_count(l) == (size_t)m->count && lru_bytes(l) == bytes);
    CHECK(lru_oldest(l, &oldest) == (m->count > 0));
    if (m->count) {
        fkv_slice wanted = key_of(m->order[m->count - 1], room);
        CHECK(oldest.size == wanted.size && memcmp(oldest.data, wanted.data, wanted.size) == 0);
    }
}

/* Some of the keys are gone, others have come. */
static void recount(model *m, lru *l)
{
    char room[16];

    lru_begin_recount(l);
    for (int k = 0; k < KEYS; k++) {
        int there = m->there[k] ? check_below(10) > 0 : check_below(20) == 0;
        if (!there) {
            forget(m, k);
            continue;
        }
        if (!m->there[k]) { /* becomes the oldest */
            m->order[m->count++] = k;
            m->there[k] = 1;
        }
        m->bytes[k] = check_below(50);
        CHECK(lru_recount(l, key_of(k, room), m->bytes[k]));
    }
    lru_end_recount(l);
}

static void as_a_list(void)
{
    static model m;
    lru *l = lru_new();
    char room[16];

    REQUIRE(l);
    for (int step = 0; step < 20000; step++) {
        int k = (int)check_below(KEYS);
        switch (check_below(6)) {
        case 0:
        case 1:
            m.bytes[k] = check_below(1000);
            newest(&m, k);
            CHECK(lru_put(l, key_of(k, room), m.bytes[k]));
            break;
        case 2:
            if (m.there[k]) newest(&m, k);
            lru_touch(l, key_of(k, room));
            break;
        case 3:
            forget(&m, k);
            lru_remove(l, key_of(k, room));
            break;
        case 4:
            if (m.count) {
                k = m.order[m.count - 1];
                forget(&m, k);
                lru_remove(l, key_of(k, room));
            }
            break;
        default:
            if (check_below(50) == 0) recount(&m, l);
        }
        check(&m, l);
    }
    lru_free(l);
    lru_free(NULL);
}

TEST_MAIN("test_ext_lru", TEST_CASE(as_a_list))
