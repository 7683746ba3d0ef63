/* stats.h -- numbers about a table and its store, as rows and as JSON. */
#ifndef FASTKV_EXT_STATS_H
#define FASTKV_EXT_STATS_H

#include "tvf.h"

extern const tvf_def stats_function;  /* fastkv_stats(table): name, value */
extern const tvf_def levels_function; /* fastkv_levels(table): level, files, bytes, entries */

extern const tvf_def jobs_function; /* fastkv_jobs(table): job, percent, seconds_left */

/* fastkv_stats_json(table). Its client data is the registry. */
void stats_json(sqlite3_context *context, int argc, sqlite3_value **argv);

#endif
