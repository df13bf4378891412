#include "services/metrics/expose.h"

static void put_escaped(struct buf *out, struct span s, bool quotes)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '\\')
            buf_append_str(out, "\\\\");
        else if (s.data[i] == '\n')
            buf_append_str(out, "\\n");
        else if (s.data[i] == '"' && quotes)
            buf_append_str(out, "\\\"");
        else
            buf_append_char(out, s.data[i]);
    }
}

static void put_label(struct buf *out, bool *first, struct span name, struct span value)
{
    buf_append_char(out, *first ? '{' : ',');
    *first = false;
    buf_append(out, name);
    buf_append_str(out, "=\"");
    put_escaped(out, value, true);
    buf_append_char(out, '"');
}

/* value / 10^digits, without trailing zeros. */
static void put_decimal(struct buf *out, uint64_t value, unsigned digits)
{
    char text[24];
    unsigned n = digits;
    uint64_t unit = 1;
    for (unsigned i = 0; i < digits; i++)
        unit *= 10;
    buf_append_u64(out, value / unit);
    uint64_t rest = value % unit;
    if (!rest)
        return;
    for (unsigned i = digits; i > 0; i--, rest /= 10)
        text[i - 1] = (char)('0' + rest % 10);
    while (text[n - 1] == '0')
        n--;
    buf_append_char(out, '.');
    buf_append(out, span_of(text, n));
}

static void put_labels(struct buf *out, const struct series *s, const uint64_t *le_us)
{
    bool first = true;
    struct span names = span_str(metric_info(s->id)->labels);
    for (unsigned i = 0; i < s->label_count; i++)
        put_label(out, &first, span_cut(&names, ','), s->labels[i]);
    if (s->instance.len) {
        put_label(out, &first, SPAN("daemon"), s->role);
        put_label(out, &first, SPAN("instance"), s->instance);
    }
    if (le_us) {
        buf_append_str(out, first ? "{le=\"" : ",le=\"");
        first = false;
        if (*le_us == UINT64_MAX)
            buf_append_str(out, "+Inf");
        else
            put_decimal(out, *le_us, 6);
        buf_append_char(out, '"');
    }
    if (!first)
        buf_append_char(out, '}');
}

static void put_line(struct buf *out, const char *name, const char *suffix, const struct series *s,
                     const uint64_t *le_us)
{
    buf_append_str(out, name);
    buf_append_str(out, suffix);
    put_labels(out, s, le_us);
    buf_append_char(out, ' ');
}

static void put_histogram(struct buf *out, const char *name, const struct series *s)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
        count += s->buckets[i];
        put_line(out, name, "_bucket", s, &metric_bounds_us[i]);
        buf_append_u64(out, count);
        buf_append_char(out, '\n');
    }
    put_line(out, name, "_sum", s, NULL);
    put_decimal(out, (uint64_t)s->value, 6);
    buf_append_char(out, '\n');
    put_line(out, name, "_count", s, NULL);
    buf_append_u64(out, count);
    buf_append_char(out, '\n');
}

static void put_simple(struct buf *out, const char *name, const struct series *s)
{
    put_line(out, name, "", s, NULL);
    if (metric_info(s->id)->kind == METRIC_COUNTER_NANO)
        put_decimal(out, (uint64_t)s->value, 9);
    else
        buf_append_i64(out, s->value);
    buf_append_char(out, '\n');
}

static const char *type_name(enum metric_kind kind)
{
    switch (kind) {
    case METRIC_COUNTER:
    case METRIC_COUNTER_NANO:
        return "counter";
    case METRIC_GAUGE:
        return "gauge";
    case METRIC_HISTOGRAM:
        return "histogram";
    }
    return "untyped";
}

static void put_head(struct buf *out, const char *name, const struct metric_info *info)
{
    buf_append_str(out, "# HELP ");
    buf_append_str(out, name);
    buf_append_char(out, ' ');
    put_escaped(out, span_str(info->help), false);
    buf_append_str(out, "\n# TYPE ");
    buf_append_str(out, name);
    buf_append_char(out, ' ');
    buf_append_str(out, type_name(info->kind));
    buf_append_char(out, '\n');
}

static void put_metric(struct buf *out, const char *name, const struct series *series)
{
    bool headed = false;
    for (; series; series = series->next) {
        if (series->away)
            continue;
        if (!headed)
            put_head(out, name, metric_info(series->id));
        headed = true;
        if (series->buckets)
            put_histogram(out, name, series);
        else
            put_simple(out, name, series);
    }
}

void expose_all(const struct series_store *s, struct buf *out)
{
    for (unsigned id = 0; id < METRIC_ID_COUNT; id++)
        put_metric(out, metric_info(id)->name, store_first(s, (enum metric_id)id));
    for (unsigned id = 0; id < METRIC_ID_COUNT; id++) {
        if (metric_alias(id))
            put_metric(out, metric_alias(id), store_first(s, (enum metric_id)id));
    }
}
