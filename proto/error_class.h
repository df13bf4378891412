/* Error classes: what went wrong with a request, and how each client protocol says so
 * (docs/wire.md, Errors). */
#ifndef PROTO_ERROR_CLASS_H
#define PROTO_ERROR_CLASS_H

#include "common/base/buf.h"
#include "proto/api.h"

enum retry { RETRY_NEVER, RETRY_SAFE, RETRY_AMBIGUOUS, RETRY_CLIENT };

enum error_class {
#define ERROR_CLASS(name, ...) ERROR_##name,
#include "proto/errors.def"
#undef ERROR_CLASS
    ERROR_CLASS_COUNT
};

struct error_info {
    const char *name; /* as in errors.def, for logs and metric labels */
    unsigned openai_status;
    const char *openai_type;
    const char *openai_code;
    unsigned anthropic_status;
    const char *anthropic_type;
    enum retry retry;
};

/* Never NULL: an unknown number (a newer neighbour) reads as INTERNAL. */
const struct error_info *error_info(unsigned error_class);
unsigned error_status(unsigned error_class, enum api api);
/* The value of x-should-retry: safe, ambiguous and client classes. */
bool error_should_retry(unsigned error_class);

/* One failure of one request, as said to the client. Spans are bytes, not JSON text; empty =
 * absent. */
struct error_report {
    unsigned error_class;
    struct span message;
    struct span code;  /* overrides the class's OpenAI code (an upstream's own code is kept) */
    struct span param; /* OpenAI only */
    struct span request_id;
    struct span details_json; /* Anthropic only: error.details, verbatim */
};

/* The body in the client's protocol: OpenAI {"error":{…}}, Anthropic {"type":"error",…}. Never
 * fails but by out's bound. */
void error_write_body(struct buf *out, enum api api, const struct error_report *r);
/* The same as an in-band SSE event: "data: …" or "event: error". */
void error_write_event(struct buf *out, enum api api, const struct error_report *r);

#endif
