#include "services/edge/request/authorize.h"

#include "common/base/log.h"

static bool copy_names(struct edge_request *r, struct span key_id, struct span key_name,
                       struct span models)
{
    r->key_id = arena_copy(&r->arena, key_id);
    r->key_name = arena_copy(&r->arena, key_name);
    r->models = arena_copy(&r->arena, models);
    return (r->key_id.data || !key_id.len) && (r->key_name.data || !key_name.len) &&
           (r->models.data || !models.len);
}

static void go_on(struct edge_request *r, struct span key_id, struct span key_name,
                  struct span models, const struct limit_headers *limits)
{
    r->authorized = true;
    r->limits = *limits;
    if (copy_names(r, key_id, key_name, models))
        r->on_authorized(r);
    else
        request_fail_class(
            r, ERROR_INTERNAL,
            "The server had an error while processing your request. Try again shortly.");
}

static bool try_lease(struct edge_request *r)
{
    struct edge *e = r->edge;
    struct lease_view v;
    uint64_t tokens = r->input_tokens + r->output_tokens;
    if (leases_take(e->leases, r->key, r->asked_model, tokens, bus_peer_up(e->d->auth),
                    edge_now_ms(e), &v) != OK)
        return false;
    r->leased = true;
    go_on(r, v.key_id, v.key_name, v.models, &v.limits);
    return true;
}

/* false when auth can't be reached now. */
static bool send_authorize(struct edge_request *r)
{
    struct edge *e = r->edge;
    if (!bus_peer_up(e->d->auth))
        return false;
    struct lease_use use;
    bool ended = leases_end(e->leases, r->key, r->asked_model, &use);
    struct authorize ask = {
        .key_digest = span_of(r->key, sizeof r->key),
        .model = r->asked_model,
        .input_tokens = r->input_tokens,
        .output_tokens = r->output_tokens,
        .api = r->to.api,
        .response_id = r->response_id,
        .lease_ended = ended,
        .lease_used = use.requests,
        .lease_used_tokens = use.tokens,
    };
    if (bus_send(e->d->auth, request_header(r), MESSAGE_AUTHORIZE, &ask) != OK)
        return false;
    r->asked = true;
    return true;
}

void authorize_ask(struct edge_request *r)
{
    struct edge *e = r->edge;
    /* Only auth knows who owns a stored response: a lease cannot answer that. */
    bool ask_first = r->response_id.len && bus_peer_up(e->d->auth);
    if (!ask_first && try_lease(r))
        return;
    uint64_t now = edge_now_ms(e);
    uint64_t since = now;
    if (!send_authorize(r) && e->auth_down_ms)
        since = e->auth_down_ms;
    r->wait_until_ms = since + EDGE_PATIENCE_MS;
    request_set_state(r, REQUEST_AUTHORIZING);
}

static struct edge_request *find_authorizing(struct edge *e, const struct bus_message *m)
{
    struct edge_request *r = request_find(e, &m->header.id);
    return r && r->state == REQUEST_AUTHORIZING ? r : NULL;
}

void authorize_on_allow(struct edge *e, const struct bus_message *m)
{
    const struct allow *a = &m->body->allow;
    struct edge_request *r = find_authorizing(e, m);
    if (!r)
        return; /* it has ended, and its RELEASE is under way */
    struct lease_grant grant = {
        .key_id = a->key_id,
        .key_name = a->key_name,
        .models = a->models,
        .requests = a->lease_requests,
        .tokens = a->lease_tokens,
        .lease_ms = a->lease_ms,
        .known_ms = a->known_ms,
        .limits = {a->limit_requests, a->remaining_requests, a->reset_requests_ms, a->limit_tokens,
                   a->remaining_tokens, a->reset_tokens_ms},
    };
    leases_put(e->leases, r->key, r->asked_model, &grant, edge_now_ms(e));
    r->holds_slot = a->holds_slot;
    go_on(r, a->key_id, a->key_name, a->models, &grant.limits);
}

void authorize_on_deny(struct edge *e, const struct bus_message *m)
{
    const struct deny *d = &m->body->deny;
    struct edge_request *r = find_authorizing(e, m);
    if (!r)
        return;
    r->asked = false; /* nothing is reserved */
    r->limits =
        (struct limit_headers){d->limit_requests, d->remaining_requests, d->reset_requests_ms,
                               d->limit_tokens,   d->remaining_tokens,   d->reset_tokens_ms};
    if (!copy_names(r, d->key_id, d->key_name, SPAN_NONE))
        r->key_name = SPAN_NONE;
    if (d->error_class == ERROR_BAD_KEY)
        leases_forget(e->leases, r->key);
    else
        leases_close(e->leases, r->key, r->asked_model);
    struct api_error f = api_error_of_deny(d);
    if (!f.message.len)
        f.message = SPAN("The request is not allowed.");
    request_fail(r, &f, NULL);
}

void authorize_on_revoked(struct edge *e, const struct bus_message *m)
{
    struct span key = m->body->revoked.key_digest;
    if (key.len == SHA256_BYTES)
        leases_forget(e->leases, (const uint8_t *)key.data);
    else
        leases_forget_all(e->leases);
    log_info("key_revoked", LU64("all", key.len != SHA256_BYTES));
}

void authorize_on_auth_up(struct edge *e)
{
    struct edge_request *r, *next;
    HASH_ITER(hh, e->requests, r, next)
    {
        if (r->state == REQUEST_AUTHORIZING && send_authorize(r))
            r->wait_until_ms = edge_now_ms(e) + EDGE_PATIENCE_MS;
    }
}

void authorize_on_auth_down(struct edge *e)
{
    struct edge_request *r, *next;
    HASH_ITER(hh, e->requests, r, next)
    {
        if (r->state == REQUEST_AUTHORIZING)
            (void)try_lease(r);
    }
}
