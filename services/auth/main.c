/* tollgate-auth: who may ask, how much, and what it came to. Owns keys, limits and the ledger. */
#include "common/base/log.h"
#include "proto/api.h"
#include "services/auth/answers.h"
#include "services/auth/auth.h"
#include "services/auth/changes.h"
#include "services/auth/client.h"

static enum err start(void *self, struct daemon *d)
{
    return auth_start(self, d);
}

static void stop(void *self)
{
    struct auth *a = self;
    auth_stop(a);
    for (struct bus_peer *p = bus_next_peer(a->d->bus, NULL); p; p = bus_next_peer(a->d->bus, p))
        client_leave(p); /* nobody tells us that they go */
}

static void reload(void *self)
{
    auth_reload(self);
}

static void on_peer_up(void *self, struct bus_peer *peer)
{
    struct auth *a = self;
    struct auth_client *c = client_create(peer);
    if (!c || !c->is_edge)
        return;
    a->edges++;
    reservations_owner_back(&a->reservations, bus_peer_epoch(peer));
    answers_on_edge_up(a, peer);
    changes_tell_edge(a, peer);
}

static void on_peer_down(void *self, struct bus_peer *peer)
{
    struct auth *a = self;
    const struct auth_client *c = client_of(peer);
    if (c && c->is_edge) {
        a->edges--;
        reservations_owner_gone(&a->reservations, bus_peer_epoch(peer), auth_now(a).now_ns);
        answers_on_edge_down(a, peer);
        lease_forget_edge(&a->leases, c);
    }
    client_leave(peer);
}

static void on_authorize(void *self, struct bus_peer *from, const struct bus_message *m)
{
    struct auth *a = self;
    if (m->body->authorize.answers_for.len)
        admission_charge_fallback(&a->admission, &m->body->authorize, auth_now(a).now_ns);
    else
        answers_on_authorize(a, from, m);
}

static void on_lease_used(void *self, struct bus_peer *from, const struct bus_message *m)
{
    answers_on_lease_used(self, from, m);
}

static void on_slots_held(void *self, struct bus_peer *from, const struct bus_message *m)
{
    answers_on_slots_held(self, from, m);
}

/* What is not taken is not acknowledged, and comes again. */
static void drop_unless(enum err e, struct auth_client *c)
{
    if (!e)
        return;
    client_unref(c);
    log_debug("not_taken", LSTR("error", err_name(e)));
}

static void on_settle(void *self, struct bus_peer *from, const struct bus_message *m)
{
    struct auth *a = self;
    struct auth_client *c = client_of(from);
    struct moment now = auth_now(a);
    const struct settle *settle = &m->body->settle;
    if (!span_is(settle->provider, bus_peer_provider(from))) {
        bus_refuse_message(from, MESSAGE_SETTLE, "the provider is another worker's");
        return;
    }
    if (api_info(settle->api)->stored && !settle->of_response)
        stored_responses_remember(&a->responses, settle->upstream_id, settle->key_id,
                                  (struct stored_response){0}, settle->started_ms);
    struct span worker = settle->worker.len ? settle->worker : span_str(bus_peer_name(from));
    if (c)
        drop_unless(ledger_on_settle(&a->ledger, &m->header, settle, worker, now.now_ns,
                                     now.wall_ms, client_ref(c)),
                    c);
}

static void on_release(void *self, struct bus_peer *from, const struct bus_message *m)
{
    struct auth *a = self;
    struct auth_client *c = client_of(from);
    struct moment now = auth_now(a);
    if (m->body->release.key_id.len == 0) {
        ledger_on_abandoned(&a->ledger, &m->header, now.now_ns);
        answers_on_ended(a, &m->header.id, SPAN_NONE);
        const struct header answer = {.id = m->header.id, .attempt = m->header.attempt};
        if (bus_send(from, answer, MESSAGE_RELEASED, &(struct released){0}))
            log_debug("acknowledge_failed");
        return;
    }
    if (c)
        drop_unless(ledger_on_release(&a->ledger, &m->header, &m->body->release, now.now_ns,
                                      now.wall_ms, client_ref(c)),
                    c);
    answers_on_ended(a, &m->header.id, m->body->release.key_id);
}

/* Before the ledger knows: its client may ask for it at once. */
static void on_stored(void *self, struct bus_peer *from, const struct bus_message *m)
{
    struct auth *a = self;
    const struct auth_client *c = client_of(from);
    const struct stored *s = &m->body->stored;
    if (c && c->is_edge)
        stored_responses_remember(&a->responses, s->response_id, s->key_id,
                                  (struct stored_response){0}, auth_now(a).wall_ms);
}

int main(int argc, char **argv)
{
    static struct auth auth;
    static const struct daemon_spec spec = {
        .program = "tollgate-auth",
        .role = "auth",
        .summary = "Keys, limits and the ledger of a Tollgate suite.",
        .connects = LINK_METRICS,
        .binds = true,
        .keeps_state = true,
        .max_message_bytes = 4 << 20,
        .start = start,
        .reload = reload,
        .stop = stop,
        .on_peer_up = on_peer_up,
        .on_peer_down = on_peer_down,
        .handlers =
            {
                [MESSAGE_AUTHORIZE] = on_authorize,
                [MESSAGE_LEASE_USED] = on_lease_used,
                [MESSAGE_SLOTS_HELD] = on_slots_held,
                [MESSAGE_SETTLE] = on_settle,
                [MESSAGE_RELEASE] = on_release,
                [MESSAGE_STORED] = on_stored,
            },
        .senders =
            {
                [MESSAGE_AUTHORIZE] = "edge",
                [MESSAGE_LEASE_USED] = "edge",
                [MESSAGE_SLOTS_HELD] = "edge",
                [MESSAGE_SETTLE] = "worker",
                [MESSAGE_RELEASE] = "edge",
                [MESSAGE_STORED] = "edge",
            },
        .callers = "edge worker ctl",
    };
    return daemon_main(&spec, &auth, argc, argv);
}
