#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "unit/services/worker/api/test_api.h"

static const struct test_play stream = {.api = &api_anthropic_messages,
                                        .request = {.stream = true, .thinking = THINKING_BUDGET}};
static const struct test_play unary = {.api = &api_anthropic_messages,
                                       .request = {.thinking = THINKING_ADAPTIVE}};

static void same(char *got, char *expect)
{
    assert_string_equal(got, expect);
    free(got);
    free(expect);
}

#define S E_START("chatcmpl-1", "gpt-x")
#define U E_USAGE(14, 4, U_, 30, U_)

#define EVENT_(name, rest) "event: " name "\ndata: {'type':'" name "'" rest "}\n\n"
#define MESSAGE_START                                                                              \
    EVENT_("message_start",                                                                        \
           ",'message':{'id':'msg_chatcmpl-1','type':'message','role':'assistant','content':[],"   \
           "'model':'gpt-x','stop_reason':null,'stop_sequence':null,'usage':{'input_tokens':0,"    \
           "'output_tokens':0}}")                                                                  \
    PING
#define PING "event: ping\ndata: {'type': 'ping'}\n\n"
#define OPEN(i, block) EVENT_("content_block_start", ",'index':" i ",'content_block':{" block "}")
#define TEXT_BLOCK "'type':'text','text':''"
#define TOOL_BLOCK(id, name) "'type':'tool_use','id':'" id "','name':'" name "','input':{}"
#define DELTA(i, d) EVENT_("content_block_delta", ",'index':" i ",'delta':{" d "}")
#define TEXT_DELTA(i, t) DELTA(i, "'type':'text_delta','text':'" t "'")
#define ARGS_DELTA(i, t) DELTA(i, "'type':'input_json_delta','partial_json':'" t "'")
#define CLOSE(i) EVENT_("content_block_stop", ",'index':" i)
#define FINISH(reason, sequence)                                                                   \
    EVENT_("message_delta",                                                                        \
           ",'delta':{'stop_reason':'" reason "','stop_sequence':" sequence                        \
           "},'usage':{'input_tokens':10,"                                                         \
           "'cache_creation_input_tokens':0,'cache_read_input_tokens':4,'output_tokens':30}")      \
    EVENT_("message_stop", "")

static void the_golden_streams_come_out_byte_for_byte(void **state)
{
    (void)state;
    same(PLAY(&stream, S, E_TEXT(""), E_STOP(STOP_END), U, E_END),
         test_golden("stream_o2a_empty/out.sse"));
    same(PLAY(&stream, S, E_TEXT("a"), E_STOP(STOP_END), U, E_END),
         test_golden("stream_o2a_no_done/out.sse"));
    same(PLAY(&stream, S, E_TEXT("He"), E_STOP(STOP_LENGTH), U, E_END),
         test_golden("stream_o2a_usage_in_finish_chunk/out.sse"));
    same(PLAY(&stream, S, E_THINK("r"), E_TEXT("t"), E_STOP(STOP_END), U, E_END),
         test_golden("stream_o2a_reasoning/out.sse"));
    same(PLAY(&stream, S, E_REFUSAL("I can't"), E_STOP(STOP_END), U, E_END),
         test_golden("stream_o2a_refusal/out.sse"));
    same(PLAY(&stream, S, E_TOOL(0, "c0", "f"), E_ARGS(0, "{}"), E_STOP(STOP_END), U, E_END),
         test_golden("stream_o2a_finish_stop_with_tools/out.sse"));
    same(PLAY(&stream, S, E_TOOL(0, "c0", "f"), E_ARGS(0, "{\\\"a\\\":"), E_ARGS(0, "1}"),
              E_TOOL(1, "c1", "g"), E_ARGS(1, "{}"), E_STOP(STOP_TOOL), U, E_END),
         test_golden("stream_o2a_tools_sequential/out.sse"));
    same(PLAY(&stream, S, E_TOOL(0, "c0", "f"), E_TOOL(1, "c1", "g"), E_ARGS(0, "{\\\"x\\\""),
              E_ARGS(1, "{\\\"y\\\""), E_ARGS(0, ":1}"), E_ARGS(1, ":2}"), E_TOOL_END(0),
              E_TOOL_END(1), E_STOP(STOP_TOOL), U, E_END),
         test_golden("stream_o2a_tools_interleaved/out.sse"));
    same(PLAY(&stream, S, E_TEXT("Hel"),
              E_ERROR(ERROR_UPSTREAM_CLOSED, "upstream closed the stream"), E_END),
         test_golden("stream_o2a_cut/out.sse"));
}

static void the_golden_answer_comes_out_byte_for_byte(void **state)
{
    (void)state;
    same(PLAY(&unary, S, E_TOOL(0, "c0", "f"), E_TOOL(1, "c1", "g"), E_ARGS(1, "{\\\"a\\\":"),
              E_STOP(STOP_END), E_USAGE(100, 60, U_, 5, U_), E_END),
         test_golden("resp_o2a_tools_stop/out.json"));
}

/* H089: all that waits comes out, in the order the calls began, whenever its turn comes. */
static void waiting_tools_are_flushed_in_their_order(void **state)
{
    (void)state;
    same(PLAY(&stream, S, E_TOOL(0, "a", "f"), E_TOOL(1, "b", "g"), E_TOOL(2, "c", "h"),
              E_ARGS(2, "{\\\"z\\\":"), E_ARGS(1, "{\\\"}\\\":"), E_ARGS(2, "3}"), E_ARGS(1, "2}"),
              E_ARGS(0, "{}"), E_STOP(STOP_TOOL), U, E_END),
         test_quoted(MESSAGE_START OPEN("0", TOOL_BLOCK("a", "f")) ARGS_DELTA("0", "{}") CLOSE("0")
                         OPEN("1", TOOL_BLOCK("b", "g")) ARGS_DELTA("1", "{\\'}\\':2}") CLOSE("1")
                             OPEN("2", TOOL_BLOCK("c", "h")) ARGS_DELTA("2", "{\\'z\\':3}")
                                 CLOSE("2") FINISH("tool_use", "null")));
}

/* A tool without arguments never completes: the end of the answer, of the call, or text closes it.
 */
static void a_tool_that_never_completes_does_not_hold_the_others_for_ever(void **state)
{
    (void)state;
    same(PLAY(&stream, S, E_TOOL(0, "a", "f"), E_TOOL(1, "b", "g"), E_ARGS(1, "{}"),
              E_STOP(STOP_TOOL), U, E_END),
         test_quoted(MESSAGE_START OPEN("0", TOOL_BLOCK("a", "f")) CLOSE("0")
                         OPEN("1", TOOL_BLOCK("b", "g")) ARGS_DELTA("1", "{}") CLOSE("1")
                             FINISH("tool_use", "null")));
    same(PLAY(&stream, S, E_TOOL(0, "a", "f"), E_TOOL(1, "b", "g"), E_TOOL_END(0), E_ARGS(1, "{}"),
              E_TOOL_END(1), E_STOP(STOP_TOOL), U, E_END),
         test_quoted(MESSAGE_START OPEN("0", TOOL_BLOCK("a", "f")) CLOSE("0")
                         OPEN("1", TOOL_BLOCK("b", "g")) ARGS_DELTA("1", "{}") CLOSE("1")
                             FINISH("tool_use", "null")));
    same(PLAY(&stream, S, E_TOOL(0, "a", "f"), E_TOOL(1, "b", "g"), E_TEXT("so"), E_ARGS(0, "late"),
              E_STOP(STOP_TOOL), U, E_END),
         test_quoted(MESSAGE_START OPEN("0", TOOL_BLOCK("a", "f")) CLOSE("0")
                         OPEN("1", TOOL_BLOCK("b", "g")) CLOSE("1") OPEN("2", TEXT_BLOCK)
                             TEXT_DELTA("2", "so") CLOSE("2") FINISH("tool_use", "null")));
}

/* Where the object ends is read through both layers of escapes. */
static void the_end_of_arguments_is_found_behind_any_escape(void **state)
{
    (void)state;
    static const char *const whole[] = {
        "{}",
        " \\n{\\\"a\\\": [1, {}]}",
        "{\\\"a\\\":\\\"}\\\"}",
        "{\\\"a\\\":\\\"\\\\\\\"}\\\"}",
        "\\u007b\\u0022a\\u0022:1\\u007d",
        "{\\\"a\\\":\\\"\\\\\\\\\\\"}",
        "{\\\"\\ud83d\\ude00\\/\\\":[]}",
        "[1]",
    };
    static const char *const partial[] = {
        "{", "{\\\"a\\\":\\\"}", "{\\\"a\\\":\\\"\\\\\\\"}", "1", "", "null", "{[}"};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        struct neutral_event args = {.kind = EVENT_TOOL_ARGS, .text = span_str(whole[i])};
        char *got = PLAY(&stream, S, E_TOOL(0, "a", "f"), E_TOOL(1, "b", "g"), args);
        assert_non_null(strstr(got, "\"id\":\"b\""));
        free(got);
    }
    for (size_t i = 0; i < sizeof partial / sizeof partial[0]; i++) {
        struct neutral_event args = {.kind = EVENT_TOOL_ARGS, .text = span_str(partial[i])};
        char *got = PLAY(&stream, S, E_TOOL(0, "a", "f"), E_TOOL(1, "b", "g"), args);
        assert_null(strstr(got, "\"id\":\"b\""));
        free(got);
    }
}

static void text_closes_and_opens_blocks_as_it_must(void **state)
{
    (void)state;
    same(PLAY(&stream, S, E_TEXT("a"), E_TEXT("b"), E_TOOL(0, "t", "f"), E_ARGS(0, "{}"),
              E_TEXT("c"), E_STOP(STOP_END), U, E_END),
         test_quoted(MESSAGE_START OPEN("0", TEXT_BLOCK) TEXT_DELTA("0", "a") TEXT_DELTA("0", "b")
                         CLOSE("0") OPEN("1", TOOL_BLOCK("t", "f")) ARGS_DELTA("1", "{}") CLOSE("1")
                             OPEN("2", TEXT_BLOCK) TEXT_DELTA("2", "c") CLOSE("2")
                                 FINISH("tool_use", "null")));
}

static void thinking_is_shown_to_who_asked_for_it(void **state)
{
    (void)state;
    struct test_play silent = stream;
    silent.request.thinking = THINKING_UNSET;
    same(PLAY(&stream, S, E_THINK("h"), E_SIGN("S"), E_REDACTED("D"), E_THINK("i"),
              E_STOP(STOP_END), U, E_END),
         test_quoted(MESSAGE_START OPEN("0", "'type':'thinking','thinking':'','signature':''")
                         DELTA("0", "'type':'thinking_delta','thinking':'h'")
                             DELTA("0", "'type':'signature_delta','signature':'S'") CLOSE("0")
                                 OPEN("1", "'type':'redacted_thinking','data':'D'") CLOSE("1")
                                     OPEN("2", "'type':'thinking','thinking':'','signature':''")
                                         DELTA("2", "'type':'thinking_delta','thinking':'i'")
                                             CLOSE("2") FINISH("end_turn", "null")));
    same(PLAY(&silent, S, E_THINK("h"), E_SIGN("S"), E_REDACTED("D"), E_STOP(STOP_END), U, E_END),
         test_quoted(MESSAGE_START FINISH("end_turn", "null")));
}

static void every_reason_has_its_word(void **state)
{
    (void)state;
    static const struct {
        enum stop_reason stop;
        const char *plain, *with_tool;
    } rows[] = {
        {STOP_UNKNOWN, "'end_turn'", "'tool_use'"},
        {STOP_END, "'end_turn'", "'tool_use'"},
        {STOP_SEQUENCE, "'stop_sequence'", "'stop_sequence'"},
        {STOP_LENGTH, "'max_tokens'", "'max_tokens'"},
        {STOP_CONTEXT, "'model_context_window_exceeded'", "'model_context_window_exceeded'"},
        {STOP_TOOL, "'end_turn'", "'tool_use'"},
        {STOP_FILTER, "'refusal'", "'refusal'"},
        {STOP_PAUSE, "'pause_turn'", "'pause_turn'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *plain = PLAY(&unary, S, E_STOP(rows[i].stop), E_END);
        char *with_tool =
            PLAY(&stream, S, E_TOOL(0, "t", "f"), E_ARGS(0, "{}"), E_STOP(rows[i].stop), E_END);
        char *word = test_quoted(rows[i].plain), *tool_word = test_quoted(rows[i].with_tool);
        assert_non_null(strstr(plain, word));
        assert_non_null(strstr(with_tool, tool_word));
        free(plain);
        free(with_tool);
        free(word);
        free(tool_word);
    }
    struct neutral_event stop = {
        .kind = EVENT_STOP, .stop = STOP_SEQUENCE, .stop_sequence_text = SPAN("a\\n")};
    same(PLAY(&stream, S, stop, U, E_END),
         test_quoted(MESSAGE_START FINISH("stop_sequence", "'a\\n'")));
}

static void the_end_comes_once(void **state)
{
    (void)state;
    same(PLAY(&stream, E_PING, S, E_PING, E_STOP(STOP_END), U, E_END, E_PING, E_TEXT("late"), E_END,
              E_ERROR(ERROR_INTERNAL, "late")),
         test_quoted(MESSAGE_START PING FINISH("end_turn", "null")));
}

/* H079, H087: the last word on usage wins, and input excludes what the cache gave. */
static void usage_known_early_stands_in_message_start(void **state)
{
    (void)state;
    struct neutral_event start = {.kind = EVENT_START,
                                  .id_text = SPAN("msg_1"),
                                  .model_text = SPAN("m"),
                                  .usage = {.input = 20,
                                            .cached = 5,
                                            .cache_write = 1,
                                            .output = U_,
                                            .reasoning = U_,
                                            .cache_write_1h = U_}};
    char *got = PLAY(&stream, start, E_USAGE(30, U_, U_, 7, 3), E_END);
    char *early = test_quoted(
        "'usage':{'input_tokens':14,'cache_creation_input_tokens':1,'cache_read_input_tokens':5,"
        "'output_tokens':0}");
    char *late = test_quoted(
        "'usage':{'input_tokens':24,'cache_creation_input_tokens':1,'cache_read_input_tokens':5,"
        "'output_tokens':7,'output_tokens_details':{'thinking_tokens':3}}");
    assert_non_null(strstr(got, early));
    assert_non_null(strstr(got, late));
    assert_non_null(strstr(got, "\"id\":\"msg_1\""));
    free(got);
    free(early);
    free(late);
}

static void what_is_not_said_is_estimated_or_made(void **state)
{
    (void)state;
    struct test_play play = {
        .api = &api_anthropic_messages, .input_tokens = 9, .request_id = "req_abc"};
    same(PLAY(&play, E_TEXT("12345"), E_END),
         test_quoted(
             "{'id':'msg_abc','type':'message','role':'assistant','model':'asked-model','content':["
             "{'type':'text',"
             "'text':'12345'}],'stop_reason':'end_turn','stop_sequence':null,'usage':{'input_"
             "tokens':9,"
             "'cache_creation_input_tokens':0,'cache_read_input_tokens':0,'output_tokens':2}}"));
    char *once = PLAY(&play, E_TOOL(0, "", "f"), E_TOOL(1, "", "g"), E_END);
    char *first = strstr(once, "\"toolu_"), *second = strstr(first + 1, "\"toolu_");
    assert_non_null(second);
    assert_int_equal(strcspn(first + 1, "\""), 30);
    assert_int_not_equal(strncmp(first, second, 31), 0);
    free(once);
}

#define MESSAGE(content, stop)                                                                     \
    "{'id':'msg_chatcmpl-1','type':'message','role':'assistant','model':'gpt-x','content':"        \
    "[" content "],'stop_reason':'" stop                                                           \
    "','stop_sequence':null,'usage':{'input_tokens':10,'cache_creation_input_tokens':0,'cache_"    \
    "read_input_tokens':4,"                                                                        \
    "'output_tokens':30}}"

static void one_message_holds_its_blocks_in_order(void **state)
{
    (void)state;
    same(PLAY(&unary, S, E_THINK("h"), E_SIGN("S"), E_THINK("i"), E_REDACTED("D"),
              E_TEXT("a\\ud83d"), E_TEXT("\\ude00b"), E_TOOL(0, "t", "f"),
              E_ARGS(0, "{\\\"id\\\": 123456789012345"), E_ARGS(0, "67890}"), E_TEXT("c"),
              E_STOP(STOP_TOOL), U, E_END),
         test_quoted(MESSAGE(
             "{'type':'thinking','thinking':'h','signature':'S'},{'type':'thinking','thinking':'i',"
             "'signature':''},{'type':'redacted_thinking','data':'D'},"
             "{'type':'text','text':'a\\ud83d\\ude00b'},{'type':'tool_use','id':'t','name':'f','"
             "input':"
             "{'id': 12345678901234567890}},{'type':'text','text':'c'}",
             "tool_use")));
    same(PLAY(&unary, S, E_STOP(STOP_END), U, E_END), test_quoted(MESSAGE("", "end_turn")));
}

static void a_tools_input_is_always_an_object(void **state)
{
    (void)state;
    static const struct {
        const char *args;
        enum stop_reason stop;
        const char *input, *reason;
    } rows[] = {
        {"", STOP_TOOL, "{}", "tool_use"},
        {" \\n", STOP_TOOL, "{}", "tool_use"},
        {"{}", STOP_TOOL, "{}", "tool_use"},
        {"{\\\"a\\\":\\\"\\\\ud800\\\"}", STOP_TOOL, "{'a':'\\ud800'}", "tool_use"},
        {"{\\\"a\\\":", STOP_TOOL, "{'_raw':'{\\'a\\':'}", "tool_use"},
        {"[1]", STOP_TOOL, "{'_raw':'[1]'}", "tool_use"},
        {"null", STOP_TOOL, "{'_raw':'null'}", "tool_use"},
        {"{\\\"a\\\":", STOP_LENGTH, "{}", "max_tokens"},
        {"{\\\"a\\\":1}", STOP_LENGTH, "{'a':1}", "max_tokens"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct neutral_event args = {.kind = EVENT_TOOL_ARGS, .text = span_str(rows[i].args)};
        char *got = PLAY(&unary, S, E_TOOL(0, "t", "f"), args, E_TOOL_END(0), E_STOP(rows[i].stop),
                         U, E_END);
        struct buf b = {0};
        buf_printf(&b, "\"name\":\"f\",\"input\":%s}],\"stop_reason\":\"%s\"", rows[i].input,
                   rows[i].reason);
        buf_append_char(&b, '\0');
        char *expect = test_quoted(b.data);
        char *at = strstr(got, "\"name\"");
        assert_non_null(at);
        at[strlen(expect)] = '\0';
        assert_string_equal(at, expect);
        free(got);
        free(expect);
        buf_free(&b);
    }
}

static void a_refusal_is_text_and_a_reason(void **state)
{
    (void)state;
    same(PLAY(&unary, S, E_REFUSAL("I cannot"), E_STOP(STOP_END), U, E_END),
         test_quoted(MESSAGE("{'type':'text','text':'I cannot'}", "refusal")));
}

static void a_unary_answer_that_fails_writes_nothing(void **state)
{
    (void)state;
    same(PLAY(&unary, S, E_TEXT("a"), E_ERROR(ERROR_INTERNAL, "x"), E_END), test_quoted(""));
}

static void a_full_arena_is_said_and_never_half_an_answer(void **state)
{
    (void)state;
    const struct test_play *plays[] = {&stream, &unary};
    struct neutral_event stop = {
        .kind = EVENT_STOP, .stop = STOP_SEQUENCE, .stop_sequence_text = SPAN("END")};
    for (size_t i = 0; i < 2; i++)
        PLAY_BOUNDED(plays[i], S, E_THINK("hm"), E_SIGN("S"), E_REDACTED("D"), E_TEXT("a"),
                     E_REFUSAL("r"), E_TOOL(0, "", "f"), E_TOOL(1, "b", "g"), E_ARGS(1, "{}"),
                     E_ARGS(0, "{}"), E_TOOL(2, "c", "h"), E_TOOL(3, "d", "i"), E_TOOL(4, "e", "j"),
                     E_ARGS(4, "{}"), stop, E_END);
}

static void what_says_nothing_leaves_no_block(void **state)
{
    (void)state;
    struct test_play silent = unary;
    silent.request.thinking = THINKING_OFF;
    same(PLAY(&silent, S, E_THINK("h"), E_SIGN("S"), E_REDACTED("D"), E_TEXT(""), E_PING,
              E_ARGS(4, "{}"), E_TOOL_END(4), E_STOP(STOP_END), U, E_END),
         test_quoted(MESSAGE("", "end_turn")));
    same(PLAY(&unary, S, E_THINK(""), E_SIGN(""), E_TOOL(0, "t", "f"), E_TOOL(1, "u", "g"),
              E_ARGS(0, "{}"), E_STOP(STOP_END), U, E_END),
         test_quoted(MESSAGE("{'type':'tool_use','id':'t','name':'f','input':{}},"
                             "{'type':'tool_use','id':'u','name':'g','input':{}}",
                             "tool_use")));
    same(PLAY(&stream, S, E_THINK(""), E_SIGN(""), E_TEXT(""), E_ARGS(4, "{}"), E_TOOL_END(4),
              E_STOP(STOP_END), U, E_END),
         test_quoted(MESSAGE_START FINISH("end_turn", "null")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_streams_come_out_byte_for_byte),
        cmocka_unit_test(the_golden_answer_comes_out_byte_for_byte),
        cmocka_unit_test(waiting_tools_are_flushed_in_their_order),
        cmocka_unit_test(a_tool_that_never_completes_does_not_hold_the_others_for_ever),
        cmocka_unit_test(the_end_of_arguments_is_found_behind_any_escape),
        cmocka_unit_test(text_closes_and_opens_blocks_as_it_must),
        cmocka_unit_test(thinking_is_shown_to_who_asked_for_it),
        cmocka_unit_test(every_reason_has_its_word),
        cmocka_unit_test(the_end_comes_once),
        cmocka_unit_test(usage_known_early_stands_in_message_start),
        cmocka_unit_test(what_is_not_said_is_estimated_or_made),
        cmocka_unit_test(one_message_holds_its_blocks_in_order),
        cmocka_unit_test(a_tools_input_is_always_an_object),
        cmocka_unit_test(a_refusal_is_text_and_a_reason),
        cmocka_unit_test(a_unary_answer_that_fails_writes_nothing),
        cmocka_unit_test(a_full_arena_is_said_and_never_half_an_answer),
        cmocka_unit_test(what_says_nothing_leaves_no_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
