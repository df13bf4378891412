/* Responses of HTTP/1.1 (RFC 9112) as they come off a connection: bytes in, a head and a body out.
 * Pure: no socket, no clock. Strict about framing, since what is read wrongly here would be given
 * to the next request of the connection; everything it keeps is bounded.
 *
 * Refused: what is not "HTTP/1.x ", Content-Length beside Transfer-Encoding or differing from
 * another one, a coding other than chunked, chunks in HTTP/1.0, folded lines, blanks before a
 * colon, a CR or NUL within a line, 101, and what is beyond the bounds below. A line of the head
 * may end in LF alone (RFC 9112 2.2), one of the chunks may not. */
#ifndef COMMON_FETCH_RESPONSE_H
#define COMMON_FETCH_RESPONSE_H

#include "common/base/buf.h"
#include "common/fetch/response_head.h"

enum {
    RESPONSE_MAX_HEAD = 64 * 1024, /* bytes of a head */
    RESPONSE_MAX_INTERIM = 32,     /* 1xx heads before the final one */
    RESPONSE_MAX_EXTENSION = 1024, /* bytes behind a chunk's size */
    RESPONSE_MAX_TRAILER = 16 * 1024
};

enum response_state {
    RESPONSE_AT_HEAD,
    RESPONSE_AT_LENGTH, /* within a body of known length */
    RESPONSE_AT_REST,   /* within one that ends with the connection */
    RESPONSE_AT_SIZE,   /* of a chunk */
    RESPONSE_AT_EXTENSION,
    RESPONSE_AT_SIZE_LF,
    RESPONSE_AT_CHUNK,
    RESPONSE_AT_CHUNK_CR,
    RESPONSE_AT_CHUNK_LF,
    RESPONSE_AT_TRAILER,
    RESPONSE_OVER,
    RESPONSE_FAULTY
};

struct fetch_response {
    enum response_state state;
    bool bodiless; /* what was asked with HEAD has no body whatever the head says */
    bool closes;   /* the connection is not to be used again */
    bool started;  /* a byte has come */
    bool after_cr;
    unsigned interim;
    uint64_t left;        /* of the body or the chunk */
    unsigned digits;      /* of the chunk's size */
    size_t line, section; /* bytes of an extension; of a trailer's line and of all its lines */
    struct buf held;      /* a head that came in pieces, or waits for its body */
    size_t line_start, scanned; /* in the head so far */
    const char *fault;          /* why it was refused */
};

enum response_event {
    RESPONSE_MORE, /* all bytes are used up */
    RESPONSE_HEAD, /* the final head, once; its text lies in the input or in `held` */
    RESPONSE_BODY,
    RESPONSE_END, /* whole; what is left of the input does not belong to it */
    RESPONSE_FAULT
};

/* {0} is one that has not begun. Begins anew, keeping nothing. */
void fetch_response_begin(struct fetch_response *r, bool bodiless);
void fetch_response_free(struct fetch_response *r);
/* Goes on with the input, taking from it what it has read. *head is filled with RESPONSE_HEAD,
 * *body, a part of the input, with RESPONSE_BODY. Never called again after END or FAULT. */
enum response_event fetch_response_next(struct fetch_response *r, struct span *in,
                                        struct fetch_head *head, struct span *body) NODISCARD;
/* The connection has ended: was the response whole? */
bool fetch_response_may_end(struct fetch_response *r);

/* Keeps the head's text until it is asked for, since its body is yet to come. ERR_NOMEM. */
enum err fetch_response_keep_head(struct fetch_response *r,
                                  const struct fetch_head *head) NODISCARD;
/* What was kept, taken apart again. */
void fetch_response_kept_head(const struct fetch_response *r, struct fetch_head *head);
/* It is not needed any more. */
void fetch_response_drop_head(struct fetch_response *r);

#endif
