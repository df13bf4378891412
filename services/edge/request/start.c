#include "services/edge/request/start.h"

#include "proto/labels.h"
#include "services/edge/http/forward.h"
#include "services/edge/request/reading.h"
#include "services/edge/request/relay.h"

/* What a model's `defaults` would put into the body; 0 = nothing. */
static uint64_t default_of(const struct config_model *model, const char *name)
{
    for (size_t i = 0; i < model->default_count; i++) {
        uint64_t n;
        if (strcmp(model->defaults[i].name, name) == 0 &&
            span_to_u64(span_str(model->defaults[i].json), &n))
            return n;
    }
    return 0;
}

static uint64_t default_cap(const struct config_model *model)
{
    static const char *const names[] = {"max_tokens", "max_completion_tokens", "max_output_tokens"};
    uint64_t cap = 0;
    for (size_t i = 0; !cap && i < sizeof names / sizeof names[0]; i++)
        cap = default_of(model, names[i]);
    return cap;
}

/* Answers that the request makes, told to the client or not. */
static uint64_t answers_of(const struct config_model *model, const struct body *b)
{
    uint64_t n = b->choices ? b->choices : default_of(model, "n");
    uint64_t best = b->best_of ? b->best_of : default_of(model, "best_of");
    n = n > best ? n : best;
    return (n ? n : 1) * b->prompts;
}

/* Model, caps and deadline; false when there is no such model. */
static bool apply_model(struct edge_request *r, const struct body *b)
{
    const struct config *config = r->edge->d->config;
    const struct config_model *model = config_find_model(config, r->model);
    if (!model)
        return false;
    uint64_t cap = b->has_cap ? b->output_cap : default_cap(model);
    uint64_t all, answers = answers_of(model, b);
    if (__builtin_mul_overflow(cap, answers, &all) || all > INT64_MAX)
        all = INT64_MAX;
    bool generates = api_info(r->to.api)->generates;
    r->asked_model = r->model;
    r->label = arena_copy(&r->arena, span_str(model->name)); /* a reload may take the entry away */
    r->input_tokens = b->input_tokens;
    r->output_tokens = generates ? all : 0;
    r->answers = !generates || cap ? 0 : answers < UINT32_MAX ? (uint32_t)answers : UINT32_MAX;
    if (model->deadline_ms > 0)
        r->deadline_ms = edge_now_ms(r->edge) + model->deadline_ms;
    if (model->total_timeout_ms > 0)
        r->content_by_ms = edge_now_ms(r->edge) + model->total_timeout_ms;
    return true;
}

enum { PATIENCE_SLACK_MS = 2000 };

/* A client that says how long it waits is not worked for much longer; streams keep it waiting with
 * keep-alives. It gives up by itself, and as it likes: our 504 comes only when it has not. */
static void apply_patience(struct edge_request *r, const struct request_head *h)
{
    uint64_t patience_ms = head_patience_ms(h);
    uint64_t until = edge_now_ms(r->edge) + patience_ms + PATIENCE_SLACK_MS;
    if (patience_ms > 0 && !r->stream && until < r->deadline_ms)
        r->deadline_ms = until;
}

/* Kept only where somebody may get it. */
static void take_credential(struct edge_request *r, const struct request_head *h)
{
    const struct config *config = r->edge->d->config;
    bool any = false;
    for (size_t i = 0; !any && i < config->provider_count; i++)
        any = config_takes_client_auth(&config->providers[i]);
    if (any && !r->credential)
        r->credential = head_credential(h);
}

/* ---- a body ---- */

/* What the ledger says of it: the end user; the tags of its head, then of its body. */
static const char *label(const struct arrival *a, struct edge_request *r, const struct body *body)
{
    struct tag_list tags = {0};
    const char *why = NULL;
    r->end_user = arena_copy(&r->arena, body->end_user);
    if (!a->head.tags_count) {
        r->tags = arena_copy(&r->arena, body->tags);
        return NULL;
    }
    for (size_t i = 0; !why && i < a->head.tags_count; i++)
        why = tag_list_add(&tags, a->head.tags[i], TAGS_MAX);
    if (!why)
        why = tag_list_add(&tags, body->tags, TAGS_MAX);
    r->tags = tag_list_text(&tags, &r->arena);
    return why;
}

/* `key` and a's spans are views of the exchange. */
static void go_on_with_body(const struct arrival *a, struct edge_request *r, struct span key,
                            const struct body *body)
{
    struct api_error fault;
    struct span model = body->model.len ? body->model : span_str(r->edge->d->config->default_model);
    if (!model.len) {
        api_error_set(&fault, ERROR_INVALID_VALUE, "You must provide a model.", "model");
        request_fail(r, &fault, NULL);
        return;
    }
    const char *why = label(a, r, body);
    if (why) {
        api_error_set(&fault, ERROR_INVALID_VALUE, why, "tags");
        request_fail(r, &fault, NULL);
        return;
    }
    r->stream = body->stream;
    r->model = arena_copy(&r->arena, model); /* the body goes before the answer comes */
    r->response_id = arena_copy(&r->arena, body->previous_response_id);
    r->passed_lines = head_passed_lines(&a->head, &r->arena);
    r->passed_lines = forward_lines(r->edge->d->config, r->to.x, r->passed_lines, &r->arena);
    if (!r->model.data) {
        request_fail_class(r, ERROR_INTERNAL, "Out of memory.");
        return;
    }
    take_credential(r, &a->head);
    bool known = apply_model(r, body);
    apply_patience(r, &a->head);
    arrival_ask(r, key, known ? relay_start : relay_unknown_model);
}

static bool asks_for_stream(struct span query)
{
    while (query.len > 0)
        if (span_is(span_cut(&query, '&'), "stream=true"))
            return true;
    return false;
}

void request_start(const struct arrival *a)
{
    struct span key;
    unsigned error_class;
    if (arrival_key(a, &key, &error_class))
        return; /* refused_by_head has answered */
    struct edge_request *r = arrival_begin(a);
    if (!r)
        return;
    if (a->match.route->body) {
        reading_begin(a, r, key, go_on_with_body);
    } else if (!api_response_id_is_sane(r->rest)) {
        request_fail_class(r, ERROR_NOT_FOUND, "There is no response with this id.");
    } else {
        r->response_id = r->rest;
        r->stream = asks_for_stream(r->query);
        take_credential(r, &a->head);
        apply_patience(r, &a->head);
        arrival_ask(r, key, relay_start);
    }
}
