/* token.h -- SQL words out of raw declaration text. */
#ifndef FASTKV_EXT_TOKEN_H
#define FASTKV_EXT_TOKEN_H

#include <stddef.h>

typedef enum token_kind {
    TOKEN_END,
    TOKEN_WORD,   /* bare identifier or keyword */
    TOKEN_QUOTED, /* "name", [name] or `name`: never a keyword */
    TOKEN_STRING, /* 'text' */
    TOKEN_BLOB,   /* x'hex' */
    TOKEN_NUMBER, /* without sign */
    TOKEN_SYMBOL, /* one other character */
    TOKEN_ERROR   /* unterminated quote or comment */
} token_kind;

typedef struct token {
    token_kind kind;
    const char *text; /* as written, not terminated */
    size_t size;
} token;

/* Take the next token off *text, over space and comments. At the end TOKEN_END, for ever. */
token token_next(const char **text);

/* Is it this bare word (any case), or this one symbol? */
int token_is(const token *t, const char *word);

/* The name or text a token stands for, without its quotes. sqlite3_malloc'ed; NULL = no memory. */
char *token_name(const token *t);

#endif
