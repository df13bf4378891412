/* Any order of events on the broker's table of requests: requests, answers, failures, slots, peers
 * that come and go, time. Invariants after each: no worker has more than it ever offered, the sums
 * of a pool are those of its workers, what is counted as queued is queued, a breaker that waits for
 * its probe has one; and in the end every
 * request has heard exactly one end, and no slot is leaked.
 *
 * Input: two bytes for each event: what, and who. */
#include "fuzz/fuzz.h"
#include "proto/error_class.h"
#include "services/broker/request.h"
#include "unit/services/broker/test_world.h"

enum { WORKERS = 3, EDGES = 2, REQUESTS = 48, FIRST_EDGE = 10, MOST_EVENTS = 400 };

struct run {
    struct world w;
    struct broker_worker *workers[WORKERS];
    struct broker_edge *edges[EDGES];
    uint32_t most[WORKERS]; /* slots it has ever offered: a lower offer lets what runs end */
    unsigned next;          /* request */
    unsigned edge_of[REQUESTS];
    bool cancelled[REQUESTS];
    unsigned ends[REQUESTS];
};

static const char yaml[] =
    "providers:\n  a: {type: openai, api_keys: [x], endpoints: [\"https://a.example/v1\"]}\n"
    "  b: {type: anthropic, api_keys: [x]}\n"
    "models:\n  m: {targets: [{provider: a}, {provider: b}], fallbacks: [n]}\n"
    "  n: {targets: [{provider: b}]}\n"
    "broker: {breaker_failures: 2, breaker_open: 1s, queue_size: 8, queue_timeout: 2s, "
    "worker_grace: 1s}\n";

static unsigned id_of(const struct sent *s)
{
    unsigned n;
    memcpy(&n, s->h.id.bytes, sizeof n);
    return n;
}

static bool is_end(const struct sent *s)
{
    return s->type == MESSAGE_END || s->type == MESSAGE_REPLY || s->type == MESSAGE_FAIL;
}

static void listen(struct run *r)
{
    for (const struct sent *s; (s = world_next(&r->w));)
        if (is_end(s) && s->to >= world_peer(FIRST_EDGE))
            REQUIRE(++r->ends[id_of(s)] == 1);
    r->w.sent_count = r->w.read = 0;
}

/* A breaker that waits for its probe has one running: else its target would stay shut for ever. */
static void check_breaker(const struct run *r, const struct target *target)
{
    const struct broker_request *request;
    unsigned probes = 0;
    for (request = r->w.requests->by_id; request; request = request->hh.next)
        probes += request->probe && request->worker && request_candidate(request)->target == target;
    REQUIRE(target->breaker.state != BREAKER_PROBING || probes > 0);
}

static void check_breakers(const struct run *r)
{
    static const char *const models[] = {"m", "n"};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        const struct model_route *route = router_find(r->w.router, span_str(models[i]));
        for (size_t k = 0; k < route->target_count; k++)
            check_breaker(r, &route->targets[k]);
    }
}

static void check(struct run *r)
{
    check_breakers(r);
    uint32_t queued = 0;
    for (struct pool *p = workers_first_pool(r->w.workers); p; p = p->next) {
        uint32_t offered = 0, in_flight = 0;
        for (struct broker_worker *w = p->workers; w; w = w->next) {
            offered += w->offered;
            in_flight += w->in_flight;
        }
        REQUIRE(p->offered == offered && p->in_flight == in_flight);
        queued += p->queue.count;
    }
    struct requests_stats stats = requests_stats(r->w.requests);
    /* one request may wait in the queues of several providers */
    REQUIRE(stats.queued <= queued && queued <= 2 * stats.queued && stats.queued <= 8);
    for (unsigned i = 0; i < WORKERS; i++)
        if (r->workers[i])
            REQUIRE(r->workers[i]->in_flight <= r->most[i]);
    listen(r);
}

/* What a worker says about the request: of any attempt, right or stale. */
static void from_worker(struct run *r, struct broker_worker *w, unsigned id, unsigned what)
{
    static const unsigned types[] = {MESSAGE_HEAD, MESSAGE_DATA, MESSAGE_END, MESSAGE_REPLY};
    unsigned attempt = 1 + (what >> 3) % 3;
    if (what & 4) {
        static const unsigned classes[] = {ERROR_UPSTREAM_OVERLOADED, ERROR_UPSTREAM_RESET,
                                           ERROR_UPSTREAM_BAD_REQUEST, ERROR_WORKER_REFUSED};
        struct fail f = {.error_class = classes[what & 3], .sent = what & 32, .final = what & 64};
        world_fail(&r->w, w, id, attempt, f);
    } else {
        world_from_worker(&r->w, w, id, attempt, types[what & 3], what >> 5);
    }
}

static void slots(struct run *r, unsigned n, unsigned what)
{
    uint32_t offered = what % 4;
    if (!r->workers[n])
        r->workers[n] = world_worker(&r->w, n ? "b" : "a", n, offered);
    else
        requests_on_slots(r->w.requests, r->workers[n], offered, SPAN_NONE, world_now(&r->w));
    r->most[n] = offered > r->most[n] ? offered : r->most[n];
}

static void ask(struct run *r, unsigned what)
{
    static const char *const models[] = {"m", "n"};
    static const char *const keys[] = {"key_1", "key_2"};
    unsigned edge = what & 1;
    if (r->next == REQUESTS || !r->edges[edge])
        return;
    r->edge_of[r->next] = edge;
    world_request(&r->w, r->edges[edge], r->next++, keys[what >> 1 & 1], models[what >> 2 & 1],
                  500 + 100 * (what >> 3));
}

static void leave(struct run *r, unsigned id)
{
    if (!r->edges[r->edge_of[id]])
        return;
    r->cancelled[id] = true;
    world_from_edge(&r->w, r->edges[r->edge_of[id]], id, MESSAGE_CANCEL, 1000);
}

static void edge_goes(struct run *r, unsigned edge)
{
    if (!r->edges[edge])
        return;
    for (unsigned i = 0; i < r->next; i++)
        r->cancelled[i] |= r->edge_of[i] == edge;
    requests_edge_down(r->w.requests, &r->edges[edge], world_now(&r->w));
}

static void event(struct run *r, unsigned what, unsigned who)
{
    unsigned id = r->next ? who % r->next : 0;
    unsigned worker = (what >> 4) % WORKERS;
    switch (what % 12) {
    case 0:
    case 1:
    case 2:
        ask(r, who);
        break;
    case 3:
        slots(r, worker, who);
        break;
    case 4:
        if (r->workers[worker] && what > 200) {
            requests_worker_down(r->w.requests, &r->workers[worker], world_now(&r->w));
            r->most[worker] = 0;
        }
        break;
    case 5:
        if (r->next)
            leave(r, id);
        break;
    case 6:
        world_advance(&r->w, who);
        break;
    case 7:
        if (what > 220)
            edge_goes(r, who & 1);
        else if (!r->edges[who & 1])
            r->edges[who & 1] = world_edge(&r->w, FIRST_EDGE + (who & 1));
        break;
    default:
        if (r->workers[worker] && r->next)
            from_worker(r, r->workers[worker], id, what >> 4 ^ who);
        break;
    }
    check(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct run r;
    r = (struct run){0};
    world_open(&r.w, yaml);
    for (unsigned i = 0; i < EDGES; i++)
        r.edges[i] = world_edge(&r.w, FIRST_EDGE + i);
    slots(&r, 0, 2);
    for (size_t i = 0; i + 1 < size && i < 2 * MOST_EVENTS; i += 2)
        event(&r, data[i], data[i + 1]);
    /* Every deadline passes: nothing may be left. */
    world_advance(&r.w, 45000);
    check(&r);
    REQUIRE(requests_stats(r.w.requests).requests == 0 && requests_stats(r.w.requests).queued == 0);
    for (struct pool *p = workers_first_pool(r.w.workers); p; p = p->next)
        REQUIRE(p->in_flight == 0);
    for (unsigned i = 0; i < r.next; i++)
        REQUIRE(r.ends[i] == 1 || (r.cancelled[i] && r.ends[i] == 0));
    for (unsigned i = 0; i < EDGES; i++)
        requests_edge_down(r.w.requests, &r.edges[i], world_now(&r.w));
    for (unsigned i = 0; i < WORKERS; i++)
        requests_worker_down(r.w.requests, &r.workers[i], world_now(&r.w));
    world_close(&r.w);
    return 0;
}
