/* The text of a response's head (RFC 9112 4, 5), taken apart. Pure. Refused: another version than
 * HTTP/1.x, folded lines, names that are no tokens, a CR or NUL within a line. */
#ifndef COMMON_FETCH_RESPONSE_HEAD_H
#define COMMON_FETCH_RESPONSE_HEAD_H

#include "common/base/err.h"
#include "common/base/span.h"

enum { RESPONSE_MAX_FIELDS = 128 };

struct fetch_field {
    struct span name, value;
};

/* A head taken apart; borrows its text. */
struct fetch_head {
    struct span text;
    unsigned status; /* 100 to 999 */
    bool http10;
    size_t count;
    struct fetch_field fields[RESPONSE_MAX_FIELDS];
};

/* false: not a head. text: up to and with the empty line. */
bool fetch_head_read(struct fetch_head *head, struct span text) NODISCARD;
/* The first field of that name, in any case; empty when there is none. */
struct span fetch_head_get(const struct fetch_head *head, const char *name);

#endif
