/* How long an upstream asks to wait (H122). */
#include "services/worker/providers/retry_after.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define NOW_S 1792567680ull /* Wed, 21 Oct 2026 07:28:00 GMT */

struct fields {
    const char *pairs[8]; /* name, value, … */
};

static struct span get(const void *ctx, const char *name)
{
    const struct fields *f = ctx;
    for (size_t i = 0; i < 8 && f->pairs[i]; i += 2) {
        if (strcmp(f->pairs[i], name) == 0)
            return span_str(f->pairs[i + 1]);
    }
    return SPAN_NONE;
}

static void every_form_of_retry_after_is_read(void **state)
{
    (void)state;
    static const struct {
        struct fields fields;
        uint64_t ms;
    } cases[] = {
        {{{"retry-after-ms", "1500"}}, 1500},
        {{{"retry-after-ms", "1500", "retry-after", "9"}}, 1500},
        {{{"retry-after-ms", "soon", "retry-after", "9"}}, 9000},
        {{{"retry-after-ms", "0.2"}}, 1},
        {{{"retry-after", "0.5"}}, 500},
        {{{"retry-after", "7"}}, 7000},
        {{{"retry-after", "0"}}, 1},
        {{{"retry-after", "Wed, 21 Oct 2026 07:28:10 GMT"}}, 10000},
        {{{"retry-after", "Wed, 21 Oct 2026 07:00:00 GMT"}}, 1},
        {{{"retry-after", "-5"}}, 0},
        {{{"retry-after", "later"}}, 0},
        {{{NULL}}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct upstream_headers headers = {get, &cases[i].fields};
        assert_int_equal(retry_after_of(&headers, NOW_S), cases[i].ms);
    }
    assert_int_equal(retry_after_of(NULL, NOW_S), 0);
}

static void a_limit_with_nothing_left_says_when_it_starts_anew(void **state)
{
    (void)state;
    static const struct {
        struct fields fields;
        uint64_t ms;
    } cases[] = {
        {{{"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "6m0s"}}, 360000},
        {{{"x-ratelimit-remaining-tokens", "1", "x-ratelimit-reset-tokens", "6m0s"}}, 0},
        {{{"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "17ms",
           "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "1s"}},
         1000},
        {{{"anthropic-ratelimit-tokens-remaining", "0", "anthropic-ratelimit-tokens-reset",
           "2026-10-21T07:28:03Z"}},
         3000},
        {{{"ratelimit-remaining", "0", "ratelimit-reset", "12"}}, 12000},
        {{{"ratelimit-reset", "12"}}, 0},
        {{{"ratelimit-remaining", "0", "ratelimit-reset", "soon"}}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct upstream_headers headers = {get, &cases[i].fields};
        assert_int_equal(retry_after_of_limits(&headers, NOW_S), cases[i].ms);
    }
}

static void replicate_says_it_in_its_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } cases[] = {
        {"Request was throttled. Your rate limit resets in ~30s.", 30000},
        {"Your rate limit resets in 1m5s, wait", 65000},
        {"Your rate limit resets in ", 0},
        {"Your rate limit resets in a while", 0},
        {"no", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(retry_after_of_text(span_str(cases[i].text)), cases[i].ms);
}

static void x_should_retry_false_forbids(void **state)
{
    (void)state;
    struct fields yes = {{"x-should-retry", "true"}}, no = {{"x-should-retry", " False "}},
                  none = {{NULL}};
    assert_false(retry_is_forbidden(&(struct upstream_headers){get, &yes}));
    assert_true(retry_is_forbidden(&(struct upstream_headers){get, &no}));
    assert_false(retry_is_forbidden(&(struct upstream_headers){get, &none}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_retry_after_is_read),
        cmocka_unit_test(a_limit_with_nothing_left_says_when_it_starts_anew),
        cmocka_unit_test(replicate_says_it_in_its_text),
        cmocka_unit_test(x_should_retry_false_forbids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
