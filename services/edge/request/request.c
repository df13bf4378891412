#include "services/edge/request/request.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"
#include "services/edge/http/fields.h"
#include "services/edge/request/attempt.h"
#include "services/edge/request/history.h"

enum { STATUS_CLIENT_LEFT = 499, RUNS_PER_CALL = 2 };

/* ---- states ---- */

#define BIT(state) (1u << REQUEST_##state)

static const unsigned followers[REQUEST_STATES] = {
    [REQUEST_NEW] = BIT(READING) | BIT(AUTHORIZING) | BIT(ASKING) | BIT(LINKING) | BIT(DISPATCHED) |
                    BIT(QUERYING) | BIT(ENDED),
    [REQUEST_READING] = BIT(AUTHORIZING) | BIT(ASKING) | BIT(LINKING) | BIT(DISPATCHED) |
                        BIT(QUERYING) | BIT(ENDED),
    [REQUEST_AUTHORIZING] =
        BIT(ASKING) | BIT(LINKING) | BIT(DISPATCHED) | BIT(QUERYING) | BIT(ENDED),
    [REQUEST_ASKING] = BIT(ASKING) | BIT(LINKING) | BIT(DISPATCHED) | BIT(ENDED),
    [REQUEST_LINKING] = BIT(ASKING) | BIT(DISPATCHED) | BIT(ENDED),
    [REQUEST_DISPATCHED] = BIT(ASKING) | BIT(STREAMING) | BIT(ENDED),
    [REQUEST_STREAMING] = BIT(ENDED),
    [REQUEST_QUERYING] = BIT(ENDED),
    [REQUEST_ENDED] = 0,
};

/* Does the machine wait for somebody until wait_until_ms? */
static bool waits(const struct edge_request *r)
{
    return (BIT(AUTHORIZING) | BIT(ASKING) | BIT(LINKING) | BIT(QUERYING)) >> r->state & 1;
}

/* When a stream's client must see something, monotonic ms; UINT64_MAX = never. */
static uint64_t write_due_ms(const struct edge_request *r)
{
    const struct config_options *o = edge_options(r->edge);
    bool runs = (BIT(ASKING) | BIT(LINKING) | BIT(DISPATCHED) | BIT(STREAMING)) >> r->state & 1;
    if (!runs)
        return UINT64_MAX;
    if (r->early_headers || r->state == REQUEST_STREAMING)
        return r->is_events && o->edge_keepalive_interval
                   ? r->last_write_ms + o->edge_keepalive_interval
                   : UINT64_MAX;
    return r->stream ? r->last_write_ms + o->edge_hold_timeout : UINT64_MAX;
}

/* When it is over: without content earlier than with it. */
static uint64_t end_ms(const struct edge_request *r)
{
    bool waits_for_content = r->content_by_ms && r->state != REQUEST_STREAMING;
    return waits_for_content && r->content_by_ms < r->deadline_ms ? r->content_by_ms
                                                                  : r->deadline_ms;
}

/* When the timer has something to do next, monotonic ms. */
static uint64_t next_due_ms(const struct edge_request *r)
{
    uint64_t due = end_ms(r);
    uint64_t write = write_due_ms(r);
    if (waits(r) && r->wait_until_ms < due)
        due = r->wait_until_ms;
    return write < due ? write : due;
}

static void on_timer(void *ctx);

/* Restarts a running timer only for an earlier time; a later one is set when it fires. So most
 * requests start and stop it once. */
static void arm(struct edge_request *r)
{
    uint64_t now = edge_now_ms(r->edge);
    uint64_t due = next_due_ms(r);
    uint64_t wait = due > now ? due - now : 0;
    if (!loop_timer_running(&r->timer) || due * 1000 < loop_timer_due_us(&r->timer))
        loop_timer_start(r->edge->d->loop, &r->timer, wait, on_timer, r);
}

void request_set_state(struct edge_request *r, enum request_state state)
{
    bool follows = followers[r->state] & (1u << state);
    assert(follows);
    (void)follows;
    r->state = state;
    if (state == REQUEST_ENDED)
        loop_timer_stop(r->edge->d->loop, &r->timer);
    else
        arm(r);
}

bool request_may_settle(const struct edge_request *r)
{
    return r->state == REQUEST_DISPATCHED || r->state == REQUEST_STREAMING || r->used.settles;
}

static void on_deadline(struct edge_request *r)
{
    if (r->state == REQUEST_QUERYING) {
        r->on_overdue(r);
        return;
    }
    struct request_outcome o = {.settles = request_may_settle(r)};
    r->runs += r->state == REQUEST_DISPATCHED;
    struct api_error f = {.error_class = ERROR_DEADLINE,
                          .message = SPAN("The request took longer than its deadline.")};
    request_fail(r, &f, &o);
}

/* Whom it waits for has not come. */
static void on_waited(struct edge_request *r)
{
    if (r->state == REQUEST_AUTHORIZING)
        request_fail_class(r, ERROR_UNAVAILABLE,
                           "API keys cannot be checked at the moment. Try again shortly.");
    else if (r->state == REQUEST_QUERYING)
        r->on_overdue(r);
    else
        r->on_waited(r);
}

static void on_timer(void *ctx)
{
    struct edge_request *r = ctx;
    uint64_t now = edge_now_ms(r->edge);
    if (now >= end_ms(r)) {
        on_deadline(r);
        return;
    }
    if (now >= write_due_ms(r))
        r->on_overdue(r);
    if (waits(r) && now >= r->wait_until_ms)
        on_waited(r);
    else
        arm(r);
}

/* ---- life ---- */

/* Whoever reads its body gives the answer to nobody. */
static void leave_reader(struct edge_request *r)
{
    if (r->reader)
        *r->reader = NULL;
    r->reader = NULL;
}

static struct edge_request *take_spare(struct edge *e)
{
    struct edge_request *r = e->spare;
    if (!r)
        return calloc(1, sizeof *r);
    e->spare = r->next_spare;
    e->spare_count--;
    struct arena arena = r->arena;
    *r = (struct edge_request){.arena = arena};
    return r;
}

static void give_back(struct edge *e, struct edge_request *r)
{
    secret_destroy(&r->credential);
    if (e->spare_count >= EDGE_MAX_SPARE) {
        arena_free(&r->arena);
        free(r);
        return;
    }
    arena_reset(&r->arena);
    r->next_spare = e->spare;
    e->spare = r;
    e->spare_count++;
}

struct edge_request *request_begin(struct edge *e, struct http_exchange *x,
                                   const struct http_route *route, enum api api,
                                   const struct request_head *h)
{
    struct edge_request *r = take_spare(e);
    if (!r)
        return NULL;
    r->edge = e;
    r->id = edge_new_id(e);
    r->route = route;
    r->path = http_path(x);
    r->query = http_query(x);
    r->anthropic_version = h->has_anthropic_version;
    r->repeats = head_repeats(h);
    r->started_us = http_started_us(x);
    r->started_wall_ms = clock_wall_ms(loop_clock(e->d->loop));
    r->deadline_ms = edge_now_ms(e) + edge_options(e)->edge_deadline;
    answer_init(&r->to, e, x, api, h, &r->id);
    HASH_ADD(hh, e->requests, id.bytes, sizeof r->id.bytes, r);
    if (!r->hh.tbl) {
        give_back(e, r);
        return NULL;
    }
    e->request_count++;
    http_set_user(x, r);
    return r;
}

struct edge_request *request_find(struct edge *e, const struct request_id *id)
{
    struct edge_request *r = NULL;
    HASH_FIND(hh, e->requests, id->bytes, sizeof id->bytes, r);
    return r;
}

/* Who answers, as far as is known. */
static void add_names(const struct edge_request *r)
{
    struct span model = r->answered.len ? r->answered : r->model;
    if (model.len)
        http_add_header(r->to.x, "x-tollgate-model", model);
    if (r->provider.len)
        http_add_header(r->to.x, "x-tollgate-provider", r->provider);
}

void request_add_fields(const struct edge_request *r)
{
    answer_fields(&r->to);
    answer_limits(&r->to, &r->limits);
    add_names(r);
}

/* ---- the end ---- */

/* Delivered; where nothing was, what may have been generated. Only for a request whose worker never
 * reports: that one knows better. */
static uint64_t output_estimate(const struct edge_request *r, const struct request_outcome *o,
                                uint64_t duration_ms)
{
    uint64_t tokens = o->output_tokens ? o->output_tokens : flow_tokens(&r->flow);
    if (tokens || !o->settles || o->error_class == ERROR_NONE || !api_info(r->to.api)->generates)
        return tokens;
    tokens = duration_ms * API_TOKENS_PER_S / 1000;
    return r->output_tokens && r->output_tokens < tokens ? r->output_tokens : tokens;
}

static void send_release(const struct edge_request *r, const struct request_outcome *o,
                         uint8_t attempt)
{
    struct edge *e = r->edge;
    bool reserved = (r->asked && !r->authorized) || r->authorized;
    if (!reserved || !r->asked_model.len)
        return;
    uint64_t now_us = loop_now_us(e->d->loop);
    uint64_t duration_ms = (now_us - r->started_us) / 1000;
    struct buf history = {0};
    history_write(r, o, &history);
    struct release release = {
        .key_id = r->key_id,
        .model = r->model,
        .provider = r->provider,
        .api = r->to.api,
        .stream = r->stream,
        .uncounted = r->uncounted ? RELEASE_TOLD_BY_LEASE : 0,
        .settles = o->settles,
        .status = o->status,
        .input_tokens = r->input_tokens,
        .output_tokens = output_estimate(r, o, duration_ms),
        .reserved_tokens = r->reserved_tokens,
        .started_ms = r->started_wall_ms,
        .duration_ms = (uint32_t)duration_ms,
        .key_name = r->key_name,
        .workers = r->workers,
        .answered = r->answered,
        .history = buf_span(&history),
        .end_user = r->end_user,
        .tags = r->tags,
    };
    releases_add(e->releases, &r->id, attempt, &release, r->holds_slot || !r->authorized,
                 now_us / 1000);
    buf_free(&history);
}

/* A client's text must not make series, unless it names a model that there is. */
struct span request_model_label(const struct edge_request *r, bool answered)
{
    if (r->answered.len)
        return r->answered;
    bool wild = answered && !span_equals(r->label, r->model);
    return wild && model_names_take(&r->edge->model_names, r->model) ? r->model : r->label;
}

static void add_tokens(const struct edge_request *r, struct span model, struct span direction,
                       uint64_t n)
{
    if (n > 0)
        metric_add(r->edge->d->metrics, METRIC_TOKENS,
                   METRIC_LABELS(model, r->provider, direction, r->key_name), (int64_t)n);
}

static void count(const struct edge_request *r, const struct request_outcome *o)
{
    struct metric_client *m = r->edge->d->metrics;
    if (r->route->kind != ROUTE_API)
        return;
    char text[12];
    int n = snprintf(text, sizeof text, "%u", o->status);
    struct span status = span_of(text, (size_t)n);
    struct span model = request_model_label(r, o->error_class == ERROR_NONE && o->status < 300);
    metric_add(m, METRIC_REQUESTS, METRIC_LABELS(model, r->provider, status, r->key_name), 1);
    metric_observe_us(m, METRIC_DURATION, METRIC_LABELS(model, r->provider),
                      loop_now_us(r->edge->d->loop) - r->started_us);
    if (o->error_class != ERROR_NONE)
        metric_add(m, METRIC_ERRORS,
                   METRIC_LABELS(model, r->provider, span_str(error_info(o->error_class)->name)),
                   1);
    add_tokens(r, model, SPAN("input"), o->input_tokens);
    add_tokens(r, model, SPAN("cached"), o->cached_tokens);
    add_tokens(r, model, SPAN("output"), o->output_tokens);
    if (o->cost_nano > 0)
        metric_add(m, METRIC_COST, METRIC_LABELS(model, r->provider, r->key_name),
                   (int64_t)o->cost_nano);
}

static void log_request(const struct edge_request *r, const struct request_outcome *o)
{
    if (!edge_options(r->edge)->edge_access_log)
        return;
    log_info_soon("request", LSPAN("id", span_of(r->to.id, REQUEST_ID_TEXT - 1)),
                  LSPAN("client_id", r->to.client_id), LSPAN("path", r->path),
                  LU64("status", o->status), LSPAN("model", r->model),
                  LSPAN("provider", r->provider),
                  LSPAN("provider_request_id", r->provider_request_id), LSPAN("key", r->key_name),
                  LSTR("error", error_info(o->error_class)->name), LU64("first_ms", r->first_ms),
                  LU64("duration_ms", (loop_now_us(r->edge->d->loop) - r->started_us) / 1000),
                  LU64("input_tokens", o->input_tokens), LU64("output_tokens", o->output_tokens),
                  LU64("cost_nano", o->cost_nano));
}

/* It ends while an attempt runs: what of that one is known. */
static void note_last_attempt(struct edge_request *r, unsigned error_class)
{
    const struct fail unfinished = {
        .error_class = error_class, .sent = true, .endpoint = UINT32_MAX};
    r->waited_in_vain = r->state == REQUEST_ASKING || r->state == REQUEST_LINKING;
    if (r->state == REQUEST_DISPATCHED || r->state == REQUEST_STREAMING)
        history_note(r, &unfinished);
}

void request_end(struct edge_request *r, const struct request_outcome *o)
{
    struct edge *e = r->edge;
    bool runs = r->state == REQUEST_DISPATCHED || r->state == REQUEST_STREAMING;
    uint8_t attempt = runs && o->settles ? r->attempt : r->settling;
    leave_reader(r);
    if (o->error_class != ERROR_NONE)
        note_last_attempt(r, o->error_class);
    attempt_stop(r);
    grants_leave(e->grants, &r->use);
    request_set_state(r, REQUEST_ENDED);
    slot_book_leave(e->slots, &r->slots, edge_now_ms(e));
    send_release(r, o, attempt);
    count(r, o);
    log_request(r, o);
    HASH_DEL(e->requests, r);
    e->request_count--;
    give_back(e, r);
}

/* Ends a stream that cannot go on with an error event; never with [DONE] or message_stop, which
 * would call the answer whole. */
static void break_stream(const struct edge_request *r, const struct api_error *f)
{
    struct http_exchange *x = r->to.x;
    if (!r->is_events) {
        http_abort(x);
        return;
    }
    struct buf *out = &r->edge->scratch;
    buf_clear(out);
    if (!flow_between_events(&r->flow))
        buf_append_str(out, "\n\n");
    answer_error_event(&r->to, f, r->flow.events, out);
    if (http_stream_write(x, buf_span(out)) == OK)
        http_stream_end(x);
}

/* How many attempts were made, if any. */
static void add_attempts(const struct edge_request *r)
{
    struct field_text text;
    unsigned runs = r->state == REQUEST_DISPATCHED;
    unsigned made = r->attempt && !runs ? r->attempt - 1u : r->attempt;
    if (made > 0)
        http_add_header(r->to.x, "x-tollgate-attempts", field_u64(&text, made));
}

bool request_ran_enough(const struct edge_request *r)
{
    return r->runs && r->runs + r->repeats >= RUNS_PER_CALL;
}

void request_fail(struct edge_request *r, const struct api_error *f,
                  const struct request_outcome *o)
{
    struct api_error said = *f;
    said.final = f->final || request_ran_enough(r);
    struct request_outcome end = o ? *o : (struct request_outcome){0};
    end.error_class = f->error_class;
    end.status = error_status(f->error_class, r->to.api);
    history_reason(r, f->message);
    http_set_user(r->to.x, NULL);
    http_body_release(r->to.x);
    if (r->early_headers || r->state == REQUEST_STREAMING) {
        break_stream(r, f);
    } else {
        answer_limits(&r->to, &r->limits);
        add_names(r);
        add_attempts(r);
        answer_error(&r->to, &said);
    }
    request_end(r, &end);
}

void request_fail_class(struct edge_request *r, unsigned error_class, const char *message)
{
    struct api_error f = {.error_class = error_class, .message = span_str(message)};
    request_fail(r, &f, NULL);
}

void request_fail_model(struct edge_request *r)
{
    struct api_error f = {
        .error_class = ERROR_MODEL_NOT_FOUND,
        .message = arena_printf(&r->arena,
                                "The model `%.*s` does not exist or you do not have access to it.",
                                SPAN_ARG(r->model)),
        .param = SPAN("model"),
    };
    request_fail(r, &f, NULL);
}

void request_gone(struct edge_request *r)
{
    struct request_outcome o = {
        .status = STATUS_CLIENT_LEFT,
        .error_class = ERROR_CLIENT_GONE,
        .settles = request_may_settle(r),
    };
    http_set_user(r->to.x, NULL);
    request_end(r, &o);
}

void requests_free(struct edge *e)
{
    struct edge_request *r, *next;
    HASH_ITER(hh, e->requests, r, next)
    {
        loop_timer_stop(e->d->loop, &r->timer);
        leave_reader(r);
        attempt_end(r, GRANT_CANCELED);
        grants_leave(e->grants, &r->use);
        slot_book_leave(e->slots, &r->slots, edge_now_ms(e));
        http_set_user(r->to.x, NULL);
        HASH_DEL(e->requests, r);
        secret_destroy(&r->credential);
        arena_free(&r->arena);
        free(r);
    }
    e->request_count = 0;
    while (e->spare) {
        r = e->spare;
        e->spare = r->next_spare;
        arena_free(&r->arena);
        free(r);
    }
    e->spare_count = 0;
}
