/* Anthropic answers as neutral events (H064 to H084). */
#include "unit/services/worker/providers/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define CHAT "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":true}"
#define UNARY "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":99}"

#define START                                                                                      \
    "data: "                                                                                       \
    "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"     \
    "\"assistant\","                                                                               \
    "\"content\":[],\"model\":\"claude-x\",\"stop_reason\":null,\"usage\":{\"input_tokens\":11,"   \
    "\"output_tokens\":1}}}\n\n"
#define BLOCK(i, what)                                                                             \
    "data: {\"type\":\"content_block_start\",\"index\":" #i ",\"content_block\":" what "}\n\n"
#define TEXT_BLOCK(i) BLOCK(i, "{\"type\":\"text\",\"text\":\"\"}")
#define TOOL_BLOCK(i, id, input)                                                                   \
    BLOCK(i, "{\"type\":\"tool_use\",\"id\":\"" id "\",\"name\":\"f\",\"input\":" input "}")
#define DELTA(i, what)                                                                             \
    "data: {\"type\":\"content_block_delta\",\"index\":" #i ",\"delta\":" what "}\n\n"
#define TEXT(i, t) DELTA(i, "{\"type\":\"text_delta\",\"text\":\"" t "\"}")
#define ARGS(i, t) DELTA(i, "{\"type\":\"input_json_delta\",\"partial_json\":\"" t "\"}")
#define STOP(i) "data: {\"type\":\"content_block_stop\",\"index\":" #i "}\n\n"
#define END(reason, usage)                                                                         \
    "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"" reason                       \
    "\",\"stop_sequence\":null},\"usage\":" usage "}\n\n"
#define LAST "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
#define USAGE_6 "USAGE in=11 cached=? written=? out=6 reasoning=?\n"
#define OUT_6 "{\"output_tokens\":6}"

struct stream_case {
    const char *name, *in, *events;
};

static const struct stream_case streams[] = {
    {"H070 plain text, a ping",
     START TEXT_BLOCK(0) "event: ping\ndata: {\"type\": \"ping\"}\n\n" TEXT(0, "Hi") STOP(0)
         END("end_turn", OUT_6) LAST,
     "START msg_1 claude-x\nPING\nTEXT Hi\n" USAGE_6 "STOP end\nEND\n"},
    {"H071 a tool without arguments",
     START TOOL_BLOCK(0, "id", "{}") ARGS(0, "") STOP(0) END("tool_use", OUT_6) LAST,
     "START msg_1 claude-x\nTOOL 0 id f\nARGS 0 {}\nTOOLEND 0\n" USAGE_6 "STOP tool\nEND\n"},
    {"H072 start input and deltas",
     START TOOL_BLOCK(0, "id", "{}") ARGS(0, "{\\\"a\\\":") ARGS(0, "1}") STOP(0)
         END("tool_use", OUT_6) LAST,
     "START msg_1 claude-x\nTOOL 0 id f\nARGS 0 {\\\"a\\\":\nARGS 0 1}\nTOOLEND 0\n" USAGE_6
     "STOP tool\nEND\n"},
    {"H073 the whole input at the start",
     START TOOL_BLOCK(0, "id", "{\"a\": 1}") STOP(0) END("tool_use", OUT_6) LAST,
     "START msg_1 claude-x\nTOOL 0 id f\nARGS 0 {\\\"a\\\":1}\nTOOLEND 0\n" USAGE_6
     "STOP tool\nEND\n"},
    {"H074 tool slots are not block indexes",
     START TEXT_BLOCK(0) TEXT(0, "x") STOP(0) TOOL_BLOCK(1, "a", "{}") STOP(1)
         TOOL_BLOCK(2, "b", "{}") STOP(2) END("tool_use", OUT_6) LAST,
     "START msg_1 claude-x\nTEXT x\nTOOL 0 a f\nARGS 0 {}\nTOOLEND 0\nTOOL 1 b f\nARGS 1 "
     "{}\nTOOLEND 1\n" USAGE_6 "STOP tool\nEND\n"},
    {"H075 overlapping blocks",
     START TOOL_BLOCK(1, "a", "{}") TOOL_BLOCK(2, "b", "{}") ARGS(1, "1") ARGS(2, "2") ARGS(1, "3")
         STOP(1) STOP(2) END("tool_use", OUT_6) LAST,
     "START msg_1 claude-x\nTOOL 0 a f\nTOOL 1 b f\nARGS 0 1\nARGS 1 2\nARGS 0 3\nTOOLEND "
     "0\nTOOLEND 1\n" USAGE_6 "STOP tool\nEND\n"},
    {"H076 server tools stay away",
     START BLOCK(0,
                 "{\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{}}")
         ARGS(0, "{}") STOP(0) BLOCK(1, "{\"type\":\"web_search_tool_result\",\"content\":[]}")
             STOP(1) TEXT_BLOCK(2) TEXT(2, "x") STOP(2) END("end_turn", OUT_6) LAST,
     "START msg_1 claude-x\nTEXT x\n" USAGE_6 "STOP end\nEND\n"},
    {"H077 max_tokens inside a call",
     START TOOL_BLOCK(0, "id", "{}") ARGS(0, "{\\\"l\\\":[") END("max_tokens", OUT_6) LAST,
     "START msg_1 claude-x\nTOOL 0 id f\nARGS 0 {\\\"l\\\":[\nTOOLEND 0\n" USAGE_6
     "STOP length\nEND\n"},
    {"H078 two message_deltas",
     START
     "data: "
     "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":{\"output_tokens\":3,"
     "\"cache_read_input_tokens\":50}}\n\n" END(
         "end_turn", "{\"output_tokens\":9,\"cache_read_input_tokens\":null}") LAST,
     "START msg_1 claude-x\nUSAGE in=61 cached=50 written=? out=9 reasoning=?\nSTOP end\nEND\n"},
    {"H079 cache counts at the end only",
     START END("end_turn",
               "{\"input_tokens\":3602,\"cache_read_input_tokens\":3604,\"output_tokens\":878}")
         LAST,
     "START msg_1 claude-x\nUSAGE in=7206 cached=3604 written=? out=878 reasoning=?\nSTOP "
     "end\nEND\n"},
    {"H080 overloaded first",
     "event: error\ndata: "
     "{\"type\":\"error\",\"error\":{\"details\":null,\"type\":\"overloaded_error\",\"message\":"
     "\"Overloaded\"}}\n\n",
     "ERROR upstream_overloaded Overloaded\n"},
    {"H081 an error in the middle",
     START TEXT_BLOCK(0) TEXT(0, "x") "event: error\ndata: "
                                      "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_"
                                      "error\",\"message\":\"Overloaded\"}}\n\n" LAST,
     "START msg_1 claude-x\nTEXT x\nERROR upstream_overloaded Overloaded\n"},
    {"H082 cut", START TEXT_BLOCK(0) TEXT(0, "x"),
     "START msg_1 claude-x\nTEXT x\nERROR upstream_closed upstream closed the stream\n"},
    {"H082 cut behind the stop reason",
     START TEXT_BLOCK(0) TEXT(0, "x") STOP(0) END("end_turn", OUT_6),
     "START msg_1 claude-x\nTEXT x\n" USAGE_6 "STOP end\nEND\n"},
    {"H083 thinking",
     START BLOCK(0, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}")
         DELTA(0, "{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}")
             DELTA(0, "{\"type\":\"signature_delta\",\"signature\":\"S\"}")
                 DELTA(0, "{\"type\":\"signature_delta\",\"signature\":\"T\"}") STOP(0)
                     BLOCK(1, "{\"type\":\"redacted_thinking\",\"data\":\"D\"}") STOP(1)
                         TEXT_BLOCK(2) TEXT(2, "ok") STOP(2) END("end_turn", OUT_6) LAST,
     "START msg_1 claude-x\nTHINK hm\nSIGNATURE ST\nREDACTED D\nTEXT ok\n" USAGE_6
     "STOP end\nEND\n"},
    {"H084 unknown events and deltas",
     START "event: future_event\ndata: {\"type\":\"future_event\"}\n\n" TEXT_BLOCK(0)
         DELTA(0, "{\"type\":\"compaction_delta\",\"content\":\"c\"}") TEXT(0, "x") STOP(0)
             END("end_turn", OUT_6) LAST,
     "START msg_1 claude-x\nTEXT x\n" USAGE_6 "STOP end\nEND\n"},
    {"H022 escapes are copied",
     START TEXT_BLOCK(0) TEXT(0, "\\ud83d") TEXT(0, "\\ude00\\u0000") STOP(0) END("end_turn", OUT_6)
         LAST,
     "START msg_1 claude-x\nTEXT \\ud83d\nTEXT \\ude00\\u0000\n" USAGE_6 "STOP end\nEND\n"},
    {"H031 bytes that are no UTF-8",
     START TEXT_BLOCK(0) TEXT(0, "a\xff"
                                 "b") STOP(0) END("end_turn", OUT_6) LAST,
     "START msg_1 claude-x\nTEXT a\xef\xbf\xbd"
     "b\n" USAGE_6 "STOP end\nEND\n"},
    {"a name stands in for a missing type",
     START TEXT_BLOCK(0) "event: content_block_delta\ndata: {\"index\":0,\"delta\":"
                         "{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n" STOP(0)
                             END("end_turn", OUT_6) "event: message_stop\ndata: {}\n\n",
     "START msg_1 claude-x\nTEXT x\n" USAGE_6 "STOP end\nEND\n"},
    {"nothing follows the end", START END("end_turn", OUT_6) LAST START LAST,
     "START msg_1 claude-x\n" USAGE_6 "STOP end\nEND\n"},
    {"a delta for a block that never began", START TEXT(7, "x"), "START msg_1 claude-x\nINVALID\n"},
    {"a block before the message", TEXT_BLOCK(0), "INVALID\n"},
    {"broken JSON", START "data: {\"type\":\n\n", "START msg_1 claude-x\nINVALID\n"},
    {"a tool cut before its arguments",
     START TOOL_BLOCK(0, "id", "{}") END("max_tokens", OUT_6) LAST,
     "START msg_1 claude-x\nTOOL 0 id f\nTOOLEND 0\n" USAGE_6 "STOP length\nEND\n"},
    {"text at a block's start",
     START BLOCK(0, "{\"type\":\"text\",\"text\":\"x\"}") STOP(0)
         BLOCK(1, "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"}") STOP(1)
             END("end_turn", OUT_6) LAST,
     "START msg_1 claude-x\nTEXT x\nTHINK t\nSIGNATURE s\n" USAGE_6 "STOP end\nEND\n"},
    {"a block begun twice", START TEXT_BLOCK(0) TEXT_BLOCK(0), "START msg_1 claude-x\nINVALID\n"},
    {"a block without an index",
     START "data: {\"type\":\"content_block_start\",\"content_block\":{}}\n\n",
     "START msg_1 claude-x\nINVALID\n"},
    {"a delta without an index", START "data: {\"type\":\"content_block_delta\",\"delta\":{}}\n\n",
     "START msg_1 claude-x\nINVALID\n"},
    {"a stop without an index", START "data: {\"type\":\"content_block_stop\"}\n\n",
     "START msg_1 claude-x\nINVALID\n"},
    {"an error by its name only", START "event: error\ndata: {\"message\":\"m\"}\n\n",
     "START msg_1 claude-x\nERROR upstream_error m\n"},
    {"a tool cut by a full window",
     START TOOL_BLOCK(0, "id", "{}") END("model_context_window_exceeded", OUT_6) LAST,
     "START msg_1 claude-x\nTOOL 0 id f\nTOOLEND 0\n" USAGE_6 "STOP context\nEND\n"},
    {"a tool that never stopped", START TOOL_BLOCK(0, "id", "[]") END("tool_use", OUT_6) LAST,
     "START msg_1 claude-x\nTOOL 0 id f\nARGS 0 {}\nTOOLEND 0\n" USAGE_6 "STOP tool\nEND\n"},
    {"a stop for a block that never began", START STOP(3), "START msg_1 claude-x\nINVALID\n"},
    {"a delta of another kind of block",
     START TEXT_BLOCK(0) ARGS(0, "{}") DELTA(0, "{\"type\":\"thinking_delta\",\"thinking\":\"no\"}")
         DELTA(0, "{\"type\":\"signature_delta\",\"signature\":\"no\"}") TOOL_BLOCK(1, "id", "{}")
             TEXT(1, "no") STOP(1) STOP(0) END("end_turn", OUT_6) LAST,
     "START msg_1 claude-x\nTOOL 0 id f\nARGS 0 {}\nTOOLEND 0\n" USAGE_6 "STOP end\nEND\n"},
    {"a message that is none", "data: {\"type\":\"message_start\"}\n\n", "INVALID\n"},
    {"a message begun twice", START START END("end_turn", OUT_6) LAST,
     "START msg_1 claude-x\n" USAGE_6 "STOP end\nEND\n"},
    {"a ping before the message, an event without data",
     "event: ping\ndata: {\"type\":\"ping\"}\n\nevent: ping\n\n" START END("end_turn", OUT_6) LAST,
     "START msg_1 claude-x\n" USAGE_6 "STOP end\nEND\n"},
    {"an error without a type",
     START "data: {\"error\":{\"type\":\"api_error\",\"message\":\"m\"}}\n\n",
     "START msg_1 claude-x\nERROR upstream_error m\n"},
    {"a pause", START END("pause_turn", OUT_6) LAST,
     "START msg_1 claude-x\n" USAGE_6 "STOP pause\nEND\n"},
    {"nothing at all", "", "ERROR upstream_closed upstream closed the stream\n"},
    {"a stop sequence",
     START "data: "
           "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"stop_sequence\",\"stop_"
           "sequence\":\"X\"},"
           "\"usage\":{\"output_tokens\":6}}\n\n" LAST,
     "START msg_1 claude-x\n" USAGE_6 "STOP sequence X\nEND\n"},
    {"a refusal's explanation comes too late for a stream",
     START "data: "
           "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\",\"stop_details\":{"
           "\"explanation\":\"no\"}},"
           "\"usage\":{\"output_tokens\":6}}\n\n" LAST,
     "START msg_1 claude-x\n" USAGE_6 "STOP filter\nEND\n"},
};

static void every_stream_becomes_its_events_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        print_message("  %s\n", streams[i].name);
        rig_assert_stream(&provider_anthropic, "claude-haiku-4-5", API_OPENAI_CHAT, CHAT,
                          span_str(streams[i].in), streams[i].events);
    }
}

#define BODY(content, reason, usage)                                                               \
    "{\"id\":\"msg_1\",\"type\":\"message\",\"model\":\"claude-x\",\"content\":" content           \
    ",\"stop_reason\":\"" reason "\",\"stop_sequence\":null,\"usage\":" usage "}"

static void every_answer_becomes_its_events(void **state)
{
    (void)state;
    static const struct {
        const char *name, *in, *events;
    } cases[] = {
        {"H064 several texts, H066 cache counts",
         BODY("[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"thinking\",\"thinking\":\"t\","
              "\"signature\":\"s\"},"
              "{\"type\":\"text\",\"text\":\"b\"}]",
              "end_turn",
              "{\"input_tokens\":10,\"cache_creation_input_tokens\":100,\"cache_read_input_"
              "tokens\":1000,\"output_tokens\":5}"),
         "START msg_1 claude-x\nTEXT a\nTHINK t\nSIGNATURE s\nTEXT b\nUSAGE in=1110 cached=1000 "
         "written=100 out=5 reasoning=?\n"
         "STOP end\nEND\n"},
        {"H065 a tool only, H025 and H026 numbers keep their digits",
         BODY("[{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{\"id\": "
              "12345678901234567890, \"a\":1e-7,\"c\":5.50,"
              "\"d\":-0,\"e\":1E400, \"s\":\"x y\\n\"}}]",
              "tool_use",
              "{\"input_tokens\":10,\"output_tokens\":5,\"output_tokens_details\":{\"thinking_"
              "tokens\":2}}"),
         "START msg_1 claude-x\nTOOL 0 i f\nARGS 0 "
         "{\\\"id\\\":12345678901234567890,\\\"a\\\":1e-7,\\\"c\\\":5.50,\\\"d\\\":-0,"
         "\\\"e\\\":1E400,\\\"s\\\":\\\"x y\\\\n\\\"}\nTOOLEND 0\nUSAGE in=10 cached=? written=? "
         "out=5 reasoning=2\nSTOP tool\nEND\n"},
        {"H067 counts that are null",
         BODY("[]", "end_turn",
              "{\"input_tokens\":10,\"cache_read_input_tokens\":null,\"output_tokens\":5,\"server_"
              "tool_use\":null}"),
         "START msg_1 claude-x\nUSAGE in=10 cached=? written=? out=5 reasoning=?\nSTOP end\nEND\n"},
        {"H068 a refusal",
         "{\"id\":\"m\",\"model\":\"c\",\"content\":[{\"type\":\"text\",\"text\":\"\"}],\"stop_"
         "reason\":\"refusal\","
         "\"stop_details\":{\"explanation\":\"x\"},\"usage\":{\"input_tokens\":1,\"output_tokens\":"
         "1}}",
         "START m c\nREFUSAL x\nUSAGE in=1 cached=? written=? out=1 reasoning=?\nSTOP "
         "filter\nEND\n"},
        {"H069 an unknown block, a full window",
         BODY("[{\"type\":\"fallback\"},{\"type\":\"text\",\"text\":\"a\"}]",
              "model_context_window_exceeded", "{}"),
         "START msg_1 claude-x\nTEXT a\nUSAGE in=? cached=? written=? out=? reasoning=?\nSTOP "
         "context\nEND\n"},
        {"an unknown reason", BODY("[]", "whatever", "{}"),
         "START msg_1 claude-x\nUSAGE in=? cached=? written=? out=? reasoning=?\nSTOP "
         "unknown\nEND\n"},
        {"H125 an error in a 200",
         "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"m\"}}",
         "ERROR upstream_rate_limited m\n"},
        {"an error without a type", "{\"error\":{\"type\":\"api_error\",\"message\":\"m\"}}",
         "ERROR upstream_error m\n"},
        {"a tool without input, a redacted thought",
         BODY("[{\"type\":\"redacted_thinking\",\"data\":\"D\"},{\"type\":\"tool_use\",\"id\":"
              "\"i\",\"name\":\"f\"}]",
              "tool_use",
              "{\"input_tokens\":-1,\"output_tokens\":1.0,\"service_tier\":\"standard\"}"),
         "START msg_1 claude-x\nREDACTED D\nTOOL 0 i f\nARGS 0 {}\nTOOLEND 0\nUSAGE in=? cached=? "
         "written=? out=1 reasoning=?\nSTOP tool\nEND\n"},
        {"bytes that are no UTF-8",
         BODY("[{\"type\":\"text\",\"text\":\"a\xff\"}]", "end_turn", "{\"output_tokens\":1}"),
         "START msg_1 claude-x\nTEXT a\xef\xbf\xbd\nUSAGE in=? cached=? written=? out=1 "
         "reasoning=?\nSTOP end\nEND\n"},
        {"nothing", "{}", "ERROR upstream_error The provider's answer is empty.\n"},
        {"not a message", "{\"id\":1,\"content\":{}}", "INVALID\n"},
        {"not JSON", "<html>", "INVALID\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("  %s\n", cases[i].name);
        rig_assert_answer(&provider_anthropic, "claude-haiku-4-5", API_OPENAI_CHAT, UNARY,
                          cases[i].in, cases[i].events);
    }
}

static void a_body_that_was_cut_is_no_answer(void **state)
{
    (void)state;
    static const char body[] =
        BODY("[{\"type\":\"text\",\"text\":\"a\"}]", "end_turn", "{\"output_tokens\":1}");
    for (size_t n = 0; n + 1 < sizeof body; n++) {
        struct rig r;
        rig_init(&r, &provider_anthropic, "claude-haiku-4-5");
        assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN(UNARY)), OK);
        char *cut = strndup(body, n);
        assert_int_equal(rig_answer(&r, cut), ERR_INVALID);
        assert_int_equal(r.log.len, 0);
        free(cut);
        rig_free(&r);
    }
}

static void too_many_open_blocks_end_the_answer(void **state)
{
    (void)state;
    struct buf in = {0};
    struct rig r;
    buf_append_str(&in, START);
    for (int i = 0; i < 257; i++)
        buf_printf(&in,
                   "data: "
                   "{\"type\":\"content_block_start\",\"index\":%d,\"content_block\":{\"type\":"
                   "\"text\"}}\n\n",
                   i);
    rig_init(&r, &provider_anthropic, "claude-haiku-4-5");
    assert_int_equal(rig_build(&r, API_OPENAI_CHAT, SPAN(CHAT)), OK);
    assert_int_equal(rig_stream(&r, buf_span(&in), 1), ERR_TOO_BIG);
    buf_free(&in);
    rig_free(&r);
}

static void a_schema_answered_by_tool_becomes_text(void **state)
{
    (void)state;
    const char *request = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"max_tokens\":9,"
                          "\"response_format\":"
                          "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"r\",\"schema\":{"
                          "\"type\":\"object\"}}}}";
    rig_assert_answer(
        &provider_anthropic, "claude-3-haiku-20240307", API_OPENAI_CHAT, request,
        BODY("[{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"json_answer\",\"input\":{\"n\": 1}}]",
             "tool_use", "{\"input_tokens\":1,\"output_tokens\":1}"),
        "START msg_1 claude-x\nTEXT {\\\"n\\\":1}\nUSAGE in=1 cached=? written=? out=1 "
        "reasoning=?\nSTOP end\nEND\n");
    rig_assert_stream(
        &provider_anthropic, "claude-3-haiku-20240307", API_OPENAI_CHAT, request,
        SPAN(START BLOCK(
            0, "{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"json_answer\",\"input\":{}}")
                 ARGS(0, "{\\\"n\\\":") ARGS(0, "1}") STOP(0) END("tool_use", OUT_6) LAST),
        "START msg_1 claude-x\nTEXT {\\\"n\\\":\nTEXT 1}\n" USAGE_6 "STOP end\nEND\n");
}

static void a_blank_stop_is_enforced_here(void **state) /* H047 */
{
    (void)state;
    rig_assert_stream(&provider_anthropic, "claude-haiku-4-5", API_OPENAI_CHAT,
                      "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stop\":[\"\\n\","
                      "\"END\"],\"stream\":true}",
                      SPAN(START TEXT_BLOCK(0) TEXT(0, "one") TEXT(0, " two\\nthree")
                               TEXT(0, "four") STOP(0) END("end_turn", OUT_6) LAST),
                      "START msg_1 claude-x\nTEXT one\nTEXT  two\nUSAGE in=11 cached=? written=? "
                      "out=? reasoning=?\n"
                      "STOP sequence \\n\nEND\n");
}

static int leave(void **state)
{
    (void)state;
    rig_table_free();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stream_becomes_its_events_however_it_is_cut),
        cmocka_unit_test(every_answer_becomes_its_events),
        cmocka_unit_test(a_body_that_was_cut_is_no_answer),
        cmocka_unit_test(too_many_open_blocks_end_the_answer),
        cmocka_unit_test(a_schema_answered_by_tool_becomes_text),
        cmocka_unit_test(a_blank_stop_is_enforced_here),
    };
    return cmocka_run_group_tests(tests, NULL, leave);
}
