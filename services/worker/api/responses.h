/* Inside of api/: the parts of OpenAI's responses, read and written for upstreams that do not speak
 * them (docs/wire.md, Responses). Nothing is stored: what a next turn needs travels with its items.
 */
#ifndef SERVICES_WORKER_API_RESPONSES_H
#define SERVICES_WORKER_API_RESPONSES_H

#include "services/worker/api/read.h"
#include "services/worker/neutral/api_ops.h"

/* What a tool of the request is to its client; upstream all of them are functions. */
enum responses_tool_kind {
    RESPONSES_FUNCTION,
    RESPONSES_CUSTOM,      /* takes text: upstream a function of one string, "input" */
    RESPONSES_LOCAL_SHELL, /* its call has an `action` */
    RESPONSES_SHELL,       /* … too */
    RESPONSES_APPLY_PATCH  /* its call has an `operation` */
};

struct responses_tool {
    enum responses_tool_kind kind;
    struct span sent_text;                 /* its name upstream */
    struct span name_text, namespace_text; /* as the client knows it */
};

/* What the answer must know of the request. */
struct responses_request {
    struct span echo; /* members that every response says again: "name":value, comma-separated */
    bool shows_reasoning; /* as a summary; else it is there without its words */
    struct responses_tool *tools;
    size_t tool_count, tool_cap;
};

/* member_fns; `into` is the request, whose tools are read before its input, and that before the
 * choice. */
enum err responses_read_input(struct reader *r, const struct where *at, struct json v, void *into);
enum err responses_read_tools(struct reader *r, const struct where *at, struct json v, void *into);
enum err responses_read_tool_choice(struct reader *r, const struct where *at, struct json v,
                                    void *into);
/* Content of a message, or the output of a tool: a string or an array of parts. */
enum err responses_read_content(struct reader *r, const struct where *at, struct json v,
                                struct part_list *parts, bool *plain);
/* The tool that has this name upstream; NULL when there is none. */
const struct responses_tool *responses_find_tool(const struct responses_request *request,
                                                 struct span sent_text);
/* The name upstream of a tool that a call of the history names; the same when it is not among the
 * tools. No data when the arena is full. */
struct span responses_sent_name(struct reader *r, struct span namespace_text,
                                struct span name_text);

/* A reasoning item → thinking: what we hid in it, or else its words. */
enum err responses_read_reasoning(struct reader *r, const struct where *at, struct json v,
                                  struct part_list *parts);
/* … and back: encrypted_content of a thinking block, bytes that need no escape; empty when it is
 * too large, or the arena full. Its signature is what the provider checks it by. */
struct span responses_hide_thinking(struct arena *arena, struct span thinking_text,
                                    struct span signature_text);
struct span responses_hide_redacted(struct arena *arena, struct span data_text);

enum err responses_read(struct json body, struct arena *arena, struct neutral_request *out,
                        struct api_error *fault_out);
struct answer_writer *responses_writer_create(const struct answer_options *options);
void responses_write(struct answer_writer *w, const struct neutral_event *e);

#endif
