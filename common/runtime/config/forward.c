/* Which of a client's header fields may travel on to a provider (`forward_headers`). */
#include "common/runtime/config/option.h"

enum { NAME_MAX_BYTES = 64 };

/* What proves who a client is, and what belongs to one connection or one body. */
static const char *const never[] = {"authorization",
                                    "proxy-authorization",
                                    "proxy-connection",
                                    "cookie",
                                    "x-api-key",
                                    "api-key",
                                    "x-goog-api-key",
                                    "x-tollgate-key",
                                    "x-litellm-api-key",
                                    "host",
                                    "connection",
                                    "keep-alive",
                                    "te",
                                    "trailer",
                                    "transfer-encoding",
                                    "upgrade",
                                    "expect",
                                    "content-length",
                                    "content-encoding",
                                    "content-type",
                                    "accept",
                                    "accept-encoding",
                                    "user-agent"};

static bool is_kept(struct span name)
{
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        if (span_is_nocase(name, never[i]))
            return true;
    }
    return false;
}

static bool fits(const char *pattern, struct span name)
{
    size_t n = strlen(pattern);
    bool prefix = n > 0 && pattern[n - 1] == '*';
    n -= prefix;
    return (prefix ? name.len >= n : name.len == n) && strncasecmp(name.data, pattern, n) == 0;
}

bool config_forwards(const struct config_list *patterns, struct span name)
{
    for (size_t i = 0; i < patterns->count; i++) {
        if (name.len && fits(patterns->items[i], name))
            return !is_kept(name);
    }
    return false;
}

/* Letters, digits, - and _, then perhaps a star. */
static bool is_forwarded_header(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    bool star = text[n] == '*';
    return n > 0 && n <= NAME_MAX_BYTES && !text[n + star] && (star || !is_kept(span_of(text, n)));
}

const struct option_check option_check_forwarded_header = {
    "a header's name, or its beginning and a *, that holds no credential and belongs to no "
    "connection",
    is_forwarded_header};
