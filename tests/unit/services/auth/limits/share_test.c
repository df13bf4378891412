#include "unit/services/auth/test_support.h"

#include "services/auth/limits/share.h"

enum { A_DAY = 600 * 1440 }; /* 600 a minute */

struct fixture {
    struct limits limits;
    struct limit_set set;
    struct away_share is, idle;
};

static int setup(void **state)
{
    static struct fixture f;
    const struct gcra_rate rate = {600, GCRA_MINUTE, 600};
    f = (struct fixture){0};
    limits_init(&f.limits);
    f.set = (struct limit_set){
        {limits_get(&f.limits, SPAN("l"), "key_requests", LIMIT_REQUESTS, rate, 0)}, 1};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    limits_free(&((struct fixture *)*state)->limits);
    return 0;
}

static uint64_t tell(struct fixture *f, struct share *s, size_t edges, uint64_t now)
{
    share_tell(s, &f->set, edges, now, &f->is, &f->idle);
    return f->is.requests;
}

static void the_only_edge_gets_all_of_the_rate(void **state)
{
    struct fixture *f = *state;
    struct share a = {0};
    assert_int_equal(tell(f, &a, 1, START), A_DAY);
    assert_int_equal(f->is.tokens, UINT64_MAX);
    assert_int_equal(f->idle.requests, A_DAY / 4);
}

static void silent_edges_keep_a_little(void **state)
{
    struct fixture *f = *state;
    struct share a = {0};
    assert_int_equal(tell(f, &a, 4, START), A_DAY - 3 * (A_DAY / 16));
    assert_int_equal(f->idle.requests, A_DAY / 16);
}

/* Whoever is told when, and whatever they use: fresh shares and what the others keep never add up
 * to more than the rate. */
static void all_shares_together_are_the_rate_at_most(void **state)
{
    struct fixture *f = *state;
    struct share edges[4] = {0};
    uint64_t told[4] = {0}, told_ns[4] = {0}, rolls = 1;
    for (uint64_t ms = 0; ms < 120000; ms += 100) {
        uint64_t now = START + ms * 1000000;
        rolls = rolls * 6364136223846793005u + 1442695040888963407u;
        unsigned i = (unsigned)(rolls >> 33) % (ms < 60000 ? 4 : 2);
        share_use(&edges[i], &f->set, 1 + (rolls >> 40) % 50, 0, now);
        for (unsigned n = 0; n < 4; n++)
            share_expire(&edges[n], &f->set, now);
        told[i] = tell(f, &edges[i], 4, now);
        told_ns[i] = now;
        uint64_t sum = 0;
        for (unsigned n = 0; n < 4; n++)
            sum += told_ns[n] && now < told_ns[n] + SHARE_FRESH_NS ? told[n] : f->idle.requests;
        assert_in_range(sum, 0, A_DAY);
    }
    assert_in_range(told[0] + told[1], A_DAY * 8 / 10, A_DAY); /* the other two are idle */
}

static void shares_follow_use(void **state)
{
    struct fixture *f = *state;
    struct share a = {0}, b = {0};
    for (uint64_t s = 0; s < 30; s += 2) {
        uint64_t now = START + s * SECOND;
        share_use(&a, &f->set, 15, 0, now);
        (void)tell(f, &a, 2, now);
        share_use(&b, &f->set, 5, 0, now);
        (void)tell(f, &b, 2, now);
    }
    assert_in_range(a.told.requests, A_DAY * 70 / 100, A_DAY * 80 / 100);
    assert_in_range(b.told.requests, A_DAY * 20 / 100, A_DAY * 28 / 100);
}

static void what_is_forgotten_or_long_ago_is_the_others(void **state)
{
    struct fixture *f = *state;
    struct share a = {0}, b = {0};
    (void)tell(f, &a, 2, START);
    assert_true(tell(f, &b, 2, START) < A_DAY / 2);
    share_forget(&a, &f->set);
    assert_true(tell(f, &b, 2, START) > A_DAY / 2);
    (void)tell(f, &a, 2, START);
    share_expire(&b, &f->set, START + SHARE_TOLD_NS - 1);
    share_expire(&a, &f->set, START + SHARE_TOLD_NS);
    share_expire(&b, &f->set, START + SHARE_TOLD_NS);
    assert_int_equal(f->set.limits[0]->told, 0);
    assert_int_equal(f->set.limits[0]->told_to, 0);
}

static void of_a_limit_that_keys_share_idle_ones_keep_nothing(void **state)
{
    struct fixture *f = *state;
    struct share a = {0};
    f->set.limits[0]->shared = true;
    assert_int_equal(tell(f, &a, 4, START), A_DAY);
    assert_int_equal(f->idle.requests, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_only_edge_gets_all_of_the_rate),
        TEST(silent_edges_keep_a_little),
        TEST(all_shares_together_are_the_rate_at_most),
        TEST(shares_follow_use),
        TEST(what_is_forgotten_or_long_ago_is_the_others),
        TEST(of_a_limit_that_keys_share_idle_ones_keep_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
