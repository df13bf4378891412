/* The client APIs: which route a request came by, and what is true of each. Generated from
 * apis.def. */
#ifndef PROTO_API_H
#define PROTO_API_H

#include <stdbool.h>

#include "common/base/err.h"
#include "common/base/span.h"

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
/* What a client may ask of an API: a route. Numbers travel too. */
enum operation {
#define API(...)
#define ROUTE(number, OPERATION, ...) OPERATION_##OPERATION = number,
#include "proto/apis.def"
#undef API
#undef ROUTE
    OPERATION_COUNT
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

/* A ROUTE row of apis.def. */
struct api_route {
    enum api api;
    const char *method, *path;
    enum api_body body;
};

/* Never NULL: an unknown number (a newer neighbour) reads as an OpenAI API that does nothing. */
const struct api_info *api_info(unsigned api);

/* NULL for an unknown number. */
const struct api_route *api_route(unsigned operation);

/* The id of a stored response as upstreams make them: letters, digits, `_`, `-`, 1 to 256 of them.
 */
bool api_response_id_is_sane(struct span id);

/* What an upstream is asked: "/responses/resp_1?stream=true", to stand behind a base URL. Made of
 * the table, an id and a query, so that whoever sent these can name no other path. ERR_INVALID: no
 * operation of this API, no sane id where one is needed, or a query with anything but printable
 * ASCII, or a `#`; ERR_TOO_BIG. *out is a view of `text`. */
enum { API_PATH_BYTES = 2048 };
enum err api_upstream_path(unsigned operation, unsigned api, struct span response_id,
                           struct span query, char text[API_PATH_BYTES],
                           struct span *out) NODISCARD;

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
