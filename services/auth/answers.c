#include "services/auth/answers.h"

#include "common/base/log.h"
#include "services/auth/client.h"

enum { SLOT_START_MARGIN_MS = 500 }; /* beyond the time in which a lost peer is noticed */
#define MS_NS ((uint64_t)1000000)

static void ask_for_slots(void *ctx, const void *edge, const struct slots_back *m)
{
    const struct auth_client *c = edge;
    (void)ctx;
    if (c->peer && bus_send(c->peer, (struct header){0}, MESSAGE_SLOTS_BACK, m))
        log_debug("slots_not_asked_for", LSTR("edge", bus_peer_name(c->peer)));
}

static void tell_counted(struct bus_peer *edge, struct span digest, uint64_t lease,
                         const struct lease_count *charged)
{
    struct lease_counted m = {.key_digest = digest,
                              .lease = lease,
                              .charged = charged->requests,
                              .charged_tokens = charged->tokens};
    if (bus_send(edge, (struct header){0}, MESSAGE_LEASE_COUNTED, &m))
        log_debug("lease_not_counted", LSTR("edge", bus_peer_name(edge)));
}

/* An ALLOW says itself how its lease stands. */
static void answer_edge(void *ctx, const void *edge, const struct header *h,
                        const struct authorize *ask, const struct verdict *v)
{
    const struct auth *a = ctx;
    const struct auth_client *c = edge;
    struct header answer = {.id = h->id, .seq = h->seq};
    metric_add(a->d->metrics, METRIC_AUTHORIZATIONS,
               METRIC_LABELS(v->allowed ? SPAN("allowed") : SPAN("denied")), 1);
    if (v->lease_charged && !(v->allowed && v->allow.lease == ask->lease))
        tell_counted(c->peer, ask->key_digest, ask->lease, v->lease_charged);
    enum err e = v->allowed ? bus_send(c->peer, answer, MESSAGE_ALLOW, &v->allow)
                            : bus_send(c->peer, answer, MESSAGE_DENY, &v->deny);
    if (e)
        log_debug("answer_not_sent",
                  LSTR("error", err_name(e))); /* the edge asks again, or gives up */
}

static void on_wait_over(void *ctx);

static void watch_waiting(struct auth *a)
{
    uint64_t due_ns = waiting_due_ns(&a->waiting), now_ns = auth_now(a).now_ns;
    if (due_ns == UINT64_MAX || loop_timer_running(&a->wait))
        return;
    loop_timer_start(a->d->loop, &a->wait, due_ns > now_ns ? (due_ns - now_ns) / MS_NS + 1 : 0,
                     on_wait_over, a);
}

static void on_wait_over(void *ctx)
{
    struct auth *a = ctx;
    waiting_tick(&a->waiting, auth_now(a));
    watch_waiting(a);
}

void answers_init(struct auth *a)
{
    slot_leases_init(&a->slots, ask_for_slots, a);
    a->waiting = (struct waiting){.admission = &a->admission, .answer = answer_edge, .ctx = a};
}

void answers_free(struct auth *a)
{
    if (a->d)
        loop_timer_stop(a->d->loop, &a->wait);
    waiting_free(&a->waiting);
    slot_leases_free(&a->slots);
}

/* An edge that an earlier life of auth leased slots to says so as soon as its link is back; by the
 * time that it is given for this, the requests of one that died are over, and one that is cut off
 * uses no free slots any more. */
void answers_await_edges(struct auth *a)
{
    const struct config_options *o = &a->d->config->options;
    uint64_t wait_ms = o->bus_peer_timeout + SLOT_START_MARGIN_MS;
    if (wait_ms < o->auth_lease)
        wait_ms = o->auth_lease;
    for (const struct key *key = keys_first(a->keys); key; key = key->next) {
        if (key->is.concurrent && !key->is.revoked_ms)
            a->admission.slots_from_ns = auth_now(a).now_ns + wait_ms * MS_NS;
    }
}

void answers_on_authorize(struct auth *a, struct bus_peer *from, const struct bus_message *m)
{
    struct asker who = {.edge = client_of(from), .edges = a->edges, .epoch = m->header.epoch};
    if (!who.edge)
        return; /* there was no memory for it; the edge gives up */
    waiting_on_authorize(&a->waiting, &who, &m->header, &m->body->authorize, auth_now(a));
    watch_waiting(a);
}

void answers_on_lease_used(struct auth *a, struct bus_peer *from, const struct bus_message *m)
{
    const struct lease_used *told = &m->body->lease_used;
    const struct auth_client *c = client_of(from);
    struct key *key = keys_find_digest(a->keys, told->key_digest);
    const struct lease_report report = {.lease = told->lease,
                                        .used = {told->used, told->used_tokens},
                                        .charged = {told->charged, told->charged_tokens},
                                        .ended = told->ended};
    if (!c || !c->is_edge || !key)
        return;
    const struct lease_count *charged =
        admission_hear_lease(&a->admission, c, key, told->model, &report, auth_now(a).now_ns);
    if (charged) /* else it says so again over the next link */
        tell_counted(from, told->key_digest, told->lease, charged);
}

static void end_lease(void *ctx, const void *edge, const struct key *key)
{
    const struct auth_client *c = edge;
    struct lease_end m = {.key_digest = span_of(key->secrets[0].digest, SHA256_BYTES)};
    (void)ctx;
    if (c->peer && bus_send(c->peer, (struct header){0}, MESSAGE_LEASE_END, &m))
        log_debug("lease_not_ended", LSTR("edge", bus_peer_name(c->peer)));
}

void answers_on_charged(struct auth *a, const struct key *key)
{
    if (key->leases)
        lease_call_back(key, auth_now(a).now_ns, end_lease, a);
}

void answers_on_slots_held(struct auth *a, struct bus_peer *from, const struct bus_message *m)
{
    const struct slots_held *held = &m->body->slots_held;
    const struct auth_client *c = client_of(from);
    struct slot_party who = {c, m->header.epoch, keys_find_digest(a->keys, held->key_digest),
                             held->key_digest};
    if (!c || !c->is_edge || !who.key || !(who.key->is.concurrent || who.key->slot_leases))
        return;
    slot_lease_told(&a->slots, &who, held->given, held->returned, auth_now(a).now_ns);
    waiting_serve(&a->waiting, who.key, auth_now(a));
}

void answers_on_edge_up(struct auth *a, struct bus_peer *edge)
{
    slot_leases_edge_back(&a->slots, client_of(edge), bus_peer_epoch(edge));
}

void answers_on_edge_down(struct auth *a, struct bus_peer *edge)
{
    slot_leases_edge_gone(&a->slots, bus_peer_epoch(edge), auth_now(a).now_ns);
    waiting_drop_edge(&a->waiting, client_of(edge));
}

void answers_on_ended(struct auth *a, const struct request_id *id, struct span key_id)
{
    if (!a->waiting.first)
        return;
    struct key *key = keys_find_id(a->keys, key_id);
    if (key)
        waiting_serve(&a->waiting, key, auth_now(a));
    else
        waiting_drop_request(&a->waiting, id);
}

void answers_tick(struct auth *a)
{
    slot_leases_sweep(&a->slots, auth_now(a).now_ns);
    on_wait_over(a); /* a slot that was swept may be free */
}
