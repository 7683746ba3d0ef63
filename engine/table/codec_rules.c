#include "table/codec_rules.h"

#include <string.h>

#include "base/coding.h"

/* The first rule of this space or a higher one. */
static uint32_t lower_bound(const codec_rules *rules, uint32_t space)
{
    uint32_t low = 0, high = rules->count;

    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (rules->items[mid].space < space) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static int has(const codec_rules *rules, uint32_t at, uint32_t space)
{
    return at < rules->count && rules->items[at].space == space;
}

int codec_rules_set(codec_rules *rules, codec_rule rule)
{
    uint32_t at = lower_bound(rules, rule.space);

    if (!has(rules, at, rule.space)) {
        if (rules->count == CODEC_RULES_MAX) return 0;
        memmove(&rules->items[at + 1], &rules->items[at],
                (rules->count - at) * sizeof rules->items[0]);
        rules->count++;
    }
    rules->items[at] = rule;
    return 1;
}

static void take_out(codec_rules *rules, uint32_t space)
{
    uint32_t at = lower_bound(rules, space);

    if (!has(rules, at, space)) return;
    rules->count--;
    memmove(&rules->items[at], &rules->items[at + 1], (rules->count - at) * sizeof rules->items[0]);
}

void codec_rules_overlay(codec_rules *rules, const codec_rules *over)
{
    for (uint32_t i = 0; i < over->count; i++) {
        if (over->items[i].codec == CODEC_NO_RULE) {
            take_out(rules, over->items[i].space);
        } else {
            (void)codec_rules_set(rules, over->items[i]);
        }
    }
}

const codec_rule *codec_rules_find(const codec_rules *rules, uint32_t space)
{
    uint32_t at = lower_bound(rules, space);

    return has(rules, at, space) ? &rules->items[at] : NULL;
}

uint32_t codec_rules_space(fkv_slice key)
{
    return key.size < 4 ? 0 : get_be32(key.data);
}
