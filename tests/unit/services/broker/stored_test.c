/* Asks about stored responses: where they go, whom they are for. */
#include "unit/services/broker/test_core.h"

#include <stdio.h>

#include "proto/api.h"
#include "proto/error_class.h"

enum { EDGE = 1, W1 = 11, W2 = 12, W3 = 13 };

static const char yaml[] =
    "providers:\n"
    "  openai: { api_keys: [a, b] }\n"
    "  anthropic: { api_keys: [c] }\n"
    "  other: { type: openai, api_keys: [d], endpoints: [\"https://a.example/v1\"] }\n"
    "models:\n"
    "  gpt: { targets: [{provider: openai}, {provider: other}] }\n"
    "  alone: { targets: [{provider: openai}] }\n"
    "  claude: { targets: [{provider: anthropic}] }\n"
    "broker: { worker_grace: 2s }\n";

static const char not_found[] = "Response with id 'resp_1' not found.";

static struct world world;
static struct broker_edge *edge;

static int set_up(void **state)
{
    world_open(&world, yaml);
    *state = &world;
    edge = world_edge(&world, EDGE);
    world_worker(&world, "openai", W1, 4);
    return 0;
}

static int tear_down(void **state)
{
    world_edge_down(&world, &edge);
    world.read = world.sent_count;
    world_expect_idle(&world);
    world_close(*state);
    return 0;
}

static struct ask about(const char *key, const char *model, const char *response_id)
{
    return (struct ask){.api = API_OPENAI_RESPONSES,
                        .model = span_str(model),
                        .key_id = span_str(key),
                        .response_id = span_str(response_id),
                        .wanted = 5};
}

static void ask_for(struct world *w, unsigned id, const char *key, const char *model,
                    const char *response_id)
{
    struct ask m = about(key, model, response_id);
    world_ask_as(w, edge, id, 1, &m, 0);
}

/* Ann's "resp_1", made at the first provider by its second key. */
static void make_one(struct world *w)
{
    world_stored(w, edge, "resp_1", "ann", "openai", 1);
}

/* It is not there, says the endpoint. */
static void miss(struct world *w, const struct sent *grant, const char *response_id,
                 uint32_t endpoint)
{
    struct ask m = about("ann", "", response_id);
    m.failed_class = ERROR_UPSTREAM_NOT_FOUND;
    m.failed_sent = true;
    m.failed_endpoint = endpoint;
    world_fail(w, edge, grant, m);
}

static const struct sent *next_attempt(struct world *w, unsigned id, unsigned n)
{
    world_advance(w, 0); /* without a backoff */
    return world_expect_grant(w, EDGE, id, n);
}

static void it_is_asked_for_where_it_was_made(void **state)
{
    struct world *w = *state;
    make_one(w);
    world_worker(w, "other", W2, 4);
    ask_for(w, 2, "ann", "", "resp_1");
    const struct sent *g = world_expect_grant(w, EDGE, 2, W1);
    assert_int_equal(g->stored_endpoint, 2);
    assert_false(g->standing);
    world_done(w, edge, g);
    world_expect_idle(w);
}

static void one_that_is_gone_is_looked_for_nowhere_else(void **state)
{
    struct world *w = *state;
    make_one(w);
    world_worker(w, "other", W2, 4);
    ask_for(w, 2, "ann", "", "resp_1");
    miss(w, world_expect_grant(w, EDGE, 2, W1), "resp_1", 1);
    const struct sent *d = world_expect_decline(w, EDGE, 2, ERROR_NOT_FOUND);
    assert_string_equal(d->message, not_found);
    assert_int_equal(d->h.attempt, 2);
    world_expect_idle(w);
}

static void another_key_gets_404_in_the_same_words(void **state)
{
    struct world *w = *state;
    make_one(w);
    ask_for(w, 2, "bob", "", "resp_1");
    assert_string_equal(world_expect_decline(w, EDGE, 2, ERROR_NOT_FOUND)->message, not_found);
    world_expect_idle(w);
}

static void another_key_cannot_continue_it(void **state)
{
    struct world *w = *state;
    make_one(w);
    ask_for(w, 2, "bob", "gpt", "resp_1");
    const struct sent *d = world_expect_decline(w, EDGE, 2, ERROR_BAD_REQUEST);
    assert_string_equal(d->code, "previous_response_not_found");
    assert_string_equal(d->param, "previous_response_id");
    assert_string_equal(d->message, "Previous response with id 'resp_1' not found.");
}

static void a_long_id_is_cut_off_in_what_is_said(void **state)
{
    struct world *w = *state;
    char id[2000];
    memset(id, 'r', sizeof id - 1);
    id[sizeof id - 1] = 0;
    world_stored(w, edge, id, "ann", "openai", 0);
    ask_for(w, 2, "bob", "", id);
    size_t n = strlen(world_expect_decline(w, EDGE, 2, ERROR_NOT_FOUND)->message);
    assert_in_range(n, 150, 200);
}

static void it_is_continued_where_it_was_made(void **state)
{
    struct world *w = *state;
    make_one(w);
    world_worker(w, "other", W2, 4);
    for (unsigned id = 2; id < 5; id++) {
        w->chance = UINT32_MAX / 4 * (id - 1); /* whatever the weights say */
        ask_for(w, id, "ann", "gpt", "resp_1");
        assert_int_equal(world_expect_grant(w, EDGE, id, W1)->stored_endpoint, 2);
    }
}

static void one_about_a_stored_response_gets_no_standing_grant(void **state)
{
    struct world *w = *state;
    make_one(w);
    ask_for(w, 2, "ann", "alone", "resp_1");
    assert_false(world_expect_grant(w, EDGE, 2, W1)->standing);
    ask_for(w, 3, "ann", "alone", "");
    assert_true(world_expect_grant(w, EDGE, 3, W1)->standing);
}

static void an_unknown_one_is_looked_for_behind_every_key_of_every_provider(void **state)
{
    struct world *w = *state;
    world_worker(w, "other", W2, 4);
    world_worker(w, "anthropic", W3, 4);
    ask_for(w, 1, "ann", "", "resp_9");
    const struct sent *g = world_expect_grant(w, EDGE, 1, W1);
    assert_string_equal(g->avoid, "");
    assert_int_equal(g->stored_endpoint, 0);
    miss(w, g, "resp_9", 0);
    g = next_attempt(w, 1, W1);
    assert_string_equal(g->avoid, "0");
    miss(w, g, "resp_9", 1);
    g = next_attempt(w, 1, W2);
    assert_string_equal(g->avoid, "");
    assert_int_equal(g->h.attempt, 3);
    miss(w, g, "resp_9", 0);
    const struct sent *d = world_expect_decline(w, EDGE, 1, ERROR_NOT_FOUND);
    assert_string_equal(d->message, "Response with id 'resp_9' not found.");
    assert_int_equal(w->retried, 0);
    world_expect_idle(w);
}

static void another_broker_searches_on_where_the_trail_ends(void **state)
{
    struct world *w = *state;
    static struct world other;
    world_open(&other, yaml);
    struct broker_edge *mine = edge, *there = world_edge(&other, EDGE);
    world_worker(&other, "openai", W1, 4);
    world_worker(&other, "other", W2, 4);
    ask_for(w, 1, "ann", "", "resp_9");
    miss(w, world_expect_grant(w, EDGE, 1, W1), "resp_9", 0);
    const struct sent *g = next_attempt(w, 1, W1);
    edge = there;
    miss(&other, g, "resp_9", 1);
    g = next_attempt(&other, 1, W2);
    miss(&other, g, "resp_9", 0);
    world_expect_decline(&other, EDGE, 1, ERROR_NOT_FOUND);
    edge = mine;
    world_edge_down(&other, &there);
    world_close(&other);
}

static void what_was_missed_counts_as_no_attempt(void **state)
{
    struct world *w = *state;
    world_worker(w, "other", W2, 4);
    ask_for(w, 1, "ann", "", "resp_9");
    miss(w, world_expect_grant(w, EDGE, 1, W1), "resp_9", 0);
    miss(w, next_attempt(w, 1, W1), "resp_9", 1);
    /* The third attempt by number is the first that fails. */
    struct ask m = about("ann", "", "resp_9");
    m.failed_class = ERROR_UPSTREAM_OVERLOADED;
    world_fail(w, edge, next_attempt(w, 1, W2), m);
    world_advance(w, 2000);
    assert_int_equal(world_expect_grant(w, EDGE, 1, W2)->h.attempt, 4);
}

static void the_search_ends_where_it_is_found(void **state)
{
    struct world *w = *state;
    ask_for(w, 1, "ann", "", "resp_9");
    miss(w, world_expect_grant(w, EDGE, 1, W1), "resp_9", 0);
    world_done(w, edge, next_attempt(w, 1, W1));
    /* Finding it has made nobody its owner. */
    ask_for(w, 2, "bob", "", "resp_9");
    world_expect_grant(w, EDGE, 2, W1);
}

static void a_worker_that_knows_another_owner_ends_the_search(void **state)
{
    struct world *w = *state;
    world_worker(w, "other", W2, 4);
    ask_for(w, 1, "ann", "", "resp_1");
    struct ask m = about("ann", "", "resp_1");
    m.failed_class = ERROR_NOT_FOUND;
    world_fail(w, edge, world_expect_grant(w, EDGE, 1, W1), m);
    assert_string_equal(world_expect_decline(w, EDGE, 1, ERROR_NOT_FOUND)->message, not_found);
}

static void after_a_reload_only_the_provider_is_known(void **state)
{
    struct world *w = *state;
    make_one(w);
    world_worker(w, "other", W2, 4);
    world_reload(w, yaml);
    ask_for(w, 2, "ann", "", "resp_1");
    const struct sent *g = world_expect_grant(w, EDGE, 2, W1);
    assert_int_equal(g->stored_endpoint, 0);
    miss(w, g, "resp_1", 0);
    g = next_attempt(w, 2, W1);
    assert_string_equal(g->avoid, "0");
    miss(w, g, "resp_1", 1);
    world_expect_decline(w, EDGE, 2, ERROR_NOT_FOUND);
}

static void the_first_owner_stays_and_any_edge_may_ask(void **state)
{
    struct world *w = *state;
    struct broker_edge *other = world_edge(w, EDGE + 1);
    make_one(w);
    world_stored(w, other, "resp_1", "bob", "other", 0);
    struct ask m = about("ann", "", "resp_1");
    world_ask_as(w, other, 1, 1, &m, 0);
    world_expect_grant(w, EDGE + 1, 1, W1);
    ask_for(w, 2, "bob", "", "resp_1");
    world_expect_decline(w, EDGE, 2, ERROR_NOT_FOUND);
    world_edge_down(w, &other);
}

static void nobody_keeps_responses_is_not_found_either(void **state)
{
    struct world *w = *state;
    world_reload(w, "providers: { anthropic: { api_keys: [c] } }\n"
                    "models: { claude: { targets: [{provider: anthropic}] } }\n");
    ask_for(w, 1, "ann", "", "resp_1");
    assert_string_equal(world_expect_decline(w, EDGE, 1, ERROR_NOT_FOUND)->message, not_found);
}

static void a_search_has_an_end(void **state)
{
    struct world *w = *state;
    char many[4000] = "providers:\n";
    for (unsigned i = 0; i < 40; i++) {
        size_t n = strlen(many);
        (void)snprintf(many + n, sizeof many - n, "  p%u: { type: openai, api_keys: [a, b] }\n", i);
    }
    strncat(many, "models: { m: { targets: [{provider: p0}] } }\n", sizeof many - 1 - strlen(many));
    world_reload(w, many);
    for (unsigned i = 0; i < 40; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "p%u", i);
        (void)world_worker(w, name, 20 + i, 1);
    }
    ask_for(w, 1, "ann", "", "resp_9");
    unsigned attempts = 1;
    const struct sent *s = world_next(w);
    for (; s && s->type == MESSAGE_GRANT; attempts++) {
        miss(w, s, "resp_9", attempts % 2 ? 0 : 1);
        world_advance(w, 0);
        s = world_next(w);
    }
    assert_non_null(s);
    assert_int_equal(s->error_class, ERROR_NOT_FOUND);
    assert_in_range(attempts, 60, 70);
    world_expect_idle(w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_is_asked_for_where_it_was_made),
        TEST(one_that_is_gone_is_looked_for_nowhere_else),
        TEST(another_key_gets_404_in_the_same_words),
        TEST(another_key_cannot_continue_it),
        TEST(a_long_id_is_cut_off_in_what_is_said),
        TEST(it_is_continued_where_it_was_made),
        TEST(one_about_a_stored_response_gets_no_standing_grant),
        TEST(an_unknown_one_is_looked_for_behind_every_key_of_every_provider),
        TEST(another_broker_searches_on_where_the_trail_ends),
        TEST(what_was_missed_counts_as_no_attempt),
        TEST(the_search_ends_where_it_is_found),
        TEST(a_worker_that_knows_another_owner_ends_the_search),
        TEST(after_a_reload_only_the_provider_is_known),
        TEST(the_first_owner_stays_and_any_edge_may_ask),
        TEST(nobody_keeps_responses_is_not_found_either),
        TEST(a_search_has_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
