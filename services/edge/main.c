/* tollgate-edge: HTTP in. Owns the clients' connections, TLS, CORS, request ids, deadlines and
 * streams; asks auth who may and a broker which worker, sends requests there, gives answers back.
 * Never sees a provider's key, never interprets a prompt. */
#include "common/runtime/daemon.h"
#include "services/edge/request/authorize.h"
#include "services/edge/edge.h"
#include "services/edge/request/dispatch.h"
#include "services/edge/request/key_check.h"
#include "services/edge/request/relay.h"
#include "services/edge/status/status.h"

static enum err start(void *self, struct daemon *d)
{
    return edge_start(self, d);
}

static void reload(void *self)
{
    edge_reload(self);
}

static void drain(void *self)
{
    edge_drain(self);
}

static bool drained(void *self)
{
    return edge_drained(self);
}

static uint64_t drain_extra_ms(void *self)
{
    return edge_lame_duck_ms(self);
}

static void cut_short(void *self)
{
    edge_cut_short(self);
}

static void stop(void *self)
{
    edge_stop(self);
}

static void on_peer_up(void *self, struct bus_peer *peer)
{
    edge_on_peer_up(self, peer);
}

static void on_peer_down(void *self, struct bus_peer *peer)
{
    edge_on_peer_down(self, peer);
}

static void on_drain(void *self, struct bus_peer *from, const struct bus_message *m)
{
    (void)m;
    edge_on_drain(self, from);
}

static void on_allow(void *self, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    authorize_on_allow(self, m);
    key_check_on_allow(self, m);
}

static void on_deny(void *self, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    authorize_on_deny(self, m);
    key_check_on_deny(self, m);
}

static void on_revoked(void *self, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    authorize_on_revoked(self, m);
}

static void on_slots_back(void *self, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    authorize_on_slots_back(self, m);
}

static void on_lease_counted(void *self, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    authorize_on_lease_counted(self, m);
}

static void on_lease_end(void *self, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    authorize_on_lease_end(self, m);
}

static void on_released(void *self, struct bus_peer *from, const struct bus_message *m)
{
    struct edge *e = self;
    (void)from;
    releases_ack(e->releases, &m->header.id, m->header.attempt);
}

static void on_grant(void *self, struct bus_peer *from, const struct bus_message *m)
{
    dispatch_on_grant(self, from, m);
}

static void on_decline(void *self, struct bus_peer *from, const struct bus_message *m)
{
    dispatch_on_decline(self, from, m);
}

static void on_revoke(void *self, struct bus_peer *from, const struct bus_message *m)
{
    dispatch_on_revoke(self, from, m);
}

static void on_reported(void *self, struct bus_peer *from, const struct bus_message *m)
{
    dispatch_on_reported(self, from, m);
}

static void on_head(void *self, struct bus_peer *from, const struct bus_message *m)
{
    relay_on_head(self, from, m);
}

static void on_data(void *self, struct bus_peer *from, const struct bus_message *m)
{
    relay_on_data(self, from, m);
}

static void on_end(void *self, struct bus_peer *from, const struct bus_message *m)
{
    relay_on_end(self, from, m);
}

static void on_reply(void *self, struct bus_peer *from, const struct bus_message *m)
{
    relay_on_reply(self, from, m);
}

static void on_fail(void *self, struct bus_peer *from, const struct bus_message *m)
{
    relay_on_fail(self, from, m);
}

static void on_models(void *self, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    edge_on_models(self, &m->body->models);
}

static void on_answer(void *self, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    status_on_answer(self, m);
}

static const struct daemon_spec spec = {
    .program = "tollgate-edge",
    .role = "edge",
    .summary = "Takes clients' HTTP requests, and gives them their answers.",
    .connects = LINK_BROKERS | LINK_AUTH | LINK_METRICS,
    .start = start,
    .reload = reload,
    .drain = drain,
    .drained = drained,
    .drain_extra_ms = drain_extra_ms,
    .cut_short = cut_short,
    .stop = stop,
    .handlers =
        {
            [MESSAGE_DRAIN] = on_drain,
            [MESSAGE_ALLOW] = on_allow,
            [MESSAGE_DENY] = on_deny,
            [MESSAGE_REVOKED] = on_revoked,
            [MESSAGE_SLOTS_BACK] = on_slots_back,
            [MESSAGE_LEASE_COUNTED] = on_lease_counted,
            [MESSAGE_LEASE_END] = on_lease_end,
            [MESSAGE_RELEASED] = on_released,
            [MESSAGE_GRANT] = on_grant,
            [MESSAGE_DECLINE] = on_decline,
            [MESSAGE_REVOKE] = on_revoke,
            [MESSAGE_REPORTED] = on_reported,
            [MESSAGE_HEAD] = on_head,
            [MESSAGE_DATA] = on_data,
            [MESSAGE_END] = on_end,
            [MESSAGE_REPLY] = on_reply,
            [MESSAGE_FAIL] = on_fail,
            [MESSAGE_ANSWER] = on_answer,
            [MESSAGE_MODELS] = on_models,
        },
    .senders =
        {
            [MESSAGE_DRAIN] = "broker",    [MESSAGE_ALLOW] = "auth",
            [MESSAGE_DENY] = "auth",       [MESSAGE_REVOKED] = "auth",
            [MESSAGE_SLOTS_BACK] = "auth", [MESSAGE_LEASE_COUNTED] = "auth",
            [MESSAGE_LEASE_END] = "auth",  [MESSAGE_RELEASED] = "auth",
            [MESSAGE_GRANT] = "broker",    [MESSAGE_DECLINE] = "broker",
            [MESSAGE_REVOKE] = "broker",   [MESSAGE_REPORTED] = "broker",
            [MESSAGE_HEAD] = "worker",     [MESSAGE_DATA] = "worker",
            [MESSAGE_END] = "worker",      [MESSAGE_REPLY] = "worker",
            [MESSAGE_FAIL] = "worker",     [MESSAGE_ANSWER] = "metrics",
            [MESSAGE_MODELS] = "broker",
        },
    .on_peer_up = on_peer_up,
    .on_peer_down = on_peer_down,
};

int main(int argc, char **argv)
{
    struct edge edge = {0};
    return daemon_main(&spec, &edge, argc, argv);
}
