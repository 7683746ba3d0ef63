/*
** audit.h -- what the auditor remembers, shared by its files.
**
**   a node       a file's content: how far it is written, and how far that is synced
**   an entry     a name of it in a directory, and whether the directory has been synced since
**   a manifest   what it names; and whether a power cut may leave it as the store's
**
** All of it is guarded by audit.mutex, a leaf: nothing is called under it.
*/
#ifndef FKV_TESTS_AUDIT_H
#define FKV_TESTS_AUDIT_H

#include "audit/env_audit.h"
#include "io/filename.h"

/* FORMAT.md, "Log segment". */
enum { SEGMENT_HEADER = 64, RECORD_HEADER = 48 };

typedef struct number_list {
    uint64_t *items;
    size_t count, capacity;
} number_list;

/* A sync that is under way. */
typedef struct sync_mark {
    uint64_t id, lowest; /* the lowest offset written between the one before it and its beginning */
} sync_mark;

enum { SYNCS_MAX = 16 };

typedef struct node {
    size_t refs;                /* entries and handles */
    size_t handles;             /* of those */
    uint64_t size;              /* at least */
    uint64_t lowest;            /* offset written since the last sync began; UINT64_MAX: none */
    sync_mark syncs[SYNCS_MAX]; /* by id */
    size_t sync_count;
    uint64_t next_sync;
    int ever_synced;    /* or there before the audit began */
    int sync_failed;    /* and somebody has had it open since */
    const char *sealed; /* why it may not be written any more; NULL: it may */
    uint8_t *content;   /* of a manifest, as far as it is known */
    size_t content_size;
    int has_header; /* of a log segment: start_lsn is known */
    uint64_t start_lsn;
    uint64_t records; /* written since the audit began */
} node;

typedef struct entry {
    char name[64];
    file_kind kind;
    uint64_t number;
    uint64_t made_at; /* of audit_dir.ops; 0: before the audit began */
    node *node;
} entry;

typedef struct manifest_names {
    struct manifest_names *next; /* older */
    uint64_t edit, log_number, log_tail;
    number_list tables, kept;
    uint64_t made_at;
    int unsure;   /* renaming it into place has failed: it may have happened */
    int possible; /* a power cut may leave it */
} manifest_names;

typedef struct audit_dir {
    struct audit_dir *next;
    env_identity identity;
    char *path;
    size_t handles;
    int learned; /* all entries are known */
    entry *entries;
    size_t entry_count, entry_capacity;
    uint64_t ops, synced_ops; /* changes of entries; durable are those up to … */
    uint64_t end_removed_at;  /* of ops: when the last segment of the log was removed */
    int sync_failed;
    manifest_names *manifests;
    env_file *files; /* open */
    uint64_t prepare_lsn, prepare_end;
    int prepare_sync; /* the last PREPARE was to be durable before it is acknowledged */
} audit_dir;

typedef struct held_byte {
    uint64_t byte;
    const void *thread;
} held_byte;

/* The handles that an audit gives out. */
struct env_dir {
    env_dir *inner;
    audit_dir *dir;
};

struct env_file {
    env_file *inner, *next;
    node *node;
    audit_dir *dir;
    const env_dir *through; /* whose handle: a process has one for each store */
    held_byte *held;
    size_t held_count, held_capacity;
    char name[64];
    file_kind kind;
    uint64_t number;
};

struct env_mutex {
    env_mutex *inner;
    int is_short;
};

typedef struct audit {
    fkv_env env;
    fkv_env *base;
    env_mutex *mutex; /* base's own */
    void (*report)(void *arg, const char *text);
    void *arg;
    uint8_t boot_id[16];
    audit_dir *dirs;
    env_mutex *newest_mutex; /* A10 */
} audit;

/* Memory that no test's heap knows of. */
void *audit_resize(void *p, size_t size);

void audit_violation(audit *a, const char *rule, const char *operation, const char *file,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));

/* -- names.c: what a manifest and a log record name -- */
int names_of_manifest(const uint8_t *p, size_t size, manifest_names *out); /* 0: not a manifest */
int names_of_runs(const uint8_t *payload, size_t size, number_list *out);
int number_list_has(const number_list *l, uint64_t number);
void number_list_release(number_list *l);
manifest_names *manifest_copy_of(const node *n); /* NULL: it is not known */
void manifest_names_free(manifest_names *m);     /* NULL is fine */

/* -- files.c: nodes and entries; the mutex held for all -- */
void forget_dir(audit_dir *d);
entry *find_entry(const audit_dir *d, const char *name);
entry *add_entry(audit_dir *d, const char *name, node *n, uint64_t made_at);
node *new_node(int there_before);
void drop_entry(audit_dir *d, entry *e);
void node_unref(node *n);
int entry_is_durable(const audit_dir *d, const entry *e);

uint64_t unsynced_from(const node *n); /* the lowest offset not known to be durable; UINT64_MAX */
uint64_t begin_sync(node *n);
void end_sync(node *n, uint64_t id, fkv_status rc);

/* -- rules.c: the mutex held for all -- */
void check_write(audit *a, env_file *f, uint64_t offset, const void *data, size_t size);
void note_write(env_file *f, uint64_t offset, const void *data, size_t size, int done);
void note_read(env_file *f, uint64_t offset, const void *data, size_t got);
void check_rename(audit *a, audit_dir *d, const char *from, const char *to);
void note_rename(audit_dir *d, const char *from, const char *to, int done);
void note_remove(audit_dir *d, const char *name);
void check_remove(audit *a, const env_dir *handle, const char *name);
void note_dir_sync(audit_dir *d, uint64_t up_to);
void check_lock(audit *a, const env_file *f, uint64_t byte, int mode);
void note_lock(env_file *f, uint64_t byte, int mode);

#endif
