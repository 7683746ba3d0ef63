/*
** host.h -- the database beside which a store lies, and transactions that change both
**
** host.c tells how the two are kept together.
*/
#ifndef FASTKV_EXT_HOST_H
#define FASTKV_EXT_HOST_H

#include "sqlite3ext.h"

#include "fastkv.h"

typedef struct conn conn; /* conn.h */

#define HOST_TABLE "fastkv_commit"

/* What a conn remembers of its host. All zero to begin with. */
typedef struct host_state {
    sqlite3_stmt *synchronous;  /* PRAGMA schema.synchronous */
    int believed;               /* for so many commits more that is not asked: it was FULL */
    sqlite3_stmt *journal_mode; /* PRAGMA schema.journal_mode */
    const sqlite3_file *database, *wal; /* the database's files when it was last seen to be "wal" */
    sqlite3_stmt *read_id;              /* the id in HOST_TABLE */
    sqlite3_stmt *page1_read[3];        /* PRAGMAs that tell what lies on page 1 of the database */
    uint64_t id;                        /* as read at data_version */
    unsigned data_version;
    int id_known;
    int64_t page1[3]; /* what they said at the last look */
    int page1_known;
    unsigned page1_version; /* and the data version then, or after our own commit */
    int page1_looked;       /* in this transaction */
    unsigned begin_version; /* data version when it began */
    uint64_t written;       /* id that this transaction wrote; 0 = none */
    fkv_durability level;   /* what it was prepared with */
    int spills;             /* SQLITE_DBSTATUS_CACHE_SPILL when the last transaction ended */
} host_state;

/* Let go of the statements: they would keep sqlite3_close() from closing. */
void host_release(conn *c);

/* PRAGMA synchronous as a durability. What cannot be read counts as FULL. */
fkv_durability host_durability(conn *c);

/* The same for a commit that may be synced for nothing: what was FULL is asked for again after some
** commits only. (Not where something is concluded about what SQLite itself syncs.) */
fkv_durability host_least_durability(conn *c);

/* Make HOST_TABLE in a schema, if it is not there. A result code; *error may be set. */
int host_make_table(sqlite3 *db, const char *schema, char **error);

/* The id of the last hosted transaction in the host's snapshot of this connection; 0 if there is
** none, or an authorizer hides it. FKV_IOERR, FKV_CORRUPT, FKV_NOMEM or FKV_BUSY if it cannot be
** read, and then *id is 0. REQUIRES: a read transaction of the host is open (in any method but
** xConnect). */
FKV_MUST_CHECK fkv_status host_id(conn *c, uint64_t *id);

/* Write the id as part of the host's transaction. A result code; *error is set on failure. */
int host_write_id(conn *c, uint64_t id, char **error);

/* The store is opened: look at what host_changed() compares with, if no transaction is open yet. */
void host_opened(conn *c);

/* A transaction begins. */
void host_began(conn *c);

/* In xSync: may this transaction have changed anything but fastkv tables? Errs on the side of 1. */
int host_changed(conn *c);

/* A transaction has ended; `committed`: and is in the host's file. */
void host_ended(conn *c, int committed);

/* In xRollback of a transaction whose id was written: was it committed all the same? SQLite rolls
** back when the commit has been made and only its last step, finishing the journal, failed. 1 yes,
** 0 no, -1 cannot be told. */
int host_has(conn *c, uint64_t id);

/* Does the store hold what the host has forgotten? Then one of them was put back without the other:
** FKV_CORRUPT. (Where the host has no id it cannot be told: no transaction over both was committed
** yet when it was copied, or somebody has removed it.) Looks into the host's file: for when
** something is wrong already. */
FKV_MUST_CHECK fkv_status host_check_pair(conn *c);

/* The host has committed: sync what SQLite has left for later, before the store ceases to ask the
** host (see host.c). 0: it cannot be. */
int host_make_durable(conn *c);

/* fkv_options.host_committed; arg is the conn. */
int host_committed(void *arg, uint64_t id);

/* Row 2 of HOST_TABLE: the stamp of the backup that this database is, or came from; 0 = none. A
** result code: it cannot be read now. */
int host_stamp(sqlite3 *db, const char *schema, uint64_t *out);
int host_put_stamp(sqlite3 *db, uint64_t stamp, char **error); /* a result code; schema main */

/* Row 1, in any connection; 0 = none. */
uint64_t host_id_of_file(sqlite3 *db);

/* The database has been replaced, and the store is closed. */
void host_forget(conn *c);

/* fkv_options.host_stamped; arg is the conn. */
int host_stamped(void *arg, uint64_t stamp);

/* The same two for the store of a database that nobody uses; arg is a connection to it (sqlite3 *),
** schema main. */
int host_file_committed(void *arg, uint64_t id);
int host_file_stamped(void *arg, uint64_t stamp);

#endif
