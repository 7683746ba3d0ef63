/*
** point.h -- functions on one row: fastkv_get, fastkv_incr, fastkv_cas
**
** They work on tables with one column outside the key, the value, and take the columns of the key
** one by one. Their client data is the registry.
*/
#ifndef FASTKV_EXT_POINT_H
#define FASTKV_EXT_POINT_H

#include "sqlite3ext.h"

/* fastkv_get(table, key…): the value, or NULL if there is no such row. */
void point_get(sqlite3_context *context, int argc, sqlite3_value **argv);

/* fastkv_incr(table, key…, by [, ttl]): add to the value, which counts as 0 if it is NULL or not
** there, and give the sum. A new row gets the ttl; one that is there keeps its own. */
void point_incr(sqlite3_context *context, int argc, sqlite3_value **argv);

/* fastkv_cas(table, key…, expected, new): if the value IS the expected one, put the new one in its
** place, and give 1; else 0. NULL on either side means that there is no row. */
void point_cas(sqlite3_context *context, int argc, sqlite3_value **argv);

#endif
