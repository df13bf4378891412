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

/* A daemon's own gauge; 0 when it reports none. */
static int64_t own_gauge(const struct series_store *s, enum metric_id id, const char *name)
{
    for (const struct series *g = store_first(s, id); g; g = g->next)
        if (!g->away && span_is(g->instance, name))
            return g->value;
    return 0;
}

/* What all brokers together say about a worker. */
static int64_t worker_gauge(const struct series_store *s, enum metric_id id, const char *worker)
{
    int64_t sum = 0;
    for (const struct series *g = store_first(s, id); g; g = g->next)
        if (!g->away && span_is(g->labels[1], worker))
            sum += g->value;
    return sum;
}

static struct span worker_why(const struct series_store *s, const char *worker)
{
    for (const struct series *g = store_first(s, METRIC_WORKER_UNAVAILABLE); g; g = g->next)
        if (!g->away && span_is(g->labels[1], worker) && g->value)
            return g->labels[2];
    return SPAN_NONE;
}

/* "edge.max_body, bus.auth": changed options that only a restart of this daemon takes. */
static void write_waiting(struct json_writer *w, const char *name, const struct series_store *s)
{
    bool any = false;
    jw_string_begin(w);
    for (const struct series *g = store_first(s, METRIC_RESTART_NEEDED); g; g = g->next) {
        if (g->away || !span_is(g->instance, name))
            continue;
        if (any)
            jw_string_part(w, SPAN(", "));
        jw_string_part(w, g->labels[0]);
        any = true;
    }
    jw_string_end(w);
}

static bool is_healthy(const struct daemons *d, const struct series_store *s)
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

static void write_text(struct json_writer *w, const char *key, const char *value)
{
    jw_key(w, key);
    jw_str(w, value);
}

static void write_number(struct json_writer *w, const char *key, int64_t value)
{
    jw_key(w, key);
    jw_i64(w, value);
}

static void write_worker(struct json_writer *w, const struct daemon_seen *one,
                         const struct series_store *s)
{
    int64_t slots = worker_gauge(s, METRIC_WORKER_SLOTS, one->name);
    jw_object(w);
    write_text(w, "worker", one->name);
    write_text(w, "provider", one->provider);
    write_number(w, "slots", slots);
    write_number(w, "in_flight", worker_gauge(s, METRIC_WORKER_IN_FLIGHT, one->name));
    jw_key(w, "why");
    jw_string(w, slots ? SPAN_NONE : worker_why(s, one->name));
    jw_object_end(w);
}

static void write_daemon(struct json_writer *w, const struct daemon_seen *one,
                         const struct series_store *s)
{
    jw_object(w);
    write_text(w, "role", one->role);
    write_text(w, "name", one->name);
    write_text(w, "version", one->version);
    jw_key(w, "up_since");
    write_time(w, one->since_ms);
    write_number(w, "in_flight", own_gauge(s, METRIC_IN_FLIGHT, one->name));
    write_number(w, "queued", own_gauge(s, METRIC_QUEUE_DEPTH, one->name));
    jw_key(w, "restart_for");
    write_waiting(w, one->name, s);
    jw_object_end(w);
}

/* What all brokers together report. */
static int64_t brokers_gauge(const struct series_store *s, enum metric_id id)
{
    int64_t sum = 0;
    for (const struct series *g = store_first(s, id); g; g = g->next)
        if (!g->away && span_is(g->role, "broker"))
            sum += g->value;
    return sum;
}

static void begin(struct json_writer *w, const struct daemons *d, const struct series_store *s,
                  uint64_t wall_ms)
{
    jw_object(w);
    jw_key(w, "status");
    jw_str(w, is_healthy(d, s) ? "healthy" : "degraded");
    jw_key(w, "timestamp");
    write_time(w, wall_ms);
}

void status_write_health(const struct daemons *d, const struct series_store *s, uint64_t wall_ms,
                         struct buf *out)
{
    struct json_writer w = {.out = out};
    begin(&w, d, s, wall_ms);
    jw_object_end(&w);
}

void status_write(const struct daemons *d, const struct series_store *s, uint64_t wall_ms,
                  struct buf *out)
{
    struct json_writer w = {.out = out};
    begin(&w, d, s, wall_ms);
    write_number(&w, "in_flight", brokers_gauge(s, METRIC_IN_FLIGHT));
    write_number(&w, "queued", brokers_gauge(s, METRIC_QUEUE_DEPTH));
    jw_key(&w, "daemons");
    jw_array(&w);
    for (const struct daemon_seen *one = daemons_first(d); one; one = one->next)
        if (!one->gone_ms)
            write_daemon(&w, one, s);
    jw_array_end(&w);
    jw_key(&w, "workers");
    jw_array(&w);
    for (const struct daemon_seen *one = daemons_first(d); one; one = one->next)
        if (!one->gone_ms && strcmp(one->role, "worker") == 0)
            write_worker(&w, one, s);
    jw_array_end(&w);
    jw_object_end(&w);
}
