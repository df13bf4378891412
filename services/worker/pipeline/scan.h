/* What the gateway must see in a native answer that passes through: usage, finish, errors, the
 * first content. Reads a parsed JSON object, changes nothing. */
#ifndef SERVICES_WORKER_PIPELINE_SCAN_H
#define SERVICES_WORKER_PIPELINE_SCAN_H

#include "services/worker/neutral/usage_read.h"

/* Over a whole answer: several choices finish one by one, Anthropic's token counts come in parts.
 */
struct scan {
    enum api api;
    struct usage usage;
    uint64_t seen[2], finished[2];  /* choices by index, 128 at most */
    struct usage_messages messages; /* Anthropic's own sense */
    uint64_t text_bytes;            /* of what the model said, for an estimate */
    bool stopped;                   /* Anthropic: a stop_reason was seen */
};

/* What one event or body was. Spans are views of the JSON. */
struct scan_result {
    bool is_error;            /* an error object instead of an answer */
    bool content;             /* something the client waited for */
    bool terminal;            /* nothing comes after it: message_stop, response.completed … */
    bool failed;              /* … but it tells of a failure (response.failed) */
    bool usage_chunk;         /* OpenAI: only there for its usage, no choices */
    struct json usage_member; /* OpenAI: the top-level member, present or null; else JSON_NOTHING */
    bool unfinished;          /* a stored response that the upstream goes on with */
    struct json id, model;    /* strings or nothing */
};

void scan_init(struct scan *s, enum api api);
/* One event of a stream; `name` is the SSE event's. */
struct scan_result scan_event(struct scan *s, struct json event, struct span name);
/* A whole answer. */
struct scan_result scan_body(struct scan *s, struct json body);
/* The stream may end here: every choice has finished, or a stop reason was seen. */
bool scan_is_complete(const struct scan *s);

#endif
