/* Inside of api/: what the two forms of an OpenAI chat answer share. */
#ifndef SERVICES_WORKER_API_OPENAI_CHAT_ANSWER_H
#define SERVICES_WORKER_API_OPENAI_CHAT_ANSWER_H

#include "services/worker/api/openai_answer.h"

struct chat_writer {
    struct answer_writer base;
    struct span prefix; /* streams: every chunk's bytes up to "choices" */
    struct answer_tools tools;
    struct rope text, refusal, reasoning; /* unary */
    struct rope thought;                  /* the thinking block being written */
    struct rope blocks;                   /* unary: the signed ones, as JSON, comma-separated */
};

/* The client used functions, the deprecated form: it is answered in kind. */
bool chat_is_legacy(const struct chat_writer *w);
/* "service_tier", when the upstream named one. */
void chat_write_tier(const struct chat_writer *w, struct json_writer *jw);
const char *chat_finish_word(const struct chat_writer *w);
/* A call up to its arguments' value. `tool` NULL: a later piece of the call; `index` NULL: no
 * index. */
void chat_write_call(struct json_writer *jw, bool legacy, const struct answer_tool *tool,
                     const size_t *index);
void chat_end_call(struct json_writer *jw, bool legacy);

void chat_stream_start(struct chat_writer *w);
/* A delta of one string member. */
void chat_stream_text(struct chat_writer *w, const char *member, struct span text);
void chat_stream_block(struct chat_writer *w, struct span json);
/* One piece of a call; `tool` for its first. */
void chat_stream_call(struct chat_writer *w, const struct answer_tool *tool, size_t index,
                      struct span args);
void chat_stream_end(struct chat_writer *w);

void chat_unary_end(struct chat_writer *w);

#endif
