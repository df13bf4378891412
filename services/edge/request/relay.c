#include "services/edge/request/relay.h"

#include "common/base/log.h"
#include "services/edge/http/fields.h"
#include "services/edge/request/attempt.h"
#include "services/edge/request/dispatch.h"
#include "services/edge/request/history.h"

static const char event_stream[] = "text/event-stream; charset=utf-8";

/* What HEAD or REPLY says of a whole answer. */
struct whole_answer {
    struct span headers, content_type;
    uint64_t cost_nano;
    uint32_t upstream_ms;
    bool unpriced;
};

static void on_overdue(struct edge_request *r);

void relay_start(struct edge_request *r)
{
    r->on_overdue = on_overdue;
    r->last_write_ms = edge_now_ms(r->edge);
    dispatch_start(r);
}

void relay_unknown_model(struct edge_request *r)
{
    request_fail_model(r);
}

/* ---- back to the client ---- */

/* The provider's own, which go into the log, and on to the client where the operator says so. */
static bool stays_here(struct edge_request *r, struct span name, struct span value)
{
    static const char prefix[] = "x-upstream-";
    if (name.len < sizeof prefix || strncasecmp(name.data, prefix, sizeof prefix - 1) != 0)
        return false;
    if (span_is_nocase(name, "x-upstream-request-id"))
        r->provider_request_id = arena_copy(&r->arena, value);
    return !edge_options(r->edge)->edge_upstream_headers;
}

static void add_passed_fields(struct edge_request *r, struct span lines)
{
    struct span name, value;
    while (field_next_line(&lines, &name, &value)) {
        char text[80];
        if (name.len >= sizeof text || !field_may_pass(name) || stays_here(r, name, value))
            continue;
        memcpy(text, name.data, name.len);
        text[name.len] = 0;
        http_add_header(r->to.x, text, value);
    }
}

static void add_attempts(const struct edge_request *r, unsigned attempt)
{
    struct field_text text;
    if (attempt > 0)
        http_add_header(r->to.x, "x-tollgate-attempts", field_u64(&text, attempt));
}

static void begin_stream(struct edge_request *r, unsigned status, struct span type,
                         struct span lines)
{
    struct http_exchange *x = r->to.x;
    r->is_events = !type.len || span_starts(type, "text/event-stream");
    request_add_fields(r);
    add_passed_fields(r, lines);
    http_add_header(x, "content-type", r->is_events ? span_str(event_stream) : type);
    if (r->is_events) {
        http_add_header(x, "cache-control", SPAN("no-cache"));
        http_add_header(x, "x-accel-buffering", SPAN("no"));
    }
    http_stream_begin(x, status);
}

/* The fields of an answer whose length and cost are known. */
static void add_whole_fields(struct edge_request *r, const struct whole_answer *a)
{
    struct field_text text;
    uint64_t whole_ms = (loop_now_us(r->edge->d->loop) - r->started_us) / 1000;
    uint64_t ours_ms = whole_ms > a->upstream_ms ? whole_ms - a->upstream_ms : 0;
    request_add_fields(r);
    add_passed_fields(r, a->headers);
    add_attempts(r, r->attempt);
    if (!a->unpriced)
        http_add_header(r->to.x, "x-tollgate-cost", field_dollars(&text, a->cost_nano));
    http_add_header(r->to.x, "x-tollgate-overhead-ms", field_u64(&text, ours_ms));
    http_add_header(r->to.x, "content-type",
                    a->content_type.len ? a->content_type : SPAN("application/json"));
}

static void begin_answer(struct edge_request *r, const struct head *h)
{
    const struct whole_answer whole = {h->headers, h->content_type, h->cost_nano, h->upstream_ms,
                                       h->unpriced};
    r->status = h->status ? h->status : 200;
    if (r->early_headers)
        return;
    if (h->whole_bytes) {
        add_whole_fields(r, &whole);
        http_stream_begin_whole(r->to.x, r->status, h->whole_bytes);
        return;
    }
    add_attempts(r, r->attempt);
    begin_stream(r, r->status, h->content_type, h->headers);
}

/* A failure needs nothing more: on_gone reports a client that has left. */
static void write_bytes(struct edge_request *r, struct span bytes)
{
    enum err e = http_stream_write(r->to.x, bytes);
    r->last_write_ms = edge_now_ms(r->edge);
    if (e != OK)
        log_debug("stream_write", LSTR("id", r->to.id), LSTR("why", err_name(e)));
}

static void give_credit(struct edge_request *r)
{
    struct credit credit = {.bytes = flow_credit(&r->flow, http_stream_pending(r->to.x))};
    if (credit.bytes > 0 &&
        bus_send(r->link->peer, request_header(r), MESSAGE_CREDIT, &credit) != OK)
        log_warn("credit_unsent", LSTR("id", r->to.id));
}

/* The request whose present attempt this is about; NULL for a stale frame. */
static struct edge_request *find_running(struct edge *e, const struct bus_peer *from,
                                         const struct bus_message *m)
{
    struct edge_request *r = request_find(e, &m->header.id);
    bool runs = r && (r->state == REQUEST_DISPATCHED || r->state == REQUEST_STREAMING);
    return runs && r->link->peer == from && r->attempt == m->header.attempt ? r : NULL;
}

/* A frame that breaks the protocol: a bug of ours or of a neighbour. The client must not take what
 * it has for the whole answer. */
static void fail_protocol(struct edge_request *r, const char *what)
{
    struct request_outcome o = {.settles = true};
    struct api_error f = {.error_class = ERROR_INTERNAL,
                          .message = SPAN("The response was damaged by a failure of the service.")};
    log_error("bad_frame", LSTR("id", r->to.id), LSTR("what", what));
    request_fail(r, &f, &o);
}

/* A response that may be asked for by its id: every broker must know who made it, and auth whose it
 * is, before its client can ask. */
static void announce_stored(const struct edge_request *r, struct span id, uint32_t endpoint)
{
    const struct daemon *d = r->edge->d;
    struct stored message = {
        .response_id = id, .key_id = r->key_id, .provider = r->provider, .endpoint = endpoint};
    for (size_t i = 0; id.len && i < d->broker_count; i++)
        if (bus_peer_up(d->brokers[i]) &&
            bus_send(d->brokers[i], (struct header){0}, MESSAGE_STORED, &message) != OK)
            log_debug("stored_unsent", LSTR("id", r->to.id));
    if (id.len && bus_peer_up(d->auth) &&
        bus_send(d->auth, (struct header){0}, MESSAGE_STORED, &message) != OK)
        log_debug("stored_unsent", LSTR("id", r->to.id));
}

static void note_first(struct edge_request *r)
{
    uint64_t us = loop_now_us(r->edge->d->loop) - r->started_us;
    r->first_ms = (uint32_t)(us / 1000);
    metric_observe_us(r->edge->d->metrics, METRIC_FIRST_TOKEN,
                      METRIC_LABELS(request_model_label(r, true), r->provider), us);
}

void relay_on_head(struct edge *e, struct bus_peer *from, const struct bus_message *m)
{
    const struct head *h = &m->body->head;
    struct edge_request *r = find_running(e, from, m);
    if (!r)
        return;
    if (r->head_seen) {
        fail_protocol(r, "second HEAD");
        return;
    }
    r->head_seen = true;
    r->provider = arena_copy(&r->arena, h->provider);
    attempt_commit(r);
    begin_answer(r, h);
    announce_stored(r, h->upstream_id, h->endpoint);
    r->last_write_ms = edge_now_ms(e);
    http_body_release(r->to.x);
    request_set_state(r, REQUEST_STREAMING);
    if (!h->whole_bytes)
        note_first(r);
}

void relay_on_data(struct edge *e, struct bus_peer *from, const struct bus_message *m)
{
    struct span bytes = m->body->data.bytes;
    struct edge_request *r = find_running(e, from, m);
    if (!r)
        return;
    if (r->state != REQUEST_STREAMING) {
        fail_protocol(r, "DATA before HEAD");
    } else if (flow_receive(&r->flow, m->header.seq, bytes) != OK) {
        fail_protocol(r, "DATA out of order or beyond its window");
    } else {
        write_bytes(r, bytes);
        give_credit(r);
    }
}

void relay_on_end(struct edge *e, struct bus_peer *from, const struct bus_message *m)
{
    const struct end *end = &m->body->end;
    struct edge_request *r = find_running(e, from, m);
    if (!r)
        return;
    if (r->state != REQUEST_STREAMING) {
        fail_protocol(r, "END before HEAD");
        return;
    }
    struct request_outcome o = {
        .status = r->status,
        .settles = true,
        .input_tokens = end->input_tokens,
        .cached_tokens = end->cached_tokens,
        .output_tokens = end->output_tokens,
        .cost_nano = end->cost_nano,
    };
    history_note(r, NULL);
    attempt_end(r, GRANT_OK);
    http_set_user(r->to.x, NULL);
    http_stream_end(r->to.x);
    request_end(r, &o);
}

void relay_on_reply(struct edge *e, struct bus_peer *from, const struct bus_message *m)
{
    const struct reply *reply = &m->body->reply;
    struct edge_request *r = find_running(e, from, m);
    if (!r)
        return;
    if (r->state != REQUEST_DISPATCHED || r->early_headers) {
        fail_protocol(r, "REPLY within a stream");
        return;
    }
    history_note(r, NULL);
    attempt_commit(r);
    attempt_end(r, GRANT_OK);
    struct request_outcome o = {
        .status = reply->status ? reply->status : 200,
        .settles = true,
        .input_tokens = reply->input_tokens,
        .cached_tokens = reply->cached_tokens,
        .output_tokens = reply->output_tokens,
        .cost_nano = reply->cost_nano,
    };
    r->provider = arena_copy(&r->arena, reply->provider);
    announce_stored(r, reply->upstream_id, reply->endpoint);
    struct http_exchange *x = r->to.x;
    const struct whole_answer whole = {reply->headers, reply->content_type, reply->cost_nano,
                                       reply->upstream_ms, reply->unpriced};
    add_whole_fields(r, &whole);
    http_set_user(x, NULL);
    http_body_release(x);
    http_respond(x, o.status, reply->body);
    request_end(r, &o);
}

/* What the client is told if no other attempt follows, and what is booked then. */
static void remember_failure(struct edge_request *r, const struct fail *fail)
{
    struct api_error f = api_error_of_fail(fail);
    if (!f.message.len)
        f.message = SPAN("The request failed.");
    r->failure = api_error_copy(&f, &r->arena);
    if (fail->provider.len)
        r->provider = arena_copy(&r->arena, fail->provider);
    r->provider_request_id = arena_copy(&r->arena, fail->provider_request_id);
    bool billed = fail->input_tokens > 0 || fail->output_tokens > 0;
    bool ambiguous = fail->sent && error_info(fail->error_class)->retry == RETRY_AMBIGUOUS;
    r->runs += fail->settles || ambiguous;
    bool settles = r->head_seen || billed || fail->settles;
    r->settling = settles ? r->attempt : r->settling;
    r->used = (struct request_outcome){
        .settles = r->used.settles || settles,
        .input_tokens = fail->input_tokens,
        .output_tokens = fail->output_tokens,
        .cost_nano = fail->cost_nano,
    };
}

void relay_on_fail(struct edge *e, struct bus_peer *from, const struct bus_message *m)
{
    const struct fail *fail = &m->body->fail;
    struct edge_request *r = find_running(e, from, m);
    if (!r)
        return;
    if (fail->error_class == ERROR_WORKER_REFUSED && !r->head_seen) {
        dispatch_busy(r, fail->free);
        return;
    }
    remember_failure(r, fail);
    if (!r->head_seen) {
        dispatch_again(r, fail);
        return;
    }
    history_note(r, fail);
    attempt_end(r, GRANT_FAILED);
    request_fail(r, &r->failure, &r->used);
}

/* ---- time ---- */

/* The first content is late: the 200 goes out without it. */
static void send_early_headers(struct edge_request *r)
{
    begin_stream(r, 200, SPAN_NONE, SPAN_NONE);
    r->early_headers = true;
    write_bytes(r, SPAN(": ka\n\n"));
}

/* A stream has been silent: a comment or a ping, where one may stand. */
static void keep_alive(struct edge_request *r)
{
    static const char ping[] = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
    bool message_started = r->flow.received_bytes > 0;
    if (!flow_between_events(&r->flow))
        r->last_write_ms = edge_now_ms(r->edge); /* not inside an event: next time */
    else if (api_is_anthropic(r->to.api) && message_started)
        write_bytes(r, span_str(ping));
    else
        write_bytes(r, SPAN(": ka\n\n"));
}

static void on_overdue(struct edge_request *r)
{
    if (!r->early_headers && r->state != REQUEST_STREAMING)
        send_early_headers(r);
    else
        keep_alive(r);
}

void relay_on_drain(struct edge_request *r)
{
    if (r->state == REQUEST_STREAMING)
        give_credit(r);
}
