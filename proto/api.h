/* The client APIs: which route a request came by, and what is true of each. Generated from
 * apis.def. */
#ifndef PROTO_API_H
#define PROTO_API_H

#include <stdbool.h>

/* clang-format off */
/* Numbers travel on the bus; never reused. */
enum api {
#define API(number, NAME, ...) API_##NAME = number,
#define ROUTE(...)
#include "proto/apis.def"
#undef API
    API_COUNT
};

/* Sets of APIs, for tables that hold for some of them: a bit 1 << number for each. */
#define API_BIT(api) (1u << (api))
enum api_set {
    API_GENERATING = 0
#define API(number, NAME, FAMILY, SHAPE, generates, ...) | (generates) << (number)
#include "proto/apis.def"
#undef API
#undef ROUTE
};
/* clang-format on */

/* What a model generates whose speed nobody knows. */
enum { API_TOKENS_PER_S = 50 };

enum api_family { API_FAMILY_OPENAI, API_FAMILY_ANTHROPIC };
enum api_shape { API_SHAPE_CHAT, API_SHAPE_MESSAGE, API_SHAPE_RESPONSE };
enum api_body { API_BODY_NONE, API_BODY_JSON };

/* A row of apis.def, where each member is explained. */
struct api_info {
    const char *name; /* "OPENAI_CHAT" */
    enum api_family family;
    enum api_shape shape;
    bool generates, streams, stored;
    const char *cap, *older_cap; /* "" = none */
};

/* Never NULL: an unknown number (a newer neighbour) reads as an OpenAI API that does nothing. */
const struct api_info *api_info(unsigned api);

static inline bool api_is_anthropic(enum api api)
{
    return api_info(api)->family == API_FAMILY_ANTHROPIC;
}

/* Its streams are chat.completion.chunk objects or alike: they end with [DONE], and say their usage
 * only when asked. */
static inline bool api_streams_chunks(enum api api)
{
    return api_info(api)->shape == API_SHAPE_CHAT && api_info(api)->streams;
}

#endif
