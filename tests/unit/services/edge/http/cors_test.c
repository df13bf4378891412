#include "services/edge/http/cors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void an_origin_is_let_in_by_its_name_or_by_a_star(void **state)
{
    (void)state;
    static const char *const any[] = {"https://a.example", "*"};
    static const char *const some[] = {"https://a.example", "https://*.b.example"};
    static const struct {
        const char *const *origins;
        size_t count;
        const char *origin, *allowed;
        bool varies, listed;
    } cases[] = {
        {any, 2, "https://a.example", "*", false, false}, /* no credentials where all may come */
        {any, 2, "https://evil.example", "*", false, false},
        {some, 2, "https://a.example", "https://a.example", true, true},
        {some, 2, "https://x.b.example", "https://x.b.example", true, true},
        {some, 2, "https://evil.example", "", true, false},
        {some, 2, "", "", true, false},
        {some, 0, "https://a.example", "", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cors_answer a =
            cors_answer(cases[i].origins, cases[i].count, span_str(cases[i].origin));
        assert_true(span_is(a.allow_origin, cases[i].allowed));
        assert_int_equal(a.varies, cases[i].varies);
        assert_int_equal(a.listed, cases[i].listed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_origin_is_let_in_by_its_name_or_by_a_star),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
