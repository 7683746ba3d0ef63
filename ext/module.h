/* module.h -- the virtual table module "fastkv". */
#ifndef FASTKV_EXT_MODULE_H
#define FASTKV_EXT_MODULE_H

#include "table.h"

extern const sqlite3_module *const kv_table_module;

#endif
