/* A provider's configuration as the facts builders ask for (docs/wire.md, Compatible servers). */
#ifndef SERVICES_WORKER_NEUTRAL_COMPAT_H
#define SERVICES_WORKER_NEUTRAL_COMPAT_H

#include "services/worker/neutral/provider.h"

/* What requests have shown of a provider, kept over requests: as if its configuration said so. */
struct learned_compat {
    bool no_stream_options, chat_only;
};

/* `config` may be NULL: then only the base URL speaks. The quirk "openai" makes any address count
 * as OpenAI's own. */
struct compat compat_describe(const struct config_provider *config, struct span base_url);

#endif
