#include "services/worker/neutral/compat.h"

static bool has_mark(const struct config_provider *config, const char *name)
{
    for (size_t i = 0; config && i < config->compat.count; i++) {
        if (strcmp(config->compat.items[i], name) == 0)
            return true;
    }
    return false;
}

static bool is_openai_address(struct span url)
{
    struct span rest = url;
    if (span_starts(rest, "https://"))
        rest = span_skip(rest, strlen("https://"));
    rest = span_first(rest, span_find(rest, '/'));
    rest = span_first(rest, span_find(rest, ':'));
    return span_is_nocase(rest, "api.openai.com");
}

struct compat compat_describe(const struct config_provider *config, struct span base_url)
{
    return (struct compat){
        .is_openai = is_openai_address(base_url) || has_mark(config, "openai"),
        .max_tokens_only = has_mark(config, "max_tokens"),
        .no_stream_options = has_mark(config, "no_stream_options"),
        .echo_reasoning = has_mark(config, "echo_reasoning"),
        .top_k = has_mark(config, "top_k"),
        .many_stops = has_mark(config, "many_stops"),
        .no_parallel_tool_calls = has_mark(config, "no_parallel_tool_calls"),
        .private_network = config && config->private_network,
        .base_url = base_url,
    };
}
