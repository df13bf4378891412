#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/services/simulator/test_sim.h"

#define MESSAGES "/anthropic/v1/messages"
#define KEY "x-api-key: k\r\nanthropic-version: 2023-06-01\r\n"
#define BETA KEY "anthropic-beta: message-threads-2026-08-12\r\n"
#define CREATE ",\"thread\":{\"type\":\"create\"}"
#define TOOL "\"tools\":[{\"name\":\"add\",\"input_schema\":{\"type\":\"object\"}}]"
#define FIRST                                                                                      \
    "{\"model\":\"claude-threads\",\"max_tokens\":100," TOOL                                       \
    ",\"messages\":[{\"role\":\"user\",\"content\":\"call:add\"}]" CREATE "}"

/* A turn with one tool result that continues `id`. */
static unsigned go_on(struct test_sim *t, const char *id, const char *call, const char *more)
{
    char body[1024];
    (void)snprintf(body, sizeof body,
                   "{\"model\":\"claude-threads\",\"max_tokens\":100,\"messages\":[{\"role\":"
                   "\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"%s\","
                   "\"content\":\"3\"}]}],\"thread\":{\"type\":\"continue\",\"previous_message_"
                   "id\":\"%s\"}%s}",
                   call, id, more);
    return ask_sim(t, "POST", MESSAGES, BETA, body);
}

static void copy_text(struct json v, char *out, size_t size)
{
    struct span text = json_text(v);
    (void)snprintf(out, size, "%.*s", SPAN_ARG(text));
}

static void a_kept_conversation_goes_on_from_its_last_message(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    char id[64], call[64];
    test_sim_start(&t, &options);
    assert_int_equal(ask_sim(&t, "POST", MESSAGES, BETA, FIRST), 200);
    copy_text(at(json_of(&t), "id"), id, sizeof id);
    copy_text(at(json_of(&t), "content.0.id"), call, sizeof call);
    assert_int_equal(go_on(&t, id, "toolu_other", ""), 400); /* the kept call is checked */
    assert_int_equal(go_on(&t, id, call, "," TOOL), 400);    /* tools are the thread's */
    assert_int_equal(go_on(&t, id, call, ""), 200);
    assert_true(json_is(at(json_of(&t), "stop_reason"), "end_turn"));
    assert_int_equal(go_on(&t, id, call, ""), 200); /* and once more from the same message */
    test_sim_stop(&t);
}

static void an_unknown_message_is_not_found_with_its_code(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(go_on(&t, "msg_nobody", "x", ""), 404);
    assert_true(json_is(at(json_of(&t), "error.details.error_code"), "thread_not_found"));
    test_sim_stop(&t);
}

static void other_models_and_clients_without_the_beta_are_refused(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(ask_sim(&t, "POST", MESSAGES, BETA,
                             "{\"model\":\"claude\",\"max_tokens\":9,\"messages\":[{\"role\":"
                             "\"user\",\"content\":\"hi\"}]" CREATE "}"),
                     400);
    assert_true(json_is(at(json_of(&t), "error.details.error_code"), "thread_unsupported_request"));
    assert_int_equal(ask_sim(&t, "POST", MESSAGES, KEY, FIRST), 400);
    assert_true(json_absent(at(json_of(&t), "error.details")));
    test_sim_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kept_conversation_goes_on_from_its_last_message),
        cmocka_unit_test(an_unknown_message_is_not_found_with_its_code),
        cmocka_unit_test(other_models_and_clients_without_the_beta_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
