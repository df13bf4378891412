#include "common/base/err.h"

static const char *const names[ERR_COUNT] = {
    [OK] = "ok",
    [ERR_NOMEM] = "out of memory",
    [ERR_INVALID] = "invalid",
    [ERR_TRUNCATED] = "truncated",
    [ERR_TOO_BIG] = "too big",
    [ERR_AGAIN] = "try again",
    [ERR_TIMEOUT] = "timed out",
    [ERR_CLOSED] = "closed",
    [ERR_NOT_FOUND] = "not found",
    [ERR_EXISTS] = "exists",
    [ERR_DENIED] = "denied",
    [ERR_UNSUPPORTED] = "unsupported",
    [ERR_VERSION] = "version mismatch",
    [ERR_IO] = "i/o error",
};

const char *err_name(enum err e)
{
    return (unsigned)e < ERR_COUNT ? names[e] : "unknown";
}
