#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/ctl/changes.h"

static void assert_put(const struct changes *c, const char *program, uint64_t started_ms,
                       const char *expected)
{
    struct buf out = {0};
    struct child child;
    child_init(&child, "name", program, STAGE_EDGE);
    child.started_ms = started_ms;
    changes_put(c, &child, &out);
    assert_true(span_is(buf_span(&out), expected));
    buf_free(&out);
}

static void a_change_is_told_of_those_who_have_not_read_it(void **state)
{
    (void)state;
    struct changes c = {.count = 0};
    changes_begin(&c);
    changes_note(&c, "edge", "max_body", 1000);
    changes_note(&c, "bus", "auth", 1000);
    changes_note(&c, "auth", "store", 1000);
    changes_end(&c);
    assert_put(&c, "tollgate-edge", 10, "edge.max_body, bus.auth");
    assert_put(&c, "tollgate-worker", 10, "bus.auth");
    assert_put(&c, "tollgate-auth", 10, "bus.auth, auth.store");
    assert_put(&c, "tollgate-edge", 1001, ""); /* started since */
}

static void a_later_reload_keeps_the_time_and_forgets_what_is_taken_back(void **state)
{
    (void)state;
    struct changes c = {.count = 0};
    changes_begin(&c);
    changes_note(&c, "edge", "port", 1000);
    changes_note(&c, "edge", "max_body", 1000);
    changes_end(&c);
    changes_begin(&c);
    changes_note(&c, "edge", "port", 5000);
    changes_end(&c);
    assert_put(&c, "tollgate-edge", 10, "edge.port");
    assert_put(&c, "tollgate-edge", 3000, "");
}

static void they_are_bounded(void **state)
{
    (void)state;
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    struct changes c = {.count = 0};
    changes_begin(&c);
    for (unsigned i = 0; i < CHANGES_MAX * 2; i++) {
        const char name[] = {digits[i % 36], digits[i / 36], 0};
        changes_note(&c, "edge", name, 1);
    }
    changes_end(&c);
    assert_int_equal(c.count, CHANGES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_told_of_those_who_have_not_read_it),
        cmocka_unit_test(a_later_reload_keeps_the_time_and_forgets_what_is_taken_back),
        cmocka_unit_test(they_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
