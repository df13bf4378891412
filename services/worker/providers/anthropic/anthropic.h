/* Inside of providers/: the parts of provider_anthropic. */
#ifndef SERVICES_WORKER_PROVIDERS_ANTHROPIC_ANTHROPIC_H
#define SERVICES_WORKER_PROVIDERS_ANTHROPIC_ANTHROPIC_H

#include "services/worker/neutral/answer_error.h"
#include "services/worker/neutral/usage_read.h"
#include "services/worker/providers/out.h"

/* An open content block of a stream. */
struct anthropic_block;

struct anthropic_usage {
    struct usage_messages counts;
    struct arena_text tier; /* its word */
};

struct anthropic_state {
    struct out out;
    bool json_tool; /* structured output by the tool json_answer */
    struct anthropic_usage usage;
    uint32_t slots; /* client tools begun */
    bool lost;      /* a text had no room in memory */
    bool stopped;   /* a stop_reason was seen */
    enum stop_reason stop;
    struct arena_text stop_sequence, explanation;
    struct anthropic_block *blocks;
    size_t block_count;
};

#define ANTHROPIC_JSON_TOOL "json_answer"

/* ---- request ---- */

/* An out-going turn: whose it is and its blocks. */
struct block {
    const struct part *part;
    struct span id; /* tool_use, tool_result: the repaired id, bytes that need no escape */
    bool no_result; /* a result made up for a call nobody answered */
    bool dot;       /* a user's "." in front of an assistant's first turn */
    bool plain;     /* the part's turn had a string for content */
};
struct message {
    bool assistant;
    struct block *blocks;
    size_t count, cap;
    bool thinks;    /* has a thinking block */
    bool calls;     /* has a tool_use */
    unsigned index; /* of the client's message it began with */
};
struct conversation {
    struct message *messages;
    size_t count, cap;
    const struct part **system; /* texts, in order of appearance */
    size_t system_count;
    bool calls; /* any tool_use at all */
};

/* Neutral turns → alternating turns with repaired ids, every call answered. ERR_INVALID
 * with the fault. */
enum err anthropic_arrange(struct conversion *pc, struct conversation *out,
                           struct api_error *fault_out) NODISCARD;

/* Cache marks: four at most go out. */
struct marks {
    struct neutral_request *request;
    unsigned used;
};
void anthropic_write_mark(struct json_writer *w, struct marks *marks, struct span cache_json);
/* The value of "messages". */
enum err anthropic_write_messages(struct conversion *pc, const struct conversation *c,
                                  struct json_writer *w, struct marks *marks,
                                  struct api_error *fault_out) NODISCARD;

/* What thinking and sampling become for this model. */
struct thinking_plan {
    enum { PLAN_NOTHING, PLAN_DISABLED, PLAN_BUDGET, PLAN_ADAPTIVE } kind;
    int64_t budget;
    const char *effort; /* output_config.effort; NULL = none */
};
void anthropic_plan_thinking(struct conversion *pc, const struct conversation *c,
                             int64_t max_tokens, bool forced_tool, struct thinking_plan *out);

/* A request being written. */
struct anthropic_builder {
    struct conversion *pc;
    struct neutral_request *r;
    const struct model_row *row;
    struct anthropic_state *state;
    struct json_writer w;
    struct api_error *fault;
    struct conversation conversation;
    struct marks marks;
    struct thinking_plan plan;
    int64_t max_tokens;
};

/* A tool that runs at the provider of the client's protocol runs here too: web search. */
bool anthropic_has_tool(const struct tool *tool);
/* "tools" and "tool_choice", where there are any. */
void anthropic_write_tools(struct anthropic_builder *b);
void anthropic_write_tool_choice(struct anthropic_builder *b);
/* The schema that was asked for becomes a tool: the model knows no structured output.
 */
bool anthropic_by_json_tool(const struct anthropic_builder *b);
/* The choice lets the model do nothing but call a tool. */
bool anthropic_is_forced(const struct anthropic_builder *b);

enum err anthropic_build_request(struct conversion *pc, struct api_error *fault_out);

/* ---- answer ---- */

/* Nothing known yet. */
void anthropic_forget_usage(struct anthropic_usage *u);
void anthropic_read_usage(struct conversion *pc, struct anthropic_usage *u, struct json usage);
struct usage anthropic_neutral_usage(const struct anthropic_usage *u);
/* A copy of the text in place of the old one. */
void anthropic_keep_text(struct conversion *pc, struct arena_text *into, struct span text);
/* Takes stop_reason and what belongs to it from a message, or from a message_delta's delta. */
void anthropic_note_stop(struct conversion *pc, struct anthropic_state *s, struct json from);
/* Refusal, usage, stop, end. */
void anthropic_finish(struct conversion *pc, struct anthropic_state *s);
/* The tool that stands for structured output. */
bool anthropic_is_json_tool(const struct anthropic_state *s, struct json block);

enum err anthropic_parse_response(struct conversion *pc, const struct transfer *x,
                                  struct span body);
enum err anthropic_parse_event(struct conversion *pc, const struct transfer *x,
                               const struct sse_event *e);
enum err anthropic_parse_end(struct conversion *pc, const struct transfer *x);

#endif
