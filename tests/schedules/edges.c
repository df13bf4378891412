/* A request's way at an edge, as services/edge/request/dispatch.c goes it. */
#include "schedules/trial.h"

#include <stdlib.h>
#include <string.h>

#include "proto/error_class.h"

enum { ASK_AGAIN_US = S, LINK_PATIENCE_US = S, BROKER_PATIENCE_US = 10 * S, MOST_IDLE_TURNS = 50 };

static const char *const models[] = {"plain", "pair", "spare"};

static void ask(struct trial *t, struct t_request *r);

static struct header header_of(const struct t_request *r)
{
    struct header h = {.attempt = r->attempt};
    memcpy(h.id.bytes, &r->n, sizeof r->n);
    return h;
}

static void wait_until(struct trial *t, struct t_request *r, enum request_state state,
                       uint64_t at_us)
{
    r->state = state;
    schedule(t, at_us, t->edges[r->edge].party, E_WAITED, r->n, ++r->wait_serial, NULL);
}

/* ---- grants as they should be used ---- */

static struct expected *expected_of(struct trial *t, struct t_edge *e, const struct grant *m)
{
    struct grant_token token;
    if (grant_token_read(m->token, &token) != OK)
        abort();
    return expect(t, &e->expected, token.broker_epoch, token.number);
}

static void note_start(struct trial *t, struct t_request *r, struct held_grant *grant)
{
    struct t_edge *e = &t->edges[r->edge];
    struct expected *x = expected_of(t, e, &grant->m);
    unsigned long long number = x->number;
    /* What comes late or twice, which links do not allow, may bring one back that is forgotten
     * here: the worker refuses it. */
    bool orderly = !t->p.doubling && !t->p.reordering;
    if (x->revoked && orderly)
        broke(t, "%s starts request %u under #%llu, which has been revoked", e->party->name, r->n,
              number);
    if (local_ms(t, e->party) >= x->until_ms)
        broke(t, "%s starts request %u under #%llu, which has expired", e->party->name, r->n,
              number);
    if (x->running >= x->slots || (!x->standing && x->starts && orderly))
        broke(t, "%s starts request %u under #%llu, which is full: %u of %u", e->party->name, r->n,
              number, x->running, x->slots);
    x->starts++;
    x->running++;
    r->grant = grant;
    r->grant_broker_epoch = x->broker_epoch;
    r->grant_number = x->number;
    r->broker_link = x->broker_link;
    r->slots_link = x->slots_link;
    r->started_us = t->now_us;
}

static void end_attempt(struct trial *t, struct t_request *r, enum grant_outcome outcome)
{
    struct t_edge *e = &t->edges[r->edge];
    if (!r->grant)
        return;
    expect(t, &e->expected, r->grant_broker_epoch, r->grant_number)->running--;
    grants_end(e->grants, r->grant, outcome, local_ms(t, e->party));
    r->grant = NULL;
}

static void finish(struct trial *t, struct t_request *r, enum outcome outcome)
{
    struct t_edge *e = &t->edges[r->edge];
    end_attempt(t, r, GRANT_CANCELED);
    if (r->state == R_DONE)
        broke(t, "request %u has a second outcome: %s after %s", r->n, outcome_text(outcome),
              outcome_text(r->outcome));
    r->state = R_DONE;
    r->outcome = outcome;
    r->outcomes++;
    r->wait_serial++;
    t->open_requests--;
    t->tally->outcomes[outcome]++;
    grants_leave(e->grants, &r->use);
    SAY(t, e->party, "request %u is over: %s", r->n, outcome_text(outcome));
}

/* ---- to a worker ---- */

static void busy(struct trial *t, struct t_request *r, uint32_t free_slots)
{
    struct t_edge *e = &t->edges[r->edge];
    if (r->state == R_DISPATCHED && r->begun == r->dispatches)
        broke(t, "request %u is asked for again as busy, but it has been begun", r->n);
    grants_rest(e->grants, r->grant);
    end_attempt(t, r, GRANT_CANCELED);
    r->broker = -1;
    r->busy++;
    r->busy_in_all++;
    t->tally->busy++;
    r->busy_free = free_slots;
    ask(t, r);
}

static void again(struct trial *t, struct t_request *r, const struct fail *failed)
{
    r->failed = *failed;
    r->has_failed = true;
    r->trail_bytes =
        r->grant->m.trail.len < sizeof r->trail ? r->grant->m.trail.len : sizeof r->trail;
    memcpy(r->trail, r->grant->m.trail.data, r->trail_bytes);
    end_attempt(t, r, GRANT_FAILED);
    edge_turn(t, &t->edges[r->edge]);
    r->broker = -1;
    r->busy = 0;
    r->attempt++;
    ask(t, r);
}

static void dispatch(struct trial *t, struct t_request *r)
{
    struct t_edge *e = &t->edges[r->edge];
    struct trial_link *l = link_ew(t, r->edge, (unsigned)r->worker);
    struct dispatch m = {.grant = r->grant->m.token};
    struct header h = header_of(r);
    if (!l->sees[0]) {
        SAY(t, e->party, "holds request %u/%u under #%llu for its link to worker-%d", r->n,
            r->attempt, (unsigned long long)r->grant_number, r->worker + 1);
        wait_until(t, r, R_LINKING, t->now_us + LINK_PATIENCE_US);
        return;
    }
    if (e->worker_epochs[r->worker] != r->worker_epoch) { /* another boot */
        grants_worker_down(e->grants, r->worker_epoch, local_ms(t, e->party));
        busy(t, r, 0);
        return;
    }
    h.seq = ++r->dispatches;
    r->state = R_DISPATCHED;
    SAY(t, e->party, "DISPATCH request %u/%u to worker-%d under #%llu", r->n, r->attempt,
        r->worker + 1, (unsigned long long)r->grant_number);
    if (!net_send(t, l, 0, h, MESSAGE_DISPATCH, &m))
        busy(t, r, 0);
}

/* grants_take or grants_start has counted it. */
static void use_grant(struct trial *t, struct t_request *r, struct held_grant *grant)
{
    note_start(t, r, grant);
    r->worker = grant->m.worker.data[grant->m.worker.len - 1] - '1';
    r->worker_epoch = grant->m.worker_epoch;
    (void)snprintf(r->failed_worker, sizeof r->failed_worker, "%.*s", SPAN_ARG(grant->m.worker));
    dispatch(t, r);
}

/* ---- asks ---- */

static bool usable(struct trial *t, const struct t_edge *e, unsigned broker)
{
    return link_eb(t, e->party->index, broker)->sees[0] && !e->draining[broker];
}

static int choose_broker(struct trial *t, struct t_edge *e)
{
    int best = -1;
    unsigned first = e->next_broker++;
    for (unsigned i = 0; i < BROKERS; i++) {
        unsigned b = (first + i) % BROKERS;
        if (usable(t, e, b) && (best < 0 || e->queued[b] < e->queued[best]))
            best = (int)b;
    }
    return best;
}

static bool send_ask(struct trial *t, struct t_request *r)
{
    struct t_edge *e = &t->edges[r->edge];
    bool may_stand = r->attempt == 1 && r->use && !r->busy && !r->alone;
    struct header h = header_of(r);
    uint64_t left = r->deadline_us > t->now_us ? r->deadline_us - t->now_us : MS;
    struct ask m = {.model = span_str(models[r->model]),
                    .key_id = r->n & 1 ? SPAN("odd") : SPAN("even"),
                    .wanted = may_stand ? grants_wanted(r->use) : 0,
                    .trail = span_of(r->trail, r->trail_bytes),
                    .failed_class = r->attempt > 1 ? r->failed.error_class : ERROR_NONE,
                    .failed_sent = r->failed.sent,
                    .failed_endpoint = r->failed.endpoint,
                    .failed_worker = span_str(r->failed_worker),
                    .busy = r->busy,
                    .free = r->busy_free};
    h.deadline_ms = (uint32_t)(left / MS) + 1;
    SAY(t, e->party, "ASK broker-%d for request %u/%u, busy %u", r->broker + 1, r->n, r->attempt,
        r->busy);
    return net_send(t, link_eb(t, r->edge, (unsigned)r->broker), 0, h, MESSAGE_ASK, &m);
}

static void ask(struct trial *t, struct t_request *r)
{
    struct t_edge *e = &t->edges[r->edge];
    if (r->state != R_ASKING)
        r->free_since_us = r->able_since_us = 0;
    if (r->broker < 0 || !usable(t, e, (unsigned)r->broker))
        r->broker = choose_broker(t, e);
    if (r->broker >= 0 && !send_ask(t, r))
        r->broker = -1;
    if (r->broker >= 0)
        wait_until(t, r, R_ASKING, t->now_us + ASK_AGAIN_US);
    else
        wait_until(t, r, R_ASKING,
                   (e->brokers_down_us ? e->brokers_down_us : t->now_us) + BROKER_PATIENCE_US);
}

void edge_waited(struct trial *t, struct t_request *r, uint64_t serial)
{
    struct t_edge *e = &t->edges[r->edge];
    bool any = false;
    if (r->state == R_DONE || serial != r->wait_serial)
        return;
    for (unsigned b = 0; b < BROKERS; b++)
        any = any || usable(t, e, b);
    if (r->state == R_LINKING)
        busy(t, r, 0);
    else if (r->state == R_ASKING && (r->broker >= 0 || any))
        ask(t, r);
    else if (r->state == R_ASKING)
        finish(t, r, OUT_NO_BROKER);
}

static void find_worker(struct trial *t, struct t_request *r)
{
    struct t_edge *e = &t->edges[r->edge];
    struct held_grant *grant = grants_take(e->grants, r->use, local_ms(t, e->party));
    if (grant)
        use_grant(t, r, grant);
    else
        ask(t, r);
}

void edge_begin(struct trial *t, struct t_request *r)
{
    struct t_edge *e = &t->edges[r->edge];
    r->attempt = 1;
    r->broker = -1;
    r->use = grants_enter(e->grants, span_str(models[r->model]));
    if (!r->use)
        abort();
    find_worker(t, r);
    edge_turn(t, e);
}

void edge_stop(struct trial *t, struct t_request *r, enum outcome why)
{
    struct trial_link *to = NULL;
    if (r->state == R_DONE || r->edge_life != t->edges[r->edge].party->life)
        return;
    if (r->state == R_ASKING && r->broker >= 0)
        to = link_eb(t, r->edge, (unsigned)r->broker);
    else if (r->state == R_DISPATCHED || r->state == R_STREAMING)
        to = link_ew(t, r->edge, (unsigned)r->worker);
    if (to)
        (void)net_send(t, to, 0, header_of(r), MESSAGE_CANCEL, &(struct cancel){0});
    finish(t, r, why);
}

/* ---- from brokers ---- */

static struct t_request *find(struct trial *t, const struct t_edge *e, const struct packet *p)
{
    uint32_t n;
    memcpy(&n, p->header.id.bytes, sizeof n);
    struct t_request *r = n < t->request_count ? &t->requests[n] : NULL;
    bool its = r && r->edge == e->party->index && r->edge_life == e->party->life;
    return its && r->attempt == p->header.attempt ? r : NULL;
}

static struct t_request *find_asking(struct trial *t, const struct t_edge *e,
                                     const struct packet *p)
{
    static const struct request_id nobody;
    struct t_request *r =
        request_id_equals(&p->header.id, &nobody) && !p->header.attempt ? NULL : find(t, e, p);
    return r && r->state == R_ASKING && r->broker == (int)p->link->ends[1]->index ? r : NULL;
}

static void note_put(struct trial *t, struct t_edge *e, const struct grant *m, unsigned broker)
{
    struct expected *x = expected_of(t, e, m);
    x->until_ms = local_ms(t, e->party) + m->valid_ms;
    x->slots = m->slots;
    x->standing = m->standing;
    unsigned worker = (unsigned)(m->worker.data[m->worker.len - 1] - '1');
    x->broker_link = link_eb(t, e->party->index, broker)->opens;
    x->slots_link = link_wb(t, worker, broker)->opens;
}

static void on_grant(struct trial *t, struct t_edge *e, const struct packet *p)
{
    const struct grant *m = p->body;
    uint64_t now = local_ms(t, e->party);
    struct held_grant *grant = grants_put(e->grants, p->link->ends[1]->index, m, now);
    struct t_request *r = find_asking(t, e, p);
    SAY(t, e->party, "hears GRANT #%llu of %s", (unsigned long long)m->number,
        p->link->ends[1]->name);
    if (!grant) {
        SAY(t, e->party, "has no use for GRANT #%llu", (unsigned long long)m->number);
        t->tally->crossed++;
        return;
    }
    note_put(t, e, m, p->link->ends[1]->index);
    if (!r && !grant->m.standing)
        grants_return(e->grants, grant, now);
    if (!r)
        return;
    if (!grants_start(e->grants, grant, now))
        grant = r->use ? grants_take(e->grants, r->use, now) : NULL;
    if (grant) {
        use_grant(t, r, grant);
    } else {
        r->alone = true;
        ask(t, r);
    }
}

static void on_decline(struct trial *t, struct t_edge *e, const struct packet *p)
{
    const struct decline *m = p->body;
    struct t_request *r = find_asking(t, e, p);
    if (!r)
        return;
    if (m->error_class == ERROR_WORKER_REFUSED) {
        r->broker = -1;
        ask(t, r);
        return;
    }
    if (m->error_class == ERROR_NONE && !r->has_failed)
        broke(t, "request %u: a failure stands that there never was", r->n);
    r->declined_with = m->error_class;
    finish(t, r, m->error_class == ERROR_NONE ? OUT_FAILED_ : OUT_DECLINED);
}

static void on_revoke(struct trial *t, struct t_edge *e, const struct packet *p)
{
    const struct revoke *m = p->body;
    unsigned broker = p->link->ends[1]->index;
    grants_revoke(e->grants, broker, m->number, local_ms(t, e->party));
    /* One that overtakes its grant, which a link does not allow, does nothing. */
    struct expected *x = expect(t, &e->expected, p->link->ends[1]->epoch, m->number);
    x->revoked = x->slots > 0;
}

/* ---- from workers ---- */

static struct t_request *find_running(struct trial *t, const struct t_edge *e,
                                      const struct packet *p)
{
    struct t_request *r = find(t, e, p);
    bool runs = r && (r->state == R_DISPATCHED || r->state == R_STREAMING);
    return runs && r->worker == (int)p->link->ends[1]->index ? r : NULL;
}

static void on_frame(struct trial *t, struct t_edge *e, const struct packet *p)
{
    struct t_request *r = find_running(t, e, p);
    const struct fail *f = p->body;
    if (!r)
        return;
    if (p->type == MESSAGE_HEAD) {
        grants_commit(e->grants, r->grant, local_ms(t, e->party));
        r->state = R_STREAMING;
    } else if (p->type == MESSAGE_END) {
        end_attempt(t, r, GRANT_OK);
        finish(t, r, OUT_OK_);
    } else if (f->error_class == ERROR_WORKER_REFUSED && r->state == R_DISPATCHED) {
        busy(t, r, f->free);
    } else if (r->state == R_DISPATCHED) {
        again(t, r, f);
    } else {
        end_attempt(t, r, GRANT_FAILED);
        finish(t, r, OUT_FAILED_);
    }
}

/* ---- who comes and goes ---- */

static bool is_mine(const struct t_edge *e, const struct t_request *r)
{
    return r->edge == e->party->index && r->edge_life == e->party->life && r->state != R_DONE;
}

static void leave_broker(struct trial *t, struct t_edge *e, unsigned broker, bool lost)
{
    bool any = false;
    if (lost)
        grants_broker_down(e->grants, broker);
    for (unsigned b = 0; b < BROKERS; b++)
        any = any || usable(t, e, b);
    if (!any && !e->brokers_down_us)
        e->brokers_down_us = t->now_us;
    for (uint32_t i = 0; i < t->request_count; i++) {
        struct t_request *r = &t->requests[i];
        if (!is_mine(e, r) || r->broker != (int)broker)
            continue;
        r->broker = -1;
        if (r->state == R_ASKING)
            ask(t, r);
    }
}

static void lose_worker(struct trial *t, struct t_edge *e, unsigned worker, bool stopped)
{
    struct fail lost = {.error_class = ERROR_WORKER_LOST, .sent = true, .endpoint = UINT32_MAX};
    grants_worker_down(e->grants, e->worker_epochs[worker], local_ms(t, e->party));
    for (uint32_t i = 0; i < t->request_count; i++) {
        struct t_request *r = &t->requests[i];
        if (!is_mine(e, r) || !r->grant || r->worker != (int)worker ||
            r->worker_epoch != e->worker_epochs[worker])
            continue;
        if (r->state == R_LINKING || (stopped && r->state == R_DISPATCHED)) {
            busy(t, r, 0);
        } else if (r->state == R_DISPATCHED) {
            again(t, r, &lost);
        } else if (r->state == R_STREAMING) {
            end_attempt(t, r, GRANT_FAILED);
            finish(t, r, OUT_FAILED_);
        }
    }
}

void edge_peer_up(struct trial *t, struct t_edge *e, struct trial_link *l)
{
    unsigned i = l->ends[1]->index;
    bool is_broker = l->ends[1]->kind == PARTY_BROKER;
    if (is_broker) {
        e->draining[i] = false;
        e->brokers_down_us = 0;
    } else {
        e->worker_epochs[i] = l->ends[1]->epoch;
    }
    for (uint32_t n = 0; n < t->request_count; n++) {
        struct t_request *r = &t->requests[n];
        if (!is_mine(e, r))
            continue;
        if (is_broker && r->state == R_ASKING && r->broker < 0)
            find_worker(t, r);
        else if (!is_broker && r->state == R_LINKING && r->worker == (int)i)
            dispatch(t, r);
    }
    edge_turn(t, e);
}

void edge_peer_down(struct trial *t, struct t_edge *e, struct trial_link *l, bool stopped)
{
    unsigned i = l->ends[1]->index;
    if (l->ends[1]->kind == PARTY_BROKER)
        leave_broker(t, e, i, true);
    else
        lose_worker(t, e, i, stopped);
    edge_turn(t, e);
}

void edge_hear(struct trial *t, struct t_edge *e, const struct packet *p)
{
    unsigned i = p->link->ends[1]->index;
    switch (p->type) {
    case MESSAGE_GRANT:
        on_grant(t, e, p);
        break;
    case MESSAGE_DECLINE:
        on_decline(t, e, p);
        break;
    case MESSAGE_REVOKE:
        on_revoke(t, e, p);
        break;
    case MESSAGE_REPORTED:
        grants_reported(e->grants, i, p->header.seq);
        break;
    case MESSAGE_PONG:
        e->queued[i] = ((const struct pong *)p->body)->queued;
        break;
    case MESSAGE_DRAIN:
        e->draining[i] = true;
        leave_broker(t, e, i, false);
        break;
    default:
        on_frame(t, e, p);
        break;
    }
    edge_turn(t, e);
}

/* ---- reports, at the end of each turn ---- */

static bool report(struct trial *t, struct t_edge *e, unsigned broker)
{
    struct trial_link *l = link_eb(t, e->party->index, broker);
    bool any = false;
    buf_clear(&e->scratch);
    while (l->sees[0] && grants_report(e->grants, broker, e->report_seq + 1, local_ms(t, e->party),
                                       &e->scratch)) {
        struct report m = {.entries = buf_span(&e->scratch)};
        struct header h = {.seq = ++e->report_seq};
        SAY(t, e->party, "REPORT %u to broker-%u, %zu entries", h.seq, broker + 1,
            m.entries.len / GRANT_REPORT_BYTES);
        (void)net_send(t, l, 0, h, MESSAGE_REPORT, &m);
        t->tally->reports++;
        buf_clear(&e->scratch);
        any = true;
    }
    return any;
}

static bool renew(struct trial *t, struct t_edge *e)
{
    unsigned broker;
    struct ask m = {0};
    bool any = false;
    while (grants_renewal(e->grants, local_ms(t, e->party), &broker, &m.model, &m.wanted)) {
        any = true;
        SAY(t, e->party, "asks broker-%u to renew %.*s, wanted %u", broker + 1, SPAN_ARG(m.model),
            m.wanted);
        if (usable(t, e, broker))
            (void)net_send(t, link_eb(t, e->party->index, broker), 0, (struct header){0},
                           MESSAGE_ASK, &m);
    }
    return any;
}

void edge_turn(struct trial *t, struct t_edge *e)
{
    uint64_t now = local_ms(t, e->party);
    uint32_t held = grants_stats(e->grants).held;
    if (grants_next_due_ms(e->grants) <= now) {
        bool any = renew(t, e);
        for (unsigned b = 0; b < BROKERS; b++)
            any |= report(t, e, b);
        any |= grants_stats(e->grants).held != held;
        e->idle_turns = any ? 0 : e->idle_turns + 1;
        if (e->idle_turns > MOST_IDLE_TURNS)
            broke(t, "%s is due again and again and has nothing to do", e->party->name);
    }
    uint64_t due = grants_next_due_ms(e->grants);
    if (due == UINT64_MAX)
        return;
    uint64_t at = due > now ? due * MS - e->party->offset_us : t->now_us + MS;
    if (at >= e->turn_us)
        return;
    e->turn_us = at;
    schedule(t, at, e->party, E_EDGE_TURN, 0, 0, NULL);
}

/* ---- life ---- */

void edge_boot(struct trial *t, struct t_edge *e)
{
    struct buf scratch = e->scratch;
    struct party *party = e->party;
    (void)t;
    memset(e, 0, sizeof *e);
    e->party = party;
    e->scratch = scratch;
    e->turn_us = UINT64_MAX;
    if (grants_create(&e->grants))
        abort();
}

void edge_end(struct trial *t, struct t_edge *e)
{
    for (uint32_t i = 0; i < t->request_count; i++) {
        struct t_request *r = &t->requests[i];
        if (!is_mine(e, r))
            continue;
        end_attempt(t, r, GRANT_CANCELED);
        grants_leave(e->grants, &r->use);
        r->state = R_DONE;
        r->outcome = OUT_CRASHED;
        r->outcomes++;
        t->open_requests--;
        t->tally->outcomes[OUT_CRASHED]++;
    }
    grants_destroy(&e->grants);
}
