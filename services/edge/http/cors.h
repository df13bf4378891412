/* Which origins may read our answers from a browser (edge.cors_origins). Pure. */
#ifndef SERVICES_EDGE_HTTP_CORS_H
#define SERVICES_EDGE_HTTP_CORS_H

#include "common/base/span.h"

struct cors_answer {
    struct span allow_origin; /* Access-Control-Allow-Origin; empty = say nothing */
    bool varies;              /* the answer depends on Origin: Vary: Origin */
    bool listed;              /* its origin is named in the list, not let in by a "*" */
};

/* `origins` as configured: "*" for any; an entry may hold one `*` (any subdomain, any port). */
struct cors_answer cors_answer(const char *const *origins, size_t count, struct span origin);
/* true when Access-Control-Request-Headers may be echoed: tokens, commas and blanks, at most 1 KiB.
 */
bool cors_headers_are_sane(struct span request_headers);

#endif
