/* Whatever happens in whatever order: every ask that was not cancelled has exactly one answer, and
 * nothing is left behind. */
#include "unit/services/broker/test_core.h"

#include "proto/error_class.h"

enum { EDGE = 1, W1 = 11, REQUESTS = 600, ATTEMPTS = 5 };

static const char yaml[] =
    "providers: { openai: { api_keys: [a, b] }, anthropic: { api_keys: [c] }, replicate: { "
    "api_keys: [d] } }\n"
    "models:\n"
    "  plain: { targets: [{provider: openai, model: gpt-real}] }\n"
    "  safe: { targets: [{provider: openai}], fallbacks: [other] }\n"
    "  other: { targets: [{provider: anthropic, model: claude}] }\n"
    "  both: { targets: [{provider: openai}, {provider: anthropic}] }\n"
    "  paid: { targets: [{provider: replicate}] }\n"
    "broker: { queue_size: 20, queue_timeout: 1s, worker_grace: 500ms, breaker_failures: 3 }\n";

struct storm {
    struct world w;
    struct broker_edge *edge;
    struct broker_worker *workers[3];
    uint32_t dice;
    unsigned asked[REQUESTS + 1][ATTEMPTS], answers[REQUESTS + 1][ATTEMPTS];
    bool cancelled[REQUESTS + 1];
};

static void weather(struct storm *s)
{
    static const char *const providers[] = {"openai", "anthropic", "replicate"};
    unsigned i = s->dice >> 30 < 3 ? s->dice >> 30 : 0;
    if (s->workers[i] && (s->dice >> 20 & 31) == 0)
        world_worker_down(&s->w, &s->workers[i]);
    else if (!s->workers[i])
        s->workers[i] = world_worker(&s->w, providers[i], W1 + i, 3);
    else
        world_slots(&s->w, s->workers[i], s->dice >> 16 & 7, 0);
}

static void ask(struct storm *s, unsigned id)
{
    static const char *const models[] = {"plain", "safe", "both", "paid", "other"};
    struct ask m = {.model = span_str(models[id % 5]),
                    .key_id = s->dice & 64 ? SPAN("k1") : SPAN("k2"),
                    .wanted = s->dice >> 7 & 3};
    s->asked[id][1]++;
    world_ask_as(&s->w, s->edge, id, 1, &m, 3000);
    if ((s->dice >> 9 & 15) == 0) {
        s->cancelled[id] = true;
        world_cancel(&s->w, s->edge, id);
    }
}

/* One of: never said anything of, ended well, given back, failed and asked about again. */
static void use(struct storm *s, const struct sent *g, unsigned id)
{
    static const unsigned classes[] = {ERROR_UPSTREAM_RESET, ERROR_UPSTREAM_OVERLOADED,
                                       ERROR_UPSTREAM_BAD_REQUEST, ERROR_WORKER_LOST};
    struct ask failed = {.failed_class = classes[(s->dice >> 3 ^ id) % 4], .failed_sent = id & 8};
    switch ((s->dice >> 12 ^ id) % 5) {
    case 0:
        break;
    case 1:
        world_done(&s->w, s->edge, g);
        break;
    case 2:
        world_return(&s->w, s->edge, g);
        break;
    default:
        if (g->h.attempt + 1u < ATTEMPTS)
            s->asked[id][g->h.attempt + 1]++;
        world_fail(&s->w, s->edge, g, failed);
        break;
    }
}

static void listen(struct storm *s)
{
    for (const struct sent *next; (next = world_next(&s->w));) {
        unsigned id;
        struct sent m = *next;
        memcpy(&id, m.h.id.bytes, sizeof id);
        if (!id)
            continue;
        assert_true(id <= REQUESTS && m.h.attempt && m.h.attempt < ATTEMPTS);
        s->answers[id][m.h.attempt]++;
        if (m.type == MESSAGE_GRANT)
            use(s, &m, id);
    }
    s->w.read = s->w.sent_count = 0;
}

static void every_ask_has_exactly_one_answer_in_a_storm_of_everything(void **state)
{
    (void)state;
    static struct storm s;
    world_open(&s.w, yaml);
    s.edge = world_edge(&s.w, EDGE);
    s.dice = 7;
    for (unsigned id = 1; id <= REQUESTS; id++) {
        s.dice = s.dice * 1664525u + 1013904223u;
        s.w.chance = s.dice;
        weather(&s);
        ask(&s, id);
        world_advance(&s.w, s.dice >> 5 & 63);
        listen(&s);
    }
    for (unsigned i = 0; i < 10; i++) {
        world_advance(&s.w, 2000);
        listen(&s);
    }
    for (unsigned id = 1; id <= REQUESTS; id++)
        for (unsigned attempt = 1; attempt < ATTEMPTS; attempt++)
            if (s.answers[id][attempt] > s.asked[id][attempt] ||
                (s.answers[id][attempt] < s.asked[id][attempt] && !s.cancelled[id]))
                fail_msg("attempt %u of request %u was asked about %u times, answered %u times",
                         attempt, id, s.asked[id][attempt], s.answers[id][attempt]);
    world_expect_idle(&s.w);
    world_edge_down(&s.w, &s.edge);
    world_close(&s.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ask_has_exactly_one_answer_in_a_storm_of_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
