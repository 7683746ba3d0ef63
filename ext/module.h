/* module.h -- the virtual table module "fastkv". */
#ifndef FASTKV_EXT_MODULE_H
#define FASTKV_EXT_MODULE_H

#include "table.h"

extern const sqlite3_module kv_table_module;

#endif
