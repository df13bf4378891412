/* Inside of the pass-through: what its files share. */
#ifndef SERVICES_WORKER_PIPELINE_PASSTHROUGH_H
#define SERVICES_WORKER_PIPELINE_PASSTHROUGH_H

#include "services/worker/pipeline/pipeline_internal.h"
#include "services/worker/pipeline/scan.h"
#include "services/worker/pipeline/upstream_answer.h"

struct passthrough {
    struct transfer transfer, again; /* again: without what the upstream refused */
    struct request_facts facts;
    struct buf edited; /* the body as it leaves, when it is not the client's */
    struct upstream_answer answer;
    struct scan scan;
    struct buf repaired; /* scratch: an event whose UTF-8 was mended */
    bool done;           /* the stream's end mark has come: bytes after it are ignored */
};

/* ---- passthrough_request.c ---- */

/* The body as it leaves, into p->edited (nothing there: it leaves as it came). */
enum err passthrough_edit(struct pipeline *c, struct json body,
                          struct api_error *fault_out) NODISCARD;
/* Asks for the one transfer. */
void passthrough_send(struct pipeline *c);
/* After an error: the usage that we asked for is what the upstream does not know, so the request
 * goes again without. False when that is not why. */
bool passthrough_without_stream_options(struct pipeline *c);

/* After an error: the upstream has no /responses, so that the request goes to its chat completions,
 * translated. False when that is not why. */
bool passthrough_becomes_chat(struct pipeline *c);

/* ---- passthrough_usage.c ---- */

/* Where the client asked for usage and the upstream told none: ours, marked, as a chunk of the
 * stream. */
void passthrough_estimated_usage(struct pipeline *c);
/* Has an event of usage more to say than every chunk has? llama.cpp's `timings` stand beside it. */
bool passthrough_says_more(struct json event);

#endif
