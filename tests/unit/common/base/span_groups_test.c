#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/span_groups.h"

static void equal_texts_share_a_group_and_are_found(void **state)
{
    (void)state;
    const struct span texts[] = {SPAN("b"), SPAN("a"), SPAN(""), SPAN("b"), SPAN("ab"), SPAN("b")};
    enum { COUNT = sizeof texts / sizeof *texts };
    size_t group[COUNT];
    struct span_groups groups;
    struct arena arena;
    arena_init(&arena, 0);
    assert_int_equal(span_groups_build(&groups, &arena, texts, COUNT, group), OK);
    assert_int_equal(groups.count, 4);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(span_groups_find(&groups, texts[i]), group[i]);
        for (size_t k = 0; k < COUNT; k++)
            assert_int_equal(group[i] == group[k], span_equals(texts[i], texts[k]));
    }
    assert_true(span_groups_find(&groups, SPAN("c")) == SPAN_GROUP_NONE);
    assert_true(span_groups_find(&groups, SPAN("abc")) == SPAN_GROUP_NONE);
    arena_free(&arena);
}

static void no_texts_make_no_groups(void **state)
{
    (void)state;
    struct span_groups groups;
    struct arena arena;
    arena_init(&arena, 0);
    assert_int_equal(span_groups_build(&groups, &arena, NULL, 0, NULL), OK);
    assert_true(span_groups_find(&groups, SPAN("")) == SPAN_GROUP_NONE);
    arena_free(&arena);
}

static void a_full_arena_is_said(void **state)
{
    (void)state;
    const struct span texts[] = {SPAN("a"), SPAN("b")};
    size_t group[2];
    struct span_groups groups;
    struct arena arena;
    arena_init(&arena, 8);
    assert_int_equal(span_groups_build(&groups, &arena, texts, 2, group), ERR_NOMEM);
    arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_share_a_group_and_are_found),
        cmocka_unit_test(no_texts_make_no_groups),
        cmocka_unit_test(a_full_arena_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
