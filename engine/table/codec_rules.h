/*
** codec_rules.h -- which keyspaces are compressed otherwise than the rest.
**
** A table of the store holds rows of several keyspaces (the first four bytes of a key), and each of
** its blocks has a codec of its own: so every keyspace may have one.
*/
#ifndef FKV_TABLE_CODEC_RULES_H
#define FKV_TABLE_CODEC_RULES_H

#include "base/slice.h"

enum { CODEC_RULES_MAX = 256, CODEC_NO_RULE = 0xff };

typedef struct codec_rule {
    uint32_t space;
    uint8_t codec; /* codec_id, or in an overlay CODEC_NO_RULE: take the rule out */
    uint8_t level; /* 0 = the codec's default */
} codec_rule;

typedef struct codec_rules { /* by ascending space; zeroed = none */
    uint32_t count;
    codec_rule items[CODEC_RULES_MAX];
} codec_rules;

/* Add, or replace the one of the same space. 0: there is no room. */
int codec_rules_set(codec_rules *rules, codec_rule rule);

/* Add all of `over` to `rules`, and take out what it says is to go; what has no room is left. */
void codec_rules_overlay(codec_rules *rules, const codec_rules *over);

/* The rule for a keyspace, or NULL. */
const codec_rule *codec_rules_find(const codec_rules *rules, uint32_t space);

/* The keyspace of a key; 0 for one that is too short to be in any. */
uint32_t codec_rules_space(fkv_slice key);

#endif
