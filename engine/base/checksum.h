/*
** checksum.h -- the two hash functions of the file formats. Neither may ever change.
**
** Both are XXH3 (64 bits, from the header-only part of Debian's libxxhash-dev; its output has been
** frozen since 0.8.0). zlib's crc32 was here first: it ran at 2.9 GB/s, and at 40 ns a row it was
** the largest single cost of a scan; XXH3 runs at memory speed. A checksum finds accidents, not
** attackers.
*/
#ifndef FKV_BASE_CHECKSUM_H
#define FKV_BASE_CHECKSUM_H

#include "base/slice.h"

/* A checksum of data that also covers where the bytes belong: an owner (file id, segment salt …)
** and a position in it. */
uint32_t checksum_at(uint64_t owner, uint64_t position, const void *data, size_t size);

/* Where do bytes end that are followed by their checksum_at? The least size <= limit - 4 that `may`
** does not rule out and whose checksum stands behind it; 0 if there is none. One pass over data. */
size_t checksum_find_end(uint64_t owner, uint64_t position, const uint8_t *data, size_t limit,
                         int (*may)(const uint8_t *data, size_t size));

/* For bloom filters. */
uint64_t hash64(const void *data, size_t size, uint64_t seed);

#endif
