/* Inside of api/: what the answers of OpenAI's chat and legacy completions share. */
#ifndef SERVICES_WORKER_API_OPENAI_ANSWER_H
#define SERVICES_WORKER_API_OPENAI_ANSWER_H

#include "services/worker/api/writer.h"

/* The members before "choices"; the object stays open. */
void openai_write_head(const struct answer_writer *w, struct json_writer *jw, const char *object);
void openai_write_usage(struct json_writer *jw, const struct usage *u);
/* STOP_TOOL is the caller's to say: "tool_calls" or "function_call". */
const char *openai_finish_word(enum stop_reason stop);

/* Closes a chunk behind its "choices". */
void openai_end_chunk(const struct answer_writer *w);
/* The usage chunk, when the client asked for one, and [DONE]. `prefix`: a chunk's bytes up to
 * "choices". */
void openai_end_stream(const struct answer_writer *w, struct span prefix);

#endif
