/* The usage objects of the APIs → neutral usage. Members that are absent or null leave what an
 * earlier event said; counts are cumulative, so the last one said stands. */
#ifndef SERVICES_WORKER_NEUTRAL_USAGE_READ_H
#define SERVICES_WORKER_NEUTRAL_USAGE_READ_H

#include "services/worker/neutral/neutral.h"

/* `usage` of OpenAI's chat, completions and embeddings, and of servers that resemble them. */
void usage_read_chat(struct usage *u, struct json usage);
/* `usage` of OpenAI's responses. */
void usage_read_responses(struct usage *u, struct json usage);
/* The same of a chat chunk that ends an answer without a `usage` of its own: Groq has it in x_groq.
 */
void usage_read_groq(struct usage *u, struct json chunk);

/* Anthropic's counts as it gives them: input without the cached ones. */
struct usage_messages {
    uint64_t input, written, read, output, thinking;
    uint64_t written_1h; /* of written */
    uint64_t searches;
    enum service_tier tier;
};
/* Nothing known yet. */
extern const struct usage_messages usage_messages_none;
void usage_read_messages(struct usage_messages *u, struct json usage);
/* In the neutral sense, where input is all of it. */
struct usage usage_of_messages(const struct usage_messages *u);

#endif
