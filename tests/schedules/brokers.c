#include "schedules/trial.h"

#include <stdlib.h>
#include <string.h>

enum { PONG_US = 300 * MS, CLOSE_US = 500 * MS };

/* ---- what the core asks for; its ctx is the trial, a peer is a link ---- */

static struct trial_link *link_of(struct bus_peer *peer)
{
    return (struct trial_link *)(void *)peer;
}

static struct bus_peer *peer_of(struct trial_link *l)
{
    return (struct bus_peer *)(void *)l;
}

/* ---- what it has been told of its grants ---- */

static void expect_heard(struct trial *t, struct t_broker *b, const struct grant *m, unsigned edge,
                         unsigned worker)
{
    struct expected *x = expect(t, &b->heard, b->party->epoch, m->number);
    x->until_ms = local_ms(t, b->party) + m->valid_ms + GRANT_MARGIN_MS + GRANT_GONE_MS;
    if (x->starts || x->edge || x->worker || x->slots)
        return;
    x->slots = m->slots;
    x->edge = edge;
    x->worker = worker;
    x->standing = true; /* it should know it */
}

/* It need not know any more what this edge had, or what was at this worker. */
static void unexpect_heard(struct t_broker *b, bool is_edge, unsigned index)
{
    for (unsigned i = 0; i < TABLE; i++) {
        struct expected *x = &b->heard.items[i];
        if (!x->used || !x->standing || (is_edge ? x->edge : x->worker) != index)
            continue;
        x->standing = false;
        b->heard_running[x->worker] -= x->running;
    }
}

static void note_report(struct trial *t, struct t_broker *b, unsigned edge, struct span entries)
{
    struct grant_report r;
    while (grant_report_next(&entries, &r) == OK) {
        struct expected *x = expect(t, &b->heard, b->party->epoch, r.number);
        uint64_t over = r.ok + r.failed + r.canceled;
        /* Nothing was heard of it in time: it is forgotten. */
        x->standing = x->standing && (x->running || local_ms(t, b->party) + 2 < x->until_ms);
        if (!x->standing || x->edge != edge || r.started < x->starts || over < x->over)
            continue;
        b->heard_running[x->worker] += (uint32_t)(r.started - over) - x->running;
        x->starts = (uint32_t)r.started;
        x->over = over;
        x->running = (uint32_t)(r.started - over);
        x->standing = !r.closed || x->running; /* else it is forgotten */
        if (r.ok + r.failed > x->ended)
            b->said_full[x->worker] = false;
        x->ended = r.ok + r.failed;
    }
}

static void check_heard(struct trial *t, struct t_broker *b)
{
    for (unsigned w = 0; w < WORKERS; w++)
        if (b->at[w] && b->heard_running[w] > b->at[w]->in_flight)
            broke(t, "%s has %u slots of %s taken, but was told that %u requests run there",
                  b->party->name, b->at[w]->in_flight, t->workers[w].party->name,
                  b->heard_running[w]);
}

static void note_grant(struct trial *t, struct t_broker *b, const struct grant *m, unsigned edge)
{
    struct grant_token token;
    unsigned w;
    if (grant_token_read(m->token, &token) != OK || token.number != m->number) {
        broke(t, "%s grants with a token of another number", b->party->name);
        return;
    }
    bool fresh = m->number > b->highest;
    t->tally->grants += fresh;
    t->tally->standing += fresh && m->standing;
    t->tally->renewals += !fresh;
    b->highest = fresh ? m->number : b->highest;
    b->granted_us[span_is(m->provider, "anthropic")] = t->now_us;
    for (w = 0; w < WORKERS && (!b->at[w] || b->at[w]->epoch != m->worker_epoch); w++)
        ;
    if (w == WORKERS)
        broke(t, "%s grants a slot of a worker that it does not have", b->party->name);
    else
        expect_heard(t, b, m, edge, w);
    if (w < WORKERS && fresh && b->at[w]->in_flight > b->at[w]->offered)
        broke(t, "%s grants #%llu of %s beyond its offer: %u of %u", b->party->name,
              (unsigned long long)m->number, t->workers[w].party->name, b->at[w]->in_flight,
              b->at[w]->offered);
    if (w < WORKERS && fresh && b->said_full[w])
        broke(t, "%s grants #%llu of %s, which has said that no slot is free", b->party->name,
              (unsigned long long)m->number, t->workers[w].party->name);
}

static void on_send(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                    const void *message)
{
    struct trial *t = ctx;
    struct trial_link *l = link_of(to);
    struct t_broker *b = &t->brokers[l->ends[1]->index];
    uint32_t id;
    memcpy(&id, h.id.bytes, sizeof id);
    if (type == MESSAGE_GRANT) {
        const struct grant *m = message;
        note_grant(t, b, m, l->ends[0]->index);
        SAY(t, b->party, "GRANT #%llu%s of %.*s, %u slots, %u ms, to %s for request %u/%u",
            (unsigned long long)m->number, m->standing ? " standing" : "", SPAN_ARG(m->worker),
            m->slots, m->valid_ms, l->ends[0]->name, id, h.attempt);
    } else if (type == MESSAGE_DECLINE) {
        const struct decline *m = message;
        t->tally->declines++;
        SAY(t, b->party, "DECLINE %u (%.*s) to %s for request %u/%u", m->error_class,
            SPAN_ARG(m->message), l->ends[0]->name, id, h.attempt);
    } else if (type == MESSAGE_REVOKE) {
        t->tally->revokes++;
        SAY(t, b->party, "REVOKE #%llu to %s",
            (unsigned long long)((const struct revoke *)message)->number, l->ends[0]->name);
    }
    (void)net_send(t, l, 1, h, type, message);
}

static uint32_t on_chance(void *ctx)
{
    return (uint32_t)roll(ctx, 1ull << 32);
}

static void on_waited(void *ctx, uint64_t us)
{
    (void)ctx;
    (void)us;
}

static void on_retried(void *ctx, const char *provider, unsigned error_class)
{
    struct trial *t = ctx;
    (void)provider;
    (void)error_class;
    t->tally->retries++;
}

static const struct core_ops ops = {on_send, on_chance, on_waited, on_retried};

static const struct core_rules rules = {
    .retry = {.max_attempts = 3, .base_us = 50 * MS, .max_wait_us = S, .percent = 20, .floor = 100},
    .queue_max = 1000,
    .queue_wait_us = 8 * S,
    .worker_grace_us = 3 * S};

/* ---- life ---- */

void broker_boot(struct trial *t, struct t_broker *b)
{
    struct party *party = b->party;
    uint64_t now = local_us(t, party);
    memset(b, 0, sizeof *b);
    b->party = party;
    b->tick_us = UINT64_MAX;
    if (workers_create(&b->workers) ||
        router_create(&b->router, t->config, b->workers, NULL, now) ||
        core_create(&b->core, &ops, t, &rules, b->workers, b->router, party->epoch))
        abort();
    schedule(t, t->now_us + roll(t, PONG_US), party, E_BROKER_PONG, 0, 0, NULL);
}

void broker_end(struct t_broker *b)
{
    core_destroy(&b->core);
    router_unref(&b->router);
    workers_destroy(&b->workers);
}

void broker_drain(struct trial *t, struct t_broker *b)
{
    b->party->draining = true;
    for (struct trial_link *l = t->links; l < t->links + LINKS; l++)
        if (l->ends[1] == b->party)
            (void)net_send(t, l, 1, (struct header){0}, MESSAGE_DRAIN, &(struct drain){0});
    core_close(b->core, local_us(t, b->party) + CLOSE_US);
    schedule(t, t->now_us + CLOSE_US, b->party, E_BROKER_GONE, 0, 0, NULL);
}

void broker_reload(struct trial *t, struct t_broker *b)
{
    uint64_t now = local_us(t, b->party);
    if (router_renew(&b->router, t->config, b->workers, now) == OK)
        core_reconfigure(b->core, &rules, b->router, now);
}

/* ---- events ---- */

static void set_tick(struct trial *t, struct t_broker *b)
{
    uint64_t due = core_next_due_us(b->core), now = local_us(t, b->party);
    if (due == UINT64_MAX)
        return;
    due = due > now ? t->now_us + (due - now) : t->now_us;
    if (due >= b->tick_us)
        return;
    b->tick_us = due;
    schedule(t, due, b->party, E_BROKER_TICK, 0, 0, NULL);
}

static void step(struct trial *t, struct t_broker *b, struct core_event event)
{
    core_step(b->core, &event, local_us(t, b->party));
    check_heard(t, b);
    set_tick(t, b);
}

void broker_tick(struct trial *t, struct t_broker *b)
{
    b->tick_us = UINT64_MAX;
    step(t, b, (struct core_event){.kind = EVENT_TICK});
}

void broker_pong(struct trial *t, struct t_broker *b)
{
    for (struct trial_link *l = t->links; l < t->links + LINKS; l++) {
        unsigned i = l->ends[0]->index;
        struct pong m = {.queued = core_stats(b->core).queued};
        if (l->ends[1] != b->party)
            continue;
        if (l->ends[0]->kind == PARTY_WORKER && b->at[i])
            m.queued = b->at[i]->pool->queue.count;
        (void)net_send(t, l, 1, (struct header){0}, MESSAGE_PONG, &m);
    }
    schedule(t, t->now_us + PONG_US, b->party, E_BROKER_PONG, 0, 0, NULL);
}

void broker_peer_up(struct trial *t, struct t_broker *b, struct trial_link *l)
{
    const struct party *p = l->ends[0];
    uint64_t now = local_us(t, b->party);
    if (p->kind == PARTY_EDGE)
        b->edges[p->index] = core_edge_up(b->core, peer_of(l), p->epoch);
    else {
        b->said_full[p->index] = false;
        b->at[p->index] =
            workers_add(b->workers, peer_of(l), p->index < 2 ? SPAN("openai") : SPAN("anthropic"),
                        span_str(p->name), SPAN("ipc:///w"), p->epoch, now);
    }
}

void broker_peer_down(struct trial *t, struct t_broker *b, struct trial_link *l)
{
    unsigned i = l->ends[0]->index;
    bool is_edge = l->ends[0]->kind == PARTY_EDGE;
    struct core_event event = {.kind = is_edge ? EVENT_EDGE_DOWN : EVENT_WORKER_DOWN,
                               .edge = is_edge ? b->edges[i] : NULL,
                               .worker = is_edge ? NULL : b->at[i]};
    if (is_edge)
        b->edges[i] = NULL;
    else
        b->at[i] = NULL;
    unexpect_heard(b, is_edge, i);
    step(t, b, event);
}

void broker_hear(struct trial *t, struct t_broker *b, const struct packet *p)
{
    unsigned i = p->link->ends[0]->index;
    struct core_event event = {.header = p->header, .body = p->body};
    uint32_t id;
    memcpy(&id, p->header.id.bytes, sizeof id);
    if (p->link->ends[0]->kind == PARTY_EDGE)
        event.edge = b->edges[i];
    else
        event.worker = b->at[i];
    switch (p->type) {
    case MESSAGE_ASK:
        event.kind = EVENT_ASK;
        SAY(t, b->party, "takes ASK of %s for request %u/%u, wanted %u, busy %u",
            p->link->ends[0]->name, id, p->header.attempt, event.body->ask.wanted,
            event.body->ask.busy);
        break;
    case MESSAGE_CANCEL:
        event.kind = EVENT_CANCEL;
        break;
    case MESSAGE_REPORT:
        event.kind = EVENT_REPORT;
        note_report(t, b, i, event.body->report.entries);
        break;
    case MESSAGE_SLOTS:
        event.kind = EVENT_SLOTS;
        b->said_full[i] = !event.body->slots.free;
        SAY(t, b->party, "hears SLOTS of %s: offered %u, running %u, free %u",
            p->link->ends[0]->name, event.body->slots.offered, event.body->slots.running,
            event.body->slots.free);
        break;
    default:
        return;
    }
    if (event.edge || event.worker)
        step(t, b, event);
}
