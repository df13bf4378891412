#include "unit/services/auth/test_support.h"

#include "services/auth/limits/limits.h"

static const struct gcra_rate ten_a_minute = {10, GCRA_MINUTE, 10};
static const struct gcra_rate hundred_tokens = {100, GCRA_MINUTE, 100};

struct fixture {
    struct limits limits;
    struct limit_set set;
    struct limit *requests, *tokens;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    limits_init(&f.limits);
    f.requests = limits_get(&f.limits, SPAN("r"), "key_requests", LIMIT_REQUESTS, ten_a_minute, 0);
    f.tokens = limits_get(&f.limits, SPAN("t"), "key_tokens", LIMIT_TOKENS, hundred_tokens, 0);
    assert_true(limit_set_add(&f.set, f.requests));
    assert_true(limit_set_add(&f.set, f.tokens));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    limits_free(&f->limits);
    return 0;
}

static void a_refused_request_consumes_nothing_of_any_limit(void **state)
{
    struct fixture *f = *state;
    struct limit_refusal refusal;
    limit_set_charge(&f->limits, &f->set, START, 1, 90);
    for (int i = 0; i < 50; i++) {
        assert_false(limit_set_check(&f->set, START, 1, 20, &refusal));
        assert_ptr_equal(refusal.limit, f->tokens);
    }
    assert_int_equal(limit_set_remaining(&f->set, START, LIMIT_REQUESTS), 9);
    assert_int_equal(limit_set_remaining(&f->set, START, LIMIT_TOKENS), 10);
}

static void the_longest_wait_of_all_limits_is_told(void **state)
{
    struct fixture *f = *state;
    struct limit_refusal refusal;
    limit_set_charge(&f->limits, &f->set, START, 10, 100);
    assert_false(limit_set_check(&f->set, START, 1, 50, &refusal));
    assert_ptr_equal(refusal.limit, f->tokens); /* 30 s, the requests 6 s */
    assert_true(limit_set_check(&f->set, START + refusal.wait_ns, 1, 50, &refusal));
}

static void a_limit_is_found_again_by_its_name(void **state)
{
    struct fixture *f = *state;
    limit_set_charge(&f->limits, &f->set, START, 4, 0);
    struct gcra_rate faster = {20, GCRA_MINUTE, 20};
    assert_ptr_equal(limits_get(&f->limits, SPAN("r"), "x", LIMIT_REQUESTS, faster, START),
                     f->requests);
    assert_true(f->requests->gcra.full_ns > START); /* what is owed stays owed */
}

static void views_show_the_tightest_limit(void **state)
{
    struct fixture *f = *state;
    struct gcra_rate hourly = {1000, GCRA_HOUR, 1000};
    assert_true(
        limit_set_add(&f->set, limits_get(&f->limits, SPAN("h"), "x", LIMIT_REQUESTS, hourly, 0)));
    limit_set_charge(&f->limits, &f->set, START, 3, 40);
    struct limit_view view;
    limit_set_view(&f->set, START, LIMIT_REQUESTS, &view);
    assert_int_equal(view.limit, 10);
    assert_int_equal(view.remaining, 7);
    assert_int_equal(view.reset_ms, 18000);
    limit_set_view(&f->set, START, LIMIT_TOKENS, &view);
    assert_int_equal(view.limit, 100);
    assert_int_equal(view.remaining, 60);
}

struct restart {
    const char *what;
    uint64_t mono_passed_s;
    int64_t wall_passed_s;
    const char *boot;
    uint64_t left; /* of 10, all taken before */
};

static void state_survives_a_restart_whatever_the_clock_does(void **state)
{
    (void)state;
    static const struct restart cases[] = {
        {"at once", 0, 0, "a", 0},
        {"30 s later", 30, 30, "a", 5},
        {"wall clock one hour ahead", 30, 3600, "a", 5},
        {"wall clock one hour behind", 30, -3600, "a", 5},
        {"wall clock one year ahead", 30, 365 * 86400, "a", 5},
        {"wall clock one year behind", 30, -365 * 86400, "a", 5},
        {"new boot, 30 s later", 3, 30, "b", 5},
        {"new boot, wall clock behind", 3, -86400, "b", 0},
        {"new boot, wall clock a year ahead: a burst at most", 3, 365 * 86400, "b", 10},
    };
    const uint64_t wall_ms = 1790000000000;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct limits before, after;
        struct limit_saved saved;
        limits_init(&before);
        limits_init(&after);
        struct limit_set set = {
            {limits_get(&before, SPAN("r"), "x", LIMIT_REQUESTS, ten_a_minute, 0)}, 1};
        limit_set_charge(&before, &set, START, 10, 0);
        assert_non_null(limits_next_dirty(&before, START, &saved));
        saved.wall_ms = wall_ms;
        saved.boot_id = SPAN("a");
        uint64_t now =
            cases[i].boot[0] == 'a' ? START + cases[i].mono_passed_s * SECOND : 3 * SECOND;
        uint64_t wall = (uint64_t)((int64_t)wall_ms + cases[i].wall_passed_s * 1000);
        assert_int_equal(limits_restore(&after, &saved, now, wall, span_str(cases[i].boot)), OK);
        set.limits[0] = limits_get(&after, SPAN("r"), "x", LIMIT_REQUESTS, ten_a_minute, 0);
        /* edges may have used it meanwhile, and have yet to say so */
        assert_int_equal(limit_set_remaining(&set, now, LIMIT_REQUESTS), 0);
        limits_give_back(&after);
        limits_give_back(&after);
        uint64_t left = limit_set_remaining(&set, now, LIMIT_REQUESTS);
        if (left != cases[i].left)
            print_message("%s: %lu left\n", cases[i].what, (unsigned long)left);
        assert_int_equal(left, cases[i].left);
        limits_free(&before);
        limits_free(&after);
    }
}

static void each_changed_limit_is_saved_once(void **state)
{
    struct fixture *f = *state;
    struct limit_saved saved;
    limit_set_charge(&f->limits, &f->set, START, 1, 1);
    limit_set_charge(&f->limits, &f->set, START, 1, 1);
    assert_non_null(limits_next_dirty(&f->limits, START, &saved));
    struct limit *second = limits_next_dirty(&f->limits, START, &saved);
    assert_non_null(second);
    assert_null(limits_next_dirty(&f->limits, START, &saved));
    limits_mark_dirty(&f->limits, second); /* it could not be written */
    assert_ptr_equal(limits_next_dirty(&f->limits, START, &saved), second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_refused_request_consumes_nothing_of_any_limit, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_longest_wait_of_all_limits_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_limit_is_found_again_by_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(views_show_the_tightest_limit, setup, teardown),
        cmocka_unit_test(state_survives_a_restart_whatever_the_clock_does),
        cmocka_unit_test_setup_teardown(each_changed_limit_is_saved_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
