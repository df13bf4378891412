/* The client protocols: which route a request came by. Numbers travel on the bus; never reused. */
#ifndef PROTO_API_H
#define PROTO_API_H

#include <stdbool.h>

enum api {
    API_OPENAI_CHAT = 1,
    API_OPENAI_COMPLETIONS = 2,
    API_OPENAI_EMBEDDINGS = 3,
    API_OPENAI_RESPONSES = 4, /* POST /v1/responses, and GET, DELETE, cancel by id */
    API_ANTHROPIC_MESSAGES = 5,
    API_ANTHROPIC_COUNT_TOKENS = 6,
    API_COUNT
};

static inline bool api_is_anthropic(enum api api)
{
    return api == API_ANTHROPIC_MESSAGES || api == API_ANTHROPIC_COUNT_TOKENS;
}

#endif
