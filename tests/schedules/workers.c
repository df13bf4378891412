/* Attempts at a worker, as services/worker/worker.c and attempts.c have them. */
#include "schedules/trial.h"

#include <stdlib.h>
#include <string.h>

#include "proto/error_class.h"

enum { UPKEEP_US = 100 * MS };

static struct t_request *request_of(struct trial *t, const struct t_attempt *a)
{
    return &t->requests[a->request];
}

/* ---- slots ---- */

static bool send_slots(void *ctx, size_t broker, const struct slot_share *share,
                       const struct slots_state *state)
{
    struct trial *t = ((void **)ctx)[0];
    struct t_worker *w = ((void **)ctx)[1];
    struct slots m = {.offered = share->offered,
                      .why = span_str(state->why ? state->why : ""),
                      .clock_ms = state->now_ms,
                      .running = share->running,
                      .free = state->free,
                      .grant_key = span_of((const char *)w->keys[broker], GRANT_KEY_BYTES)};
    return net_send(t, link_wb(t, w->party->index, (unsigned)broker), 0, (struct header){0},
                    MESSAGE_SLOTS, &m);
}

void worker_offer(struct trial *t, struct t_worker *w)
{
    struct gate_offer offers[BROKERS] = {0};
    struct slot_share shares[BROKERS] = {0};
    struct slots_state state = {.now_ms = local_ms(t, w->party),
                                .why = w->party->draining ? "draining" : NULL};
    void *ctx[2] = {t, w};
    gate_set_slots(w->gate, w->slots);
    gate_set_shut(w->gate, w->party->draining);
    for (unsigned b = 0; b < BROKERS; b++) {
        offers[b].broker_epoch = w->epochs[b];
        offers[b].queued = w->epochs[b] ? w->queued[b] : 0;
    }
    w->uneven = gate_share(w->gate, offers, BROKERS, state.now_ms);
    state.free = gate_free(w->gate);
    w->said_full = !state.free;
    for (unsigned b = 0; b < BROKERS; b++)
        shares[b] = (struct slot_share){
            .up = w->epochs[b] != 0, .running = offers[b].running, .offered = offers[b].offered};
    slots_update(&w->offers, shares, BROKERS, &state, send_slots, ctx);
}

void worker_tick(struct trial *t, struct t_worker *w)
{
    gate_sweep(w->gate, local_ms(t, w->party));
    worker_offer(t, w);
    schedule(t, t->now_us + UPKEEP_US, w->party, E_WORKER_TICK, 0, 0, NULL);
}

/* ---- attempts ---- */

static void end_attempt(struct trial *t, struct t_worker *w, struct t_attempt *a)
{
    a->used = false;
    w->running--;
    expect(t, &w->expected, a->broker_epoch, a->number)->running--;
    bool tell = gate_end(w->gate, a->grant, local_ms(t, w->party));
    if (gate_running(w->gate) != w->running)
        broke(t, "%s runs %u, its gate says %u", w->party->name, w->running, gate_running(w->gate));
    if (tell || w->uneven || w->said_full)
        worker_offer(t, w);
}

static void answer(struct trial *t, struct t_worker *w, unsigned edge, struct header h,
                   unsigned type, unsigned error_class, bool sent)
{
    struct fail f = {.error_class = error_class,
                     .sent = sent,
                     .free = gate_free(w->gate),
                     .endpoint = UINT32_MAX};
    union message_body m = {0};
    if (type == MESSAGE_FAIL)
        m.fail = f;
    (void)net_send(t, link_ew(t, edge, w->party->index), 1, h, type, &m);
}

static struct header header_of(const struct trial *t, const struct t_attempt *a)
{
    struct header h = {.attempt = a->attempt};
    memcpy(h.id.bytes, &a->request, sizeof a->request);
    (void)t;
    return h;
}

/* What the gate should say, from what has come before. */
static void check_verdict(struct trial *t, struct t_worker *w, const struct grant_token *token,
                          const struct party *edge, enum gate_verdict verdict, bool strange)
{
    const struct expected *x = expect(t, &w->expected, token->broker_epoch, token->number);
    const char *name = w->party->name;
    unsigned long long number = token->number;
    bool used = token->standing ? x->running >= token->slots : x->starts > 0;
    t->tally->refused[verdict]++;
    if (verdict == GATE_FULL && w->running < w->slots)
        broke(t, "%s refuses #%llu as full with %u of %u", name, number, w->running, w->slots);
    if (verdict != GATE_OK) {
        bool expected = verdict == GATE_FULL || t->p.loss || t->p.reordering || t->p.doubling ||
                        t->now_us < t->last_fault_us + QUIET_US || w->party->draining;
        if (!expected && !strange)
            broke(t, "%s refuses #%llu as %s though nothing is amiss", name, number,
                  gate_verdict_name(verdict));
        return;
    }
    if (token->worker_epoch != w->party->epoch || token->edge_epoch != edge->epoch)
        broke(t, "%s takes #%llu, which is another worker's or edge's", name, number);
    if (token->expires_ms <= local_ms(t, w->party))
        broke(t, "%s takes #%llu, which has expired", name, number);
    if (used)
        broke(t, "%s takes #%llu, which is used", name, number);
    if (w->running >= w->slots)
        broke(t, "%s begins more than its %u slots", name, w->slots);
    if (w->party->draining)
        broke(t, "%s begins while it drains", name);
}

static void begin(struct trial *t, struct t_worker *w, struct t_attempt *a, const struct packet *p,
                  const struct grant_token *token, struct gate_grant *grant)
{
    struct expected *x = expect(t, &w->expected, token->broker_epoch, token->number);
    uint32_t n;
    memcpy(&n, p->header.id.bytes, sizeof n);
    *a = (struct t_attempt){.used = true,
                            .serial = ++t->serial,
                            .request = n,
                            .attempt = p->header.attempt,
                            .edge = p->link->ends[0]->index,
                            .link_life = p->link->life,
                            .grant = grant,
                            .broker_epoch = token->broker_epoch,
                            .number = token->number,
                            .fails = per_mille(t, t->p.fail),
                            .late_failure = per_mille(t, 200)};
    x->starts++;
    x->running++;
    w->running++;
    t->tally->attempts++;
    t->requests[n].begun = p->header.seq;
    SAY(t, w->party, "begins request %u/%u under #%llu: %u of %u run", n, a->attempt,
        (unsigned long long)token->number, w->running, w->slots);
    uint64_t head = between(t, 1 * MS, 60 * MS);
    uint64_t rest = per_mille(t, 150) ? between(t, 500 * MS, 6 * S) : between(t, MS, 200 * MS);
    uint32_t slot = (uint32_t)(a - w->attempts);
    if (!a->fails || a->late_failure)
        schedule(t, t->now_us + head, w->party, E_ATTEMPT_HEAD, slot, a->serial, NULL);
    schedule(t, t->now_us + head + rest, w->party, E_ATTEMPT_END, slot, a->serial, NULL);
}

static void on_dispatch(struct trial *t, struct t_worker *w, const struct packet *p)
{
    const struct dispatch *m = p->body;
    const struct party *edge = p->link->ends[0];
    struct t_attempt *spare = NULL;
    struct gate_grant *grant;
    struct grant_token token;
    uint32_t n;
    memcpy(&n, p->header.id.bytes, sizeof n);
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        struct t_attempt *a = &w->attempts[i];
        if (!a->used)
            spare = a;
        else if (a->request == n && a->attempt == p->header.attempt)
            return;
    }
    if (!spare || grant_token_read(m->grant, &token) != OK)
        abort();
    enum gate_verdict verdict =
        gate_begin(w->gate, m->grant, edge->epoch, local_ms(t, w->party), &grant);
    check_verdict(t, w, &token, edge, verdict, false);
    unsigned keep = w->token_count++ % TOKENS;
    memcpy(w->tokens[keep].bytes, m->grant.data, GRANT_TOKEN_BYTES);
    w->tokens[keep].used = true;
    if (verdict != GATE_OK) {
        SAY(t, w->party, "refuses request %u/%u under #%llu: %s", n, p->header.attempt,
            (unsigned long long)token.number, gate_verdict_name(verdict));
        answer(t, w, edge->index, p->header, MESSAGE_FAIL, ERROR_WORKER_REFUSED, false);
        return;
    }
    begin(t, w, spare, p, &token, grant);
}

void worker_attempt_head(struct trial *t, struct t_worker *w, uint32_t slot, uint64_t serial)
{
    struct t_attempt *a = &w->attempts[slot];
    if (!a->used || a->serial != serial)
        return;
    a->head = true;
    answer(t, w, a->edge, header_of(t, a), MESSAGE_HEAD, 0, false);
}

void worker_attempt_end(struct trial *t, struct t_worker *w, uint32_t slot, uint64_t serial)
{
    struct t_attempt *a = &w->attempts[slot];
    static const unsigned classes[] = {ERROR_UPSTREAM_ERROR, ERROR_UPSTREAM_OVERLOADED,
                                       ERROR_UPSTREAM_TLS};
    if (!a->used || a->serial != serial)
        return;
    SAY(t, w->party, "request %u/%u ends%s", a->request, a->attempt, a->fails ? " in failure" : "");
    request_of(t, a)->ended_ok += !a->fails;
    if (a->fails)
        answer(t, w, a->edge, header_of(t, a), MESSAGE_FAIL, classes[roll(t, 3)], true);
    else
        answer(t, w, a->edge, header_of(t, a), MESSAGE_END, 0, false);
    end_attempt(t, w, a);
}

static void on_cancel(struct trial *t, struct t_worker *w, const struct packet *p)
{
    uint32_t n;
    memcpy(&n, p->header.id.bytes, sizeof n);
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        struct t_attempt *a = &w->attempts[i];
        if (a->used && a->request == n && a->edge == p->link->ends[0]->index) {
            SAY(t, w->party, "stops request %u/%u", n, a->attempt);
            end_attempt(t, w, a);
        }
    }
}

/* One that has come before comes again, from any edge. */
static void replay_real(struct trial *t, struct t_worker *w, const uint8_t bytes[GRANT_TOKEN_BYTES])
{
    const struct party *edge = t->edges[roll(t, EDGES)].party;
    struct span span = span_of((const char *)bytes, GRANT_TOKEN_BYTES);
    struct gate_grant *grant = NULL;
    struct grant_token token;
    if (grant_token_read(span, &token) != OK)
        abort();
    enum gate_verdict verdict =
        gate_begin(w->gate, span, edge->epoch, local_ms(t, w->party), &grant);
    check_verdict(t, w, &token, edge, verdict, true);
    if (verdict == GATE_OK)
        (void)gate_end(w->gate, grant, local_ms(t, w->party));
}

/* A token that this worker has seen, or one that nobody has signed. */
void worker_replay(struct trial *t, struct t_worker *w)
{
    unsigned at = (unsigned)roll(t, TOKENS);
    if (w->tokens[at].used) {
        replay_real(t, w, w->tokens[at].bytes);
        return;
    }
    const struct expected *x = &w->expected.items[roll(t, TABLE)];
    const struct party *edge = t->edges[roll(t, EDGES)].party;
    struct gate_grant *grant = NULL;
    uint8_t bytes[GRANT_TOKEN_BYTES], key[GRANT_KEY_BYTES] = {0};
    struct grant_token token = {.broker_epoch = x->broker_epoch,
                                .worker_epoch = w->party->epoch,
                                .edge_epoch = edge->epoch,
                                .number = x->used ? x->number : roll(t, 100),
                                .slots = 4,
                                .standing = roll(t, 2),
                                .expires_ms = local_ms(t, w->party) + 1000};
    unsigned b = (unsigned)roll(t, BROKERS);
    if (!token.broker_epoch)
        token.broker_epoch = t->brokers[b].party->epoch;
    grant_token_write(&token, key, bytes);
    enum gate_verdict verdict = gate_begin(w->gate, span_of((const char *)bytes, sizeof bytes),
                                           edge->epoch, local_ms(t, w->party), &grant);
    t->tally->refused[verdict]++;
    if (verdict == GATE_OK)
        broke(t, "%s takes a token that nobody has signed", w->party->name);
}

/* ---- life ---- */

void worker_boot(struct trial *t, struct t_worker *w)
{
    struct party *party = w->party;
    memset(w, 0, sizeof *w);
    w->party = party;
    w->slots = (uint32_t)between(t, 2, 8);
    if (gate_create(&w->gate, party->epoch, w->slots))
        abort();
    schedule(t, t->now_us + roll(t, UPKEEP_US), party, E_WORKER_TICK, 0, 0, NULL);
}

void worker_end(struct t_worker *w)
{
    gate_destroy(&w->gate);
}

void worker_peer_up(struct trial *t, struct t_worker *w, struct trial_link *l)
{
    unsigned b = l->ends[1]->index;
    if (l->ends[1]->kind != PARTY_BROKER)
        return;
    for (unsigned i = 0; i < GRANT_KEY_BYTES; i++)
        w->keys[b][i] = (uint8_t)roll(t, 256);
    if (gate_broker_up(w->gate, l->ends[1]->epoch, w->keys[b]) != OK)
        abort();
    w->epochs[b] = l->ends[1]->epoch;
    w->offers.last[b].reported = false;
    worker_offer(t, w);
}

void worker_peer_down(struct trial *t, struct t_worker *w, struct trial_link *l)
{
    struct party *p = l->ends[l->ends[0] == w->party];
    if (p->kind == PARTY_BROKER) {
        gate_broker_down(w->gate, w->epochs[p->index], local_ms(t, w->party));
        w->epochs[p->index] = 0;
        worker_offer(t, w);
        return;
    }
    for (unsigned i = 0; i < ATTEMPTS; i++)
        if (w->attempts[i].used && w->attempts[i].edge == p->index) {
            SAY(t, w->party, "stops request %u, whose edge is lost", w->attempts[i].request);
            end_attempt(t, w, &w->attempts[i]);
        }
}

void worker_hear(struct trial *t, struct t_worker *w, const struct packet *p)
{
    if (p->type == MESSAGE_DISPATCH)
        on_dispatch(t, w, p);
    else if (p->type == MESSAGE_CANCEL)
        on_cancel(t, w, p);
    else if (p->type == MESSAGE_PONG)
        w->queued[p->link->ends[1]->index] = ((const struct pong *)p->body)->queued;
}

void worker_drain(struct trial *t, struct t_worker *w)
{
    w->party->draining = true;
    worker_offer(t, w);
    schedule(t, t->now_us + between(t, 50 * MS, 2 * S), w->party, E_WORKER_GONE, 0, 0, NULL);
}

/* What still runs ends with FAIL, and only then comes the goodbye. */
void worker_gone(struct trial *t, struct t_worker *w)
{
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        struct t_attempt *a = &w->attempts[i];
        if (!a->used)
            continue;
        answer(t, w, a->edge, header_of(t, a), MESSAGE_FAIL, ERROR_WORKER_LOST, true);
        end_attempt(t, w, a);
    }
    net_goodbye(t, w->party);
    party_crash(t, w->party, between(t, 10 * MS, 3 * S));
}
