#include "services/ctl/when.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MINUTE_MS = 60000, HOUR_MS = 3600000, DAY_MS = 86400000 };

/* The whole text must follow the format. */
static bool parse_date(struct span text, const char *format, uint64_t *ms_out)
{
    char copy[32];
    struct tm tm = {0};
    if (text.len >= sizeof copy)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    const char *end = strptime(copy, format, &tm);
    if (!end || *end)
        return false;
    time_t t = timegm(&tm);
    if (t < 0)
        return false;
    *ms_out = (uint64_t)t * 1000;
    return true;
}

/* "30d" in milliseconds. */
static bool parse_span(struct span text, uint64_t *ms_out)
{
    uint64_t n, unit;
    if (text.len < 2 || !span_to_u64(span_first(text, text.len - 1), &n) || n > 100000)
        return false;
    switch (text.data[text.len - 1]) {
    case 'm':
        unit = MINUTE_MS;
        break;
    case 'h':
        unit = HOUR_MS;
        break;
    case 'd':
        unit = DAY_MS;
        break;
    default:
        return false;
    }
    *ms_out = n * unit;
    return true;
}

bool when_future(struct span text, uint64_t now_ms, uint64_t *out)
{
    uint64_t later;
    if (parse_span(span_starts(text, "+") ? span_skip(text, 1) : text, &later)) {
        *out = now_ms + later;
        return later > 0;
    }
    return parse_date(text, "%Y-%m-%d", out) || parse_date(text, "%Y-%m-%dT%H:%M:%SZ", out);
}

bool when_past(struct span text, uint64_t now_ms, uint64_t *out)
{
    uint64_t before;
    if (span_is(text, "today")) {
        *out = now_ms / DAY_MS * DAY_MS;
        return true;
    }
    if (parse_span(text, &before)) {
        *out = before < now_ms ? now_ms - before : 0;
        return true;
    }
    return parse_date(text, "%Y-%m-%d", out) || parse_date(text, "%Y-%m-%dT%H:%M:%SZ", out);
}

bool when_day(struct span text, uint64_t now_ms, uint64_t *out)
{
    uint64_t ms, today = now_ms / DAY_MS;
    if (span_is(text, "today")) {
        *out = today;
        return true;
    }
    if (parse_span(text, &ms)) {
        if (ms % DAY_MS || ms / DAY_MS > today)
            return false;
        *out = today - ms / DAY_MS;
        return true;
    }
    if (!parse_date(text, "%Y-%m-%d", &ms))
        return false;
    *out = ms / DAY_MS;
    return true;
}

void when_text(uint64_t ms, char out[20])
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    if (ms == 0 || !gmtime_r(&t, &tm) || strftime(out, 20, "%Y-%m-%d %H:%M", &tm) == 0)
        (void)snprintf(out, 20, "never");
}
