/* Inside of providers/: an upstream's error, in whatever shape, as one of our classes
 * (docs/wire.md, Errors). */
#ifndef SERVICES_WORKER_PROVIDERS_ERROR_MAP_H
#define SERVICES_WORKER_PROVIDERS_ERROR_MAP_H

#include "services/worker/neutral/provider.h"

/* Whether a message has one of the phrases (ends with NULL), in whatever case. */
bool error_message_has(struct span message, const char *const *phrases);
/* provider.map_error for all of them. */
void error_map(struct conversion *pc, unsigned status, const struct upstream_headers *headers,
               struct span body, struct api_error *fault_out);

#endif
