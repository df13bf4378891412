/* A client's header fields that a provider of the configuration may want (`forward_headers`),
 * beside those that travel anyway. */
#ifndef SERVICES_EDGE_HTTP_FORWARD_H
#define SERVICES_EDGE_HTTP_FORWARD_H

#include "common/base/arena.h"
#include "common/http/http.h"
#include "common/runtime/config/config.h"

enum { FORWARD_MAX_BYTES = 16384 };

/* `passed`, and after it the lines "name: value\n" of fields that any provider is to get; each
 * worker takes its provider's. In the arena. Fields beyond FORWARD_MAX_BYTES stay behind. */
struct span forward_lines(const struct config *config, const struct http_exchange *x,
                          struct span passed, struct arena *arena);

#endif
