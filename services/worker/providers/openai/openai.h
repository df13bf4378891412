/* Inside of providers/: the parts of provider_openai. */
#ifndef SERVICES_WORKER_PROVIDERS_OPENAI_OPENAI_H
#define SERVICES_WORKER_PROVIDERS_OPENAI_OPENAI_H

#include "services/worker/neutral/answer_error.h"
#include "services/worker/neutral/args_scan.h"
#include "services/worker/neutral/usage_read.h"
#include "services/worker/providers/out.h"

enum { OPENAI_MAX_TOOL_CALLS = 128 };

/* One tool call of a stream. */
struct openai_tool {
    int64_t index; /* as the upstream counts */
    bool begun;    /* TOOL_BEGIN was sent */
    struct arena_text id, name;
    struct arena_text early; /* arguments that came before the name */
    struct args_scan args;
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

/* A request being written. */
struct openai_builder {
    struct conversion *pc;
    struct neutral_request *r;
    struct json_writer w;
    struct api_error *fault;
};
/* "tools" and "tool_choice", where there are any. ERR_INVALID: one runs at another provider. */
enum err openai_write_tools(struct openai_builder *b);

/* Neutral request → /chat/completions. */
enum err openai_build_request(struct conversion *pc, struct api_error *fault_out);
/* The parts of a user's message. */
struct openai_writer {
    struct conversion *pc;
    struct json_writer *w;
    struct api_error *fault;
    bool marks; /* the server knows prompt_cache_breakpoint */
};
/* ERR_INVALID with the fault set; turn may be NULL. */
enum err openai_unsupported(struct openai_writer *m, const struct turn *turn, const char *what);
/* The part's cache mark, where the server knows them; else it is named as dropped. */
void openai_write_mark(struct openai_writer *m, const struct part *p);
/* Inside of a string: a text document, or a search result. */
void openai_write_as_text(struct openai_writer *m, const struct part *p);
void openai_write_text_part(struct openai_writer *m, const struct part *p);
/* ERR_INVALID: it can't be said to this server. Nothing for a part that stands elsewhere (a tool's
 * result). */
enum err openai_write_user_part(struct openai_writer *m, const struct turn *turn,
                                const struct part *p);

/* The messages array, into w. */
enum err openai_write_messages(struct conversion *pc, struct json_writer *w,
                               struct api_error *fault_out);

/* ---- what a body and a chunk have in common ---- */

/* Usage, and the tier beside it, of a body or a chunk that has them. */
void openai_note_bill(struct openai_state *s, struct json root);
void openai_say_reasoning(struct conversion *pc, struct openai_state *s, struct json from);
/* A string, or parts of text. */
void openai_say_content(struct conversion *pc, struct openai_state *s, struct json content);
void openai_say_refusal(struct conversion *pc, struct openai_state *s, struct json refusal);
/* Some servers end a failed answer like a good one. */
bool openai_is_failure(struct json reason);
void openai_fail_by_finish(struct conversion *pc, struct openai_state *s, struct json reason);
/* Takes the finish reason, and the stop sequence where a server says which it was (vLLM). */
void openai_note_stop(struct conversion *pc, struct openai_state *s, struct json choice);
/* Ends the tool calls; usage, stop, end. */
void openai_finish(struct conversion *pc, struct openai_state *s);
/* The choice with index 0; nothing when there is none. */
struct json openai_first_choice(struct json choices);
/* Room for the tool calls; false when the arena is full. */
bool openai_make_tools(struct conversion *pc, struct openai_state *s);

/* Answer → events. */
enum err openai_parse_response(struct conversion *pc, const struct transfer *x, struct span body);
enum err openai_parse_event(struct conversion *pc, const struct transfer *x,
                            const struct sse_event *e);
enum err openai_parse_end(struct conversion *pc, const struct transfer *x);

#endif
