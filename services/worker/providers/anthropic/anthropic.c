/* Anthropic messages (docs/wire.md, Requests). */
#include "services/worker/providers/anthropic/anthropic.h"

#include "services/worker/providers/error_map.h"

const struct provider provider_anthropic = {
    .protocol = PROTOCOL_ANTHROPIC,
    .fixed_headers = "anthropic-version: 2023-06-01\n",
    .native_apis = 1u << API_ANTHROPIC_MESSAGES | 1u << API_ANTHROPIC_COUNT_TOKENS,
    .build_request = anthropic_build_request,
    .parse_response = anthropic_parse_response,
    .parse_event = anthropic_parse_event,
    .parse_end = anthropic_parse_end,
    .map_error = error_map,
};
