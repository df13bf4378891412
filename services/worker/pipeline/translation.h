/* Inside of the translating pipeline: one client answer, made by one upstream answer, or by several
 * (legacy completions with several prompts: one part each). */
#ifndef SERVICES_WORKER_PIPELINE_TRANSLATION_H
#define SERVICES_WORKER_PIPELINE_TRANSLATION_H

#include "services/worker/neutral/api_ops.h"
#include "services/worker/pipeline/pipeline_internal.h"
#include "services/worker/pipeline/upstream_answer.h"

enum { TRANSLATION_MAX_PROMPTS = 128, TRANSLATION_MAX_PARALLEL = 8, TRANSLATION_MAX_REPEATS = 3 };

struct translation;

struct prompt_part {
    struct translation *owner;
    uint32_t index;
    struct neutral_request request;
    struct conversion pc;
    struct json_doc doc;
    const struct transfer *current;  /* whose answer is awaited; NULL = none */
    const struct transfer *answered; /* whose head has come: `answer` is its answer */
    struct upstream_answer answer;
    struct buf mended; /* scratch: an event whose UTF-8 was repaired */
    struct usage usage;
    uint64_t text_bytes;
    uint64_t wait_ms;       /* left until on_timer; 0 = none */
    unsigned repeats;       /* of a repeatable transfer that failed */
    struct transfer *again; /* to be sent when the wait is over */
    bool stopped, ended;
};

struct translation {
    struct pipeline *pipeline;
    const struct api_ops *api;
    struct answer_writer *writer;
    struct neutral_request request;
    struct prompt_part *prompt_parts;
    size_t part_count, started_count, ended_count;
    bool begun; /* START was written */
};

/* The client's body, with the configured defaults it leaves out, into t->request. */
enum err translation_read(struct translation *t, struct json body,
                          struct api_error *fault_out) NODISCARD;
/* A hard budget's cap, and the legacy protocol's default one. */
void translation_apply_caps(struct translation *t);
/* One part per prompt. */
enum err translation_make_parts(struct translation *t, struct api_error *fault_out) NODISCARD;
/* Makes the writer; NULL when the arena is full. */
struct answer_writer *translation_make_writer(struct translation *t);
/* neutral_sink; ctx is the part. */
void translation_emit(void *ctx, const struct neutral_event *e);
/* An answer nobody has to be asked for: no content, ended by the length. */
void translation_answer_empty(struct translation *t);

#endif
