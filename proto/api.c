#include "proto/api.h"

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
/* clang-format on */

const struct api_info *api_info(unsigned api)
{
    return &infos[api < API_COUNT ? api : 0];
}
