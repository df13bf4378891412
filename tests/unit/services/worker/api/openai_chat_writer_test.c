#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "unit/services/worker/api/test_api.h"

static const struct test_play stream = {.api = &api_openai_chat, .request = {.stream = true}};
static const struct test_play stream_usage = {.api = &api_openai_chat,
                                              .request = {.stream = true, .want_usage = true}};
static const struct test_play stream_legacy = {
    .api = &api_openai_chat, .request = {.stream = true, .legacy_functions = true}};
static const struct test_play unary = {.api = &api_openai_chat};

static void same(char *got, char *expect)
{
    assert_string_equal(got, expect);
    free(got);
    free(expect);
}

#define CHUNK(delta, finish)                                                                       \
    "data: "                                                                                       \
    "{'id':'msg_1','object':'chat.completion.chunk','created':0,'model':'claude-x','choices':[{'"  \
    "index':0,"                                                                                    \
    "'delta':{" delta "},'finish_reason':" finish "}]}\n\n"
#define ROLE CHUNK("'role':'assistant','content':''", "null")
#define DONE "data: [DONE]\n\n"
#define CALL_0                                                                                     \
    CHUNK("'tool_calls':[{'index':0,'id':'a','type':'function','function':{'name':'f','arguments'" \
          ":''}}]",                                                                                \
          "null")
#define CALL_1                                                                                     \
    CHUNK("'tool_calls':[{'index':1,'id':'b','type':'function','function':{'name':'g','arguments'" \
          ":''}}]",                                                                                \
          "null")
#define MORE(i, args)                                                                              \
    CHUNK("'tool_calls':[{'index':" i ",'function':{'arguments':'" args "'}}]", "null")

static void the_golden_streams_come_out_byte_for_byte(void **state)
{
    (void)state;
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_TEXT("Hi"), E_STOP(STOP_END), E_END),
         test_golden("stream_a2o_text/out.sse"));
    same(PLAY(&stream_usage, E_START("msg_1", "claude-x"), E_USAGE(11, 0, 0, 1, U_), E_TEXT("Hi"),
              E_USAGE(U_, U_, U_, 6, U_), E_STOP(STOP_END), E_END),
         test_golden("stream_a2o_text_usage/out.sse"));
    same(PLAY(&stream_usage, E_START("msg_1", "claude-x"), E_USAGE(10, U_, U_, 1, U_), E_TEXT("a"),
              E_USAGE(67, 50, 7, 3, U_), E_STOP(STOP_END), E_USAGE(U_, U_, U_, 9, U_), E_END),
         test_golden("stream_a2o_usage_two_deltas/out.sse"));
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_TOOL(0, "toolu_1", "now"), E_ARGS(0, ""),
              E_TOOL_END(0), E_STOP(STOP_TOOL), E_END),
         test_golden("stream_a2o_tool_no_args/out.sse"));
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_TEXT("x"), E_TOOL(0, "a", "f"),
              E_TOOL(1, "b", "g"), E_ARGS(0, "{\\\"x\\\":"), E_ARGS(1, "{\\\"y\\\":"),
              E_ARGS(0, "1}"), E_ARGS(1, "2}"), E_TOOL_END(0), E_TOOL_END(1), E_STOP(STOP_TOOL),
              E_END),
         test_golden("stream_a2o_two_tools_overlap/out.sse"));
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_TOOL(0, "t", "f"),
              E_ARGS(0, "{\\\"a\\\": [1,"), E_STOP(STOP_LENGTH), E_END),
         test_golden("stream_a2o_max_tokens_in_tool/out.sse"));
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_THINK("hm "), E_THINK("ok"), E_SIGN("SIG=="),
              E_TEXT("Yes"), E_STOP(STOP_END), E_END),
         test_golden("stream_a2o_thinking/out.sse"));
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_TEXT(""), E_REFUSAL("no"),
              E_STOP(STOP_FILTER), E_END),
         test_golden("stream_a2o_refusal/out.sse"));
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_TEXT("a\\u0000b\\ud83d"),
              E_TEXT("\\ude00\\\\ \\\" \\/"), E_STOP(STOP_END), E_END),
         test_golden("stream_a2o_escapes/out.sse"));
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_TEXT("Hi"),
              E_ERROR(ERROR_UPSTREAM_OVERLOADED, "Overloaded"), E_END),
         test_golden("stream_a2o_error_mid/out.sse"));
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_TEXT("Hi"),
              E_ERROR(ERROR_UPSTREAM_CLOSED, "upstream closed the stream")),
         test_golden("stream_a2o_cut/out.sse"));
}

static void the_golden_answers_come_out_byte_for_byte(void **state)
{
    (void)state;
    same(PLAY(&unary, E_START("msg_1", "claude-x"), E_TEXT("a"), E_TEXT("b"),
              E_USAGE(1110, 1000, 100, 5, U_), E_STOP(STOP_END), E_END),
         test_golden("resp_a2o_texts_cache/out.json"));
    same(PLAY(&unary, E_START("abc", "meta/x"), E_TEXT("He"), E_TEXT("llo"),
              E_USAGE(3, U_, U_, 2, U_), E_STOP(STOP_END), E_END),
         test_golden("replicate_response/out.json"));
}

/* H074, H075: a call's index is its place among the calls, whatever the slot's number. */
static void slots_become_indexes_in_their_order(void **state)
{
    (void)state;
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_TOOL(7, "a", "f"), E_TOOL(3, "b", "g"),
              E_ARGS(3, "[]"), E_ARGS(7, "{}"), E_ARGS(99, "lost"), E_TOOL_END(3), E_TOOL_END(7),
              E_STOP(STOP_TOOL), E_END),
         test_quoted(ROLE CALL_0 CALL_1 MORE("1", "[]") MORE("0", "{}") CHUNK("", "'tool_calls'")
                         DONE));
}

/* H071, H077: no call ends without arguments, and none gets braces it did not ask for. */
static void a_call_never_ended_still_gets_its_braces(void **state)
{
    (void)state;
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_TOOL(0, "a", "f"), E_STOP(STOP_TOOL), E_END),
         test_quoted(ROLE CALL_0 MORE("0", "{}") CHUNK("", "'tool_calls'") DONE));
}

static void functions_are_answered_in_kind(void **state)
{
    (void)state;
    same(PLAY(&stream_legacy, E_START("msg_1", "claude-x"), E_TOOL(0, "a", "f"), E_ARGS(0, "{}"),
              E_TOOL_END(0), E_TOOL(1, "b", "g"), E_ARGS(1, "{}"), E_STOP(STOP_TOOL), E_END),
         test_quoted(ROLE CHUNK("'function_call':{'name':'f','arguments':''}", "null") CHUNK(
             "'function_call':{'arguments':'{}'}", "null") CHUNK("", "'function_call'") DONE));
}

static void redacted_thinking_is_a_block_of_its_own(void **state)
{
    (void)state;
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_THINK(""), E_REDACTED("DATA"),
              E_STOP(STOP_END), E_END),
         test_quoted(ROLE CHUNK("'thinking_blocks':[{'type':'redacted_thinking','data':'DATA'}]",
                                "null") CHUNK("", "'stop'") DONE));
}

/* H018, H081: whatever comes after the end is not written. */
static void the_end_comes_once(void **state)
{
    (void)state;
    same(PLAY(&stream, E_START("msg_1", "claude-x"), E_START("msg_2", "other"), E_STOP(STOP_END),
              E_END, E_TEXT("late"), E_END, E_ERROR(ERROR_INTERNAL, "late")),
         test_quoted(ROLE CHUNK("", "'stop'") DONE));
}

static void a_ping_is_a_comment_once_the_stream_has_begun(void **state)
{
    (void)state;
    same(PLAY(&stream, E_PING, E_START("msg_1", "claude-x"), E_PING, E_STOP(STOP_END), E_END),
         test_quoted(ROLE ": ping\n\n" CHUNK("", "'stop'") DONE));
    same(PLAY(&unary, E_PING), test_quoted(""));
}

static void every_reason_has_its_word(void **state)
{
    (void)state;
    static const struct {
        enum stop_reason stop;
        const char *word;
    } rows[] = {
        {STOP_UNKNOWN, "'stop'"},          {STOP_END, "'stop'"},       {STOP_SEQUENCE, "'stop'"},
        {STOP_LENGTH, "'length'"},         {STOP_CONTEXT, "'length'"}, {STOP_TOOL, "'tool_calls'"},
        {STOP_FILTER, "'content_filter'"}, {STOP_PAUSE, "'stop'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *got = PLAY(&unary, E_START("msg_1", "claude-x"), E_STOP(rows[i].stop), E_END);
        char *word = test_quoted(rows[i].word);
        assert_non_null(strstr(got, word));
        free(got);
        free(word);
    }
}

#define UNARY(id, message, finish, usage)                                                          \
    "{'id':'" id                                                                                   \
    "','object':'chat.completion','created':0,'model':'claude-x','choices':[{'index':0,'message':" \
    "{'role':'assistant'," message "},'logprobs':null,'finish_reason':'" finish                    \
    "'}],'usage':" usage
#define USAGE(i, o, t, c, w, r)                                                                    \
    "{'prompt_tokens':" #i ",'completion_tokens':" #o ",'total_tokens':" #t                        \
    ",'prompt_tokens_details':{'cached_tokens':" #c ",'cache_write_tokens':" #w                    \
    "},'completion_tokens_details':{'reasoning_tokens':" #r "}}"

/* H065 */
static void calls_stand_in_one_answer_with_null_content(void **state)
{
    (void)state;
    same(PLAY(&unary, E_START("msg_1", "claude-x"), E_TOOL(0, "a", "f"),
              E_ARGS(0, "{\\\"id\\\":1234567890123456789"), E_ARGS(0, "0}"), E_TOOL_END(0),
              E_TOOL(1, "b", "g"), E_STOP(STOP_TOOL), E_USAGE(1, 0, 0, 2, 1), E_END),
         test_quoted(UNARY("msg_1",
                           "'content':null,'refusal':null,'tool_calls':[{'id':'a','type':'function'"
                           ",'function':{'name':"
                           "'f','arguments':'{\\'id\\':12345678901234567890}'}},{'id':'b','type':'"
                           "function','function':"
                           "{'name':'g','arguments':'{}'}}]",
                           "tool_calls", USAGE(1, 2, 3, 0, 0, 1)) "}"));
}

static void functions_stand_in_one_answer_too(void **state)
{
    (void)state;
    struct test_play play = unary;
    play.request.legacy_functions = true;
    same(PLAY(&play, E_START("msg_1", "claude-x"), E_TOOL(0, "a", "f"), E_TOOL_END(0),
              E_STOP(STOP_END), E_USAGE(1, 0, 0, 2, 0), E_END),
         test_quoted(UNARY(
             "msg_1", "'content':null,'refusal':null,'function_call':{'name':'f','arguments':'{}'}",
             "function_call", USAGE(1, 2, 3, 0, 0, 0)) "}"));
}

/* H068, H067: gaps are zeros. */
static void a_refusal_keeps_its_explanation(void **state)
{
    (void)state;
    same(PLAY(&unary, E_START("msg_1", "claude-x"), E_TEXT(""), E_REFUSAL("x"), E_STOP(STOP_FILTER),
              E_USAGE(10, U_, U_, 5, U_), E_END),
         test_quoted(UNARY("msg_1", "'content':'','refusal':'x'", "content_filter",
                           USAGE(10, 5, 15, 0, 0, 0)) "}"));
}

static void thinking_stands_beside_the_content(void **state)
{
    (void)state;
    same(PLAY(&unary, E_START("msg_1", "claude-x"), E_THINK("h"), E_THINK("m"), E_SIGN("S"),
              E_REDACTED("D"), E_THINK("unsigned"), E_TEXT("ok"), E_STOP(STOP_END),
              E_USAGE(1, 0, 0, 1, 0), E_END),
         test_quoted(UNARY(
             "msg_1",
             "'content':'ok','refusal':null,'reasoning_content':'hmunsigned','thinking_blocks':["
             "{'type':'thinking','thinking':'hm','signature':'S'},{'type':'redacted_thinking','"
             "data':'D'}]",
             "stop", USAGE(1, 1, 2, 0, 0, 0)) "}"));
}

static void what_is_not_said_is_estimated_or_made(void **state)
{
    (void)state;
    struct test_play play = {
        .api = &api_openai_chat, .input_tokens = 9, .request_id = "req_abc", .model = "claude-x"};
    same(PLAY(&play, {.kind = EVENT_TEXT, .text = SPAN("12345")}, E_END),
         test_quoted(UNARY("chatcmpl-abc", "'content':'12345','refusal':null", "stop",
                           USAGE(9, 2, 11, 0, 0, 0)) "}"));
    play.request.stream = true;
    char *once = PLAY(&play, E_TOOL(0, "", "f"), E_TOOL(1, "", "g"), E_END);
    char *twice = PLAY(&play, E_TOOL(0, "", "f"), E_TOOL(1, "", "g"), E_END);
    assert_string_equal(once, twice);
    char *first = strstr(once, "call_"), *second = strstr(first + 1, "call_");
    assert_non_null(second);
    assert_int_not_equal(strncmp(first, second, 29), 0);
    free(once);
    free(twice);
}

static void the_tier_is_said_in_openai_words(void **state)
{
    (void)state;
    static const struct {
        const char *tier, *member;
    } rows[] = {{"standard", "'service_tier':'default'"},
                {"default", "'service_tier':'default'"},
                {"priority", "'service_tier':'priority'"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct neutral_event start = {.kind = EVENT_START, .usage = USAGE_NONE};
        start.usage.service_tier_text = span_str(rows[i].tier);
        char *member = test_quoted(rows[i].member);
        char *streamed = PLAY(&stream, start, E_END), *whole = PLAY(&unary, start, E_END);
        assert_non_null(strstr(streamed, member));
        assert_non_null(strstr(whole, member));
        free(member);
        free(streamed);
        free(whole);
    }
    struct neutral_event batch = {.kind = EVENT_USAGE, .usage = USAGE_NONE};
    batch.usage.service_tier_text = SPAN("batch");
    char *got = PLAY(&unary, batch, E_END);
    assert_null(strstr(got, "service_tier"));
    free(got);
}

static void json_mode_takes_the_fence_away(void **state)
{
    (void)state;
    static const struct {
        const char *text, *content;
    } rows[] = {
        {"```json\\n{\\\"a\\\":1}\\n```", "'{\\'a\\':1}'"},
        {" \\n```\\n[1]```\\n\\n", "'[1]'"},
        {"```JSON\\r\\n\\t{}\\r\\n```", "'{}'"},
        {"{\\\"a\\\":1}", "'{\\'a\\':1}'"},
        {"Here: ```json\\n{}\\n```", "'Here: ```json\\n{}\\n```'"},
        {"```json\\n{}\\n``` and ```json\\n{}\\n```",
         "'```json\\n{}\\n``` and ```json\\n{}\\n```'"},
        {"```c\\nint x;\\n```", "'```c\\nint x;\\n```'"},
        {"```json\\n[1]\\t\\r\\n``` ", "'[1]'"},
        {"```json\\n[1]\\\\n```", "'[1]\\\\n'"},
        {"```{} ```", "'{}'"},
        {"", "''"},
        {"```", "'```'"},
        {"``````", "'``````'"},
        {"```json\\n[\\\"\\\\\\\\n\\\"]\\n```", "'[\\'\\\\\\\\n\\']'"},
    };
    struct test_play play = unary;
    play.request.format = FORMAT_JSON;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct neutral_event text = {.kind = EVENT_TEXT, .text = span_str(rows[i].text)};
        char *got = PLAY(&play, text, E_STOP(STOP_END), E_END);
        char *content = test_quoted(rows[i].content);
        char *at = strstr(got, "\"content\":");
        assert_non_null(at);
        at[10 + strlen(content)] = '\0';
        assert_string_equal(at + 10, content);
        free(got);
        free(content);
    }
}

/* The caller reports it: there is a status to say it with. */
static void a_unary_answer_that_fails_writes_nothing(void **state)
{
    (void)state;
    same(PLAY(&unary, E_START("msg_1", "claude-x"), E_TEXT("a"), E_ERROR(ERROR_INTERNAL, "x"),
              E_END),
         test_quoted(""));
}

static void a_long_answer_is_put_together_whole(void **state)
{
    (void)state;
    enum { EVENTS = 20000 };
    struct neutral_event *events = calloc(EVENTS + 1, sizeof *events);
    for (size_t i = 0; i < EVENTS; i++)
        events[i] = (struct neutral_event){.kind = EVENT_TEXT, .text = SPAN("0123456789")};
    events[EVENTS] = (struct neutral_event){.kind = EVENT_END};
    char *got = test_play(&unary, events, EVENTS + 1);
    char *content = strstr(got, "\"content\":\"");
    assert_non_null(content);
    content += strlen("\"content\":\"");
    assert_int_equal(strspn(content, "0123456789"), EVENTS * 10);
    free(got);
    free(events);
}

static void a_full_arena_is_said_and_never_half_an_answer(void **state)
{
    (void)state;
    const struct test_play *plays[] = {&stream_usage, &unary, &stream_legacy};
    for (size_t i = 0; i < 3; i++)
        PLAY_BOUNDED(plays[i], E_START("1", "claude-x"), E_THINK("hm"), E_SIGN("S"),
                     E_REDACTED("D"), E_THINK("unsigned"), E_TEXT("a"), E_REFUSAL("r"),
                     E_TOOL(0, "", "f"), E_ARGS(0, "{}"), E_TOOL(1, "b", "g"), E_TOOL_END(0),
                     E_TOOL(2, "c", "h"), E_TOOL(3, "d", "i"), E_TOOL(4, "e", "j"),
                     E_STOP(STOP_TOOL), E_END);
    PLAY_BOUNDED(&unary, E_END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_streams_come_out_byte_for_byte),
        cmocka_unit_test(the_golden_answers_come_out_byte_for_byte),
        cmocka_unit_test(slots_become_indexes_in_their_order),
        cmocka_unit_test(a_call_never_ended_still_gets_its_braces),
        cmocka_unit_test(functions_are_answered_in_kind),
        cmocka_unit_test(redacted_thinking_is_a_block_of_its_own),
        cmocka_unit_test(the_end_comes_once),
        cmocka_unit_test(a_ping_is_a_comment_once_the_stream_has_begun),
        cmocka_unit_test(every_reason_has_its_word),
        cmocka_unit_test(calls_stand_in_one_answer_with_null_content),
        cmocka_unit_test(functions_stand_in_one_answer_too),
        cmocka_unit_test(a_refusal_keeps_its_explanation),
        cmocka_unit_test(thinking_stands_beside_the_content),
        cmocka_unit_test(what_is_not_said_is_estimated_or_made),
        cmocka_unit_test(the_tier_is_said_in_openai_words),
        cmocka_unit_test(json_mode_takes_the_fence_away),
        cmocka_unit_test(a_unary_answer_that_fails_writes_nothing),
        cmocka_unit_test(a_long_answer_is_put_together_whole),
        cmocka_unit_test(a_full_arena_is_said_and_never_half_an_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
