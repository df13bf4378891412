/* What must change in a client's body before it leaves, and nothing else: the model's name, forced
 * usage on streams, configured defaults, a hard budget's cap, and what a server is known not to
 * take (docs/wire.md, Pass-through). */
#ifndef SERVICES_WORKER_PIPELINE_REQUEST_EDIT_H
#define SERVICES_WORKER_PIPELINE_REQUEST_EDIT_H

#include "services/worker/neutral/provider.h"

struct request_edit {
    enum api api;
    struct span target_model;
    const struct compat *compat;
    const struct config_model *config; /* defaults; may be NULL */
    uint64_t output_cap;               /* 0 = leave alone */
};

/* What the pipeline must know about the request. */
struct request_facts {
    bool stream;
    bool asked_usage;  /* stream_options.include_usage was the client's own wish */
    bool forced_usage; /* … or ours: to be hidden again */
    bool dropped_stream_options;
};

/* An object; no doubled model, stream, n or cap; those of the right type.
 * ERR_INVALID with *fault_out set otherwise. */
enum err request_check(struct json body, enum api api, struct api_error *fault_out) NODISCARD;

/* Same protocol: appends the body to send to `out`, or nothing at all when it may go as it is. */
enum err request_edit_native(const struct request_edit *e, struct json body, struct buf *out,
                             struct request_facts *facts_out) NODISCARD;

/* Appends the messages with one system message in front that says all of them; nothing when they
 * stand so already. */
void request_put_system_first(struct json messages, struct buf *out);

/* Before a translation: the client's body with the configured defaults the client did not give;
 * nothing appended when there are none. */
enum err request_edit_defaults(const struct request_edit *e, struct json body,
                               struct buf *out) NODISCARD;

#endif
