#include "proto/provider_info.h"

#include <string.h>

/* clang-format off */
static const struct protocol_info protocols[PROTOCOL_COUNT] = {
#define PROTOCOL(NAME, name, AUTH, keeps_responses, paid_at_once) \
    [PROTOCOL_##NAME] = {#name, AUTH_##AUTH, keeps_responses, paid_at_once},
#define PROVIDER(...)
#include "proto/providers.def"
#undef PROTOCOL
#undef PROVIDER
};

static const struct provider_info providers[] = {
#define PROTOCOL(...)
#define PROVIDER(name, NAME, base_url, key_variable, compat, SOURCE) \
    {name, PROTOCOL_##NAME, base_url, key_variable, compat, SOURCE_##SOURCE},
#include "proto/providers.def"
#undef PROTOCOL
#undef PROVIDER
};

static const struct compat_info marks[COMPAT_COUNT] = {
#define COMPAT(NAME, member, word, help) [COMPAT_##NAME] = {word, help},
#include "proto/compat.def"
#undef COMPAT
};

const char *const protocol_words[] = {
#define PROTOCOL(NAME, name, ...) #name,
#define PROVIDER(...)
#include "proto/providers.def"
#undef PROTOCOL
#undef PROVIDER
    NULL};

const char *const compat_words[] = {
#define COMPAT(NAME, member, word, help) word,
#include "proto/compat.def"
#undef COMPAT
    NULL};
/* clang-format on */

const struct protocol_info *protocol_info(enum protocol protocol)
{
    return &protocols[protocol];
}

bool protocol_find(const char *name, enum protocol *out)
{
    for (unsigned p = 0; name && p < PROTOCOL_COUNT; p++)
        if (strcmp(protocols[p].name, name) == 0) {
            *out = (enum protocol)p;
            return true;
        }
    return false;
}

const struct provider_info *provider_info_at(size_t index)
{
    return index < sizeof providers / sizeof providers[0] ? &providers[index] : NULL;
}

const struct provider_info *provider_info_find(const char *name)
{
    for (size_t i = 0; name && provider_info_at(i); i++)
        if (strcmp(providers[i].name, name) == 0)
            return &providers[i];
    return NULL;
}

const struct provider_info *provider_info(const char *name, enum protocol protocol)
{
    const struct provider_info *own = provider_info_find(name);
    return own && own->protocol == protocol ? own : provider_info_find(protocols[protocol].name);
}

const char *provider_source_text(enum provider_source source)
{
    return source == SOURCE_PACKAGE ? "litellm 1.110.2" : "memory: to be checked";
}

const struct compat_info *compat_info(enum compat_mark mark)
{
    return &marks[mark];
}

uint32_t compat_bit(const char *word)
{
    for (unsigned i = 0; i < COMPAT_COUNT; i++)
        if (strcmp(marks[i].word, word) == 0)
            return 1u << i;
    return 0;
}
