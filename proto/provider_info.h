/* The protocols of upstreams, the providers known by name, and the marks of compatible servers:
 * providers.def and compat.def as data. */
#ifndef PROTO_PROVIDER_INFO_H
#define PROTO_PROVIDER_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
enum protocol {
#define PROTOCOL(NAME, ...) PROTOCOL_##NAME,
#define PROVIDER(...)
#include "proto/providers.def"
#undef PROTOCOL
#undef PROVIDER
    PROTOCOL_COUNT
};

enum compat_mark {
#define COMPAT(NAME, ...) COMPAT_##NAME,
#include "proto/compat.def"
#undef COMPAT
    COMPAT_COUNT
};
/* clang-format on */

#define COMPAT_BIT(NAME) (1u << COMPAT_##NAME)

enum provider_source { SOURCE_PACKAGE, SOURCE_MEMORY };
enum auth_style { AUTH_BEARER, AUTH_X_API_KEY };

/* Rows of providers.def, where each member is explained. */
struct protocol_info {
    const char *name;
    enum auth_style auth;
    bool keeps_responses;
    bool paid_at_once;
};

struct provider_info {
    const char *name;
    enum protocol protocol;
    const char *base_url;
    const char *key_variable;
    uint32_t compat; /* a bit 1 << enum compat_mark each */
    enum provider_source source;
};

struct compat_info {
    const char *word;
    const char *help;
};

const struct protocol_info *protocol_info(enum protocol protocol);
/* The protocol of that name; false when there is none. */
bool protocol_find(const char *name, enum protocol *out);
/* The row of that name; NULL when there is none. */
const struct provider_info *provider_info_find(const char *name);
/* The row whose defaults a provider of this name and protocol has: its own, or that of the protocol
 * itself. Never NULL. */
const struct provider_info *provider_info(const char *name, enum protocol protocol);
/* For the next index from 0; NULL behind the last one. */
const struct provider_info *provider_info_at(size_t index);
const char *provider_source_text(enum provider_source source);
const struct compat_info *compat_info(enum compat_mark mark);
/* The names of all protocols, and the words of all marks; NULL-ended. */
extern const char *const protocol_words[], *const compat_words[];
/* The bit of a word of the configuration; 0 when there is no such mark. */
uint32_t compat_bit(const char *word);

#endif
