/* output.h -- a run of output tables, cut by size; shared by flush.c and compact.c. */
#ifndef FKV_COMPACT_OUTPUT_H
#define FKV_COMPACT_OUTPUT_H

#include "compact/compact.h"

typedef struct output {
    const compact_context *c;
    version_edit *edit;
    int level;
    uint64_t max_seq;
    const key_range *ranges; /* still to be written, ascending */
    size_t range_count;
    key_range rest; /* what a cut left of ranges[0]; rest.to.data != NULL if any */
    buf cut;        /* the key of the last cut, which rest.from points to */
    buf next_cut;
    env_file *file;
    uint64_t number;
    table_builder *builder;
    uint64_t finished_bytes;
    uint64_t reported;
} output;

/* ranges must be finished and outlive the output. */
void output_init(output *o, const compact_context *c, version_edit *edit, int level,
                 uint64_t max_seq, const range_set *ranges);

/* Add an entry, starting a new table when the running one is large enough. Range tombstones are
** clipped at the cut, so that tables stay disjoint. */
FKV_MUST_CHECK fkv_status output_add(output *o, entry_kind kind, fkv_slice key, fkv_slice value,
                                     int64_t expires_ms);

/* Write the last table, with all ranges that remain. */
FKV_MUST_CHECK fkv_status output_finish(output *o);

/* Free; if rc is a failure also remove every file made and empty the edit. Returns rc. */
FKV_MUST_CHECK fkv_status output_close(output *o, fkv_status rc);

#endif
