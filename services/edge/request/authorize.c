#include "services/edge/request/authorize.h"

#include "common/base/log.h"
#include "services/edge/request/closing.h"

/* A known key that has used up its share of the rate while auth is away waits so long for more. */
enum { AWAY_PATIENCE_MS = 500 };

static bool copy_names(struct edge_request *r, struct span key_id, struct span key_name,
                       struct span models, struct span barred)
{
    r->barred = arena_copy(&r->arena, barred);
    r->key_id = arena_copy(&r->arena, key_id);
    r->key_name = arena_copy(&r->arena, key_name);
    r->models = arena_copy(&r->arena, models);
    return (r->key_id.data || !key_id.len) && (r->key_name.data || !key_name.len) &&
           (r->models.data || !models.len) && (r->barred.data || !barred.len);
}

static void go_on(struct edge_request *r, const struct lease_view *v)
{
    r->authorized = true;
    r->limits = v->limits;
    r->reserved_tokens = v->reserved_tokens;
    if (copy_names(r, v->key_id, v->key_name, v->models, v->barred))
        r->on_authorized(r);
    else
        request_fail_class(
            r, ERROR_INTERNAL,
            "The server had an error while processing your request. Try again shortly.");
}

/* A slot of its key, if the edge has a free one. */
static void try_slot(struct edge_request *r, bool expired)
{
    if (!r->slots && r->asked_model.len)
        r->slots = slot_book_take(r->edge->slots, r->key, expired, edge_now_ms(r->edge));
}

/* As leases_take: OK, and it has gone on. */
static enum err try_lease(struct edge_request *r)
{
    struct edge *e = r->edge;
    struct lease_view v;
    try_slot(r, false);
    struct lease_request ask = {r->asked_model, r->input_tokens + r->output_tokens, r->answers,
                                r->slots != NULL};
    struct lease_moment at = {edge_now_ms(e), bus_peer_up(e->d->auth) ? 0 : e->auth_down_ms};
    enum err error = leases_take(e->leases, r->key, &ask, at, &v);
    r->lacks_slot = error == ERR_DENIED;
    if (error)
        return error;
    r->uncounted = v.uncounted;
    go_on(r, &v);
    return OK;
}

/* false when auth can't be reached now. */
static bool send_authorize(struct edge_request *r)
{
    struct edge *e = r->edge;
    if (!bus_peer_up(e->d->auth))
        return false;
    try_slot(r, true);
    struct slot_counts slots = slot_book_counts(e->slots, r->key);
    struct authorize ask = {
        .key_digest = span_of(r->key, sizeof r->key),
        .model = r->asked_model,
        .input_tokens = r->input_tokens,
        .output_tokens = r->output_tokens,
        .answers = r->answers,
        .api = r->to.api,
        .response_id = r->response_id,
        .has_slot = r->slots != NULL,
        .slots_given = slots.given,
        .slots_returned = slots.returned,
    };
    leases_report(e->leases, r->key, r->asked_model, r->lacks_slot, &ask);
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
    enum err error = ask_first ? ERR_AGAIN : try_lease(r);
    if (!error)
        return;
    uint64_t now = edge_now_ms(e);
    r->wait_until_ms = now + EDGE_PATIENCE_MS;
    if (!send_authorize(r) && e->auth_down_ms) {
        r->wait_until_ms = e->auth_down_ms + EDGE_PATIENCE_MS;
        if (error == ERR_AGAIN && r->wait_until_ms < now + AWAY_PATIENCE_MS)
            r->wait_until_ms = now + AWAY_PATIENCE_MS;
    }
    request_set_state(r, REQUEST_AUTHORIZING);
}

static void forget_key(struct edge *e, const uint8_t key[SHA256_BYTES])
{
    leases_forget(e->leases, key);
    known_keys_forget(e->known_keys, key);
}

static struct edge_request *find_authorizing(struct edge *e, const struct bus_message *m)
{
    struct edge_request *r = request_find(e, &m->header.id);
    return r && r->state == REQUEST_AUTHORIZING ? r : NULL;
}

static const uint8_t *digest_of(struct span key)
{
    return key.len == SHA256_BYTES ? (const uint8_t *)key.data : NULL;
}

/* The slot that comes with an ALLOW. `r` is NULL when its request has ended. */
static bool take_given(struct edge *e, const struct allow *a, struct edge_request *r)
{
    const uint8_t *key = digest_of(a->slots_key);
    if (!key)
        return true;
    bool known = slot_book_given(e->slots, key, a->slots_given, a->slots_ms, edge_now_ms(e));
    if (!r)
        return false;
    try_slot(r, true);
    if (r->slots)
        return true;
    if (!known)
        request_fail_class(r, ERROR_OVERLOADED, "Too many API keys are in use at the moment.");
    else /* it was called back before this came: auth is asked once more */
        (void)send_authorize(r);
    return false;
}

void authorize_on_allow(struct edge *e, const struct bus_message *m)
{
    const struct allow *a = &m->body->allow;
    struct edge_request *r = find_authorizing(e, m);
    if (!take_given(e, a, r) || !r)
        return; /* one that has ended has its RELEASE under way */
    leases_put(e->leases, r->key, r->asked_model, a, edge_now_ms(e));
    known_keys_put(e->known_keys, r->key, true, a->known_ms, edge_now_ms(e));
    r->holds_slot = a->holds_slot;
    struct lease_view v = {
        .key_id = a->key_id,
        .key_name = a->key_name,
        .models = a->models,
        .barred = a->barred,
        .limits = {a->limit_requests, a->remaining_requests, a->reset_requests_ms, a->limit_tokens,
                   a->remaining_tokens, a->reset_tokens_ms},
        .reserved_tokens = r->input_tokens + r->output_tokens + a->output_tokens * r->answers};
    go_on(r, &v);
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
    if (!copy_names(r, d->key_id, d->key_name, SPAN_NONE, SPAN_NONE))
        r->key_name = SPAN_NONE;
    if (d->error_class == ERROR_BAD_KEY)
        forget_key(e, r->key);
    else
        leases_close(e->leases, r->key, r->asked_model);
    struct api_error f = api_error_of_deny(d);
    if (!f.message.len)
        f.message = SPAN("The request is not allowed.");
    request_fail(r, &f, NULL);
}

void authorize_on_revoked(struct edge *e, const struct bus_message *m)
{
    const uint8_t *key = digest_of(m->body->revoked.key_digest);
    if (key) {
        forget_key(e, key);
        slot_book_end(e->slots, key);
    } else {
        leases_forget_all(e->leases);
        known_keys_forget_all(e->known_keys);
        slot_book_end_all(e->slots);
    }
    struct span key_id = m->body->revoked.key_id;
    size_t ended = key_id.len ? closing_end_key(e, key_id) : 0;
    log_info("key_revoked", LU64("all", !key), LSPAN("key_id", key_id),
             LU64("requests_ended", ended));
}

void authorize_on_slots_back(struct edge *e, const struct bus_message *m)
{
    const struct slots_back *back = &m->body->slots_back;
    const uint8_t *key = digest_of(back->key_digest);
    if (key)
        slot_book_back(e->slots, key, back->given, back->until, edge_now_ms(e));
}

void authorize_on_lease_counted(struct edge *e, const struct bus_message *m)
{
    const uint8_t *key = digest_of(m->body->lease_counted.key_digest);
    if (key)
        leases_counted(e->leases, key, &m->body->lease_counted);
}

void authorize_on_lease_end(struct edge *e, const struct bus_message *m)
{
    const uint8_t *key = digest_of(m->body->lease_end.key_digest);
    if (key)
        leases_end(e->leases, key);
}

void authorize_on_auth_up(struct edge *e)
{
    struct edge_request *r, *next;
    slot_book_tell_all(e->slots);
    leases_tell_all(e->leases); /* before what else it is asked or told about these keys */
    HASH_ITER(hh, e->requests, r, next)
    {
        if (r->state == REQUEST_AUTHORIZING && send_authorize(r))
            r->wait_until_ms = edge_now_ms(e) + EDGE_PATIENCE_MS;
    }
}

void authorize_without_auth(struct edge *e)
{
    struct edge_request *r, *next;
    HASH_ITER(hh, e->requests, r, next)
    {
        if (r->state == REQUEST_AUTHORIZING)
            (void)try_lease(r);
    }
}

void authorize_charge_fallback(const struct edge_request *r)
{
    const struct edge *e = r->edge;
    struct authorize note = {
        .key_digest = span_of(r->key, sizeof r->key),
        .model = r->answered,
        .api = r->to.api,
        .answers_for = r->asked_model,
    };
    if (bus_peer_up(e->d->auth) &&
        bus_send(e->d->auth, request_header(r), MESSAGE_AUTHORIZE, &note) != OK)
        log_debug("fallback_not_charged", LSTR("id", r->to.id));
}
