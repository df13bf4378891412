/* What must hold, looked at every 50 ms and when all has come to rest. */
#include "schedules/trial.h"

#include <string.h>

enum {
    LOOK_US = 50 * MS,
    BOOKED_US = S,
    STARVED_US = 1500 * MS,
    UNFED_US = 3 * S,
    REST_US = 5 * S,
    REPORT_US = 400 * MS /* a report may be so late */
};

const char *outcome_text(enum outcome o)
{
    static const char *const texts[OUTCOMES] = {"none", "answered", "failed",    "declined",
                                                "late", "left",     "no broker", "crashed"};
    return texts[o];
}

static bool is_quiet(const struct trial *t)
{
    return t->now_us > t->last_fault_us + QUIET_US;
}

/* ---- slots ---- */

static bool linked(const struct trial_link *l)
{
    return l->open && l->sees[0] && l->sees[1];
}

/* The same slot in the hands of two brokers: for a moment at most. */
static void look_at_bookings(struct trial *t, struct t_worker *w)
{
    unsigned i = w->party->index;
    uint32_t booked = 0;
    for (unsigned b = 0; b < BROKERS; b++) {
        struct t_broker *broker = &t->brokers[b];
        bool counts = broker->party->alive && linked(link_wb(t, i, b)) && broker->at[i];
        booked += counts ? broker->at[i]->in_flight : 0;
        if (!counts || broker->at[i]->in_flight <= broker->at[i]->offered || !is_quiet(t))
            broker->over_since_us[i] = t->now_us;
        if (t->now_us > broker->over_since_us[i] + 2 * BOOKED_US)
            broke(t, "%s has %u slots of %s taken, which offers it %u, for longer than 2 s",
                  broker->party->name, broker->at[i]->in_flight, w->party->name,
                  broker->at[i]->offered);
    }
    /* It may run more than its slots since they became fewer: booked once all the same. */
    bool shrunk = w->running > w->slots;
    if (booked <= w->slots || shrunk || !is_quiet(t) || w->party->draining)
        w->over_since_us = t->now_us;
    if (t->now_us > w->over_since_us + BOOKED_US)
        broke(t, "brokers count %u slots of %s taken, which has %u, for longer than 1 s", booked,
              w->party->name, w->slots);
}

static void tell_runs(struct trial *t, unsigned broker, unsigned worker)
{
    for (uint32_t i = 0; i < t->request_count; i++) {
        const struct t_request *r = &t->requests[i];
        if (r->grant && r->grant->broker == broker && r->worker == (int)worker)
            SAY(t, NULL, "request %u/%u runs there under #%llu since %.6f", r->n, r->attempt,
                (unsigned long long)r->grant_number, (double)r->started_us / S);
    }
}

/* What runs at a worker under a broker's grant is taken there, but for a report that is on its way.
 */
static void look_at_counts(struct trial *t)
{
    uint32_t runs[BROKERS][WORKERS] = {{0}};
    for (uint32_t i = 0; i < t->request_count; i++) {
        const struct t_request *r = &t->requests[i];
        if (!r->grant || (r->state != R_DISPATCHED && r->state != R_STREAMING))
            continue;
        unsigned b = r->grant->broker, w = (unsigned)r->worker;
        bool same = r->broker_link == link_eb(t, r->edge, b)->opens &&
                    r->slots_link == link_wb(t, w, b)->opens &&
                    r->grant_broker_epoch == t->brokers[b].party->epoch;
        runs[b][w] += same;
    }
    for (unsigned b = 0; b < BROKERS; b++)
        for (unsigned w = 0; w < WORKERS; w++) {
            const struct broker_worker *at =
                t->brokers[b].party->alive ? t->brokers[b].at[w] : NULL;
            if (!at || runs[b][w] <= at->in_flight || !is_quiet(t))
                t->brokers[b].under_since_us[w] = t->now_us;
            else if (t->now_us > t->brokers[b].under_since_us[w] + REPORT_US) {
                tell_runs(t, b, w);
                broke(t, "%s has %u slots of %s taken, but %u requests run there under its grants",
                      t->brokers[b].party->name, at->in_flight, t->workers[w].party->name,
                      runs[b][w]);
            }
        }
}

/* ---- waiting ---- */

static bool may_go_to(const struct t_request *r, unsigned worker)
{
    return worker < 2 || r->model == 1; /* "spare" only when openai is not there */
}

static void look_at_waiting(struct trial *t, struct t_request *r)
{
    const struct t_broker *b = r->broker >= 0 ? &t->brokers[r->broker] : NULL;
    bool has_free = false, is_able = false;
    uint64_t last = 0; /* somebody was granted one: it goes on */
    bool waits = r->state == R_ASKING && b && b->party->alive && is_quiet(t);
    for (unsigned w = 0; w < WORKERS && waits; w++) {
        const struct t_worker *worker = &t->workers[w];
        if (!may_go_to(r, w) || !worker->party->alive || !b->at[w] ||
            !linked(link_wb(t, w, (unsigned)r->broker)) || !linked(link_ew(t, r->edge, w)))
            continue;
        has_free = has_free || workers_free(b->at[w]);
        /* The other broker may keep one that it does not need. */
        is_able = is_able || gate_free(worker->gate) >= BROKERS;
        last = b->granted_us[w >= 2] > last ? b->granted_us[w >= 2] : last;
    }
    if (!has_free || !r->free_since_us)
        r->free_since_us = t->now_us;
    if (!is_able || !r->able_since_us)
        r->able_since_us = t->now_us;
    r->free_since_us = last > r->free_since_us ? last : r->free_since_us;
    r->able_since_us = last > r->able_since_us ? last : r->able_since_us;
    if (t->now_us > r->free_since_us + STARVED_US)
        broke(t, "request %u/%u waits at %s, which has had slots free for 1.5 s", r->n, r->attempt,
              b->party->name);
    if (t->now_us > r->able_since_us + UNFED_US)
        broke(t, "request %u/%u waits at %s while workers have had slots free for 3 s", r->n,
              r->attempt, b->party->name);
}

void checks_look(struct trial *t)
{
    for (unsigned w = 0; w < WORKERS; w++)
        if (t->workers[w].party->alive)
            look_at_bookings(t, &t->workers[w]);
    if (!t->p.loss)
        look_at_counts(t);
    for (uint32_t i = 0; i < t->request_count; i++) {
        struct t_request *r = &t->requests[i];
        if (r->state == R_DONE)
            continue;
        look_at_waiting(t, r);
        /* One that stands still says so when it goes on. */
        uint64_t stalled_us = t->edges[r->edge].party->stalled_until_us;
        uint64_t due_us = r->deadline_us > stalled_us ? r->deadline_us : stalled_us;
        if (t->now_us > due_us + 3 * S)
            broke(t, "request %u has no outcome long after its deadline", r->n);
    }
    bool over = t->now_us > t->p.load_until_us && !t->open_requests && t->now_us > t->last_fault_us;
    if (over && t->now_us > t->rest_us + REST_US) {
        checks_rest(t);
        t->done = true;
        return;
    }
    if (!over)
        t->rest_us = t->now_us;
    schedule(t, t->now_us + LOOK_US, NULL, E_CHECK, 0, 0, NULL);
}

/* ---- at rest ---- */

static void rest_of_broker(struct trial *t, struct t_broker *b)
{
    struct core_stats s = core_stats(b->core);
    if (s.asks || s.queued || s.grants)
        broke(t, "%s at rest has %u asks, %u queued, %u grants", b->party->name, s.asks, s.queued,
              s.grants);
    for (unsigned w = 0; w < WORKERS; w++)
        if (!b->at[w])
            broke(t, "%s at rest does not know %s", b->party->name, t->workers[w].party->name);
        else if (b->at[w]->in_flight || b->at[w]->pool->in_flight || workers_free(b->at[w]) == 0)
            broke(t, "%s at rest counts %u taken of %u at %s", b->party->name, b->at[w]->in_flight,
                  b->at[w]->offered, t->workers[w].party->name);
}

static void rest_of_worker(struct trial *t, struct t_worker *w)
{
    uint32_t offered = 0;
    for (unsigned b = 0; b < BROKERS; b++)
        offered += t->brokers[b].at[w->party->index]->offered;
    gate_sweep(w->gate, local_ms(t, w->party));
    if (gate_running(w->gate) || gate_grants(w->gate) || gate_free(w->gate) != w->slots)
        broke(t, "%s at rest runs %u, knows %u grants, has %u of %u free", w->party->name,
              gate_running(w->gate), gate_grants(w->gate), gate_free(w->gate), w->slots);
    if (offered != w->slots)
        broke(t, "%s at rest offers %u slots of its %u", w->party->name, offered, w->slots);
}

void checks_rest(struct trial *t)
{
    for (unsigned i = 0; i < BROKERS && !t->broken; i++)
        rest_of_broker(t, &t->brokers[i]);
    for (unsigned i = 0; i < WORKERS && !t->broken; i++)
        rest_of_worker(t, &t->workers[i]);
    for (unsigned i = 0; i < EDGES; i++) {
        struct grants_stats s = grants_stats(t->edges[i].grants);
        if (s.held || s.slots || s.running)
            broke(t, "%s at rest holds %u grants with %u slots, %u running",
                  t->edges[i].party->name, s.held, s.slots, s.running);
    }
    for (uint32_t i = 0; i < t->request_count; i++)
        if (t->requests[i].outcomes != 1)
            broke(t, "request %u has %u outcomes", i, t->requests[i].outcomes);
}
