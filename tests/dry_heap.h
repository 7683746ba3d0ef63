/* dry_heap.h -- for alloc_set_hook(): a heap with so many allocations left. */
#ifndef FKV_TESTS_DRY_HEAP_H
#define FKV_TESTS_DRY_HEAP_H

#include <stdint.h>
#include <stdlib.h>

#include "base/alloc.h"

static int64_t heap_left;

static inline void *dry_resize(void *ptr, size_t size)
{
    return heap_left-- > 0 ? realloc(ptr, size) : NULL;
}

static const alloc_hook dry_heap = {dry_resize, free};

#endif
