/*
** checksum.h -- the two hash functions of the file formats. Neither may ever change.
**
** checksum: crc32 as in zlib (and zip, PNG), which zlib computes at several GB/s. It finds
** accidents, not attackers.
** hash64:   for bloom filters and cache shards; a multiply-and-fold hash in the manner of wyhash,
** defined on little-endian words so that a filter written on one machine answers on another.
*/
#ifndef FKV_BASE_CHECKSUM_H
#define FKV_BASE_CHECKSUM_H

#include "base/slice.h"

/* Continue a crc over data; begin with crc 0 or with a seed. */
uint32_t checksum_update(uint32_t crc, const void *data, size_t size);

/* A crc that also covers where the bytes belong: an owner (file id, segment salt …) and a
** position in it, as two little-endian 64-bit words ahead of the data. */
uint32_t checksum_at(uint64_t owner, uint64_t position, const void *data, size_t size);

uint64_t hash64(const void *data, size_t size, uint64_t seed);

#endif
