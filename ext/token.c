#include "token.h"

#include <string.h>

#include "sqlite3ext.h"

SQLITE_EXTENSION_INIT3

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* SQLite's identifier characters: letters, digits, _, $ and everything outside ASCII. */
static int is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

/* Over space and comments; an unterminated block comment runs to the end, as in SQLite. */
static const char *skip_blank(const char *p)
{
    for (;;) {
        if (is_space(*p)) {
            p++;
        } else if (p[0] == '-' && p[1] == '-') {
            while (*p && *p != '\n') p++;
        } else if (p[0] == '/' && p[1] == '*') {
            const char *end = strstr(p + 2, "*/");
            p = end ? end + 2 : p + strlen(p);
        } else {
            return p;
        }
    }
}

/* The byte after the closing quote, where a doubled quote stands for itself; NULL if it is open. */
static const char *skip_quoted(const char *p)
{
    char close = *p == '[' ? ']' : *p;

    for (p++; *p; p++) {
        if (*p != close) continue;
        if (close == ']' || p[1] != close) return p + 1;
        p++;
    }
    return NULL;
}

static const char *skip_number(const char *p)
{
    if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
        p += 2;
        while (is_word(*p)) p++;
        return p;
    }
    while (is_digit(*p) || *p == '.') p++;
    if ((*p == 'e' || *p == 'E') &&
        (is_digit(p[1]) || ((p[1] == '-' || p[1] == '+') && is_digit(p[2])))) {
        p += 2;
        while (is_digit(*p)) p++;
    }
    while (is_word(*p)) p++; /* 256MB is one token, which no number accepts by mistake */
    return p;
}

token token_next(const char **text)
{
    const char *p = skip_blank(*text);
    const char *end = p;
    token t = {TOKEN_END, p, 0};

    if (*p == '\'' || *p == '"' || *p == '`' || *p == '[') {
        t.kind = *p == '\'' ? TOKEN_STRING : TOKEN_QUOTED;
        end = skip_quoted(p);
    } else if ((*p == 'x' || *p == 'X') && p[1] == '\'') {
        t.kind = TOKEN_BLOB;
        end = skip_quoted(p + 1);
    } else if (is_digit(*p) || (*p == '.' && is_digit(p[1]))) {
        t.kind = TOKEN_NUMBER;
        end = skip_number(p);
    } else if (is_word(*p)) {
        t.kind = TOKEN_WORD;
        while (is_word(*end)) end++;
    } else if (*p) {
        t.kind = TOKEN_SYMBOL;
        end = p + 1;
    }
    if (!end) {
        t.kind = TOKEN_ERROR;
        end = p + strlen(p);
    }
    t.size = (size_t)(end - p);
    *text = end;
    return t;
}

int token_is(const token *t, const char *word)
{
    return (t->kind == TOKEN_WORD || t->kind == TOKEN_SYMBOL) && strlen(word) == t->size &&
           sqlite3_strnicmp(t->text, word, (int)t->size) == 0;
}

char *token_name(const token *t)
{
    char *name = sqlite3_mprintf("%.*s", (int)t->size, t->text);
    char *to = name;
    char quote;

    if (!name || (t->kind != TOKEN_QUOTED && t->kind != TOKEN_STRING)) return name;
    quote = *name == '[' ? ']' : *name;
    for (const char *from = name + 1; *from; from++) {
        if (*from == quote && *++from != quote) break;
        *to++ = *from;
    }
    *to = 0;
    return name;
}
