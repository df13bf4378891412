/* The head of a request out of a plain connection's bytes: where it ends, its lines, its framing
 * (RFC 9112 2 to 6, strictly). Pure: takes nothing, keeps nothing. */
#ifndef COMMON_HTTP_PLAIN_PARSE_H
#define COMMON_HTTP_PLAIN_PARSE_H

#include "common/base/err.h"
#include "common/http/framing.h"

enum plain_verdict {
    PLAIN_MORE,    /* not complete, and nothing wrong so far */
    PLAIN_SOUND,   /* complete, and unambiguous */
    PLAIN_FAULTY,  /* framing.fault says why */
    PLAIN_TOO_BIG, /* longer than max_bytes, or too many fields */
};

/* Views of the bytes. Of a head that is refused only what is sound: the rest is empty. */
struct plain_head {
    struct span method, target;
    struct span fields; /* lines "name:value" CR LF, as they came */
    size_t bytes;       /* with the blank line, and with blank lines before the head */
    struct framing framing;
};

/* `bytes` begin where the head begins. *scanned is 0 at first; kept between calls for the same head
 * it saves looking twice at what came before. */
enum plain_verdict plain_parse(struct span bytes, size_t max_bytes, size_t *scanned,
                               struct plain_head *out) NODISCARD;

#endif
