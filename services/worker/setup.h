/* One reading of the configuration as a worker needs it: its provider, keys and models. Attempts
 * keep the one they began with, so a reload never pulls anything from under them. */
#ifndef SERVICES_WORKER_SETUP_H
#define SERVICES_WORKER_SETUP_H

#include "common/base/stored_responses.h"
#include "services/worker/endpoints/endpoints.h"
#include "services/worker/neutral/compat.h"
#include "common/fetch/fetch.h"

struct setup {
    unsigned refs;
    struct config *config; /* a copy of its own */
    const struct config_provider *provider_config;
    const struct provider *provider;
    struct endpoints *endpoints;
    struct stored_responses responses; /* what a broker may have forgotten */
    struct learned_compat learned;
};

/* The caller holds the first reference. ERR_NOT_FOUND: no such provider in the file;
 * ERR_INVALID: the file is bad. Each has been logged. Where a variable or a file that it names is
 * missing there are no endpoints, and endpoints_why says which. */
enum err setup_create(struct setup **out, const char *path, const struct config_paths *paths,
                      const char *provider_name) NODISCARD;
struct setup *setup_ref(struct setup *s);
/* The last one wipes keys and frees. Takes NULL, nulls. */
void setup_unref(struct setup **s);

#endif
