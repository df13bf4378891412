/* Names with one `*` in them, as in model lists and origins. Pure. */
#ifndef SERVICES_EDGE_HTTP_PATTERN_H
#define SERVICES_EDGE_HTTP_PATTERN_H

#include "common/base/span.h"

/* `*` stands for any run of bytes, empty too; only the first one is special. */
bool pattern_matches(struct span pattern, struct span name);
/* A comma-separated list; an empty one matches everything. */
bool pattern_list_matches(struct span list, struct span name);

#endif
