/* keycode.h -- key columns as bytes that memcmp sorts as SQLite sorts the values. */
#ifndef FASTKV_EXT_KEYCODE_H
#define FASTKV_EXT_KEYCODE_H

#include "affinity.h"
#include "base/buf.h"

/* Class tags, the first byte of every key column. Part of the file format: never renumber. */
enum {
    KEY_NUMBER = 0x10,
    KEY_TEXT = 0x20,
    KEY_BLOB = 0x30,
    KEY_END = 0x40 /* above every key column */
};

#define KEY_NUMBER_BYTES 11 /* tag, ordered double, remainder */

/* What a key column's stored value was when the key cannot tell (see rowcode.c). Part of the file
** format: never renumber. */
typedef enum key_override {
    OVERRIDE_NONE = 0,
    OVERRIDE_REAL = 1,         /* a REAL with an integral value */
    OVERRIDE_NEGATIVE_ZERO = 2 /* REAL -0.0 */
} key_override;

/* Append one column. REQUIRES: not NULL, not NaN. `last`: it is the last column of the key. */
void keycode_append(buf *out, const cell *c, int last);

/* The override with which this value comes back as it is, in a column of affinity a. */
key_override keycode_override(const cell *c, affinity a);

/* Take one column off the front of *key. Text is borrowed from the key, or from scratch when it had
** to be unescaped (appended: earlier results may move). 0 = fine, -1 = not a key. */
FKV_MUST_CHECK int keycode_take(fkv_slice *key, int last, affinity a, key_override override,
                                buf *scratch, cell *out);

/* Step over one column. 0 = fine, -1 = not a key. */
FKV_MUST_CHECK int keycode_skip(fkv_slice *key, int last);

/* Turn the bytes from `start` on into the smallest string above everything they prefix. REQUIRES:
** not all bytes are 0xff (a tag is among them, so never). */
void keycode_successor(buf *bytes, size_t start);

#endif
