/* Is a request's head unambiguous (RFC 9112 3 and 6)? The one judge of both ways in: our own parser
 * asks it, and what libmicrohttpd lets pass is put before it too. Knows neither. */
#ifndef COMMON_HTTP_FRAMING_H
#define COMMON_HTTP_FRAMING_H

#include "common/base/span.h"

enum { FRAMING_MAX_FIELDS = 100 }; /* more are refused as too large a head */

struct framing {
    bool http11;
    bool has_host, has_length, chunked, expects_continue, encoded;
    bool close, keep_alive; /* tokens of Connection fields */
    uint32_t fields;        /* how many */
    uint64_t length;        /* of the body, when has_length */
    const char *fault;      /* a literal: why the head is refused; NULL while it is sound */
};

/* The request line. `target` is raw, as it came. */
void framing_begin(struct framing *f, struct span method, struct span target, struct span version);
/* Each field, in order. */
void framing_field(struct framing *f, struct span name, struct span value);
/* Behind the last field: what must be there, and what must not be together. */
void framing_end(struct framing *f);

/* May the connection carry another request behind this one? */
bool framing_lives_on(const struct framing *f);

/* A visible-ASCII token (RFC 9110 5.6.2), not empty. */
bool framing_is_token(struct span s);
/* No control byte. */
bool framing_is_printable(struct span s);
/* No control byte but tab. */
bool framing_is_field_value(struct span s);

#endif
