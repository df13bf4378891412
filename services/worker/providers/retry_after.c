#include "services/worker/providers/retry_after.h"

#include "common/base/http_date.h"

static struct span get(const struct upstream_headers *h, const char *name)
{
    return h && h->get ? h->get(h->ctx, name) : SPAN_NONE;
}

static uint64_t until(uint64_t then_ms, uint64_t now_s)
{
    return then_ms > now_s * 1000 ? then_ms - now_s * 1000 : 1;
}

static uint64_t at_least_one(uint64_t ms)
{
    return ms ? ms : 1;
}

uint64_t retry_after_of(const struct upstream_headers *headers, uint64_t now_s)
{
    uint64_t value;
    struct span text = get(headers, "retry-after-ms");
    /* the same digits, a thousandth of the unit; seconds_parse rounds its milliseconds up */
    if (text.len && seconds_parse(text, &value))
        return at_least_one((value + 999) / 1000);
    text = get(headers, "retry-after");
    if (text.len == 0)
        return 0;
    if (seconds_parse(text, &value))
        return at_least_one(value);
    if (http_date_parse(text, &value))
        return until(value * 1000, now_s);
    return 0;
}

static uint64_t longest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t retry_after_of_limits(const struct upstream_headers *headers, uint64_t now_s)
{
    static const struct {
        const char *remaining, *reset;
        bool is_time;
    } limits[] = {
        {"x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", false},
        {"x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", false},
        {"anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset", true},
        {"anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset", true},
        {"anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset",
         true},
        {"anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset",
         true},
        {"ratelimit-remaining", "ratelimit-reset", false},
    };
    uint64_t wait = 0;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        uint64_t left, value;
        if (!span_to_u64(get(headers, limits[i].remaining), &left) || left > 0)
            continue;
        struct span reset = get(headers, limits[i].reset);
        if (limits[i].is_time && rfc3339_parse(reset, &value))
            wait = longest(wait, until(value, now_s));
        else if (!limits[i].is_time && duration_parse(reset, &value))
            wait = longest(wait, at_least_one(value));
    }
    return wait;
}

uint64_t retry_after_of_text(struct span message)
{
    static const char before[] = "resets in ";
    size_t at = span_find_span(message, span_str(before));
    if (at == message.len)
        return 0;
    struct span rest = span_skip(message, at + strlen(before));
    if (span_starts(rest, "~"))
        rest = span_skip(rest, 1);
    size_t n = 0;
    while (n < rest.len && n < 16 && rest.data[n] != ' ' && rest.data[n] != ',')
        n++;
    rest = span_first(rest, n);
    while (span_ends(rest, "."))
        rest = span_first(rest, rest.len - 1);
    uint64_t ms;
    return duration_parse(rest, &ms) ? at_least_one(ms) : 0;
}

bool retry_is_forbidden(const struct upstream_headers *headers)
{
    return span_is_nocase(span_trim(get(headers, "x-should-retry")), "false");
}
