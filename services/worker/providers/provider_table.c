/* The providers there are: one per protocol. */
#include "services/worker/neutral/provider.h"

/* clang-format off */
const struct provider *const provider_all[] = {
#define PROTOCOL(NAME, name, ...) [PROTOCOL_##NAME] = &provider_##name,
#define PROVIDER(...)
#include "proto/providers.def"
#undef PROTOCOL
#undef PROVIDER
    [PROTOCOL_COUNT] = NULL,
};
