/* Inside of api/: what the two forms of an Anthropic answer share. */
#ifndef SERVICES_WORKER_API_ANTHROPIC_ANSWER_H
#define SERVICES_WORKER_API_ANTHROPIC_ANSWER_H

#include "services/worker/neutral/args_scan.h"
#include "services/worker/api/writer.h"

enum block_kind { BLOCK_NONE, BLOCK_TEXT, BLOCK_THINKING, BLOCK_REDACTED, BLOCK_TOOL };

enum tool_state { TOOL_WAITING, TOOL_LIVE, TOOL_CLOSED };

/* A tool of a stream. */
struct live_tool {
    uint32_t slot;
    enum tool_state state;
    bool ended; /* no more arguments will come */
    struct span id_text, name_text;
    struct rope args; /* while it waits */
    struct args_scan scan;
};

/* A block of a unary answer. */
struct answer_block {
    enum block_kind kind;
    uint32_t slot;
    struct span id_text, name_text, signature_text;
    struct rope text; /* of text and thinking; redacted data; a tool's arguments */
};

struct anthropic_writer {
    struct answer_writer base;
    bool refused; /* a refusal was said: that is the stop reason whatever the upstream's word */
    size_t tool_count;

    /* stream */
    enum block_kind open;
    size_t next_index; /* of the next block; the open one's is one less */
    struct live_tool *tools;
    size_t tool_cap;
    size_t first_waiting; /* tools below it are live or closed */

    /* unary */
    struct answer_block *blocks;
    size_t block_count, block_cap;
};

/* Thinking is shown only to a client that asked for it. */
bool anthropic_shows_thinking(const struct anthropic_writer *w);
/* A tool's id, made when the upstream gave none. Counts the tool. */
struct span anthropic_tool_id(struct anthropic_writer *w, const struct neutral_event *e);
/* "stop_reason" and "stop_sequence" with their values. */
void anthropic_write_stop(const struct anthropic_writer *w, struct json_writer *jw,
                          enum stop_reason stop);
/* The usage object of an ended answer. */
void anthropic_write_usage(const struct anthropic_writer *w, struct json_writer *jw);

void anthropic_stream_start(struct anthropic_writer *w);
void anthropic_stream_event(struct anthropic_writer *w, const struct neutral_event *e);
void anthropic_unary_event(struct anthropic_writer *w, const struct neutral_event *e);

#endif
