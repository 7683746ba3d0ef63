/*
** sabotage.h -- one safety step left out, to see that the tests notice.
**
** SABOTAGE(n) stands where a step is taken that some promise rests on. It is 0, and nothing is left
** of it, but in a build with -DFKV_SABOTAGE: there it is true for the number in the environment
** variable FKV_SABOTAGE. tests/sabotage.sh says what each number leaves out, and shows that some
** test fails for each.
*/
#ifndef FKV_BASE_SABOTAGE_H
#define FKV_BASE_SABOTAGE_H

#ifdef FKV_SABOTAGE
int sabotage_chosen(int number);
#define SABOTAGE(number) sabotage_chosen(number)
#else
#define SABOTAGE(number) 0
#endif

#endif
