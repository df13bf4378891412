/* GET /v1/models and /v1/models/{id}: the configured models a key may use, in either protocol's
 * shape (docs/wire.md, Requests). Pure. */
#ifndef SERVICES_EDGE_STATUS_MODELS_H
#define SERVICES_EDGE_STATUS_MODELS_H

#include "common/base/buf.h"
#include "common/runtime/catalog.h"
#include "common/runtime/config/config.h"

struct models_query {
    const struct config *config;
    const struct catalog *catalog; /* what providers list; may be NULL */
    struct span allowed;           /* patterns of the key; empty = all */
    bool anthropic;                /* the shape */
    uint64_t created_ms;           /* wall clock; when this configuration was read */
    struct span query;             /* the URL's: limit, after_id, before_id in Anthropic's shape */
};

/* A wildcard's own name is no model's: it stands for what its first target's provider lists, where
 * it says `list`. ERR_INVALID: a bad limit or an unknown
 * after_id or before_id. */
enum err models_write_list(const struct models_query *q, struct buf *out) NODISCARD;
/* ERR_NOT_FOUND: not configured (wildcards count), or the key may not use it. */
enum err models_write_one(const struct models_query *q, struct span id, struct buf *out) NODISCARD;

#endif
