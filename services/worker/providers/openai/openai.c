/* OpenAI and every server that speaks like it (docs/wire.md, Requests). */
#include "services/worker/providers/error_map.h"
#include "services/worker/providers/openai/openai.h"

const struct provider provider_openai = {
    .protocol = PROTOCOL_OPENAI,
    .fixed_headers = "",
    .native_apis = 1u << API_OPENAI_CHAT | 1u << API_OPENAI_COMPLETIONS |
                   1u << API_OPENAI_EMBEDDINGS | 1u << API_OPENAI_RESPONSES,
    .build_request = openai_build_request,
    .parse_response = openai_parse_response,
    .parse_event = openai_parse_event,
    .parse_end = openai_parse_end,
    .map_error = error_map,
};
