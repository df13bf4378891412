#include "unit/services/auth/test_support.h"

#include <stdio.h>
#include <time.h>

#include "services/auth/admission.h"

static const uint8_t pepper[PEPPER_BYTES] = {9};
enum { WALL = 1790000000 };

struct fixture {
    struct config *config;
    struct limits limits;
    struct keys *keys;
    struct leases leases;
    struct slot_leases slots;
    struct reservations reservations;
    struct outputs outputs;
    struct admission admission;
    struct verdict verdict;
    struct moment now;
    uint8_t digest[SHA256_BYTES];
    struct key *key;
    char edge;
    bool has_slot; /* says the edge */
    uint64_t ids;
};

static const char yaml[] =
    "providers:\n"
    "  openai: { api_keys: [x] }\n"
    "models:\n"
    "  gpt-4: { targets: [{provider: openai}], rate_limit: 100/hour }\n"
    "  slow: { targets: [{provider: openai}], rate_limit: 60/minute, burst: 2 }\n"
    "  main: { targets: [{provider: openai}], rate_limit: 100/hour, fallbacks: [slow, spare] }\n"
    "  spare: { targets: [{provider: openai}] }\n"
    "  \"*\": { targets: [{provider: openai}] }\n"
    "auth: { lease: 0s }\n";

static void ask_nobody(void *ctx, const void *edge, const struct slots_back *m)
{
    (void)ctx, (void)edge, (void)m;
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.now = {START, (uint64_t)WALL * 1000}};
    f.config = test_config(yaml);
    limits_init(&f.limits);
    leases_init(&f.leases, &f.limits);
    slot_leases_init(&f.slots, ask_nobody, NULL);
    reservations_init(&f.reservations, &f.limits);
    assert_int_equal(keys_create(&f.keys, pepper, &f.limits), OK);
    f.admission = (struct admission){.keys = f.keys,
                                     .limits = &f.limits,
                                     .leases = &f.leases,
                                     .slots = &f.slots,
                                     .reservations = &f.reservations};
    assert_int_equal(admission_configure(&f.admission, f.config, 0), OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    admission_free(&f->admission);
    reservations_free(&f->reservations);
    leases_free(&f->leases);
    slot_leases_free(&f->slots);
    keys_destroy(&f->keys);
    limits_free(&f->limits);
    config_destroy(&f->config);
    return 0;
}

static void give_key(struct fixture *f, struct key_attributes a)
{
    a.name = SPAN("alice");
    f->key = test_key(f->keys, a, f->digest);
}

static struct header fresh(struct fixture *f)
{
    struct header h = {.deadline_ms = 30000};
    f->ids++;
    memcpy(h.id.bytes + 8, &f->ids, sizeof f->ids);
    return h;
}

static bool ask(struct fixture *f, const struct header *h, const char *model, uint64_t tokens)
{
    struct authorize m = {.key_digest = span_of(f->digest, SHA256_BYTES),
                          .model = span_str(model),
                          .has_slot = f->has_slot,
                          .input_tokens = tokens / 2,
                          .output_tokens = tokens - tokens / 2};
    struct asker who = {.edge = &f->edge, .edges = 1, .epoch = 77};
    admission_decide(&f->admission, &who, h, &m, f->now, &f->verdict);
    return f->verdict.allowed;
}

static bool ask_new(struct fixture *f, const char *model, uint64_t tokens)
{
    struct header h = fresh(f);
    return ask(f, &h, model, tokens);
}

static void assert_denied(const struct fixture *f, enum error_class why, const char *text)
{
    char message[400];
    (void)snprintf(message, sizeof message, "%.*s", SPAN_ARG(f->verdict.deny.message));
    assert_false(f->verdict.allowed);
    assert_int_equal(f->verdict.deny.error_class, why);
    if (!strstr(message, text))
        print_message("%s\n", message);
    assert_non_null(strstr(message, text));
}

static void an_unknown_key_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_false(ask_new(f, "gpt-4", 1));
    assert_denied(f, ERROR_BAD_KEY, "Incorrect API key");
    assert_int_equal(f->verdict.deny.key_id.len, 0);
}

static void a_known_key_is_allowed_and_named(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.models = SPAN("gpt-*")});
    assert_true(ask_new(f, "gpt-4", 1));
    assert_true(span_is(f->verdict.allow.key_name, "alice"));
    assert_true(span_is(f->verdict.allow.models, "gpt-*"));
    assert_true(span_starts(f->verdict.allow.key_id, "key_"));
    assert_int_equal(f->verdict.allow.known_ms, 300000);
}

static void revoked_and_expired_keys_are_refused(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.expires_ms = (uint64_t)WALL * 1000 + 5000});
    assert_true(ask_new(f, "gpt-4", 1));
    assert_int_equal(f->verdict.allow.known_ms, 5000); /* not known beyond its expiry */
    f->now.wall_ms += 5000;
    assert_false(ask_new(f, "gpt-4", 1));
    assert_denied(f, ERROR_BAD_KEY, "expired");
    const struct key_attributes revoked = {.revoked_ms = 1};
    assert_int_equal(keys_change(f->keys, f->key, &revoked, KEY_REVOKED, 0), OK);
    assert_false(ask_new(f, "gpt-4", 1));
    assert_denied(f, ERROR_BAD_KEY, "revoked");
}

static void a_blocked_key_is_refused_until_it_is_unblocked(void **state)
{
    struct fixture *f = *state;
    const struct key_attributes blocked = {.blocked_ms = 1}, free_again = {0};
    give_key(f, (struct key_attributes){0});
    assert_int_equal(keys_change(f->keys, f->key, &blocked, KEY_BLOCKED, 0), OK);
    assert_false(ask_new(f, "gpt-4", 1));
    assert_denied(f, ERROR_BAD_KEY, "blocked");
    assert_int_equal(keys_change(f->keys, f->key, &free_again, KEY_BLOCKED, 0), OK);
    assert_true(ask_new(f, "gpt-4", 1));
}

static void a_replaced_secret_opens_for_its_time_and_gets_no_lease(void **state)
{
    struct fixture *f = *state;
    char text[KEY_TEXT_BYTES], hint[KEY_HINT_BYTES];
    give_key(f, (struct key_attributes){.requests_per_minute = 60});
    struct key_attributes change = {.before_until_ms = f->now.wall_ms + 3000};
    keys_new_secret(f->keys, &change, text, hint);
    assert_int_equal(keys_change(f->keys, f->key, &change, KEY_SECRET, 0), OK);
    assert_true(ask_new(f, "gpt-4", 1));
    assert_int_equal(f->verdict.allow.known_ms, 3000);
    assert_int_equal(f->verdict.allow.lease, 0);
    assert_int_equal(f->verdict.allow.lease_ms, 0);
    f->now.wall_ms += 3000;
    assert_false(ask_new(f, "gpt-4", 1));
    assert_denied(f, ERROR_BAD_KEY, "replaced");
}

static void a_model_off_the_list_is_refused(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.models = SPAN("claude-*")});
    assert_false(ask_new(f, "gpt-4", 1));
    assert_denied(f, ERROR_MODEL_NOT_ALLOWED, "'gpt-4'");
}

static void asking_without_a_model_only_checks_the_key(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){
                    .requests_per_minute = 1, .concurrent = 1, .models = SPAN("gpt-4")});
    for (int i = 0; i < 5; i++)
        assert_true(ask_new(f, "", 0));
    assert_true(ask_new(f, "gpt-4", 1));
}

static void a_key_limit_refuses_with_the_exact_wait(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.requests_per_minute = 3});
    for (int i = 0; i < 3; i++)
        assert_true(ask_new(f, "m", 1));
    assert_int_equal(f->verdict.allow.remaining_requests, 0);
    assert_false(ask_new(f, "m", 1));
    assert_denied(f, ERROR_RATE_LIMITED, "3 requests per minute");
    uint64_t wait_ms = f->verdict.deny.retry_after_ms;
    assert_in_range(wait_ms, 19990, 20000);
    assert_int_equal(f->verdict.deny.limit_requests, 3);
    f->now.now_ns += (wait_ms - 1) * 1000000;
    assert_false(ask_new(f, "m", 1));
    f->now.now_ns += 1000000;
    assert_true(ask_new(f, "m", 1));
}

static void a_models_limit_holds_for_all_keys_together(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){0});
    assert_true(ask_new(f, "slow", 1));
    uint8_t second[SHA256_BYTES];
    (void)test_key(f->keys, (struct key_attributes){.name = SPAN("bob")}, second);
    memcpy(f->digest, second, SHA256_BYTES);
    assert_true(ask_new(f, "slow", 1));
    assert_false(ask_new(f, "slow", 1));
    assert_denied(f, ERROR_RATE_LIMITED, "this model: 60 requests per minute");
    assert_true(ask_new(f, "gpt-4", 1)); /* another model */
}

static void a_refusal_by_one_limit_costs_nothing_of_the_others(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.requests_per_hour = 10, .tokens_per_minute = 100});
    assert_true(ask_new(f, "slow", 10));
    assert_true(ask_new(f, "slow", 10));
    for (int i = 0; i < 50; i++)
        assert_false(ask_new(f, "slow", 10));
    assert_true(ask_new(f, "m", 10));
    assert_int_equal(f->verdict.allow.remaining_requests, 7);
    assert_int_equal(f->verdict.allow.remaining_tokens, 70);
}

static void assert_barred(const struct fixture *f, const char *names)
{
    assert_true(f->verdict.allowed);
    assert_true(span_is(f->verdict.allow.barred, names));
}

static void a_fallback_must_be_among_the_keys_models(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){0});
    assert_true(ask_new(f, "main", 1));
    assert_barred(f, "");
    uint8_t narrow[SHA256_BYTES];
    (void)test_key(f->keys, (struct key_attributes){.name = SPAN("n"), .models = SPAN("main,sp*")},
                   narrow);
    memcpy(f->digest, narrow, SHA256_BYTES);
    assert_true(ask_new(f, "main", 1));
    assert_barred(f, "slow");
    (void)test_key(f->keys, (struct key_attributes){.name = SPAN("o"), .models = SPAN("main")},
                   narrow);
    memcpy(f->digest, narrow, SHA256_BYTES);
    assert_true(ask_new(f, "main", 1));
    assert_barred(f, "slow,spare");
}

static void charge_fallback(struct fixture *f, const char *model)
{
    struct authorize m = {.key_digest = span_of(f->digest, SHA256_BYTES),
                          .model = span_str(model),
                          .answers_for = SPAN("main")};
    admission_charge_fallback(&f->admission, &m, f->now.now_ns);
}

static void a_fallback_has_the_limits_of_its_own_model(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.requests_per_hour = 50,
                                        .model_limits = SPAN("spare=2/hour,*=40/hour")});
    assert_true(ask_new(f, "main", 1));
    assert_barred(f, "");
    charge_fallback(f, "slow");
    charge_fallback(f, "slow"); /* its burst */
    charge_fallback(f, "spare");
    assert_true(ask_new(f, "main", 1));
    assert_barred(f, "slow");
    charge_fallback(f, "spare");
    assert_true(ask_new(f, "main", 1));
    assert_barred(f, "slow,spare");
    assert_false(ask_new(f, "slow", 1));
    assert_denied(f, ERROR_RATE_LIMITED, "this model");
    f->now.now_ns += 2 * SECOND;
    assert_true(ask_new(f, "main", 1));
    assert_barred(f, "spare");
    /* what they have in common with the model that was asked for is charged once */
    assert_int_equal(f->verdict.allow.remaining_requests, 36);
}

static void a_request_larger_than_its_token_limit_is_told_so(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.tokens_per_minute = 100});
    assert_false(ask_new(f, "m", 101));
    assert_denied(f, ERROR_LIMIT_TOO_SMALL, "alone needs more");
    assert_int_equal(f->verdict.deny.retry_after_ms, 0);
}

static void concurrency_counts_what_runs(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.concurrent = 2});
    struct header first = fresh(f), second = fresh(f);
    assert_true(ask(f, &first, "m", 1));
    assert_true(ask(f, &second, "m", 1));
    assert_false(ask_new(f, "m", 1));
    assert_denied(f, ERROR_RATE_LIMITED, "2 concurrent");
    reservation_drop(&f->reservations, reservation_find(&f->reservations, &first.id));
    assert_true(ask_new(f, "m", 1));
}

/* ---- requests without a cap ---- */

static bool ask_uncapped(struct fixture *f, uint64_t input, uint32_t answers)
{
    struct header h = fresh(f);
    struct authorize m = {.key_digest = span_of(f->digest, SHA256_BYTES),
                          .model = SPAN("m"),
                          .input_tokens = input,
                          .answers = answers};
    struct asker who = {.edge = &f->edge, .edges = 1, .epoch = 77};
    f->admission.outputs = &f->outputs;
    admission_decide(&f->admission, &who, &h, &m, f->now, &f->verdict);
    return f->verdict.allowed;
}

static void without_a_cap_what_answers_usually_need_is_set_aside(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.tokens_per_minute = 10000});
    assert_true(ask_uncapped(f, 10, 1));
    assert_int_equal(f->verdict.allow.remaining_tokens, 10000 - 10 - OUTPUTS_UNKNOWN);
    assert_int_equal(f->verdict.allow.output_tokens, OUTPUTS_UNKNOWN);
    for (int i = 0; i < OUTPUTS_LEAST; i++)
        outputs_learn(&f->outputs, SPAN("m"), 7);
    assert_true(ask_uncapped(f, 10, 3));
    assert_int_equal(f->verdict.allow.remaining_tokens, 8990 - 10 - 3 * 7);
    assert_int_equal(f->verdict.allow.output_tokens, 7);
}

static void no_more_is_set_aside_than_a_limit_gives_at_once(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < OUTPUTS_LEAST; i++)
        outputs_learn(&f->outputs, SPAN("m"), 100000);
    give_key(f, (struct key_attributes){.tokens_per_minute = 5000});
    assert_true(ask_uncapped(f, 1000, 1));
    assert_int_equal(f->verdict.allow.remaining_tokens, 0);
    assert_int_equal(f->verdict.allow.output_tokens, 4000);
    assert_false(ask_uncapped(f, 1, 1));
    assert_denied(f, ERROR_RATE_LIMITED, "tokens per minute");
    f->now.now_ns += 60 * SECOND;
    assert_true(ask_uncapped(f, 1000, 4)); /* all its answers together */
    assert_int_equal(f->verdict.allow.output_tokens, 1000);
    f->now.now_ns += 60 * SECOND;
    assert_false(ask_uncapped(f, 5001, 1));
    assert_denied(f, ERROR_LIMIT_TOO_SMALL, "alone needs more");
}

static void a_slot_is_free_again_after_the_requests_deadline(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.concurrent = 1});
    assert_true(ask_new(f, "m", 1));
    f->now.now_ns += 36 * SECOND; /* 30 s and what is added */
    reservations_sweep(&f->reservations, f->now.now_ns);
    assert_true(ask_new(f, "m", 1));
}

static void asking_twice_for_one_request_counts_once(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.concurrent = 1, .requests_per_minute = 1});
    struct header h = fresh(f);
    assert_true(ask(f, &h, "m", 1));
    assert_true(ask(f, &h, "m", 1)); /* the answer got lost */
    assert_int_equal(f->key->in_flight, 1);
}

static void nothing_new_is_spent_while_the_store_is_down(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){0});
    f->admission.store_down = true;
    assert_false(ask_new(f, "m", 1));
    assert_denied(f, ERROR_UNAVAILABLE, "cannot be recorded");
    f->admission.store_down = false;
    assert_true(ask_new(f, "m", 1));
}

static void leases_come_with_the_answer(void **state)
{
    struct fixture *f = *state;
    f->config->options.auth_lease = 2000;
    give_key(f, (struct key_attributes){.requests_per_minute = 81});
    assert_true(ask_new(f, "m", 1));
    assert_int_equal(f->verdict.allow.lease_charged, 20);
    assert_int_equal(f->verdict.allow.lease_charged_tokens, UINT64_MAX);
    assert_int_equal(f->verdict.allow.away_requests, 81 * 1440); /* it is the only edge */
    assert_int_equal(f->verdict.allow.away_tokens, UINT64_MAX);
    assert_int_equal(f->verdict.allow.lease_ms, 2000);
    assert_int_equal(f->verdict.allow.remaining_requests, 80);
    assert_int_equal(f->verdict.allow.slots_key.len, 0);
}

static void a_key_of_so_many_requests_at_once_gets_its_slots_on_lease(void **state)
{
    struct fixture *f = *state;
    f->config->options.auth_lease = 2000;
    give_key(f, (struct key_attributes){.concurrent = 2});
    assert_true(ask_new(f, "m", 1));
    assert_true(f->verdict.allow.lease_charged > 0);
    assert_true(span_equals(f->verdict.allow.slots_key, span_of(f->digest, SHA256_BYTES)));
    assert_int_equal(f->verdict.allow.slots_given, 1);
    assert_int_equal(f->verdict.allow.slots_ms, 2000);
    assert_false(f->verdict.allow.holds_slot);
    assert_int_equal(f->key->in_flight, 1);
    f->has_slot = true;
    assert_true(ask_new(f, "m", 1));
    assert_int_equal(f->verdict.allow.slots_given, 1); /* it has one: the lease is renewed */
    f->has_slot = false;
    assert_true(ask_new(f, "m", 1));
    assert_false(ask_new(f, "m", 1));
    assert_denied(f, ERROR_RATE_LIMITED, "2 concurrent");
}

static void no_slot_is_given_before_edges_can_have_said_what_they_hold(void **state)
{
    struct fixture *f = *state;
    f->config->options.auth_lease = 2000;
    give_key(f, (struct key_attributes){.concurrent = 2});
    f->admission.slots_from_ns = f->now.now_ns + SECOND;
    assert_false(ask_new(f, "m", 1));
    assert_true(f->verdict.waits);
    f->has_slot = true; /* of the life before */
    assert_true(ask_new(f, "m", 1));
    f->has_slot = false;
    f->now.now_ns += SECOND;
    assert_true(ask_new(f, "m", 1));
}

static void without_leases_a_slot_is_held_in_auth(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){.concurrent = 2});
    assert_true(ask_new(f, "m", 1));
    assert_true(f->verdict.allow.holds_slot);
    assert_int_equal(f->verdict.allow.slots_key.len, 0);
    assert_int_equal(f->verdict.allow.lease_charged, 0);
}

static void a_reported_lease_is_taken_back_before_deciding(void **state)
{
    struct fixture *f = *state;
    f->config->options.auth_lease = 2000;
    give_key(f, (struct key_attributes){.requests_per_minute = 9});
    assert_true(ask_new(f, "m", 1));
    assert_int_equal(f->verdict.allow.lease_charged, 2);
    struct authorize m = {.key_digest = span_of(f->digest, SHA256_BYTES),
                          .model = SPAN("m"),
                          .lease = f->verdict.allow.lease,
                          .lease_charged = 2,
                          .lease_ended = true};
    struct asker who = {.edge = &f->edge, .edges = 1, .epoch = 77};
    struct header h = fresh(f);
    admission_decide(&f->admission, &who, &h, &m, f->now, &f->verdict);
    assert_true(f->verdict.allowed);
    assert_int_equal(f->verdict.allow.remaining_requests, 7); /* 9 − 2, the lease back */
}

static void models_under_the_same_limits_are_under_one_lease(void **state)
{
    struct fixture *f = *state;
    f->config->options.auth_lease = 2000;
    give_key(f, (struct key_attributes){.requests_per_minute = 800});
    assert_true(ask_new(f, "m", 1));
    uint64_t lease = f->verdict.allow.lease;
    assert_int_equal(f->verdict.allow.lease_charged, 199);
    for (int i = 0; i < 50; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "any-%d", i);
        assert_true(ask_new(f, name, 1));
        assert_int_equal(f->verdict.allow.lease, lease);
        assert_int_equal(f->verdict.allow.lease_charged, 199);
        assert_int_equal(f->verdict.allow.lease_ms, 0);
    }
    assert_int_equal(f->verdict.allow.remaining_requests, 800 - 51 - 199 + 199 * 0);
}

static void a_new_configuration_keeps_what_is_owed(void **state)
{
    struct fixture *f = *state;
    give_key(f, (struct key_attributes){0});
    assert_true(ask_new(f, "slow", 1));
    assert_true(ask_new(f, "slow", 1));
    struct config *again = test_config(yaml);
    assert_int_equal(admission_configure(&f->admission, again, 0), OK);
    config_destroy(&f->config);
    f->config = again;
    assert_false(ask_new(f, "slow", 1));
}

static void a_decision_takes_about_a_microsecond(void **state)
{
    struct fixture *f = *state;
    enum { ROUNDS = 20000 };
    f->config->options.auth_lease = 0;
    give_key(f, (struct key_attributes){.requests_per_minute = 100000000,
                                        .tokens_per_minute = 1000000000});
    struct timespec from, to;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < ROUNDS; i++)
        assert_true(ask_new(f, "other-model", 1));
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double us = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
                1e3 / (double)ROUNDS;
    print_message("%.2f us a decision in this build\n",
                  us); /* said, not judged: builds and machines differ */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void a_stored_response_is_for_the_key_that_made_it(void **state)
{
    struct fixture *f = *state;
    struct stored_responses responses = {0};
    give_key(f, (struct key_attributes){0});
    stored_responses_remember(&responses, SPAN("resp_mine"), f->key->is.id,
                              (struct stored_response){0}, 1);
    stored_responses_remember(&responses, SPAN("resp_other"), SPAN("key_other"),
                              (struct stored_response){0}, 1);
    f->admission.responses = &responses;
    static const struct {
        const char *id, *model;
        enum error_class why;
    } cases[] = {
        {"resp_mine", "", ERROR_NONE},
        {"resp_mine", "gpt-5", ERROR_NONE},
        {"resp_unknown", "", ERROR_NOT_FOUND},
        {"resp_unknown", "gpt-5", ERROR_BAD_REQUEST},
        {"", "gpt-5", ERROR_NONE},
        {"resp_other", "", ERROR_NOT_FOUND},
        {"resp_other", "gpt-5", ERROR_BAD_REQUEST},
    };
    struct asker who = {.edge = &f->edge, .edges = 1, .epoch = 1};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct header h = fresh(f);
        struct authorize m = {.key_digest = span_of(f->digest, SHA256_BYTES),
                              .model = span_str(cases[i].model),
                              .response_id = span_str(cases[i].id)};
        admission_decide(&f->admission, &who, &h, &m, f->now, &f->verdict);
        assert_int_equal(f->verdict.allowed, cases[i].why == ERROR_NONE);
        if (!f->verdict.allowed)
            assert_int_equal(f->verdict.deny.error_class, cases[i].why);
    }
    f->admission.responses = NULL;
    stored_responses_free(&responses);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unknown_key_is_refused),
        TEST(a_known_key_is_allowed_and_named),
        TEST(revoked_and_expired_keys_are_refused),
        TEST(a_blocked_key_is_refused_until_it_is_unblocked),
        TEST(a_replaced_secret_opens_for_its_time_and_gets_no_lease),
        TEST(a_model_off_the_list_is_refused),
        TEST(asking_without_a_model_only_checks_the_key),
        TEST(a_key_limit_refuses_with_the_exact_wait),
        TEST(a_models_limit_holds_for_all_keys_together),
        TEST(a_refusal_by_one_limit_costs_nothing_of_the_others),
        TEST(a_fallback_must_be_among_the_keys_models),
        TEST(a_fallback_has_the_limits_of_its_own_model),
        TEST(a_request_larger_than_its_token_limit_is_told_so),
        TEST(concurrency_counts_what_runs),
        TEST(without_a_cap_what_answers_usually_need_is_set_aside),
        TEST(no_more_is_set_aside_than_a_limit_gives_at_once),
        TEST(a_slot_is_free_again_after_the_requests_deadline),
        TEST(asking_twice_for_one_request_counts_once),
        TEST(nothing_new_is_spent_while_the_store_is_down),
        TEST(leases_come_with_the_answer),
        TEST(a_key_of_so_many_requests_at_once_gets_its_slots_on_lease),
        TEST(no_slot_is_given_before_edges_can_have_said_what_they_hold),
        TEST(without_leases_a_slot_is_held_in_auth),
        TEST(a_reported_lease_is_taken_back_before_deciding),
        TEST(models_under_the_same_limits_are_under_one_lease),
        TEST(a_new_configuration_keeps_what_is_owed),
        TEST(a_stored_response_is_for_the_key_that_made_it),
        TEST(a_decision_takes_about_a_microsecond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
