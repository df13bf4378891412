#include "services/edge/request/dispatch.h"

#include "common/base/log.h"
#include "services/edge/request/attempt.h"
#include "services/edge/request/authorize.h"
#include "services/edge/request/history.h"

enum {
    ASK_AGAIN_MS = 1000,
    /* A body of so many bytes can hold a worker's loop, or take its memory: nothing costs more than
     * in proportion. */
    SUSPECT_BODY_BYTES = 256 << 10
};

static const char interrupted[] = "The request was interrupted by a failure of the service.";
static const char at_capacity[] = "The service is at capacity. Try again shortly.";

static void ask(struct edge_request *r);

/* ---- to a worker ---- */

/* A window of 0 would let nothing through; a very large one would not fit what the HTTP server
 * holds of one stream. */
static uint32_t stream_window(const struct edge *e)
{
    enum { LEAST = 16 << 10, MOST = 2 << 20 };
    uint64_t bytes = edge_options(e)->edge_stream_window;
    return bytes < LEAST ? LEAST : bytes > MOST ? MOST : (uint32_t)bytes;
}

/* The client's own, where the granted provider takes it. It goes to one provider and no other,
 * however often that one is tried. */
static struct span credential_of(struct edge_request *r)
{
    const struct config *config = r->edge->d->config;
    struct span name = r->grant->m.provider;
    bool takes = false;
    for (size_t i = 0; r->credential && i < config->provider_count; i++)
        takes |= span_is(name, config->providers[i].name) &&
                 config_takes_client_auth(&config->providers[i]);
    if (!takes || (r->credential_for.len && !span_equals(r->credential_for, name)))
        return SPAN_NONE;
    r->credential_for = arena_copy(&r->arena, name);
    return r->credential_for.len ? secret_reveal(r->credential) : SPAN_NONE;
}

/* The body stays until something of an answer is there: there may be another attempt. */
static enum err send_dispatch(struct edge_request *r)
{
    const struct grant *g = &r->grant->m;
    struct dispatch message = {
        .api = r->to.api,
        .model = r->model,
        .target_model = g->target_model,
        .key_id = r->key_id,
        .key_name = r->key_name,
        .credit = stream_window(r->edge),
        .input_tokens = r->input_tokens,
        .output_tokens = r->output_tokens,
        .timeout_ms = g->timeout_ms,
        .avoid = g->avoid,
        .operation = r->route->operation,
        .query = r->query,
        .headers = r->passed_lines,
        .body = r->route->body ? http_body(r->to.x) : SPAN_NONE,
        .route = g->route,
        .response_id = r->response_id,
        .stored_endpoint = g->stored_endpoint,
        .grant = g->token,
        .end_user = r->end_user,
        .tags = r->tags,
        .credential = credential_of(r),
    };
    r->flow = (struct flow){.window_bytes = message.credit};
    return bus_send(r->link->peer, request_header(r), MESSAGE_DISPATCH, &message);
}

/* It may settle this request. Without memory none is named, which doubts none. */
static void remember_worker(struct edge_request *r)
{
    r->workers = r->workers.len ? arena_printf(&r->arena, "%.*s,%.*s", SPAN_ARG(r->workers),
                                               SPAN_ARG(r->worker))
                                : r->worker;
}

/* Who answers is booked and named: the model that was asked for, or its fallback. */
static void note_answering(struct edge_request *r)
{
    struct span route = r->grant->m.route;
    bool other = !span_equals(r->answered, route);
    r->answered = arena_copy(&r->arena, route);
    if (route.len && other)
        authorize_charge_fallback(r);
}

/* Over its link: now, or when that is up. */
static void dispatch(struct edge_request *r)
{
    if (!r->link->up) {
        r->wait_until_ms = edge_now_ms(r->edge) + LINK_PATIENCE_MS;
        request_set_state(r, REQUEST_LINKING);
        return;
    }
    if (send_dispatch(r) != OK) {
        dispatch_busy(r, 0);
        return;
    }
    r->sent_ms = edge_now_ms(r->edge);
    remember_worker(r);
    note_answering(r);
    request_set_state(r, REQUEST_DISPATCHED);
}

/* An attempt has been started under this grant. */
static void use_grant(struct edge_request *r, struct held_grant *grant)
{
    struct edge *e = r->edge;
    struct worker_link *link = links_get(&e->links, e->d->bus, &grant->m, edge_now_ms(e));
    r->worker = arena_copy(&r->arena, grant->m.worker);
    if (link) {
        attempt_begin(r, grant, link);
        dispatch(r);
        return;
    }
    /* As good as a worker without room. */
    r->busy = r->busy < UINT8_MAX ? (uint8_t)(r->busy + 1) : UINT8_MAX;
    grants_rest(e->grants, grant);
    grants_end(e->grants, grant, GRANT_CANCELED, edge_now_ms(e));
    ask(r);
}

/* ---- asks ---- */

/* The one where the fewest wait, in turn among equals; NULL when none is up. */
static struct bus_peer *choose_broker(struct edge *e)
{
    struct daemon *d = e->d;
    struct bus_peer *best = NULL;
    size_t first = e->next_broker++;
    for (size_t i = 0; i < d->broker_count; i++) {
        struct bus_peer *broker = d->brokers[(first + i) % d->broker_count];
        if (edge_broker_is_usable(broker) &&
            (!best || bus_peer_queued(broker) < bus_peer_queued(best)))
            best = broker;
    }
    return best;
}

static enum err send_ask(struct edge_request *r, struct bus_peer *broker)
{
    bool may_stand =
        r->attempt == 1 && r->use && r->model.len && !r->response_id.len && !r->busy && !r->alone;
    struct ask message = {
        .api = r->to.api,
        .model = r->model,
        .key_id = r->key_id,
        .response_id = r->response_id,
        .wanted = may_stand ? grants_wanted(r->use) : 0,
        .trail = r->trail,
        .failed_class = r->attempt > 1 ? r->failed.error_class : ERROR_NONE,
        .failed_sent = r->failed.sent,
        .failed_final = r->failed.final,
        .failed_retry_after_ms = r->failed.retry_after_ms,
        .failed_endpoint = r->failed.endpoint,
        .failed_worker = r->worker,
        .busy = r->busy,
        .free = r->busy_free,
        .barred = r->barred,
    };
    return bus_send(broker, request_header(r), MESSAGE_ASK, &message);
}

/* Asks a broker, the one that has it already if that is still there; waits for one when there is
 * none. */
static void ask(struct edge_request *r)
{
    struct edge *e = r->edge;
    uint64_t now = edge_now_ms(e);
    if (!r->broker || !edge_broker_is_usable(r->broker))
        r->broker = choose_broker(e);
    if (r->broker && send_ask(r, r->broker) != OK)
        r->broker = NULL;
    if (edge_has_broker(e))
        r->wait_until_ms = now + ASK_AGAIN_MS;
    else
        r->wait_until_ms =
            (e->brokers_down_ms ? e->brokers_down_ms : now) + EDGE_BROKER_PATIENCE_MS;
    request_set_state(r, REQUEST_ASKING);
}

static void on_waited(struct edge_request *r)
{
    if (r->state == REQUEST_LINKING)
        dispatch_busy(r, 0);
    else if (r->broker || edge_has_broker(r->edge))
        ask(r);
    else
        request_fail_class(r, ERROR_OVERLOADED, at_capacity);
}

/* A further attempt has to be granted as such, whatever slots there are. */
static void find_worker(struct edge_request *r)
{
    struct edge *e = r->edge;
    struct held_grant *grant = NULL;
    if (r->use && !r->response_id.len && r->attempt == 1)
        grant = grants_take(e->grants, r->use, edge_now_ms(e));
    if (grant)
        use_grant(r, grant);
    else
        ask(r);
}

void dispatch_start(struct edge_request *r)
{
    r->on_waited = on_waited;
    r->attempt = 1;
    r->waits_since_ms = edge_now_ms(r->edge);
    if (r->model.len)
        r->use = grants_enter(r->edge->grants, r->model);
    find_worker(r);
}

/* ---- what follows a failed attempt ---- */

void dispatch_busy(struct edge_request *r, uint32_t free_slots)
{
    grants_rest(r->edge->grants, r->grant);
    attempt_end(r, GRANT_CANCELED);
    dispatch_report(r->edge); /* before the ask: the slot is free */
    r->broker = NULL;
    r->busy = r->busy < UINT8_MAX ? (uint8_t)(r->busy + 1) : UINT8_MAX;
    r->busy_free = free_slots;
    ask(r);
}

void dispatch_again(struct edge_request *r, const struct fail *failed)
{
    history_note(r, failed);
    r->waits_since_ms = edge_now_ms(r->edge);
    r->failed.error_class = failed->error_class;
    r->failed.sent = failed->sent;
    r->failed.final = failed->final || request_ran_enough(r);
    r->failed.retry_after_ms = failed->retry_after_ms;
    r->failed.endpoint = failed->endpoint;
    r->trail = arena_copy(&r->arena, r->grant->m.trail);
    r->broker = r->edge->d->brokers[r->grant->broker]; /* it knows the target best */
    attempt_end(r, GRANT_FAILED);
    dispatch_report(r->edge); /* before the ask: the slot is free */
    r->busy = 0;
    r->attempt++;
    ask(r);
}

/* ---- from brokers ---- */

static int index_of(const struct edge *e, const struct bus_peer *broker)
{
    for (size_t i = 0; i < e->d->broker_count && i < GRANTS_MAX_BROKERS; i++)
        if (e->d->brokers[i] == broker)
            return (int)i;
    return -1;
}

/* The request whose ask this answers; NULL when nobody waits for it (any more). */
static struct edge_request *find_asking(struct edge *e, const struct bus_peer *from,
                                        const struct bus_message *m)
{
    struct edge_request *r = request_find(e, &m->header.id);
    bool asks = r && r->state == REQUEST_ASKING && r->broker == from;
    return asks && r->attempt == m->header.attempt ? r : NULL;
}

void dispatch_on_grant(struct edge *e, struct bus_peer *from, const struct bus_message *m)
{
    uint64_t now = edge_now_ms(e);
    int broker = index_of(e, from);
    struct held_grant *grant =
        broker < 0 ? NULL : grants_put(e->grants, (unsigned)broker, &m->body->grant, now);
    struct edge_request *r = find_asking(e, from, m);
    if (!grant)
        return; /* the ask is repeated */
    if (!r && !grant->m.standing)
        grants_return(e->grants, grant, now);
    if (!r)
        return;
    if (!grants_start(e->grants, grant, now))
        grant = r->use ? grants_take(e->grants, r->use, now) : NULL;
    if (grant) {
        use_grant(r, grant);
    } else {
        r->alone = true; /* others have taken what came: one for itself is asked for */
        ask(r);
    }
}

void dispatch_on_decline(struct edge *e, struct bus_peer *from, const struct bus_message *m)
{
    const struct decline *d = &m->body->decline;
    struct edge_request *r = find_asking(e, from, m);
    if (!r)
        return;
    r->broker = NULL;                             /* it has the ask no more */
    if (d->error_class == ERROR_WORKER_REFUSED) { /* it stops: another one is asked */
        ask(r);
        return;
    }
    struct api_error f = {.error_class = d->error_class,
                          .message = d->message,
                          .code = d->code,
                          .param = d->param,
                          .retry_after_ms = d->retry_after_ms};
    if (d->error_class == ERROR_NONE)
        f = r->failure;
    if (f.error_class == ERROR_NONE)
        api_error_set(&f, ERROR_INTERNAL, interrupted, NULL);
    request_fail(r, &f, &r->used);
}

void dispatch_on_revoke(struct edge *e, struct bus_peer *from, const struct bus_message *m)
{
    int broker = index_of(e, from);
    if (broker >= 0)
        grants_revoke(e->grants, (unsigned)broker, m->body->revoke.number, edge_now_ms(e));
}

void dispatch_on_reported(struct edge *e, struct bus_peer *from, const struct bus_message *m)
{
    int broker = index_of(e, from);
    if (broker >= 0)
        grants_reported(e->grants, (unsigned)broker, m->header.seq);
}

/* ---- who comes and goes ---- */

void dispatch_on_broker_up(struct edge *e)
{
    struct edge_request *r, *next;
    HASH_ITER(hh, e->requests, r, next)
    {
        if (r->state == REQUEST_ASKING && !r->broker)
            find_worker(r);
    }
}

void dispatch_on_broker_down(struct edge *e, const struct bus_peer *broker, bool lost)
{
    int index = index_of(e, broker);
    if (lost && index >= 0)
        grants_broker_down(e->grants, (unsigned)index);
    struct edge_request *r, *next;
    HASH_ITER(hh, e->requests, r, next)
    {
        if (r->broker != broker)
            continue;
        r->broker = NULL;
        if (r->state == REQUEST_ASKING)
            ask(r);
    }
}

void dispatch_on_link_up(struct edge *e, struct worker_link *link)
{
    if (!links_greeted(link)) {
        dispatch_on_link_down(e, link, true);
        return;
    }
    struct edge_request *r, *next;
    HASH_ITER(hh, e->requests, r, next)
    {
        if (r->link == link && r->state == REQUEST_LINKING)
            dispatch(r);
    }
}

/* May it be this request that the worker was lost by? Then no other worker gets it: the first may
 * not have been the last. A worker whose loop was held has said by whom. */
static bool is_suspect(struct edge_request *r)
{
    const struct request_id *held = bus_peer_busy_with(r->link->peer);
    bool large = !held && r->route->body && http_body(r->to.x).len >= SUSPECT_BODY_BYTES;
    bool mine = held && request_id_equals(held, &r->id);
    bool again = r->worker_lost;
    r->worker_lost = true;
    if (large || mine || again)
        log_warn("request_suspected", LHEX("request", r->id.bytes, sizeof r->id.bytes),
                 LSPAN("worker", r->worker), LSPAN("key", r->key_id),
                 LSTR("why", mine    ? "a worker was lost while this request held its loop"
                             : again ? "two workers were lost while they had it"
                                     : "a worker was lost while it had this large body"));
    return large || mine || again;
}

static void on_worker_lost(struct edge_request *r)
{
    struct fail lost = {.error_class = ERROR_WORKER_LOST, .sent = true, .endpoint = UINT32_MAX};
    struct api_error f = {.error_class = ERROR_WORKER_LOST, .message = span_str(interrupted)};
    r->used = (struct request_outcome){.settles = true};
    r->settling = r->attempt;
    r->failure = f;
    r->runs++;
    if (r->state != REQUEST_STREAMING) {
        lost.final = r->failure.final = is_suspect(r);
        dispatch_again(r, &lost);
        return;
    }
    history_note(r, &lost);
    attempt_end(r, GRANT_FAILED);
    request_fail(r, &f, &r->used);
}

void dispatch_on_link_down(struct edge *e, struct worker_link *link, bool stopped)
{
    struct edge_request *r, *next;
    grants_worker_down(e->grants, link->epoch, edge_now_ms(e));
    link->up = false;
    HASH_ITER(hh, e->requests, r, next)
    {
        if (r->link != link)
            continue;
        if (r->state == REQUEST_LINKING || (stopped && r->state == REQUEST_DISPATCHED))
            dispatch_busy(r, 0);
        else
            on_worker_lost(r);
    }
    links_close(&e->links, &link);
}

/* ---- reports ---- */

static void on_due(void *ctx)
{
    (void)ctx; /* waking the loop is enough: the turn's end reports */
}

static void send_reports(struct edge *e, unsigned broker, uint64_t now_ms)
{
    struct bus_peer *to = e->d->brokers[broker];
    struct buf *out = &e->scratch;
    buf_clear(out);
    while (bus_peer_up(to) && grants_report(e->grants, broker, e->report_seq + 1, now_ms, out)) {
        struct report message = {.entries = buf_span(out)};
        struct header h = {.seq = ++e->report_seq};
        enum err sent =
            buf_check(out) == OK ? bus_send(to, h, MESSAGE_REPORT, &message) : ERR_NOMEM;
        if (sent != OK)
            log_debug("report_unsent", LSTR("why", err_name(sent))); /* all of it goes again */
        buf_clear(out);
    }
}

static void renew(struct edge *e, uint64_t now_ms)
{
    unsigned broker;
    struct ask message = {0};
    while (grants_renewal(e->grants, now_ms, &broker, &message.model, &message.wanted)) {
        struct bus_peer *to = e->d->brokers[broker];
        send_reports(e, broker, now_ms);
        if (edge_broker_is_usable(to) &&
            bus_send(to, (struct header){0}, MESSAGE_ASK, &message) != OK)
            log_debug("renewal_unsent", LSPAN("model", message.model));
    }
}

void dispatch_report(struct edge *e)
{
    uint64_t now = edge_now_ms(e);
    if (grants_next_due_ms(e->grants) <= now) {
        renew(e, now);
        for (size_t i = 0; i < e->d->broker_count && i < GRANTS_MAX_BROKERS; i++)
            send_reports(e, (unsigned)i, now);
    }
    uint64_t due = grants_next_due_ms(e->grants);
    if (due == UINT64_MAX ||
        (loop_timer_running(&e->grants_timer) && loop_timer_due_us(&e->grants_timer) <= due * 1000))
        return;
    loop_timer_start(e->d->loop, &e->grants_timer, due > now ? due - now : 1, on_due, e);
}
