/* Shared by the files that speak OpenAI's protocol. */
#ifndef SERVICES_SIMULATOR_OPENAI_H
#define SERVICES_SIMULATOR_OPENAI_H

#include "services/simulator/answer.h"

#define OPENAI_CREATED 1700000000u /* deterministic: no clock in answers */

/* true when the faults ask for an error: it is composed. */
bool openai_fault(struct ask *ask);
/* Model and stream; false when refused. */
bool openai_common(struct ask *ask);
void openai_chat(struct ask *ask);
/* Fills ask->text and ask->marker too; false when refused. */
bool openai_chat_read(struct ask *ask, struct question *q);
/* The deprecated pair, functions and function_call: one call at most, without an id. */
bool openai_is_legacy(const struct ask *ask);
void openai_completions(struct ask *ask);
void openai_embeddings(struct ask *ask);
/* prompt_tokens … total_tokens as chat has them. */
void openai_usage(struct json_writer *w, const struct sim_answer *a);
bool openai_wants_usage(const struct ask *ask);
const char *openai_finish(const struct ask *ask, const struct sim_answer *a);
/* data: {"error": …} in mid-stream. */
void openai_stream_error(struct ask *ask);

#endif
