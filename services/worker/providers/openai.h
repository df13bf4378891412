/* Inside of providers/: the parts of provider_openai. */
#ifndef SERVICES_WORKER_PROVIDERS_OPENAI_H
#define SERVICES_WORKER_PROVIDERS_OPENAI_H

#include "services/worker/providers/out.h"

enum { OPENAI_MAX_TOOL_CALLS = 128 };

/* One tool call of a stream. */
struct openai_tool {
    int64_t index; /* as the upstream counts */
    bool begun;    /* TOOL_BEGIN was sent */
    struct arena_text id, name;
    struct arena_text early; /* arguments that came before the name */
};

struct openai_state {
    struct out out;
    struct openai_tool *tools; /* slot = position; OPENAI_MAX_TOOL_CALLS of them */
    size_t tool_count;
    struct usage usage;
    enum stop_reason stop;
    bool finished; /* a finish_reason was seen */
    bool refused;
    struct span stop_sequence_text;
};

/* Neutral request → /chat/completions (WIRE 14). */
enum err openai_build_request(struct provider_call *pc, struct fault *fault_out);
/* The messages array, into w. */
enum err openai_write_messages(struct provider_call *pc, struct json_writer *w,
                               struct fault *fault_out);

/* Answer → events (WIRE 15, 16). */
enum err openai_parse_response(struct provider_call *pc, const struct exchange *x,
                               struct span body);
enum err openai_parse_event(struct provider_call *pc, const struct exchange *x,
                            const struct sse_event *e);
enum err openai_parse_end(struct provider_call *pc, const struct exchange *x);

#endif
