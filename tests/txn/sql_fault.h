/*
** sql_fault.h -- one failure of memory or of a file operation, SQLite's or the engine's, at a place
** that is counted.
**
** A program that includes this has it in the way of all its allocations and file operations, once
** it has called take_heaps() (before SQLite is used) and set io_hook to fault_on_io.
*/
#ifndef FKV_TESTS_SQL_FAULT_H
#define FKV_TESTS_SQL_FAULT_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "read_hook.h"
#include "txn_util.h"

#include "io_hook.h"

typedef enum fault_kind {
    NO_FAULT,
    NO_MEMORY,
    BAD_READ,
    BAD_WRITE,
    FULL_DISK,
    BAD_SYNC,
    BAD_NAME, /* unlink, rename */
    FAULT_KINDS
} fault_kind;

static const char *const kind_names[] = {"none",
                                         "no memory",
                                         "read fails",
                                         "write fails",
                                         "disk is full",
                                         "sync fails",
                                         "unlink or rename fails"};

static struct {
    atomic_int kind, paused;     /* paused: nothing fails, and nothing is counted */
    atomic_long seen, countdown; /* the countdown-th of this kind fails; 0 = none */
    int persistent;              /* and all that follow */
    int spares_what_is_there;    /* on a full disk what a file has can still be written */
    atomic_int fired;
} fault;

/* Is this one to fail? */
static int strikes(fault_kind kind)
{
    long n;

    if (fault.kind != (int)kind || fault.paused) return 0;
    n = atomic_fetch_add(&fault.seen, 1) + 1;
    if (n != fault.countdown && !(fault.persistent && n > fault.countdown)) return 0;
    fault.fired = 1;
    return 1;
}

static int grows(const io_event *e)
{
    struct stat st;
    return fstat(e->fd, &st) == 0 && e->offset + (off_t)e->size > st.st_size;
}

static int fault_on_io(const io_event *e)
{
    switch (e->op) {
    case IO_WRITE:
        if (strikes(BAD_WRITE)) return EIO;
        if (fault.spares_what_is_there && !grows(e)) return 0;
        return strikes(FULL_DISK) ? ENOSPC : 0;
    case IO_ALLOCATE:
        return strikes(FULL_DISK) ? ENOSPC : 0;
    case IO_SYNC:
        return strikes(BAD_SYNC) ? EIO : 0;
    case IO_UNLINK:
    case IO_RENAME:
        return strikes(BAD_NAME) ? EIO : 0;
    default:
        return 0;
    }
}

static int fault_on_read(void)
{
    return strikes(BAD_READ) ? EIO : 0;
}

/* The engine's heap, and SQLite's. */
static void *engine_resize(void *p, size_t size)
{
    return strikes(NO_MEMORY) ? NULL : realloc(p, size);
}

static sqlite3_mem_methods heap;

static void *sqlite_malloc(int size)
{
    return strikes(NO_MEMORY) ? NULL : heap.xMalloc(size);
}

static void *sqlite_realloc(void *p, int size)
{
    return strikes(NO_MEMORY) ? NULL : heap.xRealloc(p, size);
}

static void take_heaps(void)
{
    static const alloc_hook hook = {engine_resize, free};
    sqlite3_mem_methods failing;

    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &heap)) abort();
    failing = heap;
    failing.xMalloc = sqlite_malloc;
    failing.xRealloc = sqlite_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &failing)) abort();
    if (sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0)) abort();
    alloc_set_hook(&hook);
    read_hook = fault_on_read;
}

#endif
