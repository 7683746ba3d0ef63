/* engines.c -- the engines, and loading of their adapters. */
#include "bench.h"

#include <dlfcn.h>

const engine_info engines[ENGINES] = {
    [FASTKV] = {"fastkv", "fastkv", NULL, NULL},
    [NATIVE] = {"SQLite", "sqlite", NULL, NULL},
    [FASTKV_C] = {"fastkv.h", "fastkv.h", "fastkv.so", NULL},
    [LEVELDB] = {"LevelDB", "leveldb", "leveldb.so", "libleveldb-dev"},
    [ROCKSDB] = {"RocksDB", "rocksdb", "rocksdb.so", "librocksdb-dev"},
    [LMDB] = {"LMDB", "lmdb", "lmdb.so", "liblmdb-dev"},
    [WIREDTIGER] = {"WiredTiger", "wiredtiger", "wiredtiger.so", "libwiredtiger-dev"},
};

/* Is its name one of those in ENGINE=a,b,c? */
int engine_wanted(const bench_options *o, engine e)
{
    const char *name = engines[e].option, *at = o->only;
    size_t size = strlen(name);

    if (!at) return 1;
    for (; at; at = strchr(at, ',')) {
        if (*at == ',') at++;
        if (strncmp(at, name, size) == 0 && (at[size] == 0 || at[size] == ',')) return 1;
    }
    return 0;
}

static void adapter_path(char *out, const bench_options *o, engine e)
{
    if ((size_t)snprintf(out, PATH_SIZE, "%s/%s", o->peers, engines[e].file) >= PATH_SIZE)
        bench_fail("%s: too long", o->peers);
}

int engine_missing(const bench_options *o, engine e)
{
    char path[PATH_SIZE];

    if (!engines[e].file) return 0;
    adapter_path(path, o, e);
    return access(path, R_OK) != 0;
}

const bench_engine *engine_load(const bench_options *o, engine e)
{
    char path[PATH_SIZE];
    const bench_engine *found;
    void *library;

    if (!engines[e].file) {
        sql_begin_as(o, e == NATIVE || o->stand_in);
        return &sql_engine;
    }
    adapter_path(path, o, e);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) bench_fail("%s", dlerror());
    found = dlsym(library, "bench_peer");
    if (!found) bench_fail("%s", dlerror());
    return found;
}
