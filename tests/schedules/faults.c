/* What a seed decides: how much load, which faults, when. */
#include "schedules/trial.h"

#include <stdlib.h>

enum fault_kind {
    FAULT_LINK,
    FAULT_APART, /* a link that stays lost for a while */
    FAULT_BROKER_CRASH,
    FAULT_BROKER_STOP,
    FAULT_WORKER_CRASH,
    FAULT_WORKER_STOP,
    FAULT_EDGE_CRASH,
    FAULT_STALL,
    FAULT_SLOW,
    FAULT_SLOTS,
    FAULT_RELOAD,
    FAULT_REPLAY,
    FAULTS
};

void faults_plan(struct trial *t)
{
    struct profile *p = &t->p;
    t->request_count = 1; /* an id of zeros is nobody's */
    t->requests[0] = (struct t_request){.state = R_DONE, .outcomes = 1};
    p->quiet = per_mille(t, 150);
    p->load_until_us = t->now_us + between(t, 3 * S, 12 * S);
    p->faults_until_us = p->quiet ? 0 : t->now_us + between(t, 1 * S, 9 * S);
    p->fault_every_us = between(t, 100 * MS, 2 * S);
    p->faults = (uint32_t)roll(t, 1u << FAULTS);
    p->arrive_every_us = between(t, 10 * MS, 120 * MS);
    p->delay_us = per_mille(t, 300) ? 20 * MS : 500;
    p->leave = per_mille(t, 500) ? (uint32_t)roll(t, 200) : 0;
    p->fail = per_mille(t, 500) ? (uint32_t)roll(t, 300) : 0;
    if (!p->quiet && per_mille(t, 250)) {
        p->loss = (uint32_t)roll(t, 60);
        p->doubling = (uint32_t)roll(t, 100);
        p->reordering = (uint32_t)roll(t, 100);
        fault(t, p->faults_until_us);
    }
    schedule(t, t->now_us + 200 * MS, NULL, E_ARRIVE, 0, 0, NULL);
    schedule(t, t->now_us + 100 * MS, NULL, E_CHECK, 0, 0, NULL);
    if (!p->quiet && p->faults)
        schedule(t, t->now_us + 300 * MS, NULL, E_FAULT, 0, 0, NULL);
}

/* ---- load ---- */

static void new_request(struct trial *t, unsigned edge)
{
    struct t_request *r = &t->requests[t->request_count];
    *r = (struct t_request){.n = t->request_count,
                            .edge = edge,
                            .edge_life = t->edges[edge].party->life,
                            .model = per_mille(t, 700) ? 0 : 1 + (unsigned)roll(t, 2),
                            .born_us = t->now_us,
                            .deadline_us = t->now_us + between(t, 2 * S, 12 * S)};
    struct party *p = t->edges[edge].party;
    t->request_count++;
    t->open_requests++;
    t->tally->requests++;
    schedule(t, r->deadline_us, p, E_DEADLINE, r->n, 0, NULL);
    if (per_mille(t, t->p.leave))
        schedule(t, t->now_us + between(t, 0, 500 * MS), p, E_LEAVE, r->n, 0, NULL);
    edge_begin(t, r);
}

/* Alone, or many at once. */
void faults_arrive(struct trial *t)
{
    unsigned n = per_mille(t, 50) ? (unsigned)between(t, 5, 20) : 1;
    for (unsigned i = 0; i < n && t->request_count < REQUESTS; i++) {
        unsigned edge = (unsigned)roll(t, EDGES);
        const struct party *p = t->edges[edge].party;
        if (p->alive && p->stalled_until_us <= t->now_us)
            new_request(t, edge);
    }
    if (t->now_us < t->p.load_until_us && t->request_count < REQUESTS)
        schedule(t, t->now_us + between(t, 0, 2 * t->p.arrive_every_us), NULL, E_ARRIVE, 0, 0,
                 NULL);
}

/* ---- parties ---- */

void party_boot(struct trial *t, struct party *p)
{
    p->alive = true;
    p->draining = false;
    p->life++;
    p->epoch = roll(t, UINT64_MAX) | 1;
    p->stalled_until_us = p->lag_us = 0;
    SAY(t, p, "boots");
    if (p->kind == PARTY_BROKER)
        broker_boot(t, &t->brokers[p->index]);
    else if (p->kind == PARTY_EDGE)
        edge_boot(t, &t->edges[p->index]);
    else
        worker_boot(t, &t->workers[p->index]);
    net_party_up(t, p);
}

void party_crash(struct trial *t, struct party *p, uint64_t back_after_us)
{
    SAY(t, p, "is gone");
    if (p->kind == PARTY_EDGE)
        edge_end(t, &t->edges[p->index]);
    p->alive = false;
    p->life++;
    fault(t, t->now_us + back_after_us + 100 * MS);
    net_party_died(t, p);
    if (p->kind == PARTY_BROKER)
        broker_end(&t->brokers[p->index]);
    else if (p->kind == PARTY_WORKER)
        worker_end(&t->workers[p->index]);
    schedule(t, t->now_us + back_after_us, NULL, E_START, (uint32_t)(p - t->parties), 0, NULL);
}

static void crash(struct trial *t, struct party *p)
{
    if (p->alive && !p->draining)
        party_crash(t, p, per_mille(t, 500) ? between(t, 5 * MS, 300 * MS) : between(t, MS, 4 * S));
}

/* ---- faults ---- */

static void happen_to_link(struct trial *t, enum fault_kind kind)
{
    struct trial_link *l = &t->links[roll(t, LINKS)];
    if (kind == FAULT_APART) {
        l->apart_until_us = t->now_us + between(t, 200 * MS, 3 * S);
        fault(t, l->apart_until_us + 100 * MS);
    }
    SAY(t, NULL, "the link of %s and %s is cut", l->ends[0]->name, l->ends[1]->name);
    net_lose(t, l);
}

static void happen_to_party(struct trial *t, enum fault_kind kind, struct party *p)
{
    if (kind == FAULT_STALL) {
        /* What is put off already must not be overtaken. */
        uint64_t until = t->now_us + between(t, 10 * MS, per_mille(t, 300) ? 2500 * MS : 300 * MS);
        p->stalled_until_us = until > p->stalled_until_us ? until : p->stalled_until_us;
        SAY(t, p, "stands still until %.6f", (double)p->stalled_until_us / S);
        fault(t, p->stalled_until_us);
    } else {
        p->lag_us = p->lag_us ? 0 : between(t, MS, 30 * MS);
    }
}

static void happen_to_worker(struct trial *t, enum fault_kind kind, struct t_worker *w)
{
    if (!w->party->alive || w->party->draining)
        return;
    if (kind == FAULT_WORKER_CRASH) {
        crash(t, w->party);
    } else if (kind == FAULT_WORKER_STOP) {
        fault(t, t->now_us);
        worker_drain(t, w);
    } else if (kind == FAULT_SLOTS) {
        w->slots = (uint32_t)between(t, 2, 8);
        SAY(t, w->party, "has %u slots now", w->slots);
        fault(t, t->now_us);
        worker_offer(t, w);
    } else {
        worker_replay(t, w);
    }
}

static void happen_to_broker(struct trial *t, enum fault_kind kind, struct t_broker *b)
{
    if (!b->party->alive || b->party->draining)
        return;
    if (kind == FAULT_BROKER_CRASH) {
        crash(t, b->party);
    } else if (kind == FAULT_BROKER_STOP) {
        fault(t, t->now_us);
        broker_drain(t, b);
    } else {
        broker_reload(t, b);
    }
}

void faults_next(struct trial *t)
{
    enum fault_kind kind = (enum fault_kind)roll(t, FAULTS);
    if (t->now_us >= t->p.faults_until_us) {
        for (struct party *p = t->parties; p < t->parties + PARTIES; p++)
            p->lag_us = 0;
        return;
    }
    schedule(t, t->now_us + between(t, 0, 2 * t->p.fault_every_us), NULL, E_FAULT, 0, 0, NULL);
    if (!(t->p.faults >> kind & 1))
        return;
    switch (kind) {
    case FAULT_LINK:
    case FAULT_APART:
        happen_to_link(t, kind);
        break;
    case FAULT_STALL:
    case FAULT_SLOW:
        happen_to_party(t, kind, &t->parties[roll(t, PARTIES)]);
        break;
    case FAULT_EDGE_CRASH:
        crash(t, t->edges[roll(t, EDGES)].party);
        break;
    case FAULT_BROKER_CRASH:
    case FAULT_BROKER_STOP:
    case FAULT_RELOAD:
        happen_to_broker(t, kind, &t->brokers[roll(t, BROKERS)]);
        break;
    case FAULT_WORKER_CRASH:
    case FAULT_WORKER_STOP:
    case FAULT_SLOTS:
    case FAULT_REPLAY:
    case FAULTS:
        happen_to_worker(t, kind, &t->workers[roll(t, WORKERS)]);
        break;
    }
}
