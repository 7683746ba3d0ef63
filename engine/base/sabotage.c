#include "base/sabotage.h"

#ifdef FKV_SABOTAGE

#include <stdatomic.h>
#include <stdlib.h>

int sabotage_chosen(int number)
{
    static _Atomic int chosen = -1;

    if (atomic_load(&chosen) < 0) {
        const char *text = getenv("FKV_SABOTAGE"); /* lint: allow getenv -- in no build but this */
        atomic_store(&chosen, text ? (int)strtol(text, NULL, 10) : 0);
    }
    return atomic_load(&chosen) == number;
}

#else

typedef int sabotage_is_off; /* a file must hold something */

#endif
