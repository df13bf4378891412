#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "services/worker/neutral/neutral.h"

static void a_dropped_name_is_kept_once(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct neutral_request r = {.arena = &arena};
    neutral_drop(&r, "seed");
    neutral_drop(&r, "messages.name");
    neutral_drop(&r, "seed");
    neutral_drop(&r, "");
    assert_int_equal(r.dropped_count, 2);
    assert_string_equal(r.dropped[0], "seed");
    assert_string_equal(r.dropped[1], "messages.name");
    arena_free(&arena);
}

static void a_dropped_name_can_not_break_a_header(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct neutral_request r = {.arena = &arena};
    neutral_drop(&r, "a\r\nset-cookie: b, c\xff");
    assert_string_equal(r.dropped[0], "a??set-cookie??b??c?");
    char name[300];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    neutral_drop(&r, name);
    assert_int_equal(strlen(r.dropped[1]), 64);
    arena_free(&arena);
}

static void ever_more_dropped_names_end_in_more(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct neutral_request r = {.arena = &arena};
    for (unsigned i = 0; i < 1000; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", i);
        neutral_drop(&r, name);
    }
    assert_int_equal(r.dropped_count, 65);
    assert_string_equal(r.dropped[63], "n63");
    assert_string_equal(r.dropped[64], "more");
    arena_free(&arena);
}

static void a_full_arena_drops_the_name_and_nothing_else(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 16);
    struct neutral_request r = {.arena = &arena};
    struct part_list list = {0};
    neutral_drop(&r, "seed");
    neutral_drop(&r, "user");
    assert_int_equal(r.dropped_count, 0);
    assert_null(part_list_add(&list, &arena));
    assert_int_equal(list.count, 0);
    arena_free(&arena);
}

static void parts_are_added_at_the_end(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    struct part_list list = {0};
    for (unsigned i = 0; i < 100; i++) {
        struct part *part = part_list_add(&list, &arena);
        assert_non_null(part);
        assert_int_equal(part->kind, PART_TEXT);
        part->text.len = i;
    }
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(list.items[i].text.len, i);
    arena_free(&arena);
}

/* H078: what is absent does not reset, what is present replaces and is never added. */
static void usage_merges_what_is_known(void **state)
{
    (void)state;
    struct usage into = USAGE_NONE;
    struct usage first = USAGE_NONE, second = USAGE_NONE;
    first.input = 10;
    first.cached = 50;
    first.output = 3;
    first.service_tier_text = SPAN("standard");
    first.calls[FEE_WEB_SEARCH] = 2;
    first.stated = true;
    first.stated_nano = 9;
    second.cache_write = 7;
    second.cache_write_1h = 4;
    second.output = 9;
    second.reasoning = 0;
    second.tier = TIER_FLEX;
    usage_merge(&into, &first);
    usage_merge(&into, &second);
    assert_int_equal(into.input, 10);
    assert_int_equal(into.cached, 50);
    assert_int_equal(into.cache_write, 7);
    assert_int_equal(into.output, 9);
    assert_int_equal(into.reasoning, 0);
    assert_true(span_is(into.service_tier_text, "standard"));
    assert_int_equal(into.cache_write_1h, 4);
    assert_int_equal(into.calls[FEE_WEB_SEARCH], 2);
    assert_true(into.stated);
    assert_int_equal(into.stated_nano, 9);
    assert_int_equal(into.tier, TIER_FLEX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dropped_name_is_kept_once),
        cmocka_unit_test(a_dropped_name_can_not_break_a_header),
        cmocka_unit_test(ever_more_dropped_names_end_in_more),
        cmocka_unit_test(a_full_arena_drops_the_name_and_nothing_else),
        cmocka_unit_test(parts_are_added_at_the_end),
        cmocka_unit_test(usage_merges_what_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
