/* rowcode.h -- the columns outside the key as one value. */
#ifndef FASTKV_EXT_ROWCODE_H
#define FASTKV_EXT_ROWCODE_H

#include "keycode.h"

/* Begin a row: the header with one override per key column. */
void rowcode_begin(buf *out, const key_override *overrides, int key_count);

/* Append the next column, in declared order. `last`: no other follows. */
void rowcode_append(buf *out, const cell *c, int last);

/* A row being read: steps over columns in order and reads one. Safe on hostile bytes. */
typedef struct row_reader {
    const uint8_t *overrides; /* one byte per key column; NULL = none */
    fkv_slice rest;           /* columns from `next` on */
    int next;
    int count;
} row_reader;

/* 0 = fine, -1 = not a row. REQUIRES: the value outlives the reader. */
FKV_MUST_CHECK int rowcode_open(row_reader *r, fkv_slice value, int key_count, int column_count);

/* Read column `index` >= r->next. Bytes are borrowed from the value. 0 = fine, -1 = not a row. */
FKV_MUST_CHECK int rowcode_read(row_reader *r, int index, cell *out);

/* The short way for the commonest row: its only column is text or bytes and nothing is overridden.
** 1 and *out (borrowed from the value), or 0: go the long way. */
int rowcode_only(fkv_slice value, int column_count, cell *out);

static inline key_override rowcode_override(const row_reader *r, int key_index)
{
    return r->overrides ? (key_override)r->overrides[key_index] : OVERRIDE_NONE;
}

#endif
