#include "common/runtime/metric.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "common/base/log.h"

enum {
    KEY_MAX = 512,
    RECENT_LENGTHS = 4,
    FLUSH_MS = 1000,
    REPEAT_EVERY = 10 /* flushes; what was on its way when a link was lost is lost */
};

struct client_series {
    UT_hash_handle hh;
    enum metric_id id;
    bool dirty;
    bool known;      /* a gauge that was set */
    unsigned turn;   /* spreads repetitions evenly over the flushes */
    uint32_t number; /* counters and histograms: from 1; gauges: 0 */
    int64_t value;   /* since our start; a gauge's value */
    uint64_t buckets[METRIC_BUCKETS];
    uint16_t key_len;
    char key[]; /* id byte, then the labels separated by \x1f */
};

struct metric_client {
    struct loop *loop;
    const struct bus *bus;
    struct bus_peer *peer;
    struct client_series *table;
    struct loop_timer timer;
    struct client_series *dropped; /* METRICS_DROPPED: always has a place */
    /* What was found last, by the key's length as well (a request counts tokens of two
     * directions): mostly it is the same again. */
    struct client_series *recent[METRIC_ID_COUNT][RECENT_LENGTHS];
    unsigned label_counts[METRIC_ID_COUNT];
    uint64_t peer_epoch; /* of the metrics daemon that has been told everything; 0 = none */
    uint64_t bus_dropped_reported, bus_refused_reported[BUS_REFUSALS];
    uint32_t counters;
    unsigned made, flushes;
    bool catching_up; /* not everything has been told over this link */
};

static unsigned count_labels(enum metric_id id)
{
    const char *names = metric_info(id)->labels;
    unsigned count = *names ? 1 : 0;
    for (const char *c = names; *c; c++)
        count += *c == ',';
    return count;
}

static size_t make_key(enum metric_id id, const struct span *labels, unsigned count, char *key)
{
    size_t n = 0;
    key[n++] = (char)id;
    for (unsigned i = 0; i < count; i++) {
        size_t room = KEY_MAX - n - 1;
        size_t len = labels[i].len < room ? labels[i].len : room;
        if (len > 128)
            len = 128;
        if (i)
            key[n++] = '\x1f';
        if (len)
            memcpy(key + n, labels[i].data, len);
        n += len;
    }
    return n;
}

static struct client_series *add(struct metric_client *m, enum metric_id id, struct span key)
{
    struct client_series *s = calloc(1, sizeof *s + key.len);
    if (!s)
        return NULL;
    s->id = id;
    s->key_len = (uint16_t)key.len;
    memcpy(s->key, key.data, key.len);
    HASH_ADD_KEYPTR(hh, m->table, s->key, s->key_len, s);
    if (!s->hh.tbl) {
        free(s);
        return NULL;
    }
    s->turn = m->made++;
    if (metric_info(id)->kind != METRIC_GAUGE)
        s->number = ++m->counters;
    return s;
}

static struct client_series **recent_place(struct metric_client *m, enum metric_id id, size_t len)
{
    return &m->recent[id][len % RECENT_LENGTHS];
}

static void drop(struct metric_client *m, struct client_series *s)
{
    struct client_series **recent = recent_place(m, s->id, s->key_len);
    if (*recent == s)
        *recent = NULL;
    HASH_DEL(m->table, s);
    free(s);
}

/* NULL: no room, which is counted. */
static struct client_series *find(struct metric_client *m, enum metric_id id,
                                  const struct span *labels)
{
    char key[KEY_MAX + METRIC_MAX_LABELS];
    size_t len = make_key(id, labels, m->label_counts[id], key);
    struct client_series **recent = recent_place(m, id, len), *s = *recent;
    if (s && s->key_len == len && memcmp(s->key, key, len) == 0)
        return s;
    HASH_FIND(hh, m->table, key, len, s);
    if (!s && HASH_COUNT(m->table) < METRIC_SERIES_MAX)
        s = add(m, id, span_of(key, len));
    if (!s && m->dropped) {
        m->dropped->value++;
        m->dropped->dirty = true;
    }
    *recent = s;
    return s;
}

void metric_add(struct metric_client *m, enum metric_id id, const struct span *labels,
                int64_t increment)
{
    struct client_series *s = m ? find(m, id, labels) : NULL;
    if (!s)
        return;
    if (__builtin_add_overflow(s->value, increment, &s->value))
        s->value = INT64_MAX;
    s->dirty = true;
}

void metric_add_total(struct metric_client *m, enum metric_id id, const struct span *labels,
                      uint64_t total, uint64_t *last_reported)
{
    if (total > *last_reported)
        metric_add(m, id, labels, (int64_t)(total - *last_reported));
    *last_reported = total;
}

void metric_set(struct metric_client *m, enum metric_id id, const struct span *labels,
                int64_t value)
{
    struct client_series *s = m ? find(m, id, labels) : NULL;
    if (!s || (s->known && s->value == value))
        return; /* as last time */
    s->known = true;
    s->value = value;
    s->dirty = true;
}

void metric_observe_us(struct metric_client *m, enum metric_id id, const struct span *labels,
                       uint64_t us)
{
    struct client_series *s = m ? find(m, id, labels) : NULL;
    if (!s)
        return;
    s->value += (int64_t)us;
    s->buckets[metric_bucket(us)]++;
    s->dirty = true;
}

static void put_buckets(const struct client_series *s, char out[METRIC_BUCKETS * 8])
{
    for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
        for (unsigned b = 0; b < 8; b++)
            out[8 * i + b] = (char)(s->buckets[i] >> 8 * b);
    }
}

static bool send_series(struct metric_client *m, struct client_series *s, bool complete)
{
    char buckets[METRIC_BUCKETS * 8];
    struct metric message = {.id = s->id,
                             .labels = span_of(s->key + 1, s->key_len - 1u),
                             .value = s->value,
                             .number = s->number,
                             .complete = complete};
    if (metric_info(s->id)->kind == METRIC_HISTOGRAM) {
        put_buckets(s, buckets);
        message.buckets = span_of(buckets, sizeof buckets);
    }
    if (bus_send(m->peer, (struct header){0}, MESSAGE_METRIC, &message) != OK)
        return false;
    s->dirty = false;
    return true;
}

/* A message that went into a link as it broke is lost without a word: everything is said again to
 * whoever comes up, and now and then. Totals can be repeated; only the last word counts. */
static void choose_repeated(struct metric_client *m)
{
    struct client_series *s, *next;
    bool all = m->peer_epoch != bus_peer_epoch(m->peer);
    m->peer_epoch = bus_peer_epoch(m->peer);
    m->catching_up |= all;
    m->flushes++;
    HASH_ITER(hh, m->table, s, next)
    s->dirty |= all || (s->turn + m->flushes) % REPEAT_EVERY == 0;
}

static void report_refusals(struct metric_client *m)
{
    struct span role = span_str(bus_role(m->bus));
    for (enum bus_refusal why = 0; why < BUS_REFUSALS; why++)
        if (bus_refused(m->bus, why))
            metric_add_total(m, METRIC_BUS_REFUSED,
                             METRIC_LABELS(role, span_str(bus_refusal_name(why))),
                             bus_refused(m->bus, why), &m->bus_refused_reported[why]);
}

void metric_flush(struct metric_client *m)
{
    struct client_series *s, *next;
    if (!m)
        return;
    if (!bus_peer_up(m->peer)) {
        m->peer_epoch = 0;
        return;
    }
    choose_repeated(m);
    metric_add_total(m, METRIC_BUS_DROPPED, METRIC_LABELS(span_str(bus_role(m->bus))),
                     bus_dropped(m->bus), &m->bus_dropped_reported);
    report_refusals(m);
    HASH_ITER(hh, m->table, s, next)
    {
        if (s->dirty && !send_series(m, s, false))
            return;
        if (s->value == METRIC_GONE && !s->number) /* said: make room for others */
            drop(m, s);
    }
    if (m->catching_up)
        m->catching_up = !send_series(m, m->dropped, true);
}

static void on_timer(void *ctx)
{
    struct metric_client *m = ctx;
    loop_timer_start(m->loop, &m->timer, FLUSH_MS, on_timer, m);
    metric_flush(m);
}

static void drop_all(struct metric_client *m)
{
    struct client_series *s, *next;
    HASH_ITER(hh, m->table, s, next)
    drop(m, s);
}

enum err metric_client_create(struct metric_client **out, struct loop *loop, const struct bus *bus,
                              struct bus_peer *peer)
{
    struct metric_client *m = calloc(1, sizeof *m);
    *out = m;
    if (!m)
        return ERR_NOMEM;
    m->loop = loop;
    m->bus = bus;
    m->peer = peer;
    for (enum metric_id id = 0; id < METRIC_ID_COUNT; id++)
        m->label_counts[id] = count_labels(id);
    /* Their places are taken before anything can fill the table. */
    m->dropped = find(m, METRIC_METRICS_DROPPED, NULL);
    if (!m->dropped || !find(m, METRIC_BUS_DROPPED, METRIC_LABELS(span_str(bus_role(bus))))) {
        drop_all(m);
        free(m);
        *out = NULL;
        return ERR_NOMEM;
    }
    loop_timer_start(loop, &m->timer, FLUSH_MS, on_timer, m);
    metric_set(m, METRIC_UP, NULL, 1);
    metric_set(m, METRIC_BUILD, METRIC_LABELS(span_str(TOLLGATE_VERSION)), 1);
    return OK;
}

void metric_client_destroy(struct metric_client **pointer)
{
    struct metric_client *m = *pointer;
    if (!m)
        return;
    metric_flush(m);
    loop_timer_stop(m->loop, &m->timer);
    drop_all(m);
    free(m);
    *pointer = NULL;
}
