/* Requests as they may be framed, ambiguous and sound: what two parsers could read differently.
 * Behind each stands "GET /smuggled" on the same connection, so that who reads a form otherwise
 * runs it. */
#ifndef TEST_CORPUS_H
#define TEST_CORPUS_H

#include "common/base/span.h"

enum corpus_end {
    CORPUS_REFUSED,        /* a status of 400 or more, and the connection ends; nothing runs */
    CORPUS_SECOND_REFUSED, /* one request is served; what is behind it is refused */
    CORPUS_SERVED,         /* at least one request is served, nothing refused */
};

typedef void (*corpus_fn)(void *ctx, struct span bytes, enum corpus_end end);
/* Calls fn with each form. Heads of up to 32 KiB and 100 fields are sound ones. */
void corpus_each(corpus_fn fn, void *ctx);

#endif
