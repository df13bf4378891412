/* What every client protocol is: a reader of requests and a writer of answers, pure functions both.
 * Files in api/. The writers eat neutral events; the unary form is the same events, accumulated. */
#ifndef SERVICES_WORKER_NEUTRAL_API_OPS_H
#define SERVICES_WORKER_NEUTRAL_API_OPS_H

#include "common/base/buf.h"
#include "services/worker/neutral/neutral.h"

struct answer_writer; /* one answer being written; in the arena */

struct answer_options {
    struct arena *arena;
    struct buf *out; /* client bytes are appended here */
    const struct neutral_request *request;
    uint64_t created_s;
    uint64_t input_tokens;  /* estimate, for message_start and for usage that never comes */
    struct span request_id; /* "req_…": goes into errors */
    struct span model;      /* the upstream model's name (bytes), when the answer does not say */
};

struct api_ops {
    /* The body has been parsed as JSON already (an object). ERR_INVALID with fault_out (class,
     * message, param). */
    enum err (*read_request)(struct json body, struct arena *arena, struct neutral_request *out,
                             struct api_error *fault_out);
    struct answer_writer *(*writer_create)(const struct answer_options *options);
    /* Streams: appends SSE events to out. Unary: accumulates, and appends the whole body at
     * EVENT_END. EVENT_ERROR: a stream gets the in-band error event; a unary answer nothing (the
     * caller reports the fault). pipeline.c never passes EVENT_ERROR on: the edge writes the
     * in-band error from the fault. */
    void (*write)(struct answer_writer *w, const struct neutral_event *e);
};

extern const struct api_ops api_openai_chat;
extern const struct api_ops api_openai_completions;
extern const struct api_ops api_openai_responses;
extern const struct api_ops api_anthropic_messages;

/* NULL for an api that is only passed through. */
const struct api_ops *api_find(enum api api);

#endif
