/*
** alloc.h -- the one door to the heap.
**
** All engine memory (mapped arenas excepted, see io/env.h) comes through these three functions,
** so a test can make the nth allocation fail and count what was not given back.
*/
#ifndef FKV_BASE_ALLOC_H
#define FKV_BASE_ALLOC_H

#include "base/status.h"

/* Replaces the C library's heap. resize() has realloc's contract with size > 0 (ptr NULL = new
** memory); release() is free(). Both may be called from any thread. */
typedef struct alloc_hook {
    void *(*resize)(void *ptr, size_t size);
    void (*release)(void *ptr);
} alloc_hook;

/* Install a hook; NULL restores the C library. Only while the engine owns no memory and runs no
** thread: the hook is process-wide. */
void alloc_set_hook(const alloc_hook *hook);

/* size bytes, uninitialised; NULL when there is no memory. size 0 counts as 1. */
void *alloc_bytes(size_t size) __attribute__((malloc, warn_unused_result));

/* The same, zeroed. */
void *alloc_zero(size_t size) __attribute__((malloc, warn_unused_result));

/* realloc; NULL leaves ptr as it was. */
void *alloc_resize(void *ptr, size_t size) __attribute__((warn_unused_result));

/* free; NULL is fine. */
void alloc_free(void *ptr);

#endif
