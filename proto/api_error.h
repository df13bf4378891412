/* What went wrong with a request, from the upstream to the client: one struct in every daemon, and
 * how each client protocol says it. */
#ifndef PROTO_API_ERROR_H
#define PROTO_API_ERROR_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "proto/error_class.h"
#include "proto/message.h"

/* Spans are bytes, not JSON text; empty = absent. */
struct api_error {
    unsigned error_class;     /* enum error_class; ERROR_NONE = none */
    struct span message;      /* at most 1 kB on the bus, secrets masked */
    struct span code;         /* instead of the class's own: an upstream's code worth keeping */
    struct span param;        /* "messages[2].content[0]"; OpenAI only */
    unsigned upstream_status; /* 0 = none */
    uint64_t retry_after_ms;  /* 0 = the class's own */
    struct span details_json; /* what an upstream says in its own protocol beyond this, verbatim:
                                 Anthropic's `details`, for OpenAI's clients Azure's `innererror` */
    bool final; /* no retry can help, whatever the class says (spend cap, x-should-retry: false) */
};

/* message and param are string literals; param may be NULL. */
void api_error_set(struct api_error *e, unsigned error_class, const char *message,
                   const char *param);
/* The same with its bytes in the arena, so that it outlives what it was made from. */
struct api_error api_error_copy(const struct api_error *e, struct arena *arena);

/* To and from the members of the messages that carry one; the others stay as they are. */
void api_error_to_fail(const struct api_error *e, struct fail *m);
struct api_error api_error_of_fail(const struct fail *m);
struct api_error api_error_of_deny(const struct deny *m);

/* The body in the client's protocol: OpenAI {"error":{…}}, Anthropic {"type":"error",…}. Never
 * fails but by out's bound. */
void api_error_write_body(struct buf *out, enum api api, const struct api_error *e,
                          struct span request_id);
/* The same as an in-band SSE event: "data: …" or "event: error"; for OpenAI's responses an event in
 * their own form, which has the number `sequence`. */
void api_error_write_event(struct buf *out, enum api api, const struct api_error *e,
                           struct span request_id, uint64_t sequence);

#endif
