/* What Replicate's models take: the schemas of their versions, learned by one GET each and kept an
 * hour (docs/wire.md, Replicate). A file <folder>/<owner>/<name>.json goes before: either a
 * version's components.schemas, or only the properties of its Input. Bounded; owned by the worker,
 * lent to its requests. */
#ifndef SERVICES_WORKER_PROVIDERS_REPLICATE_SCHEMA_CACHE_H
#define SERVICES_WORKER_PROVIDERS_REPLICATE_SCHEMA_CACHE_H

#include "common/base/arena.h"

enum {
    SCHEMA_CACHE_MAX_MODELS = 128,
    SCHEMA_CACHE_MAX_BYTES = 512 << 10,
    SCHEMA_CACHE_KEEP_S = 3600
};

struct schema_cache;

/* `folder` may be NULL: no files. NULL when there is no memory. */
struct schema_cache *schema_cache_create(const char *folder);
void schema_cache_destroy(struct schema_cache **c);
/* The schemas' JSON, in the arena. SPAN_NONE when it is not known, or `c` is NULL. */
struct span schema_cache_get(struct schema_cache *c, struct span model, uint64_t now_s,
                             struct arena *arena);
/* Keeps a copy; the oldest one goes when there are too many. Nothing when `c` is NULL or the text
 * too long. */
void schema_cache_put(struct schema_cache *c, struct span model, uint64_t now_s,
                      struct span schemas);

#endif
