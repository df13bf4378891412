/* The models that providers have, as each told last: MODELS messages, kept by who passes or shows
 * them. */
#ifndef COMMON_RUNTIME_CATALOG_H
#define COMMON_RUNTIME_CATALOG_H

#include "common/base/err.h"
#include "common/base/span.h"

enum {
    CATALOG_MAX_PROVIDERS = 256,
    CATALOG_MAX_BYTES = 64 << 10, /* of one provider's names, with the line ends between them */
    CATALOG_NAME_BYTES = 256
};

struct catalog_entry {
    char *provider, *names; /* names: each with a \n behind it */
    struct catalog_entry *next;
};

/* {0} is empty. */
struct catalog {
    struct catalog_entry *first;
    size_t count;
};

/* In place of what the provider had. ERR_TOO_BIG, ERR_NOMEM: it has what it had. */
enum err catalog_put(struct catalog *c, struct span provider, struct span names) NODISCARD;
/* Each name with a \n behind it; SPAN_NONE of a provider that has told nothing. */
struct span catalog_names(const struct catalog *c, const char *provider);
void catalog_free(struct catalog *c);

#endif
