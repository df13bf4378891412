#include "services/ctl/measured.h"

#include <math.h>
#include <stdlib.h>

/* The value of a label in `{model="m",provider="p"}`; escapes are compared as they stand. */
static struct span label(struct span labels, const char *name)
{
    while (labels.len) {
        struct span key = span_cut(&labels, '=');
        if (!labels.len || *labels.data != '"')
            break;
        labels = span_skip(labels, 1);
        size_t end = 0;
        while (end < labels.len && labels.data[end] != '"')
            end += labels.data[end] == '\\' ? 2 : 1;
        struct span value = span_first(labels, end);
        if (span_is(key, name))
            return value;
        labels = span_skip(labels, end + 1);
        if (labels.len && *labels.data == ',')
            labels = span_skip(labels, 1);
    }
    return SPAN_NONE;
}

static double number(struct span text)
{
    char copy[64];
    size_t n = text.len < sizeof copy - 1 ? text.len : sizeof copy - 1;
    if (n)
        memcpy(copy, text.data, n);
    copy[n] = '\0';
    return strcmp(copy, "+Inf") == 0 ? INFINITY : strtod(copy, NULL);
}

static void add_bucket(struct measured_times *m, double bound, double count)
{
    size_t i = 0;
    while (i < m->buckets && m->bounds_s[i] != bound)
        i++;
    if (i == MEASURED_BUCKETS_MAX)
        return;
    if (i == m->buckets) {
        m->bounds_s[m->buckets] = bound;
        m->within[m->buckets++] = 0;
    }
    m->within[i] += count;
}

static void add_line(struct measured *m, struct span name, struct span labels, double value)
{
    if (span_is(name, "tollgate_requests_total")) {
        double status = number(label(labels, "status"));
        m->requests += (uint64_t)value;
        m->failed += status >= 500 || status == 429 ? (uint64_t)value : 0;
    } else if (span_is(name, "gen_ai_server_time_to_first_token_seconds_bucket")) {
        add_bucket(&m->first, number(label(labels, "le")), value);
    } else if (span_is(name, "tollgate_request_duration_seconds_bucket")) {
        add_bucket(&m->whole, number(label(labels, "le")), value);
    }
}

void measured_read(struct span text, const char *model, const char *provider, struct measured *out)
{
    *out = (struct measured){0};
    while (text.len) {
        struct span line = span_cut(&text, '\n');
        if (!line.len || *line.data == '#')
            continue;
        struct span name = span_cut(&line, '{');
        size_t end = line.len;
        while (end > 0 && line.data[end - 1] != '}')
            end--;
        if (end == 0)
            continue;
        struct span labels = span_first(line, end - 1);
        double value = number(span_trim(span_skip(line, end)));
        if (span_is(label(labels, "model"), model) && span_is(label(labels, "provider"), provider))
            add_line(out, name, labels, value);
    }
}

double measured_s(const struct measured_times *m, double share)
{
    double all = 0, before = 0, from = 0;
    for (size_t i = 0; i < m->buckets; i++)
        all = m->within[i] > all ? m->within[i] : all;
    if (all <= 0)
        return -1;
    for (size_t i = 0; i < m->buckets; i++) {
        if (m->within[i] >= share * all && m->within[i] > before) {
            if (isinf(m->bounds_s[i]))
                return from;
            return from +
                   (m->bounds_s[i] - from) * (share * all - before) / (m->within[i] - before);
        }
        from = m->bounds_s[i];
        before = m->within[i];
    }
    return from;
}
