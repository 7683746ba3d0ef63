/* stats.h -- the table-valued function fastkv_stats(table). */
#ifndef FASTKV_EXT_STATS_H
#define FASTKV_EXT_STATS_H

#include "conn.h"

extern const sqlite3_module stats_module;

#endif
