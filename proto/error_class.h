/* Error classes: what went wrong with a request, and how each client protocol says so
 * (docs/wire.md, Errors). */
#ifndef PROTO_ERROR_CLASS_H
#define PROTO_ERROR_CLASS_H

#include <stdbool.h>

#include "proto/api.h"

enum retry {
    RETRY_NEVER,
    RETRY_SAFE,
    RETRY_AMBIGUOUS,
    RETRY_CLIENT,
    RETRY_ELSEWHERE,
    RETRY_OTHER_MODEL
};

enum error_class {
#define ERROR_CLASS(name, ...) ERROR_##name,
#include "proto/errors.def"
#undef ERROR_CLASS
    ERROR_CLASS_COUNT
};

struct error_info {
    const char *name; /* as in errors.def, for logs and metric labels */
    unsigned openai_status;
    const char *openai_type;
    const char *openai_code;
    unsigned anthropic_status;
    const char *anthropic_type;
    enum retry retry;
};

/* Never NULL: an unknown number (a newer neighbour) reads as INTERNAL. */
const struct error_info *error_info(unsigned error_class);
unsigned error_status(unsigned error_class, enum api api);
/* The value of x-should-retry: safe, ambiguous and client classes. */
bool error_should_retry(unsigned error_class);

#endif
