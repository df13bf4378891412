#include "proto/api.h"

#include "common/base/buf.h"

/* clang-format off */
static const struct api_info infos[API_COUNT] = {
    [0] = {.name = "", .cap = "", .older_cap = ""},
#define API(number, NAME, FAMILY, SHAPE, generates, streams, stored, cap, older_cap)               \
    [number] = {#NAME, API_FAMILY_##FAMILY, API_SHAPE_##SHAPE, generates, streams, stored,         \
                cap, older_cap},
#define ROUTE(...)
#include "proto/apis.def"
#undef API
#undef ROUTE
};

static const struct api_route routes[OPERATION_COUNT] = {
#define API(...)
#define ROUTE(number, OPERATION, NAME, METHOD, path, BODY)                                         \
    [number] = {API_##NAME, #METHOD, path, API_BODY_##BODY},
#include "proto/apis.def"
#undef API
#undef ROUTE
};
/* clang-format on */

const struct api_info *api_info(unsigned api)
{
    return &infos[api < API_COUNT ? api : 0];
}

const struct api_route *api_route(unsigned operation)
{
    return operation < OPERATION_COUNT && routes[operation].path ? &routes[operation] : NULL;
}

bool api_response_id_is_sane(struct span id)
{
    if (id.len == 0 || id.len > 256)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.data[i];
        bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    c == '_' || c == '-';
        if (!fine)
            return false;
    }
    return true;
}

static bool is_query(struct span query)
{
    return span_is_graphic(query) && span_find(query, '#') == query.len;
}

enum err api_upstream_path(unsigned operation, unsigned api, struct span response_id,
                           struct span query, char text[API_PATH_BYTES], struct span *out)
{
    const struct api_route *route = api_route(operation);
    *out = SPAN_NONE;
    if (!route || route->api != api || !is_query(query))
        return ERR_INVALID;
    struct span end = span_skip(span_str(route->path), sizeof "/v1" - 1);
    size_t at = span_find(end, '{');
    struct span start = span_first(end, at), id = SPAN_NONE;
    if (at < end.len) {
        id = response_id;
        if (!api_response_id_is_sane(id))
            return ERR_INVALID;
    }
    end = span_skip(end, at + sizeof "{}" - 1);
    struct buf path = {.data = text, .cap = API_PATH_BYTES - 1, .max = API_PATH_BYTES - 1};
    buf_append(&path, start);
    buf_append(&path, id);
    buf_append(&path, end);
    buf_append_str(&path, query.len ? "?" : "");
    buf_append(&path, query);
    if (buf_check(&path) == OK)
        *out = buf_span(&path);
    return buf_check(&path);
}
