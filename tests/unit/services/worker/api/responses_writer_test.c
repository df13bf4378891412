/* Responses as they are written: the grammar of their streams, and what stands in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "services/worker/api/responses.h"
#include "unit/services/worker/api/test_api.h"
#include "unit/services/worker/response_stream.h"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static struct responses_tool tools[] = {
    {RESPONSES_FUNCTION, TEXT("f"), TEXT("f"), {0}},
    {RESPONSES_CUSTOM, TEXT("c"), TEXT("c"), {0}},
    {RESPONSES_FUNCTION, TEXT("ns__g"), TEXT("g"), TEXT("ns")},
    {RESPONSES_LOCAL_SHELL, TEXT("local_shell"), TEXT("local_shell"), {0}},
    {RESPONSES_SHELL, TEXT("shell"), TEXT("shell"), {0}},
    {RESPONSES_APPLY_PATCH, TEXT("apply_patch"), TEXT("apply_patch"), {0}},
};
static struct responses_request plain = {
    .echo = TEXT("\"metadata\":{}"), .tools = tools, .tool_count = sizeof tools / sizeof tools[0]};
static struct responses_request shown = {.echo = TEXT("\"metadata\":{}"),
                                         .shows_reasoning = true,
                                         .tools = tools,
                                         .tool_count = sizeof tools / sizeof tools[0]};

static const struct test_play stream = {
    .api = &api_openai_responses,
    .request = {.api = API_OPENAI_RESPONSES, .stream = true, .responses = &plain}};
static const struct test_play stream_shown = {
    .api = &api_openai_responses,
    .request = {.api = API_OPENAI_RESPONSES, .stream = true, .responses = &shown}};
static const struct test_play unary = {
    .api = &api_openai_responses, .request = {.api = API_OPENAI_RESPONSES, .responses = &shown}};
static const struct test_play unary_json = {
    .api = &api_openai_responses,
    .request = {.api = API_OPENAI_RESPONSES, .format = FORMAT_JSON, .responses = &plain}};

/* Fails unless it is a stream, and holds every text of the list ( ' for " ). */
static void expect(char *got, bool is_stream, const char *const *texts)
{
    const char *complaint = is_stream ? response_stream_complaint(span_str(got), false) : NULL;
    if (complaint)
        fail_msg("%s in\n%s", complaint, got);
    for (; *texts; texts++) {
        char *text = test_quoted(*texts);
        if (!strstr(got, text))
            fail_msg("%s is not in\n%s", text, got);
        free(text);
    }
    free(got);
}

#define EXPECT(play, is_stream, ...)                                                               \
    expect((play), (is_stream), (const char *const[]){__VA_ARGS__, NULL})

static void a_text_is_a_message(void **state)
{
    (void)state;
    EXPECT(PLAY(&stream, E_START("msg_1", "claude-x"), E_TEXT("Hi"), E_TEXT(" \\u00e9"),
                E_USAGE(11, 4, 2, 6, 3), E_STOP(STOP_END), E_END),
           true, "event: response.created\ndata: {'type':'response.created','sequence_number':0,",
           "'delta':' \\u00e9','logprobs':[]}",
           "'type':'response.output_text.done','sequence_number':6", "event: response.completed\n",
           "'text':'Hi \\u00e9','annotations':[],'logprobs':[]}",
           "'usage':{'input_tokens':11,'input_tokens_details':{'cached_tokens':4,"
           "'cache_write_tokens':2},'output_tokens':6,'output_tokens_details':{'reasoning_tokens':3"
           "},'total_tokens':17}",
           "'metadata':{}}}\n\n", "'model':'claude-x'", "'id':'resp_x'", "'store':false");
    EXPECT(PLAY(&unary, E_START("msg_1", "claude-x"), E_TEXT("Hi"), E_STOP(STOP_END), E_END), false,
           "'status':'completed','background':false,'error':null,'incomplete_details':null,",
           "'content':[{'type':'output_text','text':'Hi',");
}

static void an_answer_of_nothing_is_an_empty_message(void **state)
{
    (void)state;
    EXPECT(PLAY(&stream, E_START("m", "x"), E_STOP(STOP_END), E_END), true, "'text':''");
    EXPECT(PLAY(&unary, E_START("m", "x"), E_STOP(STOP_LENGTH), E_END), false,
           "'status':'incomplete'", "{'reason':'max_output_tokens'}");
}

static void a_cut_answer_is_incomplete(void **state)
{
    (void)state;
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TEXT("a"), E_STOP(STOP_LENGTH), E_END), true,
           "event: response.incomplete\n", "{'reason':'max_output_tokens'}",
           "'status':'incomplete'}],");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "a", "f"), E_ARGS(0, "{\\\"a\\\": [1,"),
                E_STOP(STOP_CONTEXT), E_END),
           true, "'arguments':'{\\'a\\': [1,','status':'incomplete'}");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TEXT("a"), E_STOP(STOP_FILTER), E_END), true,
           "{'reason':'content_filter'}");
}

static void a_refusal_is_a_part_of_its_own(void **state)
{
    (void)state;
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TEXT("a"), E_REFUSAL("no"), E_REFUSAL("!"),
                E_STOP(STOP_FILTER), E_END),
           true, "event: response.completed\n", "'content_index':1,'refusal':'no!'}",
           "{'type':'refusal','refusal':'no!'}]");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_REFUSAL("no"), E_TEXT("but"), E_STOP(STOP_FILTER),
                E_END),
           true, "'output_index':1");
    EXPECT(PLAY(&unary, E_START("m", "x"), E_REFUSAL("no"), E_STOP(STOP_FILTER), E_END), false,
           "'content':[{'type':'refusal','refusal':'no'}],'status':'completed'");
}

static void calls_have_their_arguments(void **state)
{
    (void)state;
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TEXT("a"), E_TOOL(0, "t1", "f"),
                E_ARGS(0, "{\\\"x\\\":"), E_ARGS(0, "1}"), E_TOOL_END(0), E_STOP(STOP_TOOL), E_END),
           true, "'type':'function_call','call_id':'t1','name':'f','arguments':''",
           "'name':'f','arguments':'{\\'x\\':1}'}", "event: response.completed\n");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "", "unknown"), E_TOOL_END(0),
                E_STOP(STOP_TOOL), E_END),
           true, "'arguments':'{}'", "'call_id':'call_");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "t", "ns__g"), E_ARGS(0, "{}"), E_TOOL_END(0),
                E_STOP(STOP_TOOL), E_END),
           true, "'name':'g','namespace':'ns','arguments':'{}'");
    EXPECT(PLAY(&unary, E_START("m", "x"), E_TOOL(0, "t", "f"), E_TOOL_END(0), E_STOP(STOP_TOOL),
                E_END),
           false, "'name':'f','arguments':'{}','status':'completed'}],");
}

static void interleaved_calls_are_open_beside_each_other(void **state)
{
    (void)state;
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "a", "f"), E_TOOL(1, "b", "f"),
                E_ARGS(0, "{\\\"x\\\""), E_ARGS(1, "{\\\"y\\\""), E_ARGS(0, ":1}"),
                E_ARGS(1, ":2}"), E_TOOL_END(0), E_TOOL_END(1), E_STOP(STOP_TOOL), E_END),
           true, "'arguments':'{\\'x\\':1}'", "'arguments':'{\\'y\\':2}'");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "a", "f"), E_ARGS(0, "{\\\"x\\\""),
                E_TEXT("between"), E_ARGS(0, ":1}"), E_TEXT("!"), E_STOP(STOP_TOOL), E_END),
           true, "'arguments':'{\\'x\\':1}'", "'text':'between!'");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "a", "f"), E_ARGS(0, "{}"), E_TEXT("then"),
                E_ARGS(0, " "), E_STOP(STOP_TOOL), E_END),
           true, "'arguments':'{}'");
}

static void a_custom_tools_input_is_unwrapped_piece_by_piece(void **state)
{
    (void)state;
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "a", "c"), E_ARGS(0, "{\\\"inp"),
                E_ARGS(0, "ut\\\" : \\\"l1\\\\"), E_ARGS(0, "nl\\\\u00"),
                E_ARGS(0, "e9 \\\\\\\"q\\\\\\\"\\\""), E_ARGS(0, "}"), E_TOOL_END(0),
                E_STOP(STOP_TOOL), E_END),
           true, "'type':'custom_tool_call','call_id':'a','name':'c','input':''",
           "event: response.custom_tool_call_input.delta\n",
           "'input':'l1\\nl\\u00e9 \\'q\\'','status':'completed'");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "a", "c"), E_ARGS(0, "just words"),
                E_TOOL_END(0), E_STOP(STOP_TOOL), E_END),
           true, "'input':'just words'");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "a", "c"),
                E_ARGS(0, "{\\\"why\\\":1,\\\"input\\\":\\\"w\\\"}"), E_TOOL_END(0),
                E_STOP(STOP_TOOL), E_END),
           true, "'input':'w'");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "a", "c"),
                E_ARGS(0, "{\\\"input\\\":\\\"a\\nb\\\\x\\\\u12g\\\"}"), E_TOOL_END(0),
                E_STOP(STOP_TOOL), E_END),
           true, "'input':'a\\u000ab\\\\x\\\\u12g'");
}

static void calls_with_objects_are_told_whole(void **state)
{
    (void)state;
    EXPECT(PLAY(&stream, E_START("m", "x"), E_TOOL(0, "a", "local_shell"),
                E_ARGS(0, "{\\\"command\\\":[\\\"ls\\\"],\\\"timeout_ms\\\":null}"), E_TOOL_END(0),
                E_TOOL(1, "b", "shell"), E_ARGS(1, "{\\\"commands\\\":[\\\"ls\\\"]}"),
                E_TOOL_END(1), E_TOOL(2, "c", "apply_patch"),
                E_ARGS(2, "{\\\"type\\\":\\\"delete_file\\\",\\\"path\\\":\\\"p\\\"}"),
                E_STOP(STOP_TOOL), E_END),
           true,
           "'type':'local_shell_call','call_id':'a','action':{'type':'exec','env':{},'command':["
           "'ls']}",
           "'type':'shell_call','call_id':'b','action':{'timeout_ms':null,'max_output_length':null,"
           "'commands':['ls']}",
           "'type':'apply_patch_call','call_id':'c','operation':{'type':'delete_file','path':'p'}");
}

static void thoughts_are_shown_where_they_are_wanted_and_travel_hidden(void **state)
{
    (void)state;
    EXPECT(PLAY(&stream_shown, E_START("m", "x"), E_THINK("hm"), E_THINK(" ok"), E_SIGN("SIG=="),
                E_TEXT("Yes"), E_STOP(STOP_END), E_END),
           true, "'type':'response.reasoning_summary_text.delta'",
           "'summary':[{'type':'summary_text','text':'hm ok'}],'encrypted_content':'tg1.");
    EXPECT(PLAY(&stream, E_START("m", "x"), E_THINK("hm"), E_TOOL(0, "a", "f"), E_STOP(STOP_TOOL),
                E_END),
           true, "'summary':[],'encrypted_content':'tg1.");
    EXPECT(PLAY(&stream_shown, E_START("m", "x"), {.kind = EVENT_REDACTED, .text = SPAN("D")},
                E_THINK("a"), E_SIGN("S"), E_THINK("b"), E_SIGN("T"), E_STOP(STOP_END), E_END),
           true, "'output_index':2");
}

static void a_fence_around_json_is_taken_off(void **state)
{
    (void)state;
    EXPECT(
        PLAY(&unary_json, E_START("m", "x"), E_TEXT("```json\\n{}\\n```"), E_STOP(STOP_END), E_END),
        false, "'text':'{}'");
}

static void an_error_ends_a_stream(void **state)
{
    (void)state;
    char *got = PLAY(&stream, E_START("m", "x"), E_TEXT("a"),
                     E_ERROR(ERROR_UPSTREAM_OVERLOADED, "Overloaded"), E_END);
    assert_non_null(strstr(got, "event: error\ndata: {\"type\":\"error\""));
    assert_null(response_stream_complaint(span_str(got), false));
    assert_null(strstr(got, "response.completed"));
    free(got);
}

static void without_memory_an_answer_says_so(void **state)
{
    (void)state;
    PLAY_BOUNDED(&stream_shown, E_START("m", "x"), E_THINK("hm"), E_SIGN("SIG"), E_TEXT("Yes"),
                 E_TOOL(0, "a", "c"), E_ARGS(0, "{\\\"input\\\":\\\"w\\\"}"), E_TOOL_END(0),
                 E_TOOL(1, "b", "shell"), E_ARGS(1, "{}"), E_STOP(STOP_TOOL), E_END);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_a_message),
        cmocka_unit_test(an_answer_of_nothing_is_an_empty_message),
        cmocka_unit_test(a_cut_answer_is_incomplete),
        cmocka_unit_test(a_refusal_is_a_part_of_its_own),
        cmocka_unit_test(calls_have_their_arguments),
        cmocka_unit_test(interleaved_calls_are_open_beside_each_other),
        cmocka_unit_test(a_custom_tools_input_is_unwrapped_piece_by_piece),
        cmocka_unit_test(calls_with_objects_are_told_whole),
        cmocka_unit_test(thoughts_are_shown_where_they_are_wanted_and_travel_hidden),
        cmocka_unit_test(a_fence_around_json_is_taken_off),
        cmocka_unit_test(an_error_ends_a_stream),
        cmocka_unit_test(without_memory_an_answer_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
