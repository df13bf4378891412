/* What the simulator answers, whatever the protocol: derived from the request alone, so that a test
 * can match an answer to its own request. Tokens are bytes / 4, rounded up, at least 1. */
#ifndef SERVICES_SIMULATOR_ANSWER_H
#define SERVICES_SIMULATOR_ANSWER_H

#include "services/simulator/sim.h"

enum { ANSWER_MAX_TOOLS = 128, ANSWER_MAX_CALLS = 8 };

enum finish { FINISH_STOP, FINISH_LENGTH, FINISH_TOOLS, FINISH_SEQUENCE };
enum sim_tool_mode { TOOLS_AUTO, TOOLS_NONE, TOOLS_ANY, TOOLS_NAMED };
enum answer_format { FORMAT_TEXT, FORMAT_OBJECT, FORMAT_SCHEMA };

struct sim_tool {
    struct span name;
    struct json schema; /* of its arguments */
};

/* What a protocol has read out of its request. */
struct question {
    struct sim_tool *tools; /* in the arena; made by question_add_tool */
    unsigned tool_count;
    enum sim_tool_mode mode;
    struct span named;
    bool one_call;     /* no parallel calls */
    bool after_result; /* the last turn brings tool results: answer with text */
    enum answer_format format;
    struct json schema;  /* FORMAT_SCHEMA */
    uint64_t max_tokens; /* 0 = none */
    struct json stops;   /* string or array */
    bool thinking;
    uint64_t input_bytes;
};

struct tool_use {
    struct span name;
    struct span args; /* a JSON object's text */
};

struct sim_answer {
    struct span text;     /* bytes */
    struct span thinking; /* empty when not asked for */
    struct tool_use calls[ANSWER_MAX_CALLS];
    unsigned call_count;
    enum finish finish;
    struct span sequence; /* FINISH_SEQUENCE: which one */
    uint64_t input, output, cached, reasoning;
};

/* Ignored beyond ANSWER_MAX_TOOLS. */
void question_add_tool(struct ask *ask, struct question *q, struct span name, struct json schema);
void answer_make(struct ask *ask, const struct question *q, struct sim_answer *out);
uint64_t tokens_of(uint64_t bytes);
/* The pieces a stream cuts the text into: call until it returns an empty span. `at` starts at 0.
 * Never inside a UTF-8 sequence. */
struct span answer_piece(const struct ask *ask, struct span text, size_t *at);
/* An example of what a JSON schema describes. */
void schema_sample(struct json schema, struct json_writer *w);

#endif
