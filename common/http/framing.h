/* Is a request's head unambiguous? Checks what libmicrohttpd lets pass (RFC
 * 9112 3 and 6), field by field; knows nothing of libmicrohttpd. */
#ifndef COMMON_HTTP_FRAMING_H
#define COMMON_HTTP_FRAMING_H

#include "common/base/span.h"

struct framing {
    bool http11;
    bool has_host, has_length, chunked, expects_continue, encoded;
    uint64_t length;   /* of the body, when has_length */
    const char *fault; /* a literal: why the head is refused; NULL while it is sound */
};

/* The request line. `target` is raw, as it came. */
void framing_begin(struct framing *f, struct span method, struct span target, struct span version);
/* Each field, in order. */
void framing_field(struct framing *f, struct span name, struct span value);
/* Behind the last field: what must be there, and what must not be together. */
void framing_end(struct framing *f);

/* A visible-ASCII token (RFC 9110 5.6.2), not empty. */
bool framing_is_token(struct span s);
/* No control byte but tab. */
bool framing_is_field_value(struct span s);

#endif
