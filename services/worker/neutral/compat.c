#include "services/worker/neutral/compat.h"

/* Of its row, and of the configuration's list. */
static uint32_t marks_of(const struct config_provider *config)
{
    uint32_t marks = config && config->info ? config->info->compat : 0;
    for (size_t i = 0; config && i < config->compat.count; i++)
        marks |= compat_bit(config->compat.items[i]);
    return marks;
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
    uint32_t marks = marks_of(config);
    struct compat compat = {
        .private_network = config && config->private_network,
        .base_url = base_url,
    };
#define COMPAT(NAME, member, word, help) compat.member = marks & COMPAT_BIT(NAME);
#include "proto/compat.def"
#undef COMPAT
    compat.is_openai |= is_openai_address(base_url);
    return compat;
}
