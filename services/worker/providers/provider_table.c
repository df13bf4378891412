/* The providers there are. */
#include "services/worker/neutral/provider.h"

const struct provider *const provider_all[] = {&provider_openai, &provider_anthropic,
                                               &provider_replicate, NULL};

const struct provider *provider_find(const char *type)
{
    for (size_t i = 0; type && provider_all[i]; i++) {
        if (strcmp(provider_all[i]->name, type) == 0)
            return provider_all[i];
    }
    return NULL;
}
