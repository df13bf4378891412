#include "common/runtime/metric.h"

#include <stdlib.h>

#include <uthash.h>

#include "common/base/log.h"

enum {
    SERIES_MAX = 8192,
    KEY_MAX = 512,
    FLUSH_MS = 1000,
    ALL_GAUGES_EVERY = 10 /* flushes; what was on its way when the peer was lost is lost */
};

struct client_series {
    UT_hash_handle hh;
    enum metric_id id;
    bool dirty;
    bool known;    /* a gauge that was set */
    int64_t value; /* increment since the last send; a gauge's value */
    uint32_t buckets[METRIC_BUCKETS];
    uint16_t key_len;
    char key[]; /* id byte, then the labels separated by \x1f */
};

struct metric_client {
    struct loop *loop;
    const struct bus *bus;
    struct bus_peer *peer;
    struct client_series *table;
    struct loop_timer timer;
    uint64_t peer_epoch; /* of the metrics daemon that has our gauges */
    uint64_t dropped;
    uint64_t bus_dropped_reported;
    unsigned flushes;
};

static size_t make_key(enum metric_id id, const struct span *labels, char *key)
{
    size_t n = 0;
    key[n++] = (char)id;
    const char *names = metric_info(id)->labels;
    unsigned count = *names ? 1 : 0;
    for (const char *c = names; *c; c++)
        count += *c == ',';
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

static struct client_series *find(struct metric_client *m, enum metric_id id,
                                  const struct span *labels)
{
    char key[KEY_MAX + METRIC_MAX_LABELS];
    size_t len = make_key(id, labels, key);
    struct client_series *s = NULL;
    HASH_FIND(hh, m->table, key, len, s);
    if (s)
        return s;
    if (HASH_COUNT(m->table) >= SERIES_MAX || !(s = calloc(1, sizeof *s + len))) {
        m->dropped++;
        return NULL;
    }
    s->id = id;
    s->key_len = (uint16_t)len;
    memcpy(s->key, key, len);
    HASH_ADD_KEYPTR(hh, m->table, s->key, s->key_len, s);
    return s;
}

void metric_add(struct metric_client *m, enum metric_id id, const struct span *labels,
                int64_t increment)
{
    struct client_series *s = m ? find(m, id, labels) : NULL;
    if (!s)
        return;
    s->value += increment;
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

static void put_buckets(const struct client_series *s, char out[METRIC_BUCKETS * 4])
{
    for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
        for (unsigned b = 0; b < 4; b++)
            out[4 * i + b] = (char)(s->buckets[i] >> 8 * b);
    }
}

static bool send_series(struct metric_client *m, struct client_series *s)
{
    char buckets[METRIC_BUCKETS * 4];
    struct metric message = {
        .id = s->id, .labels = span_of(s->key + 1, s->key_len - 1u), .value = s->value};
    enum metric_kind kind = metric_info(s->id)->kind;
    if (kind == METRIC_HISTOGRAM) {
        put_buckets(s, buckets);
        message.buckets = span_of(buckets, sizeof buckets);
    }
    if (bus_send(m->peer, (struct header){0}, MESSAGE_METRIC, &message) != OK)
        return false;
    s->dirty = false;
    if (kind != METRIC_GAUGE)
        s->value = 0;
    memset(s->buckets, 0, sizeof s->buckets);
    return true;
}

void metric_flush(struct metric_client *m)
{
    struct client_series *s, *next;
    if (!m || !bus_peer_up(m->peer))
        return; /* what happens meanwhile adds up here */
    bool all_gauges =
        m->peer_epoch != bus_peer_epoch(m->peer) || ++m->flushes % ALL_GAUGES_EVERY == 0;
    m->peer_epoch = bus_peer_epoch(m->peer);
    if (m->dropped) {
        uint64_t dropped = m->dropped;
        m->dropped = 0;
        metric_add(m, METRIC_METRICS_DROPPED, NULL, (int64_t)dropped);
    }
    metric_add_total(m, METRIC_BUS_DROPPED, METRIC_LABELS(span_str(bus_role(m->bus))),
                     bus_dropped(m->bus), &m->bus_dropped_reported);
    HASH_ITER(hh, m->table, s, next)
    {
        bool gauge = metric_info(s->id)->kind == METRIC_GAUGE;
        if ((s->dirty || (all_gauges && gauge)) && !send_series(m, s))
            return;
        if (gauge && s->value == METRIC_GONE) { /* said: make room for others */
            HASH_DEL(m->table, s);
            free(s);
        }
    }
}

static void on_timer(void *ctx)
{
    struct metric_client *m = ctx;
    loop_timer_start(m->loop, &m->timer, FLUSH_MS, on_timer, m);
    metric_flush(m);
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
    loop_timer_start(loop, &m->timer, FLUSH_MS, on_timer, m);
    metric_set(m, METRIC_UP, NULL, 1);
    metric_set(m, METRIC_BUILD, METRIC_LABELS(span_str(TOLLGATE_VERSION)), 1);
    return OK;
}

void metric_client_destroy(struct metric_client **pointer)
{
    struct metric_client *m = *pointer;
    struct client_series *s, *next;
    if (!m)
        return;
    metric_flush(m);
    loop_timer_stop(m->loop, &m->timer);
    HASH_ITER(hh, m->table, s, next)
    {
        HASH_DEL(m->table, s);
        free(s);
    }
    free(m);
    *pointer = NULL;
}
