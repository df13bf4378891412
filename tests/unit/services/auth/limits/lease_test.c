#include "unit/services/auth/test_support.h"

#include "services/auth/limits/lease.h"

static const uint64_t lease_ns = 2 * SECOND;
static const uint8_t pepper[PEPPER_BYTES] = {7};

struct fixture {
    struct limits limits;
    struct keys *keys;
    struct leases leases;
    struct key *key;
    struct limit_set set;
    char edge_a, edge_b;
    struct lease_party a, b;
    struct lease_terms terms;
    unsigned called_back;
};

static int setup(void **state)
{
    static struct fixture f;
    uint8_t digest[SHA256_BYTES];
    f = (struct fixture){0};
    limits_init(&f.limits);
    leases_init(&f.leases, &f.limits);
    assert_int_equal(keys_create(&f.keys, pepper, &f.limits), OK);
    f.key = test_key(f.keys,
                     (struct key_attributes){
                         .name = SPAN("k"), .requests_per_hour = 1600, .tokens_per_minute = 16000},
                     digest);
    key_limits(f.key, SPAN("m"), &f.set);
    f.a = (struct lease_party){&f.edge_a, f.key, &f.set};
    f.b = (struct lease_party){&f.edge_b, f.key, &f.set};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    leases_free(&f->leases);
    keys_destroy(&f->keys);
    limits_free(&f->limits);
    return 0;
}

static uint64_t left(const struct fixture *f)
{
    return limit_set_remaining(&f->set, START, LIMIT_REQUESTS);
}

static uint64_t tokens_left(const struct fixture *f)
{
    return limit_set_remaining(&f->set, START, LIMIT_TOKENS);
}

/* true: there is a lease. */
static bool grant(struct fixture *f, const struct lease_party *who, size_t edges, uint64_t tokens)
{
    lease_grant(&f->leases, who, START, edges, tokens, &f->terms);
    return f->terms.granted;
}

static struct lease_count told(struct fixture *f, const struct lease_party *who,
                               struct lease_report report)
{
    report.lease = report.lease ? report.lease : f->terms.lease;
    const struct lease_count *charged = lease_told(&f->leases, who, &report, START);
    assert_non_null(charged);
    return *charged;
}

static void a_lease_is_a_quarter_of_an_edges_share(void **state)
{
    struct fixture *f = *state;
    assert_true(grant(f, &f->a, 4, 10));
    assert_int_equal(f->terms.charged.requests, 1600 / (4 * 4));
    assert_int_equal(f->terms.charged.tokens, 16000 / (4 * 4));
    assert_int_equal(left(f), 1500); /* charged at once */
}

static void there_is_none_below_one_request(void **state)
{
    struct fixture *f = *state;
    limit_set_charge(&f->limits, &f->set, START, 1600 - 15, 0);
    assert_false(grant(f, &f->a, 4, 0));
    assert_false(grant(f, &f->a, 0, 0));
}

static void there_is_none_when_its_tokens_would_not_pay_for_one_request(void **state)
{
    struct fixture *f = *state;
    assert_false(grant(f, &f->a, 4, 1001));
    assert_int_equal(left(f), 1600);
}

static void a_debtor_gets_none(void **state)
{
    struct fixture *f = *state;
    limit_set_charge(&f->limits, &f->set, START, 0, 16001); /* more was used than was set aside */
    assert_false(grant(f, &f->a, 1, 0));
    /* … until the debt is paid, and there is a share again */
    lease_grant(&f->leases, &f->a, START + SECOND, 1, 0, &f->terms);
    assert_true(f->terms.granted);
}

static void note_call(void *ctx, const void *edge, const struct key *key)
{
    struct fixture *f = ctx;
    assert_true(edge == &f->edge_a && key == f->key);
    f->called_back++;
}

static void what_a_debtor_holds_is_called_back_once(void **state)
{
    struct fixture *f = *state;
    assert_true(grant(f, &f->a, 1, 0));
    lease_call_back(f->key, START, note_call, f);
    limit_set_charge(&f->limits, &f->set, START, 0, tokens_left(f)); /* all, but no more */
    lease_call_back(f->key, START, note_call, f);
    assert_int_equal(f->called_back, 0);
    limit_set_charge(&f->limits, &f->set, START, 0, 1000);
    for (int i = 0; i < 3; i++)
        lease_call_back(f->key, START, note_call, f);
    assert_int_equal(f->called_back, 1);
}

static void without_limits_it_is_as_large_as_they_get(void **state)
{
    struct fixture *f = *state;
    struct limit_set none = {0};
    struct lease_party who = {&f->edge_a, f->key, &none};
    assert_true(grant(f, &who, 4, 10));
    assert_int_equal(f->terms.lease, 0);
    assert_int_equal(f->terms.charged.requests, UINT64_MAX);
    assert_int_equal(f->terms.away.requests, UINT64_MAX);
    assert_int_equal(f->leases.table.count, 0);
}

static void what_an_edge_reports_as_unused_comes_back_at_once(void **state)
{
    struct fixture *f = *state;
    assert_true(grant(f, &f->a, 4, 0));
    struct lease_count charged =
        told(f, &f->a, (struct lease_report){0, {30, 300}, f->terms.charged, true});
    assert_int_equal(charged.requests, 30);
    assert_int_equal(left(f), 1570);
    assert_int_equal(tokens_left(f), 15700);
}

static void a_lease_that_runs_keeps_what_it_was_charged(void **state)
{
    struct fixture *f = *state;
    assert_true(grant(f, &f->a, 4, 0));
    struct lease_count charged =
        told(f, &f->a, (struct lease_report){0, {30, 300}, f->terms.charged, false});
    assert_int_equal(charged.requests, 100);
    assert_int_equal(left(f), 1500);
}

static void reports_that_are_late_doubled_or_out_of_order_charge_once(void **state)
{
    struct fixture *f = *state;
    const struct lease_report early = {0, {10, 0}, {0, 0}, false},
                              late = {0, {30, 0}, {0, 0}, true};
    assert_true(grant(f, &f->a, 4, 0));
    (void)told(f, &f->a, late);
    (void)told(f, &f->a, early);
    (void)told(f, &f->a, late);
    assert_int_equal(left(f), 1570);
}

static void what_was_used_beyond_it_is_charged(void **state)
{
    struct fixture *f = *state;
    assert_true(grant(f, &f->a, 4, 0));
    (void)told(f, &f->a, (struct lease_report){0, {250, 2000}, {100, 1000}, true});
    assert_int_equal(left(f), 1350);
    assert_int_equal(tokens_left(f), 14000);
}

/* auth was away: what it had charged before, and what the edge has used meanwhile. */
static void another_life_of_auth_charges_and_gives_back_as_this_one_would(void **state)
{
    struct fixture *f = *state;
    assert_true(grant(f, &f->a, 4, 0));
    uint64_t lease = f->terms.lease;
    leases_free(&f->leases);
    f->key->leases = NULL;
    leases_init(&f->leases, &f->limits);
    (void)told(f, &f->a, (struct lease_report){lease, {60, 0}, {100, 0}, true});
    assert_int_equal(left(f), 1540);
    lease_forget_edge(&f->leases, &f->edge_a); /* a link is lost */
    (void)told(f, &f->a, (struct lease_report){lease, {90, 0}, {60, 0}, true});
    assert_int_equal(left(f), 1510);
    assert_true(grant(f, &f->a, 4, 0));
    assert_int_equal(f->terms.lease, lease);
    assert_int_equal(f->terms.used.requests, 90);
    assert_int_equal(f->terms.charged.requests, 90 + 1510 / 16);
}

static void one_edge_has_one_lease_of_a_key_and_its_limits_at_a_time(void **state)
{
    struct fixture *f = *state;
    const struct gcra_rate rate = {1000, GCRA_MINUTE, 1000};
    struct limit_set more = f->set;
    assert_true(limit_set_add(
        &more, limits_get(&f->limits, SPAN("model:n"), "model", LIMIT_REQUESTS, rate, 0)));
    struct lease_party other_model = {&f->edge_a, f->key, &more};
    assert_true(grant(f, &f->a, 4, 0));
    assert_false(grant(f, &f->a, 4, 0));
    assert_true(grant(f, &f->b, 4, 0));
    uint64_t lease = f->terms.lease;
    assert_true(grant(f, &other_model, 4, 0));
    assert_true(f->terms.lease != lease);
    (void)told(f, &f->a, (struct lease_report){lease, {0, 0}, {0, 0}, true});
    assert_true(grant(f, &f->a, 4, 0));
}

static void one_that_is_long_idle_is_forgotten_when_all_is_counted(void **state)
{
    struct fixture *f = *state;
    assert_true(grant(f, &f->a, 4, 0));
    assert_true(f->terms.is_new);
    lease_sweep(&f->leases, START + 601 * SECOND);
    assert_int_equal(f->leases.table.count, 1); /* it may be used still */
    (void)told(f, &f->a, (struct lease_report){0, {30, 300}, f->terms.charged, true});
    assert_true(grant(f, &f->a, 4, 0));
    assert_false(f->terms.is_new);
    (void)told(f, &f->a, (struct lease_report){0, {60, 300}, f->terms.charged, true});
    lease_sweep(&f->leases, START + 599 * SECOND);
    assert_int_equal(f->leases.table.count, 1);
    lease_sweep(&f->leases, START + 600 * SECOND);
    assert_int_equal(f->leases.table.count, 0);
    /* the edge names it still, ended and counted: that must not stand in the way of the next */
    struct lease_count counted = {60, 300};
    (void)told(f, &f->a, (struct lease_report){0, counted, counted, false});
    assert_true(grant(f, &f->a, 4, 600));
}

static void a_gone_edge_gives_nothing_back(void **state)
{
    struct fixture *f = *state;
    assert_true(grant(f, &f->a, 4, 0));
    lease_forget_edge(&f->leases, &f->edge_a);
    assert_int_equal(f->leases.table.count, 0);
    assert_int_equal(left(f), 1500);
}

static void a_revoked_key_loses_its_leases(void **state)
{
    struct fixture *f = *state;
    assert_true(grant(f, &f->a, 4, 0));
    assert_true(grant(f, &f->b, 4, 0));
    lease_forget_key(&f->leases, f->key);
    assert_int_equal(f->leases.table.count, 0);
    assert_null(f->key->leases);
}

/* T28 in small: four edges that lease, use up, report and ask again, for a minute. */
static void four_edges_admit_the_rate_and_the_burst_and_no_more(void **state)
{
    (void)state;
    struct limits limits;
    struct leases leases;
    struct key key = {0};
    char edges[4];
    struct {
        struct lease_report is;
        uint64_t expires;
    } at[4] = {0};
    const struct gcra_rate rate = {100, GCRA_SECOND, 500};
    limits_init(&limits);
    leases_init(&leases, &limits);
    struct limit_set set = {{limits_get(&limits, SPAN("l"), "x", LIMIT_REQUESTS, rate, 0)}, 1};
    uint64_t admitted = 0, seconds = 60;
    for (uint64_t ms = 0; ms < seconds * 1000; ms++) {
        uint64_t now = START + ms * 1000000;
        for (unsigned i = 0; i < 4; i++) {
            struct lease_party who = {&edges[i], &key, &set};
            struct limit_refusal refusal;
            struct lease_terms terms;
            if (at[i].is.used.requests < at[i].is.charged.requests && now < at[i].expires) {
                at[i].is.used.requests++;
                admitted++;
                continue;
            }
            at[i].is.ended = true;
            if (at[i].is.lease)
                at[i].is.charged = *lease_told(&leases, &who, &at[i].is, now);
            if (!limit_set_check(&set, now, 1, 0, &refusal))
                continue;
            limit_set_charge(&limits, &set, now, 1, 0);
            admitted++;
            lease_grant(&leases, &who, now, 4, 0, &terms);
            at[i].is.lease = terms.lease;
            at[i].is.charged = terms.charged;
            at[i].expires = terms.granted ? now + lease_ns : 0;
        }
    }
    assert_in_range(admitted, (500 + 100 * seconds) * 99 / 100, 500 + 100 * seconds);
    leases_free(&leases);
    limits_free(&limits);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_lease_is_a_quarter_of_an_edges_share),
        TEST(there_is_none_below_one_request),
        TEST(there_is_none_when_its_tokens_would_not_pay_for_one_request),
        TEST(a_debtor_gets_none),
        TEST(what_a_debtor_holds_is_called_back_once),
        TEST(without_limits_it_is_as_large_as_they_get),
        TEST(what_an_edge_reports_as_unused_comes_back_at_once),
        TEST(a_lease_that_runs_keeps_what_it_was_charged),
        TEST(reports_that_are_late_doubled_or_out_of_order_charge_once),
        TEST(what_was_used_beyond_it_is_charged),
        TEST(another_life_of_auth_charges_and_gives_back_as_this_one_would),
        TEST(one_edge_has_one_lease_of_a_key_and_its_limits_at_a_time),
        TEST(one_that_is_long_idle_is_forgotten_when_all_is_counted),
        TEST(a_gone_edge_gives_nothing_back),
        TEST(a_revoked_key_loses_its_leases),
        cmocka_unit_test(four_edges_admit_the_rate_and_the_burst_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
