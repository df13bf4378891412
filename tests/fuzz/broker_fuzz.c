/* Any order of events on the broker's core: asks, repeats, cancels, reports that are late or lost,
 * slots, peers that come and go, reloads, time. After each: no worker's slots are given beyond its
 * offer, the sums of a pool are those of its workers, nobody queues beside a free slot, and an ask
 * has at most one answer. In the end every ask has had one, nothing that was never reported is
 * kept, no breaker waits for a probe that is gone, and no slot is leaked.
 *
 * Input: a byte (bit 0: reports may contradict each other), then two for each event: what, and who.
 */
#include <stdio.h>

#include "fuzz/fuzz.h"
#include "proto/error_class.h"
#include "unit/services/broker/test_core.h"

enum { WORKERS = 3, EDGES = 2, FIRST_EDGE = 10, REQUESTS = 48, GRANTS = 4096, MOST_EVENTS = 400 };
enum { QUEUE_MAX = 8 };

/* A request as its edge has it: the last ask about it, to send it again. */
struct asked {
    unsigned edge, attempt, busy, answers_due;
    unsigned model;
    uint32_t wanted, free, failed_class, endpoint;
    bool failed_sent, has_trail;
    uint8_t trail[TRAIL_BYTES];
    char worker[16];
};

/* A grant as its edge has it, by number. */
struct held {
    bool is; /* … in the hands of its edge */
    unsigned edge, worker;
    int request; /* that it answered; -1 = none */
    bool standing, revoked;
    uint32_t slots;
    uint64_t until_us;
    uint8_t trail[TRAIL_BYTES];
    struct grant_report now, early; /* as it is, as it was once */
    uint64_t told; /* so many run, by the last report that was no late one */
};

struct run {
    struct world w;
    bool hostile;
    struct broker_worker *workers[WORKERS];
    uint32_t most[WORKERS]; /* slots that may be out at each */
    struct broker_edge *edges[EDGES];
    unsigned next; /* request */
    struct asked asked[REQUESTS];
    uint64_t numbers; /* the highest one given */
    struct held held[GRANTS];
};

static const char yaml[] =
    "providers:\n  a: {type: openai, api_keys: [x], endpoints: [\"https://a.example/v1\"]}\n"
    "  b: {type: anthropic, api_keys: [x, y]}\n"
    "models:\n  m: {targets: [{provider: a}, {provider: b}], fallbacks: [n]}\n"
    "  n: {targets: [{provider: b}]}\n  s: {targets: [{provider: a}], fallbacks: [n]}\n"
    "broker: {breaker_failures: 2, breaker_open: 1s, queue_size: 8, queue_timeout: 2s, "
    "worker_grace: 1s}\n";
static const char *const models[] = {"m", "n", "s", ""}; /* the last: a stored response by its id */

static uint64_t running(const struct grant_report *r)
{
    return r->started - r->ok - r->failed - r->canceled;
}

static unsigned worker_of(uint64_t epoch)
{
    return (unsigned)(epoch - 1000);
}

/* ---- what comes out ---- */

static void answered(struct run *r, const struct sent *s)
{
    unsigned id;
    memcpy(&id, s->h.id.bytes, sizeof id);
    REQUIRE(id >= 1 && id <= r->next);
    struct asked *a = &r->asked[id - 1];
    REQUIRE(a->answers_due && s->h.attempt == a->attempt);
    REQUIRE(s->to == world_peer(FIRST_EDGE + a->edge));
    a->answers_due = 0;
}

static void granted(struct run *r, const struct sent *s)
{
    uint8_t key[GRANT_KEY_BYTES];
    unsigned worker = worker_of(s->worker_epoch), edge;
    unsigned id;
    REQUIRE(s->number > 0 && s->number < GRANTS && worker < WORKERS && r->workers[worker]);
    world_worker_key(worker, key);
    REQUIRE(grant_token_is_signed(span_of((const char *)s->token, sizeof s->token), key));
    REQUIRE(s->t.number == s->number && s->t.slots == s->slots && s->slots);
    struct held *g = &r->held[s->number];
    const struct broker_worker *w = r->workers[worker];
    memcpy(&id, s->h.id.bytes, sizeof id);
    edge = s->to == world_peer(FIRST_EDGE) ? 0 : 1;
    if (s->slots > g->slots && !r->hostile) /* unless it is repeated or renewed */
        REQUIRE(w->in_flight + w->unknown <= w->offered);
    REQUIRE(g->is ? g->edge == edge && g->worker == worker : s->number > r->numbers);
    REQUIRE(!g->revoked);
    g->is = true;
    g->edge = edge;
    g->worker = worker;
    g->request = id ? (int)id - 1 : -1;
    g->standing = s->standing;
    g->slots = s->slots;
    g->until_us = world_now(&r->w) + s->valid_ms * 1000;
    memcpy(g->trail, s->trail, sizeof g->trail);
    g->now.number = g->early.number = s->number;
    r->numbers = s->number > r->numbers ? s->number : r->numbers;
}

static void listen(struct run *r)
{
    static const struct request_id nobody;
    for (const struct sent *s; (s = world_next(&r->w));) {
        if (!request_id_equals(&s->h.id, &nobody))
            answered(r, s);
        if (s->type == MESSAGE_GRANT)
            granted(r, s);
        if (s->type == MESSAGE_REVOKE)
            r->held[s->number].revoked = true;
    }
    r->w.sent_count = r->w.read = 0;
}

static void check_worker(struct run *r, unsigned n)
{
    const struct broker_worker *w = r->workers[n];
    if (!w)
        return;
    /* More than the offer is out only after it has shrunk, and then ever less. */
    uint32_t most = w->offered > r->most[n] ? w->offered : r->most[n];
    REQUIRE(r->hostile || w->in_flight <= most);
    r->most[n] = w->in_flight;
}

static void check(struct run *r)
{
    uint32_t queued = 0;
    for (struct pool *p = workers_first_pool(r->w.workers); p; p = p->next) {
        uint32_t offered = 0, in_flight = 0;
        for (struct broker_worker *w = p->workers; w; w = w->next) {
            offered += w->offered;
            in_flight += w->in_flight;
        }
        REQUIRE(p->offered == offered && p->in_flight == in_flight);
        REQUIRE(!p->queue.count || !workers_pick(p, 0));
        queued += p->queue.count;
    }
    struct core_stats stats = core_stats(r->w.core);
    /* One ask may wait in the queues of several providers. */
    REQUIRE(stats.queued <= queued && queued <= 2 * stats.queued);
    REQUIRE(stats.queued <= QUEUE_MAX && stats.queued <= stats.asks && stats.asks <= r->next);
    for (unsigned i = 0; i < WORKERS; i++)
        check_worker(r, i);
    listen(r);
}

/* ---- what an edge does ---- */

static void send_ask(struct run *r, unsigned id)
{
    struct asked *a = &r->asked[id];
    struct ask m = {
        .model = span_str(models[a->model]),
        .key_id = id & 1 ? SPAN("key_1") : SPAN("key_2"),
        .response_id = a->model == 3 ? SPAN("resp") : SPAN_NONE,
        .wanted = a->wanted,
        .trail = a->has_trail ? span_of((const char *)a->trail, TRAIL_BYTES) : SPAN_NONE,
        .failed_class = a->failed_class,
        .failed_sent = a->failed_sent,
        .failed_endpoint = a->endpoint,
        .failed_worker = span_str(a->worker),
        .busy = a->busy,
        .free = a->free,
    };
    if (!r->edges[a->edge])
        return;
    a->answers_due++;
    world_ask_as(&r->w, r->edges[a->edge], id + 1, a->attempt, &m, 500 + 500 * (id % 8));
}

static void ask(struct run *r, unsigned who)
{
    if (r->next == REQUESTS || !r->edges[who & 1])
        return;
    r->asked[r->next] = (struct asked){
        .edge = who & 1, .attempt = 1, .model = who >> 1 & 3, .wanted = who >> 3 & 7};
    send_ask(r, r->next++);
}

static void leave(struct run *r, unsigned id)
{
    struct asked *a = &r->asked[id];
    if (!r->edges[a->edge])
        return;
    a->answers_due = 0;
    world_cancel(&r->w, r->edges[a->edge], id + 1);
}

static void report(struct run *r, struct held *g, const struct grant_report *what)
{
    uint32_t before[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++)
        before[i] = r->workers[i] ? r->workers[i]->in_flight : 0;
    if (!r->edges[g->edge])
        return;
    if (what == &g->now)
        g->told = running(what);
    world_report(&r->w, r->edges[g->edge], what, 1);
    /* News of attempts under a renewed grant, which has fewer slots now. */
    const struct broker_worker *w = r->workers[g->worker];
    if (w && w->in_flight > before[g->worker])
        r->most[g->worker] = w->in_flight;
}

static bool may_start(const struct run *r, const struct held *g)
{
    bool used = g->standing ? running(&g->now) >= g->slots : g->now.started > 0;
    return g->is && !used && !g->revoked && !g->now.closed && world_now(&r->w) < g->until_us;
}

/* One attempt's end: what the class says to the breaker and to the next ask. */
static void fail_attempt(struct run *r, struct held *g, unsigned what)
{
    static const unsigned classes[] = {ERROR_UPSTREAM_OVERLOADED, ERROR_UPSTREAM_RESET,
                                       ERROR_UPSTREAM_BAD_REQUEST, ERROR_WORKER_REFUSED,
                                       ERROR_WORKER_LOST, ERROR_UPSTREAM_ERROR,
                                       ERROR_UPSTREAM_NOT_FOUND, ERROR_UPSTREAM_AUTH};
    if (!running(&g->now) || g->request < 0)
        return;
    struct asked *a = &r->asked[g->request];
    g->now.failed++;
    g->now.closed |= !g->standing;
    a->attempt++;
    a->busy = a->free = 0;
    a->failed_class = classes[what & 7];
    a->failed_sent = what & 8;
    a->endpoint = what & 1;
    a->has_trail = true;
    memcpy(a->trail, g->trail, sizeof a->trail);
    (void)snprintf(a->worker, sizeof a->worker, "worker-%u", g->worker);
    if (what & 4)
        report(r, g, &g->now);
    check(r);
    send_ask(r, (unsigned)g->request);
}

static void busy(struct run *r, struct held *g, unsigned what)
{
    if (!running(&g->now) || g->request < 0)
        return;
    struct asked *a = &r->asked[g->request];
    g->now.canceled++;
    g->now.closed |= !g->standing;
    a->busy++;
    a->free = what & 3;
    (void)snprintf(a->worker, sizeof a->worker, "worker-%u", g->worker);
    report(r, g, &g->now);
    check(r);
    send_ask(r, (unsigned)g->request);
}

static void use(struct run *r, struct held *g, unsigned how)
{
    struct grant_report *n = &g->now;
    bool runs = running(n) > 0;
    if (how & 8)
        g->early = *n;
    switch (how & 7) {
    case 0:
    case 1:
    case 2:
        n->started += may_start(r, g);
        break;
    case 3:
        n->committed += n->committed < n->started;
        break;
    case 4:
        n->ok += runs;
        break;
    case 5:
        n->canceled += runs;
        break;
    case 6:
        n->failed += runs;
        break;
    case 7:
        n->closed = true;
        break;
    }
}

/* ---- what workers do, and who comes and goes ---- */

static void slots(struct run *r, unsigned n, unsigned what)
{
    uint64_t runs = 0;
    for (uint64_t i = 1; i <= r->numbers; i++)
        runs += r->held[i].worker == n ? running(&r->held[i].now) : 0;
    if (!r->workers[n])
        r->workers[n] = world_worker(&r->w, n ? "b" : "a", n, what & 7);
    else
        world_slots(&r->w, r->workers[n], what & 7, what & 128 ? what >> 4 & 7 : (uint32_t)runs);
}

static void worker_goes(struct run *r, unsigned n)
{
    if (r->workers[n])
        world_worker_down(&r->w, &r->workers[n]);
    r->most[n] = 0;
}

static void edge_goes(struct run *r, unsigned edge)
{
    if (!r->edges[edge])
        return;
    for (unsigned i = 0; i < r->next; i++)
        r->asked[i].answers_due = r->asked[i].edge == edge ? 0 : r->asked[i].answers_due;
    for (uint64_t i = 1; i <= r->numbers; i++)
        if (r->held[i].edge == edge)
            r->held[i] = (struct held){.slots = r->held[i].slots};
    world_edge_down(&r->w, &r->edges[edge]);
}

static void reload(struct run *r)
{
    REQUIRE(router_renew(&r->w.router, r->w.config, r->w.workers, world_now(&r->w)) == OK);
    world_rules(&r->w, NULL);
}

static void hostile_report(struct run *r, unsigned what, unsigned who)
{
    uint64_t many = what & 64 ? UINT64_MAX : 5;
    struct grant_report g = {.number = r->hostile && r->numbers ? 1 + who % r->numbers : 1000000};
    g.started = many;
    *(what & 16 ? &g.ok : &g.failed) = what & 32 ? many : 0;
    if (r->edges[who & 1])
        world_report(&r->w, r->edges[who & 1], &g, 1);
}

static void event(struct run *r, unsigned what, unsigned who)
{
    unsigned id = r->next ? who % r->next : 0, worker = (what >> 4) % WORKERS;
    struct held *g = r->numbers ? &r->held[r->numbers - who % r->numbers] : NULL;
    r->w.chance = who * 0x1010101u;
    switch (what & 15) {
    case 0:
    case 1:
        ask(r, who);
        break;
    case 2:
        if (r->next)
            send_ask(r, id);
        break;
    case 3:
        slots(r, worker, who);
        break;
    case 4:
        if (what > 200)
            worker_goes(r, worker);
        else if (r->next)
            leave(r, id);
        break;
    case 5:
        world_advance(&r->w, who * 8);
        break;
    case 6:
        if (what > 200)
            edge_goes(r, who & 1);
        else if (!r->edges[who & 1])
            r->edges[who & 1] = world_edge(&r->w, FIRST_EDGE + (who & 1));
        break;
    case 7:
        if (r->edges[who & 1])
            world_renew(&r->w, r->edges[who & 1], models[who >> 1 & 3], who >> 3 & 7);
        break;
    case 8:
        if (what > 200)
            reload(r);
        else
            hostile_report(r, what, who);
        break;
    case 9:
        if (r->edges[who & 1])
            world_stored(&r->w, r->edges[who & 1], "resp", who & 2 ? "key_1" : "key_2",
                         who & 4 ? "a" : "b", who >> 4);
        break;
    case 10:
        if (g && g->is)
            fail_attempt(r, g, what >> 4);
        break;
    case 11:
        if (g && g->is)
            busy(r, g, what >> 4);
        break;
    case 12:
        if (g && g->is)
            report(r, g, what & 128 ? &g->early : &g->now);
        break;
    default:
        if (g && g->is)
            use(r, g, what >> 4);
        break;
    }
    check(r);
}

/* ---- in the end ---- */

static void end_all(struct run *r)
{
    for (uint64_t i = 1; i <= r->numbers; i++) {
        struct held *g = &r->held[i];
        g->now.ok += running(&g->now);
        g->now.committed = g->now.started;
        g->now.closed = true;
        if (g->is)
            report(r, g, &g->now);
    }
    check(r);
}

/* A breaker that waits for a probe that is gone would keep its target away for ever. */
static void check_breakers(const struct run *r)
{
    for (size_t i = 0; i < 3; i++) {
        const struct model_route *route = router_find(r->w.router, span_str(models[i]));
        for (size_t k = 0; k < route->target_count; k++)
            REQUIRE(route->targets[k].breaker.state != BREAKER_PROBING);
    }
}

static void finish(struct run *r)
{
    uint32_t kept = 0;
    /* Every deadline passes; what was never said to run is forgotten. */
    world_advance(&r->w, 45000);
    check(r);
    struct core_stats stats = core_stats(r->w.core);
    for (uint64_t i = 1; i <= r->numbers; i++)
        kept += r->held[i].is && r->held[i].told > 0;
    REQUIRE(stats.asks == 0 && stats.queued == 0 && (r->hostile || stats.grants <= kept));
    for (unsigned i = 0; i < r->next; i++)
        REQUIRE(r->asked[i].answers_due == 0);
    end_all(r);
    if (!r->hostile)
        REQUIRE(core_stats(r->w.core).grants == 0);
    for (unsigned i = 0; i < EDGES; i++)
        edge_goes(r, i);
    check(r);
    stats = core_stats(r->w.core);
    REQUIRE(stats.asks == 0 && stats.queued == 0 && stats.grants == 0);
    for (struct pool *p = workers_first_pool(r->w.workers); p; p = p->next)
        REQUIRE(p->in_flight == 0);
    REQUIRE(core_next_due_us(r->w.core) == UINT64_MAX);
    check_breakers(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run r;
    static struct config *config; /* read once: it is what takes longest */
    config = config ? config : test_config(yaml);
    /* What the last run has left: the rest is large. */
    memset(r.held, 0, (r.numbers + 1) * sizeof r.held[0]);
    memset(&r.hostile, 0, offsetof(struct run, held) - offsetof(struct run, hostile));
    world_open_with(&r.w, config_retain(config));
    for (unsigned i = 0; i < EDGES; i++)
        r.edges[i] = world_edge(&r.w, FIRST_EDGE + i);
    r.hostile = size && data[0] & 1;
    slots(&r, 0, 2);
    for (size_t i = 1; i + 1 < size && i < 2 * MOST_EVENTS; i += 2)
        event(&r, data[i], data[i + 1]);
    finish(&r);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_goes(&r, i);
    world_close(&r.w);
    return 0;
}
