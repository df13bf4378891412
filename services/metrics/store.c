#include "services/metrics/store.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "common/base/json.h"

enum { KEY_BYTES = 8 + (METRIC_MAX_LABELS + 2) * (STORE_LABEL_BYTES * 3 + 1) };

struct entry {
    struct series series; /* first: list links point here */
    uint64_t away_since_ms;
    bool other;
    UT_hash_handle hh;
    size_t key_bytes;
    char key[];
};

struct series_store {
    struct entry *by_key;
    struct series *by_id[METRIC_ID_COUNT];
    uint32_t count, others;
    uint32_t max;
};

enum err store_create(struct series_store **out, uint32_t max_series)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->max = max_series;
    return OK;
}

static void drop(struct series_store *s, struct entry *e)
{
    HASH_DELETE(hh, s->by_key, e);
    LL_DELETE(s->by_id[e->series.id], &e->series);
    s->count--;
    s->others -= e->other;
    free(e->series.buckets);
    free(e);
}

void store_destroy(struct series_store **store)
{
    struct series_store *s = *store;
    if (!s)
        return;
    while (s->by_key)
        drop(s, s->by_key);
    free(s);
    *store = NULL;
}

/* ---- keys: id, labels, and for gauges role and name, each ended by \x1f ---- */

static unsigned label_count(const struct metric_info *info)
{
    unsigned n = *info->labels ? 1 : 0;
    for (const char *c = info->labels; *c; c++)
        n += *c == ',';
    return n;
}

static void put_value(struct buf *key, struct span value)
{
    value = span_first(value, STORE_LABEL_BYTES);
    if (utf8_valid(value))
        buf_append(key, value);
    else
        utf8_repair(key, value);
    buf_append_char(key, '\x1f');
}

static void put_key(struct buf *key, unsigned id, struct span labels, const struct source *from)
{
    const struct metric_info *info = metric_info(id);
    buf_append_char(key, (char)id);
    for (unsigned i = 0; i < label_count(info); i++)
        put_value(key, span_cut(&labels, '\x1f'));
    if (info->kind != METRIC_GAUGE)
        return;
    put_value(key, from->role);
    put_value(key, from->name);
}

/* The spans of a new series point into its own key. */
static void read_key(struct entry *e)
{
    struct span rest = span_of(e->key + 1, e->key_bytes - 1);
    e->series.label_count = label_count(metric_info(e->series.id));
    for (unsigned i = 0; i < e->series.label_count; i++)
        e->series.labels[i] = span_cut(&rest, '\x1f');
    e->series.role = span_cut(&rest, '\x1f');
    e->series.instance = span_cut(&rest, '\x1f');
}

/* ---- series ---- */

static struct entry *add(struct series_store *s, unsigned id, struct span key)
{
    bool histogram = metric_info(id)->kind == METRIC_HISTOGRAM;
    struct entry *e = calloc(1, sizeof *e + key.len);
    if (!e)
        return NULL;
    if (histogram && !(e->series.buckets = calloc(METRIC_BUCKETS, sizeof *e->series.buckets)))
        goto out;
    e->series.id = (enum metric_id)id;
    memcpy(e->key, key.data, key.len);
    e->key_bytes = key.len;
    HASH_ADD_KEYPTR(hh, s->by_key, e->key, e->key_bytes, e);
    if (!e->hh.tbl)
        goto out;
    read_key(e);
    LL_APPEND(s->by_id[id], &e->series);
    s->count++;
    return e;
out:
    free(e->series.buckets);
    free(e);
    return NULL;
}

static struct entry *lookup(struct series_store *s, struct span key)
{
    struct entry *e = NULL;
    if (s->by_key)
        HASH_FIND(hh, s->by_key, key.data, key.len, e);
    return e;
}

/* The series that takes what has no place: one per metric at most, not counted against the bound.
 * One without labels is its own. */
static bool is_other(const struct metric_info *info, struct span labels)
{
    if (info->kind == METRIC_GAUGE)
        return false;
    for (unsigned i = 0; i < label_count(info); i++) {
        if (!span_is(span_cut(&labels, '\x1f'), "other"))
            return false;
    }
    return true;
}

static struct entry *find_or_add(struct series_store *s, unsigned id, struct span labels,
                                 const struct source *from, bool *full_out)
{
    bool other = is_other(metric_info(id), labels);
    struct buf key;
    buf_init(&key, KEY_BYTES);
    put_key(&key, id, labels, from);
    struct entry *e = lookup(s, buf_span(&key));
    *full_out = !e && !other && s->count - s->others >= s->max;
    if (!e && !*full_out && (e = add(s, id, buf_span(&key)))) {
        e->other = other;
        s->others += other;
    }
    buf_free(&key);
    return e;
}

static enum err place(struct series_store *s, unsigned id, struct span labels,
                      const struct source *from, struct entry **out)
{
    bool full;
    *out = find_or_add(s, id, labels, from, &full);
    if (full && metric_info(id)->kind != METRIC_GAUGE)
        *out = find_or_add(s, id, SPAN("other\x1fother\x1fother\x1fother"), from, &full);
    return *out ? OK : full ? ERR_TOO_BIG : ERR_NOMEM;
}

/* ---- values ---- */

static bool is_sound(const struct metric_info *info, int64_t value, const uint64_t *buckets)
{
    return (info->kind == METRIC_HISTOGRAM) == (buckets != NULL) &&
           (info->kind == METRIC_GAUGE || value >= 0);
}

static void apply(struct series_store *s, struct entry *e, int64_t value, const uint64_t *buckets)
{
    struct series *series = &e->series;
    if (metric_info(series->id)->kind == METRIC_GAUGE) {
        series->value = value;
        series->away = false;
        if (value == METRIC_GONE)
            drop(s, e);
        return;
    }
    if (__builtin_add_overflow(series->value, value, &series->value))
        series->value = INT64_MAX;
    for (unsigned i = 0; series->buckets && i < METRIC_BUCKETS; i++)
        series->buckets[i] += buckets[i];
}

enum err store_apply(struct series_store *s, const struct source *from, unsigned id,
                     struct span labels, int64_t value, const uint64_t *buckets)
{
    const struct metric_info *info = metric_info(id);
    struct entry *e;
    if (!info)
        return ERR_UNSUPPORTED;
    if (!is_sound(info, value, buckets))
        return ERR_INVALID;
    enum err err = place(s, id, labels, from, &e);
    if (!err)
        apply(s, e, value, buckets);
    return err;
}

/* ---- daemons that come and go ---- */

static bool is_of(const struct series *s, struct span name)
{
    return s->instance.len && span_equals(s->instance, name);
}

/* WORKER_SLOTS and its like: said by a broker about a worker. */
static bool is_about(const struct series *s, struct span name)
{
    struct span names = span_str(metric_info(s->id)->labels);
    for (unsigned i = 0; s->instance.len && i < s->label_count; i++)
        if (span_is(span_cut(&names, ','), "worker") && span_equals(s->labels[i], name))
            return true;
    return false;
}

void store_hide(struct series_store *s, struct span name, uint64_t now_ms)
{
    struct entry *e, *next;
    HASH_ITER(hh, s->by_key, e, next)
    if (is_of(&e->series, name)) {
        e->series.away = true;
        e->away_since_ms = now_ms;
    }
}

void store_show(struct series_store *s, struct span name)
{
    struct entry *e, *next;
    HASH_ITER(hh, s->by_key, e, next)
    if (is_of(&e->series, name))
        e->series.away = false;
}

void store_forget(struct series_store *s, struct span name)
{
    struct entry *e, *next;
    HASH_ITER(hh, s->by_key, e, next)
    if (is_of(&e->series, name) || is_about(&e->series, name))
        drop(s, e);
}

void store_purge(struct series_store *s, uint64_t before_ms)
{
    struct entry *e, *next;
    HASH_ITER(hh, s->by_key, e, next)
    if (e->series.away && e->away_since_ms < before_ms)
        drop(s, e);
}

const struct series *store_first(const struct series_store *s, enum metric_id id)
{
    return s->by_id[id];
}

uint32_t store_count(const struct series_store *s)
{
    return s->count;
}
