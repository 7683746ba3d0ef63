/*
** cover_exit.c -- in a build for coverage, a process that ends by _exit writes its counts first, as
** one that returns from main does. Linked in by cover.sh with --wrap=_exit.
*/
void __gcov_dump(void);
void __real__exit(int status) __attribute__((noreturn));
void __wrap__exit(int status) __attribute__((noreturn));

void __wrap__exit(int status)
{
    __gcov_dump();
    __real__exit(status);
}
