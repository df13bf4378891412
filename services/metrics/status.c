#include "services/metrics/status.h"

#include <stdio.h>
#include <time.h>

#include "common/base/json.h"

static void write_time(struct json_writer *w, uint64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    char text[32];
    (void)gmtime_r(&seconds, &utc);
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
    jw_str(w, text);
}

/* ---- what the gauges say ---- */

/* A daemon's own gauge; false when it reports none. */
static bool own_gauge(const struct store *s, enum metric_id id, const char *name, int64_t *out)
{
    for (const struct series *g = store_first(s, id); g; g = g->next)
        if (!g->away && span_is(g->instance, name)) {
            *out = g->value;
            return true;
        }
    return false;
}

/* What all brokers together say about a worker. */
static int64_t worker_gauge(const struct store *s, enum metric_id id, const char *worker)
{
    int64_t sum = 0;
    for (const struct series *g = store_first(s, id); g; g = g->next)
        if (!g->away && span_is(g->labels[1], worker))
            sum += g->value;
    return sum;
}

static struct span worker_why(const struct store *s, const char *worker)
{
    for (const struct series *g = store_first(s, METRIC_WORKER_UNAVAILABLE); g; g = g->next)
        if (!g->away && span_is(g->labels[1], worker) && g->value)
            return g->labels[2];
    return SPAN_NONE;
}

static bool is_healthy(const struct daemons *d, const struct store *s)
{
    bool edge = false, auth = false, broker = false, worker = false;
    for (const struct daemon_seen *one = daemons_first(d); one; one = one->next) {
        if (one->gone_ms)
            continue;
        edge |= strcmp(one->role, "edge") == 0;
        auth |= strcmp(one->role, "auth") == 0;
        broker |= strcmp(one->role, "broker") == 0;
        worker |=
            strcmp(one->role, "worker") == 0 && worker_gauge(s, METRIC_WORKER_SLOTS, one->name) > 0;
    }
    return edge && auth && broker && worker;
}

/* ---- writing ---- */

static void write_worker(struct json_writer *w, const struct daemon_seen *one,
                         const struct store *s)
{
    int64_t slots = worker_gauge(s, METRIC_WORKER_SLOTS, one->name);
    jw_key(w, "provider");
    jw_str(w, one->provider);
    jw_key(w, "slots");
    jw_i64(w, slots);
    jw_key(w, "in_flight");
    jw_i64(w, worker_gauge(s, METRIC_WORKER_IN_FLIGHT, one->name));
    struct span why = worker_why(s, one->name);
    if (!slots && why.len) {
        jw_key(w, "why");
        jw_string(w, why);
    }
}

static void write_gauge(struct json_writer *w, const char *key, const struct store *s,
                        enum metric_id id, const char *name)
{
    int64_t value;
    if (!own_gauge(s, id, name, &value))
        return;
    jw_key(w, key);
    jw_i64(w, value);
}

static void write_daemon(struct json_writer *w, const struct daemon_seen *one,
                         const struct store *s)
{
    jw_object(w);
    jw_key(w, "role");
    jw_str(w, one->role);
    jw_key(w, "name");
    jw_str(w, one->name);
    jw_key(w, "version");
    jw_str(w, one->version);
    jw_key(w, "up_since");
    write_time(w, one->since_ms);
    if (strcmp(one->role, "worker") == 0) {
        write_worker(w, one, s);
    } else {
        write_gauge(w, "in_flight", s, METRIC_IN_FLIGHT, one->name);
        write_gauge(w, "queue_depth", s, METRIC_QUEUE_DEPTH, one->name);
        write_gauge(w, "connections", s, METRIC_CONNECTIONS, one->name);
    }
    jw_object_end(w);
}

static void begin(struct json_writer *w, const struct daemons *d, const struct store *s,
                  uint64_t wall_ms)
{
    jw_object(w);
    jw_key(w, "status");
    jw_str(w, is_healthy(d, s) ? "healthy" : "degraded");
    jw_key(w, "timestamp");
    write_time(w, wall_ms);
}

void status_write_health(const struct daemons *d, const struct store *s, uint64_t wall_ms,
                         struct buf *out)
{
    struct json_writer w = {.out = out};
    begin(&w, d, s, wall_ms);
    jw_object_end(&w);
}

void status_write(const struct daemons *d, const struct store *s, uint64_t wall_ms, struct buf *out)
{
    struct json_writer w = {.out = out};
    begin(&w, d, s, wall_ms);
    jw_key(&w, "daemons");
    jw_array(&w);
    for (const struct daemon_seen *one = daemons_first(d); one; one = one->next)
        if (!one->gone_ms)
            write_daemon(&w, one, s);
    jw_array_end(&w);
    jw_object_end(&w);
}
