/* tollgate-worker: carries out requests at one provider's upstreams. Owns that provider's keys,
 * connections and translation; makes one attempt per DISPATCH that a broker has granted, and
 * reports how it went. Never talks to a client, never retries. */
#include <sys/prctl.h>

#include "services/worker/worker.h"

static enum err start(void *self, struct daemon *d)
{
    return worker_open(self, d);
}

static void stop(void *self)
{
    worker_close(self);
}

static void prepare(void *self, const char *path)
{
    worker_prepare(self, path);
}

static void reload(void *self)
{
    worker_reload(self);
}

static void drain(void *self)
{
    worker_offer_slots(self);
}

static bool drained(void *self)
{
    const struct worker *w = self;
    bool all_settled = settles_pending(w->settles) == 0 || !bus_peer_up(w->d->auth);
    return attempts_running(w->attempts) == 0 && all_settled;
}

/* ---- edges ---- */

static void on_dispatch(void *self, struct bus_peer *from, const struct bus_message *m)
{
    worker_dispatch(self, from, m);
}

static void on_cancel(void *self, struct bus_peer *from, const struct bus_message *m)
{
    const struct worker *w = self;
    attempts_cancel(w->attempts, from, m);
}

static void on_credit(void *self, struct bus_peer *from, const struct bus_message *m)
{
    const struct worker *w = self;
    attempts_credit(w->attempts, from, m, m->body->credit.bytes);
}

/* ---- auth ---- */

static void on_settled(void *self, struct bus_peer *from, const struct bus_message *m)
{
    const struct worker *w = self;
    (void)from;
    (void)settles_done(w->settles, &m->header.id, m->header.attempt);
}

/* ---- anybody ---- */

static void on_peer_up(void *self, struct bus_peer *peer)
{
    struct worker *w = self;
    if (!w->attempts)
        return;
    if (peer == w->d->auth)
        settles_due_now(w->settles);
    else if (strcmp(bus_peer_role(peer), "broker") == 0)
        worker_broker_up(w, peer);
}

static void on_peer_down(void *self, struct bus_peer *peer)
{
    struct worker *w = self;
    if (!w->attempts)
        return;
    if (strcmp(bus_peer_role(peer), "broker") == 0)
        worker_broker_down(w, peer);
    else
        attempts_cancel_peer(w->attempts, peer);
}

int main(int argc, char **argv)
{
    static struct worker w;
    const struct daemon_option options[] = {
        {"provider", "name of the provider in the configuration (required)", &w.provider},
        {NULL, NULL, NULL}};
    const struct daemon_spec spec = {.program = "tollgate-worker",
                                     .role = "worker",
                                     .summary = "Carries out requests at one provider's upstreams.",
                                     .options = options,
                                     .connects = LINK_BROKERS | LINK_AUTH | LINK_METRICS,
                                     .binds = true,
                                     .provider = &w.provider,
                                     .start = start,
                                     .prepare = prepare,
                                     .reload = reload,
                                     .drain = drain,
                                     .drained = drained,
                                     .stop = stop,
                                     .handlers = {[MESSAGE_DISPATCH] = on_dispatch,
                                                  [MESSAGE_CANCEL] = on_cancel,
                                                  [MESSAGE_CREDIT] = on_credit,
                                                  [MESSAGE_SETTLED] = on_settled},
                                     .senders = {[MESSAGE_DISPATCH] = "edge",
                                                 [MESSAGE_CANCEL] = "edge",
                                                 [MESSAGE_CREDIT] = "edge",
                                                 [MESSAGE_SETTLED] = "auth"},
                                     .callers = "edge",
                                     .on_peer_up = on_peer_up,
                                     .on_peer_down = on_peer_down};
#ifndef __SANITIZE_ADDRESS__                  /* its leak check traces the process at the end */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* keys reach no core dump and no other process */
#endif
    return daemon_main(&spec, &w, argc, argv);
}
