#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static void *libc_resize(void *ptr, size_t size)
{
    return realloc(ptr, size);
}

static void libc_release(void *ptr)
{
    free(ptr);
}

static const alloc_hook libc_hook = {libc_resize, libc_release};
static const alloc_hook *current = &libc_hook;

void alloc_set_hook(const alloc_hook *hook)
{
    current = hook ? hook : &libc_hook;
}

void *alloc_resize(void *ptr, size_t size)
{
    return current->resize(ptr, size ? size : 1);
}

void *alloc_bytes(size_t size)
{
    return alloc_resize(NULL, size);
}

void *alloc_zero(size_t size)
{
    void *ptr = alloc_resize(NULL, size);
    if (ptr) memset(ptr, 0, size ? size : 1);
    return ptr;
}

void alloc_free(void *ptr)
{
    if (ptr) current->release(ptr);
}
