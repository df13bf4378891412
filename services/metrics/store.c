#include "services/metrics/store.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "common/base/json.h"

enum { KEY_BYTES = 8 + (METRIC_MAX_LABELS + 2) * (STORE_LABEL_BYTES * 3 + 1) };

/* Of what is shown. */
struct room {
    uint64_t lines, bytes;
};

struct entry {
    struct series series; /* first: list links point here */
    uint64_t away_since_ms;
    struct room room; /* that it takes; none for one that takes what has no place */
    bool stranger;    /* its model is no entry of the configuration */
    UT_hash_handle hh;
    size_t key_bytes;
    char key[];
};

struct series_store {
    struct entry *by_key;
    struct series *by_id[METRIC_ID_COUNT];
    uint32_t count;
    struct room max, used, by_strangers;
    bool (*is_entry)(void *ctx, struct span model);
    void *ctx;
};

enum err store_create(struct series_store **out, uint32_t max_series)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->max = (struct room){max_series, (uint64_t)max_series * STORE_LINE_BYTES};
    return OK;
}

void store_know_models(struct series_store *s, bool (*is_entry)(void *ctx, struct span model),
                       void *ctx)
{
    s->is_entry = is_entry;
    s->ctx = ctx;
}

/* ---- room ---- */

static void take(struct room *used, struct room more)
{
    used->lines += more.lines;
    used->bytes += more.bytes;
}

static void give_back(struct room *used, struct room less)
{
    used->lines -= less.lines;
    used->bytes -= less.bytes;
}

static bool fits(struct room used, struct room more, struct room max)
{
    return used.lines + more.lines <= max.lines && used.bytes + more.bytes <= max.bytes;
}

/* As it is shown, where \ stands before some characters. */
static size_t shown_bytes(struct span value)
{
    size_t n = value.len;
    for (size_t i = 0; i < value.len; i++)
        n += value.data[i] == '\\' || value.data[i] == '"' || value.data[i] == '\n';
    return n;
}

/* At most: its lines under both of its names. */
static struct room room_of(const struct series *series)
{
    enum { OF_A_LABEL = 4, OF_A_NUMBER = 24, OF_A_BUCKET = 24, OF_A_DAEMON = 24 };
    const struct metric_info *info = metric_info(series->id);
    const char *alias = metric_alias(series->id);
    bool histogram = info->kind == METRIC_HISTOGRAM;
    uint64_t lines = histogram ? METRIC_BUCKETS + 2 : 1;
    size_t labels = strlen(info->labels) + OF_A_NUMBER + (histogram ? OF_A_BUCKET : 0);
    for (unsigned i = 0; i < series->label_count; i++)
        labels += shown_bytes(series->labels[i]) + OF_A_LABEL;
    if (series->instance.len)
        labels += shown_bytes(series->role) + shown_bytes(series->instance) + OF_A_DAEMON;
    struct room room = {lines, lines * (strlen(info->name) + labels)};
    if (alias)
        take(&room, (struct room){lines, lines * (strlen(alias) + labels)});
    return room;
}

/* Is its model one that clients have named, not the operator? */
static bool is_stranger(const struct series_store *s, const struct series *series)
{
    struct span names = span_str(metric_info(series->id)->labels);
    for (unsigned i = 0; s->is_entry && i < series->label_count; i++)
        if (span_is(span_cut(&names, ','), "model"))
            return series->labels[i].len && !s->is_entry(s->ctx, series->labels[i]);
    return false;
}

static void free_entry(struct entry *e)
{
    free(e->series.buckets);
    free(e);
}

static void drop(struct series_store *s, struct entry *e)
{
    HASH_DELETE(hh, s->by_key, e);
    LL_DELETE(s->by_id[e->series.id], &e->series);
    s->count--;
    give_back(&s->used, e->room);
    if (e->stranger)
        give_back(&s->by_strangers, e->room);
    free_entry(e);
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

static struct entry *create(unsigned id, struct span key)
{
    bool histogram = metric_info(id)->kind == METRIC_HISTOGRAM;
    struct entry *e = calloc(1, sizeof *e + key.len);
    if (!e)
        return NULL;
    if (histogram && !(e->series.buckets = calloc(METRIC_BUCKETS, sizeof *e->series.buckets))) {
        free(e);
        return NULL;
    }
    e->series.id = (enum metric_id)id;
    memcpy(e->key, key.data, key.len);
    e->key_bytes = key.len;
    read_key(e);
    return e;
}

/* ERR_TOO_BIG: there is no room. */
static enum err take_room(struct series_store *s, struct entry *e)
{
    struct room half = {s->max.lines / 2, s->max.bytes / 2};
    e->room = room_of(&e->series);
    e->stranger = is_stranger(s, &e->series);
    if (!fits(s->used, e->room, s->max) || (e->stranger && !fits(s->by_strangers, e->room, half)))
        return ERR_TOO_BIG;
    take(&s->used, e->room);
    if (e->stranger)
        take(&s->by_strangers, e->room);
    return OK;
}

/* `other`: there is always room for it. */
static enum err add(struct series_store *s, unsigned id, struct span key, bool other,
                    struct entry **out)
{
    struct entry *e = create(id, key);
    *out = NULL;
    if (!e)
        return ERR_NOMEM;
    enum err err = other ? OK : take_room(s, e);
    if (err) {
        free_entry(e);
        return err;
    }
    HASH_ADD_KEYPTR(hh, s->by_key, e->key, e->key_bytes, e);
    if (!e->hh.tbl) {
        give_back(&s->used, e->room);
        if (e->stranger)
            give_back(&s->by_strangers, e->room);
        free_entry(e);
        return ERR_NOMEM;
    }
    LL_APPEND(s->by_id[id], &e->series);
    s->count++;
    *out = e;
    return OK;
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

static enum err find_or_add(struct series_store *s, unsigned id, struct span labels,
                            const struct source *from, struct entry **out)
{
    bool other = is_other(metric_info(id), labels);
    struct buf key;
    buf_init(&key, KEY_BYTES);
    put_key(&key, id, labels, from);
    bool whole = buf_check(&key) == OK;
    *out = whole ? lookup(s, buf_span(&key)) : NULL;
    enum err e = *out ? OK : whole ? add(s, id, buf_span(&key), other, out) : ERR_NOMEM;
    buf_free(&key);
    return e;
}

static enum err place(struct series_store *s, unsigned id, struct span labels,
                      const struct source *from, struct entry **out)
{
    enum err e = find_or_add(s, id, labels, from, out);
    if (e == ERR_TOO_BIG && metric_info(id)->kind != METRIC_GAUGE)
        e = find_or_add(s, id, SPAN("other\x1fother\x1fother\x1fother"), from, out);
    return e;
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
