#include "services/edge/request/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void frames_come_in_order_or_not_at_all(void **state)
{
    (void)state;
    struct flow f = {.window_bytes = 100};
    assert_int_equal(flow_receive(&f, 1, SPAN("x")), ERR_INVALID);
    assert_int_equal(flow_receive(&f, 0, SPAN("x")), OK);
    assert_int_equal(flow_receive(&f, 0, SPAN("x")), ERR_INVALID);
    assert_int_equal(flow_receive(&f, 2, SPAN("x")), ERR_INVALID);
    assert_int_equal(flow_receive(&f, 1, SPAN("x")), OK);
}

static void credit_comes_back_at_half_the_window_as_the_client_takes(void **state)
{
    (void)state;
    struct flow f = {.window_bytes = 20};
    assert_int_equal(flow_receive(&f, 0, SPAN("0123456789abcde")), OK);
    assert_int_equal(flow_credit(&f, 15), 0);
    assert_int_equal(flow_credit(&f, 6), 0);
    assert_int_equal(flow_credit(&f, 5), 10);
    assert_int_equal(flow_credit(&f, 0), 0);
    assert_int_equal(flow_credit(&f, 99), 0);
    assert_int_equal(flow_receive(&f, 1, SPAN("01234")), OK);
    assert_int_equal(flow_credit(&f, 0), 10);
}

static void all_that_was_received_is_returned_in_the_end(void **state)
{
    (void)state;
    struct flow f = {.window_bytes = 64};
    uint64_t returned = 0;
    for (uint32_t seq = 0; seq < 1000; seq++) {
        assert_int_equal(flow_receive(&f, seq, SPAN("data: 0123456789\n\n")), OK);
        returned += flow_credit(&f, seq % 7);
    }
    assert_true(f.received_bytes - returned < 64 + 7);
}

static void no_window_means_no_credit(void **state)
{
    (void)state;
    struct flow f = {0};
    assert_int_equal(flow_receive(&f, 0, SPAN("0123456789")), OK);
    assert_int_equal(flow_credit(&f, 0), 0);
}

static void a_worker_that_ignores_its_window_is_stopped(void **state)
{
    (void)state;
    struct flow f = {.window_bytes = 10};
    assert_int_equal(flow_receive(&f, 0, SPAN("0123456789012345678901234567890123456789")), OK);
    assert_int_equal(flow_receive(&f, 1, SPAN("x")), ERR_TOO_BIG);
}

static void the_space_between_events_is_known_whatever_the_frames(void **state)
{
    static const struct {
        const char *text;
        bool between;
    } cases[] = {
        {"", true},
        {"data: x", false},
        {"data: x\n", false},
        {"data: x\n\n", true},
        {"data: x\n\n\n", true},
        {"data: x\r\n\r\n", true},
        {"data: x\n\nda", false},
        {": ka\n\n", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct flow whole = {0}, bytes = {0};
        assert_int_equal(flow_receive(&whole, 0, span_str(cases[i].text)), OK);
        assert_int_equal(flow_between_events(&whole), cases[i].between);
        if (strchr(cases[i].text, '\r'))
            continue; /* a lone CR at a frame's end is taken for text: only ever too careful */
        for (uint32_t n = 0; cases[i].text[n]; n++)
            assert_int_equal(flow_receive(&bytes, n, span_of(cases[i].text + n, 1)), OK);
        assert_int_equal(flow_between_events(&bytes), cases[i].between);
        assert_true(bytes.events == whole.events);
    }
}

static void tokens_are_about_one_per_event_or_more_for_long_ones(void **state)
{
    (void)state;
    struct flow f = {0};
    char event[400];
    for (uint32_t seq = 0; seq < 50; seq++)
        assert_int_equal(
            flow_receive(&f, seq,
                         SPAN("data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n")),
            OK);
    assert_int_equal(flow_tokens(&f), 50);
    memset(event, 'a', sizeof event);
    memcpy(event + sizeof event - 2, "\n\n", 2);
    f = (struct flow){0};
    for (uint32_t seq = 0; seq < 10; seq++)
        assert_int_equal(flow_receive(&f, seq, span_of(event, sizeof event)), OK);
    assert_in_range(flow_tokens(&f), 400, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_in_order_or_not_at_all),
        cmocka_unit_test(credit_comes_back_at_half_the_window_as_the_client_takes),
        cmocka_unit_test(all_that_was_received_is_returned_in_the_end),
        cmocka_unit_test(no_window_means_no_credit),
        cmocka_unit_test(a_worker_that_ignores_its_window_is_stopped),
        cmocka_unit_test(the_space_between_events_is_known_whatever_the_frames),
        cmocka_unit_test(tokens_are_about_one_per_event_or_more_for_long_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
