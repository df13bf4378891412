/* The header fields of an upstream's answer, for who must not know where they come from. */
#ifndef COMMON_FETCH_HEADERS_H
#define COMMON_FETCH_HEADERS_H

#include "common/base/span.h"

struct upstream_headers {
    struct span (*get)(const void *ctx, const char *name); /* empty when absent */
    const void *ctx;
};

#endif
