#include "services/edge/status/status.h"

#include "services/edge/http/fields.h"
#include "services/edge/status/models.h"

enum { QUERY_TIMEOUT_MS = 2000 };

/* ---- health ---- */

static void answer_word(const struct client *c, unsigned status, struct span json)
{
    http_add_header(c->x, "cache-control", SPAN("no-store"));
    answer_json(c, status, json);
}

void status_liveness(const struct client *c)
{
    answer_word(c, 200, SPAN("{\"status\":\"alive\"}"));
}

void status_readiness(const struct client *c)
{
    const struct edge *e = c->edge;
    if (e->d->draining)
        answer_word(c, 503, SPAN("{\"status\":\"draining\"}"));
    else if (!e->was_ready)
        answer_word(c, 503, SPAN("{\"status\":\"starting\"}"));
    else if (!edge_has_broker(e))
        answer_word(c, 503, SPAN("{\"status\":\"no broker\"}"));
    else
        answer_word(c, 200, SPAN("{\"status\":\"ready\"}"));
}

static void copy_member(struct json_writer *w, struct json object, const char *name)
{
    struct json member = json_get(object, name);
    if (json_absent(member))
        return;
    jw_key(w, name);
    jw_value(w, member);
}

/* `suite`: the aggregator's JSON; JSON_NONE = left out. The gateway answers even while parts are
 * away, so this is 200 throughout; the word says how well. */
static void answer_health(const struct client *c, struct json suite)
{
    struct edge *e = c->edge;
    struct field_text time;
    struct buf *out = &e->scratch;
    struct json_writer w = {.out = out};
    bool whole = bus_peer_up(e->d->auth) && edge_has_broker(e) && !e->d->draining;
    buf_clear(out);
    jw_object(&w);
    jw_key(&w, "status");
    jw_str(&w, whole ? "healthy" : "degraded");
    jw_key(&w, "timestamp");
    jw_string(&w, field_time(&time, clock_wall_ms(loop_clock(e->d->loop))));
    jw_key(&w, "version");
    jw_str(&w, TOLLGATE_VERSION);
    copy_member(&w, suite, "daemons");
    copy_member(&w, suite, "workers");
    jw_object_end(&w);
    answer_word(c, 200, buf_span(out));
}

void status_health_plain(const struct client *c)
{
    answer_health(c, JSON_NOTHING);
}

/* ---- the metrics daemon ---- */

static void finish(struct edge_request *r, unsigned status)
{
    struct request_outcome o = {.status = status};
    http_set_user(r->to.x, NULL);
    request_end(r, &o);
}

/* The metrics daemon is away or too slow: what can be said without it. */
static void on_no_answer(struct edge_request *r)
{
    if (r->route->kind == ROUTE_HEALTH) {
        answer_health(&r->to, JSON_NOTHING);
        finish(r, 200);
    } else {
        request_fail_class(r, ERROR_UNAVAILABLE, "Metrics are unavailable at the moment.");
    }
}

static void query(struct edge_request *r, const char *what)
{
    struct edge *e = r->edge;
    struct query q = {.what = span_str(what)};
    r->wait_until_ms = edge_now_ms(e) + QUERY_TIMEOUT_MS;
    r->on_overdue = on_no_answer;
    request_set_state(r, REQUEST_QUERYING);
    if (bus_send(e->d->metrics_peer, request_header(r), MESSAGE_QUERY, &q) != OK)
        on_no_answer(r);
}

void status_health(struct edge_request *r)
{
    query(r, "status");
}

void status_metrics(struct edge_request *r)
{
    query(r, "metrics");
}

static struct json parse_suite(struct edge *e, struct span body)
{
    return json_parse(&e->doc, body, JSON_DEPTH_CLIENT) == OK ? json_root(&e->doc) : JSON_NOTHING;
}

void status_on_answer(struct edge *e, const struct bus_message *m)
{
    const struct answer *a = &m->body->answer;
    struct edge_request *r = request_find(e, &m->header.id);
    if (!r || r->state != REQUEST_QUERYING)
        return;
    if (r->route->kind == ROUTE_HEALTH)
        answer_health(&r->to, parse_suite(e, a->body));
    else
        answer_body(&r->to, 200,
                    a->content_type.len ? a->content_type : SPAN("text/plain; version=0.0.4"),
                    a->body);
    finish(r, 200);
}

void status_on_metrics_down(struct edge *e)
{
    struct edge_request *r, *next;
    HASH_ITER(hh, e->requests, r, next)
    {
        if (r->state == REQUEST_QUERYING)
            on_no_answer(r);
    }
}

/* ---- models ---- */

static struct models_query models_of(const struct edge_request *r)
{
    return (struct models_query){
        .config = r->edge->d->config,
        .catalog = &r->edge->catalog,
        .allowed = r->models,
        .anthropic = r->anthropic_version,
        .created_ms = r->edge->config_read_ms,
        .query = r->query,
    };
}

void status_models(struct edge_request *r)
{
    struct models_query q = models_of(r);
    struct buf *out = &r->edge->scratch;
    buf_clear(out);
    enum err e = models_write_list(&q, out);
    if (e == ERR_NOMEM) {
        request_fail_class(r, ERROR_OVERLOADED, "The service is at capacity. Try again shortly.");
        return;
    }
    if (e != OK) {
        request_fail_class(r, ERROR_INVALID_VALUE,
                           "limit must be from 1 to 1000, after_id and before_id listed models.");
        return;
    }
    answer_limits(&r->to, &r->limits);
    answer_json(&r->to, 200, buf_span(out));
    finish(r, 200);
}

void status_model(struct edge_request *r)
{
    struct models_query q = models_of(r);
    struct buf *out = &r->edge->scratch;
    char *id = arena_alloc(&r->arena, r->rest.len + 1);
    size_t id_len = 0;
    bool decoded = id && route_decode(r->rest, id, &id_len);
    buf_clear(out);
    if (!decoded || models_write_one(&q, span_of(id, id_len), out) != OK) {
        r->model = decoded ? span_of(id, id_len) : SPAN_NONE;
        request_fail_model(r);
        return;
    }
    answer_limits(&r->to, &r->limits);
    answer_json(&r->to, 200, buf_span(out));
    finish(r, 200);
}
