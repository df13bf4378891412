/* Requests about stored responses: where they go, whom they are for. */
#include "unit/services/broker/test_world.h"

#include "proto/error_class.h"

enum { EDGE = 1, W1 = 11, W2 = 12, W3 = 13 };

static const char yaml[] =
    "providers:\n"
    "  openai: { api_keys: [a, b] }\n"
    "  anthropic: { api_keys: [c] }\n"
    "  other: { type: openai, api_keys: [d], endpoints: [\"https://a.example/v1\"] }\n"
    "models:\n"
    "  gpt: { targets: [{provider: openai}, {provider: other}] }\n"
    "  claude: { targets: [{provider: anthropic}] }\n"
    "broker: { worker_grace: 2s }\n";

static struct world world;
static struct broker_edge *edge;
static struct broker_worker *openai, *other;

static int set_up(void **state)
{
    world_open(&world, yaml);
    *state = &world;
    edge = world_edge(&world, EDGE);
    openai = world_worker(&world, "openai", W1, 4);
    return 0;
}

static int tear_down(void **state)
{
    requests_edge_down(world.requests, &edge, world_now(&world));
    world_close(*state);
    return 0;
}

/* Ann's "resp_1", made at the first provider by its second key. */
static void make_one(struct world *w, unsigned type)
{
    world_ask_response(w, edge, 1, "ann", "gpt", "");
    const struct sent *d = world_expect(w, MESSAGE_DISPATCH, W1, 1);
    assert_int_equal(d->stored_endpoint, 0);
    world_made_response(w, openai, 1, type, "resp_1", 1);
    world_expect(w, type, EDGE, 1);
}

static const struct sent *next_attempt(struct world *w, unsigned peer, unsigned id)
{
    world_advance(w, 1);
    return world_expect(w, MESSAGE_DISPATCH, peer, id);
}

static void miss(struct world *w, struct broker_worker *from, unsigned id, unsigned attempt,
                 uint32_t endpoint)
{
    struct fail f = {.error_class = ERROR_UPSTREAM_NOT_FOUND, .sent = true, .endpoint = endpoint};
    world_fail(w, from, id, attempt, f);
}

static void it_is_asked_for_where_it_was_made(void **state)
{
    struct world *w = *state;
    static const unsigned types[] = {MESSAGE_REPLY, MESSAGE_HEAD};
    for (unsigned i = 0; i < 2; i++) {
        if (i)
            (void)tear_down(state), (void)set_up(state);
        make_one(w, types[i]);
        other = world_worker(w, "other", W2, 4);
        world_ask_response(w, edge, 2, "ann", "", "resp_1");
        const struct sent *d = world_expect(w, MESSAGE_DISPATCH, W1, 2);
        assert_int_equal(d->stored_endpoint, 2);
        assert_string_equal(d->response_id, "resp_1");
        world_from_worker(w, openai, 2, 1, MESSAGE_REPLY, 0);
        world_expect(w, MESSAGE_REPLY, EDGE, 2);
    }
}

static void one_that_is_gone_is_looked_for_nowhere_else(void **state)
{
    struct world *w = *state;
    make_one(w, MESSAGE_REPLY);
    other = world_worker(w, "other", W2, 4);
    world_ask_response(w, edge, 2, "ann", "", "resp_1");
    world_expect(w, MESSAGE_DISPATCH, W1, 2);
    miss(w, openai, 2, 1, 1);
    const struct sent *f = world_expect(w, MESSAGE_FAIL, EDGE, 2);
    assert_int_equal(f->error_class, ERROR_NOT_FOUND);
    assert_string_equal(f->message, "Response with id 'resp_1' not found.");
    assert_true(f->h.flags & HEADER_LAST);
    assert_int_equal(requests_stats(w->requests).requests, 0);
}

static void another_key_gets_404_in_the_same_words(void **state)
{
    struct world *w = *state;
    make_one(w, MESSAGE_REPLY);
    world_ask_response(w, edge, 2, "bob", "", "resp_1");
    const struct sent *f = world_expect(w, MESSAGE_FAIL, EDGE, 2);
    assert_int_equal(f->error_class, ERROR_NOT_FOUND);
    assert_string_equal(f->message, "Response with id 'resp_1' not found.");
}

static void another_key_cannot_continue_it(void **state)
{
    struct world *w = *state;
    make_one(w, MESSAGE_REPLY);
    world_ask_response(w, edge, 2, "bob", "gpt", "resp_1");
    const struct sent *f = world_expect(w, MESSAGE_FAIL, EDGE, 2);
    assert_int_equal(f->error_class, ERROR_BAD_REQUEST);
    assert_string_equal(f->code, "previous_response_not_found");
}

static void it_is_continued_where_it_was_made(void **state)
{
    struct world *w = *state;
    make_one(w, MESSAGE_REPLY);
    other = world_worker(w, "other", W2, 4);
    for (unsigned id = 2; id < 5; id++) {
        w->chance = UINT32_MAX / 4 * (id - 1); /* whatever the weights say */
        world_ask_response(w, edge, id, "ann", "gpt", "resp_1");
        assert_int_equal(world_expect(w, MESSAGE_DISPATCH, W1, id)->stored_endpoint, 2);
    }
}

static void an_unknown_one_is_looked_for_behind_every_key_of_every_provider(void **state)
{
    struct world *w = *state;
    other = world_worker(w, "other", W2, 4);
    (void)world_worker(w, "anthropic", W3, 4);
    world_ask_response(w, edge, 1, "ann", "", "resp_9");
    assert_string_equal(world_expect(w, MESSAGE_DISPATCH, W1, 1)->avoid, "");
    miss(w, openai, 1, 1, 0);
    assert_string_equal(next_attempt(w, W1, 1)->avoid, "0");
    miss(w, openai, 1, 2, 1);
    assert_string_equal(next_attempt(w, W2, 1)->avoid, "");
    miss(w, other, 1, 3, 0);
    const struct sent *f = world_expect(w, MESSAGE_FAIL, EDGE, 1);
    assert_int_equal(f->error_class, ERROR_NOT_FOUND);
    assert_int_equal(w->retried, 0);
    assert_int_equal(requests_stats(w->requests).requests, 0);
}

static void the_search_ends_where_it_is_found(void **state)
{
    struct world *w = *state;
    world_ask_response(w, edge, 1, "ann", "", "resp_9");
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    miss(w, openai, 1, 1, 0);
    next_attempt(w, W1, 1);
    world_from_worker(w, openai, 1, 2, MESSAGE_REPLY, 0);
    world_expect(w, MESSAGE_REPLY, EDGE, 1);
    /* finding it has made nobody its owner */
    world_ask_response(w, edge, 2, "bob", "", "resp_9");
    world_expect(w, MESSAGE_DISPATCH, W1, 2);
}

static void a_worker_that_knows_another_owner_ends_the_search(void **state)
{
    struct world *w = *state;
    other = world_worker(w, "other", W2, 4);
    world_ask_response(w, edge, 1, "ann", "", "resp_9");
    world_expect(w, MESSAGE_DISPATCH, W1, 1);
    world_fail(w, openai, 1, 1, (struct fail){.error_class = ERROR_NOT_FOUND});
    assert_int_equal(world_expect(w, MESSAGE_FAIL, EDGE, 1)->error_class, ERROR_NOT_FOUND);
}

static void after_a_reload_only_the_provider_is_known(void **state)
{
    struct world *w = *state;
    struct requests_rules rules = {.body_memory_max = 1 << 20, .queue_max = 4};
    make_one(w, MESSAGE_REPLY);
    other = world_worker(w, "other", W2, 4);
    requests_reconfigure(w->requests, &rules, w->router);
    world_ask_response(w, edge, 2, "ann", "", "resp_1");
    assert_int_equal(world_expect(w, MESSAGE_DISPATCH, W1, 2)->stored_endpoint, 0);
    miss(w, openai, 2, 1, 0);
    assert_string_equal(next_attempt(w, W1, 2)->avoid, "0");
    miss(w, openai, 2, 2, 1);
    assert_int_equal(world_expect(w, MESSAGE_FAIL, EDGE, 2)->error_class, ERROR_NOT_FOUND);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(it_is_asked_for_where_it_was_made),
        CASE(one_that_is_gone_is_looked_for_nowhere_else),
        CASE(another_key_gets_404_in_the_same_words),
        CASE(another_key_cannot_continue_it),
        CASE(it_is_continued_where_it_was_made),
        CASE(an_unknown_one_is_looked_for_behind_every_key_of_every_provider),
        CASE(the_search_ends_where_it_is_found),
        CASE(a_worker_that_knows_another_owner_ends_the_search),
        CASE(after_a_reload_only_the_provider_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
