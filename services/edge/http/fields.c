#include "services/edge/http/fields.h"

#include <stdio.h>
#include <time.h>

/* Writes downwards from `end`; returns where the digits begin. */
static char *digits_before(char *end, uint64_t v)
{
    do {
        *--end = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return end;
}

struct span field_u64(struct field_text *t, uint64_t v)
{
    char *end = t->data + sizeof t->data;
    char *at = digits_before(end, v);
    return span_of(at, (size_t)(end - at));
}

struct span field_dollars(struct field_text *t, uint64_t nano)
{
    char *end = t->data + sizeof t->data;
    char *at = end;
    uint64_t fraction = nano % 1000000000u;
    for (int i = 0; i < 9; i++, fraction /= 10)
        *--at = (char)('0' + fraction % 10);
    while (end > at && end[-1] == '0')
        end--;
    if (end > at)
        *--at = '.';
    at = digits_before(at, nano / 1000000000u);
    return span_of(at, (size_t)(end - at));
}

static char *text_before(char *end, const char *text)
{
    size_t n = strlen(text);
    memcpy(end - n, text, n);
    return end - n;
}

struct span field_duration(struct field_text *t, uint64_t ms)
{
    uint64_t hours = ms / 3600000, minutes = ms / 60000, rest = ms % 1000;
    char *const end = t->data + sizeof t->data;
    char *at = end;
    if (ms < 1000) {
        at = digits_before(text_before(at, "ms"), rest);
        return span_of(at, (size_t)(end - at));
    }
    at = text_before(at, "s");
    if (minutes == 0 && rest > 0) {
        for (int i = 0; i < 3; i++, rest /= 10)
            *--at = (char)('0' + rest % 10);
        *--at = '.';
    }
    at = digits_before(at, ms / 1000 % 60);
    if (minutes > 0)
        at = digits_before(text_before(at, "m"), minutes % 60);
    if (hours > 0)
        at = digits_before(text_before(at, "h"), hours);
    return span_of(at, (size_t)(end - at));
}

struct span field_seconds_up(struct field_text *t, uint64_t ms)
{
    return field_u64(t, ms / 1000 + (ms % 1000 ? 1 : 0));
}

struct span field_time(struct field_text *t, uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    if (!gmtime_r(&seconds, &utc))
        return SPAN_NONE;
    size_t n = strftime(t->data, sizeof t->data, "%Y-%m-%dT%H:%M:%S", &utc);
    int more = snprintf(t->data + n, sizeof t->data - n, ".%03uZ", (unsigned)(wall_ms % 1000));
    return span_of(t->data, n + (more > 0 ? (size_t)more : 0));
}

bool field_next_line(struct span *lines, struct span *name_out, struct span *value_out)
{
    while (lines->len > 0) {
        struct span value = span_cut(lines, '\n');
        size_t colon = span_find(value, ':');
        if (colon == 0 || colon == value.len)
            continue;
        *name_out = span_first(value, colon);
        *value_out = span_trim(span_skip(value, colon + 1));
        return true;
    }
    return false;
}

static bool starts_nocase(struct span name, const char *prefix)
{
    size_t n = strlen(prefix);
    return name.len > n && strncasecmp(name.data, prefix, n) == 0;
}

bool field_may_pass(struct span name)
{
    static const char *const prefixes[] = {"x-tollgate-", "openai-", "anthropic-", "x-upstream-"};
    static const char *const ours[] = {"x-tollgate-model",       "x-tollgate-provider",
                                       "x-tollgate-cost",        "x-tollgate-attempts",
                                       "x-tollgate-overhead-ms", "openai-organization",
                                       "openai-project",         "anthropic-organization-id"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (span_is_nocase(name, ours[i]))
            return false;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (starts_nocase(name, prefixes[i]))
            return true;
    return false;
}
