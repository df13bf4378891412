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
    f.a = (struct lease_party){&f.edge_a, f.key, SPAN("m")};
    f.b = (struct lease_party){&f.edge_b, f.key, SPAN("m")};
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

static uint64_t left(const struct fixture *f, uint64_t now)
{
    return limit_set_remaining(&f->set, now, LIMIT_REQUESTS);
}

static void a_lease_is_a_quarter_of_an_edges_share(void **state)
{
    struct fixture *f = *state;
    struct lease_terms t = lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 10);
    assert_int_equal(t.requests, 1600 / (4 * 4));
    assert_int_equal(t.tokens, 16000 / (4 * 4));
    assert_int_equal(left(f, START), 1500); /* charged at once */
}

static void there_is_none_below_one_request(void **state)
{
    struct fixture *f = *state;
    limit_set_charge(&f->limits, &f->set, START, 1600 - 15, 0);
    assert_int_equal(lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 0).requests, 0);
    assert_int_equal(lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 0, 0).requests, 0);
}

static void there_is_none_when_its_tokens_would_not_pay_for_one_request(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 1001).requests, 0);
    assert_int_equal(left(f, START), 1600);
}

static void a_debtor_gets_none(void **state)
{
    struct fixture *f = *state;
    limit_set_charge(&f->limits, &f->set, START, 0, 16001); /* more was used than was set aside */
    assert_int_equal(lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 1, 0).requests, 0);
    /* … until the debt is paid, and there is a share again */
    assert_true(lease_grant(&f->leases, &f->a, &f->set, START + SECOND, lease_ns, 1, 0).requests >
                0);
}

static void without_limits_it_is_as_large_as_they_get(void **state)
{
    struct fixture *f = *state;
    struct limit_set none = {0};
    struct lease_terms t = lease_grant(&f->leases, &f->a, &none, START, lease_ns, 4, 10);
    assert_int_equal(t.requests, LEASE_MAX);
    assert_int_equal(t.tokens, 0);
    assert_int_equal(f->leases.table.count, 0);
}

static void what_an_edge_reports_as_unused_comes_back_at_once(void **state)
{
    struct fixture *f = *state;
    (void)lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 0);
    lease_report(&f->leases, &f->a, START, 30, 300);
    assert_int_equal(left(f, START), 1570);
    for (int i = 0; i < 30; i++) /* their ends change nothing any more */
        lease_release(&f->leases, &f->a, START, 10);
    assert_int_equal(left(f, START), 1570);
    assert_int_equal(limit_set_remaining(&f->set, START, LIMIT_TOKENS), 15700);
}

static void an_unreported_lease_comes_back_after_its_expiry_less_its_releases(void **state)
{
    struct fixture *f = *state;
    (void)lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 0);
    for (int i = 0; i < 20; i++)
        lease_release(&f->leases, &f->a, START, 10);
    lease_sweep(&f->leases, START + lease_ns);
    uint64_t later = START + lease_ns + SECOND * LEASE_SILENCE_MS / 1000;
    assert_in_range(left(f, later), 1500, 1502); /* still out */
    lease_sweep(&f->leases, later);
    assert_in_range(left(f, later), 1580, 1583); /* 0.44 a second flow back */
    for (int i = 0; i < 5; i++)                  /* running then, ended now: charged after all */
        lease_release(&f->leases, &f->a, later, 10);
    assert_in_range(left(f, later), 1575, 1578);
}

static void a_late_report_is_charged_once(void **state)
{
    struct fixture *f = *state;
    (void)lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 0);
    uint64_t later = START + 10 * lease_ns;
    lease_sweep(&f->leases, later);
    lease_release(&f->leases, &f->a, later, 10);
    uint64_t before = left(f, later);
    lease_report(&f->leases, &f->a, later, 8, 80); /* one of the eight was charged by its RELEASE */
    assert_int_equal(left(f, later), before - 7);
    for (int i = 0; i < 7; i++)
        lease_release(&f->leases, &f->a, later, 10);
    assert_int_equal(left(f, later), before - 7);
    lease_report(&f->leases, &f->a, later, 8, 80); /* said twice */
    assert_int_equal(left(f, later), before - 7);
}

static void one_edge_has_one_lease_of_a_key_and_model_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct lease_party other_model = {&f->edge_a, f->key, SPAN("n")};
    assert_true(lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 0).requests > 0);
    assert_int_equal(lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 0).requests, 0);
    assert_true(lease_grant(&f->leases, &f->b, &f->set, START, lease_ns, 4, 0).requests > 0);
    assert_true(lease_grant(&f->leases, &other_model, &f->set, START, lease_ns, 4, 0).requests > 0);
    lease_report(&f->leases, &f->a, START, 0, 0);
    assert_true(lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 0).requests > 0);
}

static void releases_of_unknown_leases_change_nothing(void **state)
{
    struct fixture *f = *state;
    lease_release(&f->leases, &f->a, START,
                  100); /* of an earlier life of auth: charged when it was granted */
    assert_int_equal(left(f, START), 1600);
}

static void a_gone_edge_gives_nothing_back(void **state)
{
    struct fixture *f = *state;
    (void)lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 0);
    lease_forget_edge(&f->leases, &f->edge_a);
    assert_int_equal(f->leases.table.count, 0);
    assert_int_equal(left(f, START), 1500);
}

static void a_revoked_key_loses_its_leases(void **state)
{
    struct fixture *f = *state;
    (void)lease_grant(&f->leases, &f->a, &f->set, START, lease_ns, 4, 0);
    (void)lease_grant(&f->leases, &f->b, &f->set, START, lease_ns, 4, 0);
    lease_forget_key(&f->leases, f->key);
    assert_int_equal(f->leases.table.count, 0);
}

/* T28 in small: four edges that lease, use up, report and ask again, for ten minutes. */
static void four_edges_admit_the_rate_and_the_burst_and_no_more(void **state)
{
    (void)state;
    struct limits limits;
    struct leases leases;
    struct key key = {0};
    char edges[4];
    struct {
        uint64_t lease, used, expires;
    } at[4] = {{0}};
    const struct gcra_rate rate = {100, GCRA_SECOND, 500};
    limits_init(&limits);
    leases_init(&leases, &limits);
    struct limit_set set = {{limits_get(&limits, SPAN("l"), "x", LIMIT_REQUESTS, rate)}, 1};
    uint64_t admitted = 0, seconds = 60;
    for (uint64_t ms = 0; ms < seconds * 1000; ms++) {
        uint64_t now = START + ms * 1000000;
        for (unsigned i = 0; i < 4; i++) {
            struct lease_party who = {&edges[i], &key, SPAN("m")};
            struct limit_refusal refusal;
            if (at[i].used < at[i].lease && now < at[i].expires) {
                at[i].used++;
                admitted++;
                continue;
            }
            lease_report(&leases, &who, now, at[i].used, 0);
            at[i].lease = at[i].used = 0;
            if (!limit_set_check(&set, now, 1, 0, &refusal))
                continue;
            limit_set_charge(&limits, &set, now, 1, 0);
            admitted++;
            at[i].lease = lease_grant(&leases, &who, &set, now, lease_ns, 4, 0).requests;
            at[i].expires = now + lease_ns;
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
        TEST(without_limits_it_is_as_large_as_they_get),
        TEST(what_an_edge_reports_as_unused_comes_back_at_once),
        TEST(an_unreported_lease_comes_back_after_its_expiry_less_its_releases),
        TEST(a_late_report_is_charged_once),
        TEST(one_edge_has_one_lease_of_a_key_and_model_at_a_time),
        TEST(releases_of_unknown_leases_change_nothing),
        TEST(a_gone_edge_gives_nothing_back),
        TEST(a_revoked_key_loses_its_leases),
        cmocka_unit_test(four_edges_admit_the_rate_and_the_burst_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
