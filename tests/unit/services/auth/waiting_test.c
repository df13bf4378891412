#include "unit/services/auth/test_support.h"

#include "services/auth/waiting.h"

static const uint8_t pepper[PEPPER_BYTES] = {4};

enum { EDGES = 2 };

struct fixture {
    struct config *config;
    struct limits limits;
    struct keys *keys;
    struct key *key;
    uint8_t digest[SHA256_BYTES];
    struct leases leases;
    struct slot_leases slots;
    struct reservations reservations;
    struct admission admission;
    struct waiting waiting;
    struct moment now;
    unsigned allowed, denied, called_back;
    uint64_t last_id; /* answered */
    enum error_class last_error;
    uint64_t given[EDGES];
    const void *asked_edge;
};

static const char edges[EDGES];

static void note_answer(void *ctx, const void *edge, const struct header *h,
                        const struct authorize *asked, const struct verdict *v)
{
    (void)asked;
    struct fixture *f = ctx;
    memcpy(&f->last_id, h->id.bytes + 8, sizeof f->last_id);
    *(v->allowed ? &f->allowed : &f->denied) += 1;
    if (v->allowed)
        f->given[(const char *)edge - edges] = v->allow.slots_given;
    else
        f->last_error = v->deny.error_class;
}

static void note_call(void *ctx, const void *edge, const struct slots_back *m)
{
    struct fixture *f = ctx;
    (void)m;
    f->called_back++;
    f->asked_edge = edge;
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.now = {START, 1790000000000}};
    f.config = test_config("providers:\n  openai: { api_keys: [x] }\n"
                           "models:\n  m: { targets: [{provider: openai}] }\n");
    limits_init(&f.limits);
    leases_init(&f.leases, &f.limits);
    slot_leases_init(&f.slots, note_call, &f);
    reservations_init(&f.reservations, &f.limits);
    assert_int_equal(keys_create(&f.keys, pepper, &f.limits), OK);
    f.key = test_key(f.keys, (struct key_attributes){.name = SPAN("a"), .concurrent = 2}, f.digest);
    f.admission = (struct admission){.keys = f.keys,
                                     .limits = &f.limits,
                                     .leases = &f.leases,
                                     .slots = &f.slots,
                                     .reservations = &f.reservations};
    assert_int_equal(admission_configure(&f.admission, f.config, 0), OK);
    f.waiting = (struct waiting){.admission = &f.admission, .answer = note_answer, .ctx = &f};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    waiting_free(&f->waiting);
    admission_free(&f->admission);
    reservations_free(&f->reservations);
    slot_leases_free(&f->slots);
    leases_free(&f->leases);
    keys_destroy(&f->keys);
    limits_free(&f->limits);
    config_destroy(&f->config);
    return 0;
}

static struct header header_of(uint64_t id)
{
    struct header h = {.deadline_ms = 30000};
    memcpy(h.id.bytes + 8, &id, sizeof id);
    return h;
}

static void ask(struct fixture *f, unsigned edge, uint64_t id)
{
    struct asker who = {.edge = &edges[edge], .edges = EDGES, .epoch = edge + 1};
    struct header h = header_of(id);
    struct authorize m = {.key_digest = span_of(f->digest, SHA256_BYTES), .model = SPAN("m")};
    waiting_on_authorize(&f->waiting, &who, &h, &m, f->now);
}

/* The edge returns all but `kept` of what it was given. */
static void give_back(struct fixture *f, unsigned edge, uint64_t kept)
{
    struct slot_party who = {&edges[edge], edge + 1, f->key, span_of(f->digest, SHA256_BYTES)};
    slot_lease_told(&f->slots, &who, f->given[edge], f->given[edge] - kept, f->now.now_ns);
    waiting_serve(&f->waiting, f->key, f->now);
}

/* The first edge holds both slots. */
static void fill(struct fixture *f)
{
    ask(f, 0, 1);
    ask(f, 0, 2);
    assert_int_equal(f->allowed, 2);
}

static void the_edge_that_holds_all_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    fill(f);
    ask(f, 0, 3);
    assert_int_equal(f->denied, 1);
    assert_int_equal(f->last_error, ERROR_RATE_LIMITED);
    assert_int_equal(f->called_back, 0);
}

static void a_request_gets_the_slot_that_comes_back(void **state)
{
    struct fixture *f = *state;
    fill(f);
    ask(f, 1, 3);
    assert_int_equal(f->allowed + f->denied, 2);
    assert_int_equal(f->called_back, 1);
    assert_ptr_equal(f->asked_edge, &edges[0]);
    give_back(f, 0, 2); /* none is free there */
    assert_int_equal(f->allowed, 2);
    give_back(f, 0, 1);
    assert_int_equal(f->allowed, 3);
    assert_int_equal(f->last_id, 3);
    assert_int_equal(f->key->in_flight, 2);
    assert_int_equal(waiting_due_ns(&f->waiting), UINT64_MAX);
}

static void none_comes_in_time(void **state)
{
    struct fixture *f = *state;
    fill(f);
    ask(f, 1, 3);
    uint64_t due_ns = waiting_due_ns(&f->waiting);
    assert_int_equal(due_ns, f->now.now_ns + SLOT_WAIT_MS * SECOND / 1000);
    f->now.now_ns = due_ns - 1;
    waiting_tick(&f->waiting, f->now);
    assert_int_equal(f->denied, 0);
    f->now.now_ns = due_ns;
    waiting_tick(&f->waiting, f->now);
    assert_int_equal(f->denied, 1);
    assert_int_equal(f->last_error, ERROR_RATE_LIMITED);
}

static void who_came_first_is_served_first(void **state)
{
    struct fixture *f = *state;
    fill(f);
    ask(f, 1, 3);
    ask(f, 1, 4);
    give_back(f, 0, 1);
    assert_int_equal(f->last_id, 3);
    ask(f, 0, 5); /* behind the one that waits, or refused */
    assert_int_equal(f->allowed, 3);
    give_back(f, 0, 0);
    assert_int_equal(f->last_id, 4);
    assert_int_equal(f->allowed, 4);
    assert_int_equal(f->key->in_flight, 2);
}

static void a_request_that_ended_and_an_edge_that_went_get_nothing(void **state)
{
    struct fixture *f = *state;
    struct request_id third = header_of(3).id;
    fill(f);
    ask(f, 1, 3);
    ask(f, 1, 3); /* asked again: still one */
    ask(f, 1, 4);
    waiting_drop_request(&f->waiting, &third);
    waiting_drop_edge(&f->waiting, &edges[1]);
    give_back(f, 0, 0);
    assert_int_equal(f->allowed, 2);
    assert_int_equal(f->key->in_flight, 0);
}

static void so_many_wait_and_no_more(void **state)
{
    struct fixture *f = *state;
    fill(f);
    for (uint64_t i = 0; i < SLOT_WAITING_OF_KEY_MAX; i++)
        ask(f, 1, 10 + i);
    assert_int_equal(f->denied, 0);
    assert_int_equal(f->called_back, 2); /* there are no more to call back */
    ask(f, 1, 9);
    assert_int_equal(f->denied, 1);
    assert_int_equal(f->last_id, 9);
}

static void at_the_start_they_wait_for_what_edges_say(void **state)
{
    struct fixture *f = *state;
    f->admission.slots_from_ns = f->now.now_ns + SECOND;
    ask(f, 0, 1);
    ask(f, 1, 2);
    ask(f, 1, 3);
    f->given[1] = 4;
    give_back(f, 1, 1); /* it holds one since before */
    assert_int_equal(f->allowed + f->denied, 0);
    f->now.now_ns += SECOND;
    waiting_tick(&f->waiting, f->now);
    assert_int_equal(f->allowed, 1);
    assert_int_equal(f->key->in_flight, 2);
    f->now.now_ns += SECOND;
    waiting_tick(&f->waiting, f->now);
    assert_int_equal(f->denied, 2);
}

static void who_was_answered_before_may_have_a_slot_and_not_know(void **state)
{
    struct fixture *f = *state;
    fill(f);
    slot_leases_edge_back(&f->slots, &edges[0], 1);
    ask(f, 0, 2); /* over a new link: the answer got lost */
    assert_int_equal(f->denied, 0);
    assert_ptr_equal(f->asked_edge, &edges[0]);
    give_back(f, 0, 1);
    assert_int_equal(f->allowed, 3);
    assert_int_equal(f->key->in_flight, 2);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_edge_that_holds_all_is_refused_at_once),
        TEST(a_request_gets_the_slot_that_comes_back),
        TEST(none_comes_in_time),
        TEST(who_came_first_is_served_first),
        TEST(a_request_that_ended_and_an_edge_that_went_get_nothing),
        TEST(so_many_wait_and_no_more),
        TEST(at_the_start_they_wait_for_what_edges_say),
        TEST(who_was_answered_before_may_have_a_slot_and_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
