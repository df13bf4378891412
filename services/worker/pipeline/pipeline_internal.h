/* Inside of a pipeline, shared by its kinds: pass-through, translation, token counting. Included
 * nowhere else. */
#ifndef SERVICES_WORKER_PIPELINE_PIPELINE_INTERNAL_H
#define SERVICES_WORKER_PIPELINE_PIPELINE_INTERNAL_H

#include "services/worker/pipeline/pipeline.h"
#include "services/worker/pipeline/request_edit.h"

enum {
    PIPELINE_COMMIT_MS = 10000,
    PIPELINE_DEFAULT_MAX_RESPONSE = 64 << 20,
    PIPELINE_MAX_TRANSFERS = 64,
    PIPELINE_BACKGROUND_TOKENS = 10000 /* that a response may make after its answer has come */
};

/* What a kind does with what the network did. NULL on_timer, cancel: nothing. */
struct pipeline_kind {
    void (*on_head)(struct pipeline *c, const struct transfer *x, unsigned status,
                    const struct upstream_headers *headers);
    void (*on_bytes)(struct pipeline *c, const struct transfer *x, struct span bytes);
    void (*on_end)(struct pipeline *c, const struct transfer *x);
    void (*on_failure)(struct pipeline *c, const struct transfer *x, const struct api_error *fault);
    /* While a poll is awaited, at every timer: elapsed_ms since the last one, waited_ms since the
     * pipeline began. */
    void (*on_timer)(struct pipeline *c, uint64_t elapsed_ms, uint64_t waited_ms);
    /* The client has left, or has all it needs: ask for a detached transfer if one is needed
     * upstream. */
    void (*cancel)(struct pipeline *c);
    /* Memory that it holds of the answer, beside the arena and the output. */
    size_t (*answer_bytes)(const struct pipeline *c);
    void (*destroy)(struct pipeline *c);
};

struct pipeline {
    struct pipeline_spec spec; /* small texts copied into the arena */
    struct arena arena;
    size_t asked_bytes;  /* of the arena, for the request */
    struct json_doc doc; /* the client's body, then scratch for upstream JSON */
    struct compat compat;
    const struct model_row *row;
    struct model_row row_scratch;

    const struct pipeline_kind *kind;
    void *kind_state; /* in the arena */

    enum pipeline_state state;
    bool committed;
    bool stream;
    bool cancelled;
    struct buf out;
    struct api_error fault;

    struct transfer *queue; /* asked for, not yet taken by pipeline_next */
    size_t queue_count;
    unsigned transfer_count;

    uint64_t poll_ms, commit_ms; /* left until then; 0 = no such timer */
    uint64_t armed_ms;           /* what pipeline_wait_ms last said */
    bool timer_changed;

    unsigned status;
    struct usage usage;
    uint64_t text_bytes; /* of the answer, for estimates */
    bool unfinished;     /* the answer is of a response that the upstream goes on with */
    struct span upstream_id, upstream_model;
    const struct neutral_request *request; /* names what was dropped; NULL for other kinds */
    const char *dropped;                   /* one more dropped member */
    bool estimated;                        /* local answers: all of it is a guess */
    struct span provider_request_id;
    struct buf upstream_headers; /* lines for the result */
    struct buf result_headers;
    struct pipeline_result result;
};

/* Each starts its kind; ERR_INVALID with *fault_out. `body` is parsed into c->doc, JSON_NOTHING
 * when there is none. */
enum err passthrough_start(struct pipeline *c, struct json body,
                           struct api_error *fault_out) NODISCARD;
enum err translation_start(struct pipeline *c, struct json body,
                           struct api_error *fault_out) NODISCARD;
enum err count_tokens_start(struct pipeline *c, struct json body,
                            struct api_error *fault_out) NODISCARD;

/* Queues it; sets its index. */
void pipeline_send(struct pipeline *c, struct transfer *x);
/* The state's only changes. Before the commit a failure forgets the output, after it the output
 * stands. */
void pipeline_fail(struct pipeline *c, const struct api_error *fault);
void pipeline_fail_class(struct pipeline *c, unsigned error_class, const char *message);
void pipeline_finish(struct pipeline *c);
/* First content. */
void pipeline_commit(struct pipeline *c);
/* A 2xx stream has begun: commit after 10 s whatever comes. */
void pipeline_expect_content(struct pipeline *c);
/* on_timer after this long, not 0. */
void pipeline_poll_after(struct pipeline *c, uint64_t ms);
/* Keeps the id and model (strings or nothing) of the answer. */
void pipeline_note_answer(struct pipeline *c, struct json id, struct json model);

/* Keeps the provider's id of the request and, if they are wanted, its rate limits: of the latest
 * transfer that has them. */
void pipeline_note_head(struct pipeline *c, const struct upstream_headers *headers);
/* Brings what the upstream says it used down to what is possible. True when something was above it.
 */
bool pipeline_bound_usage(const struct pipeline *c, struct usage *usage);
/* Finds c->row and c->compat. */
void pipeline_look_up(struct pipeline *c);
/* Of a stored response that was asked for by its id alone: what it costs shows by its answer. */
void pipeline_look_up_answer(struct pipeline *c);

/* Has an upstream refused a request because of `stream_options`, which we put there? Then this
 * pipeline, and those after it, go without. Once. */
bool pipeline_learns_stream_options(struct pipeline *c, unsigned status, struct span body);
/* Does an upstream have no /responses? Then the same for its chat completions. */
bool pipeline_learns_chat_only(struct pipeline *c, unsigned status, struct span body);

/* What a kind without a neutral request of its own gives to provider->map_error. */
void pipeline_map_error(struct pipeline *c, unsigned status, const struct upstream_headers *headers,
                        struct span body, struct api_error *fault_out);

#endif
