/* OpenAI answers as neutral events (H085 to H100). */
#include "unit/services/worker/providers/test_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ASK                                                                                        \
    "{\"max_tokens\":99,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stop_sequences\":" \
    "[\"X\"],\"stream\":true}"

#define CHUNK(delta, finish)                                                                       \
    "data: "                                                                                       \
    "{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"gpt-x\","       \
    "\"choices\":[{"                                                                               \
    "\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
#define ROLE CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null")
#define TEXT(t) CHUNK("{\"content\":\"" t "\"}", "null")
#define TOOLS(calls) CHUNK("{\"tool_calls\":[" calls "]}", "null")
#define FINISH(reason) CHUNK("{}", "\"" reason "\"")
#define USAGE                                                                                      \
    "data: "                                                                                       \
    "{\"id\":\"c1\",\"model\":\"gpt-x\",\"choices\":[],\"usage\":{\"prompt_tokens\":14,"           \
    "\"completion_tokens\":30,"                                                                    \
    "\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n"
#define DONE "data: [DONE]\n\n"
#define COUNTS "USAGE in=14 cached=4 written=? out=30 reasoning=?\n"
#define NO_COUNTS "USAGE in=? cached=? written=? out=? reasoning=?\n"
#define START "START c1 gpt-x\n"

struct stream_case {
    const char *name, *in, *events;
};

static const struct stream_case streams[] = {
    {"H085 text, H086 usage without choices", ROLE TEXT("Hi") TEXT("") FINISH("stop") USAGE DONE,
     START "TEXT Hi\n" COUNTS "STOP end\nEND\n"},
    {"H087 usage in the finish chunk",
     ROLE "data: "
          "{\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}],"
          "\"usage\":{\"prompt_tokens\":14,"
          "\"completion_tokens\":30,\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n" DONE,
     START COUNTS "STOP length\nEND\n"},
    {"H088 tools one after another",
     ROLE TOOLS("{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                "\"arguments\":\"\"}}")
         TOOLS("{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\"\"}}")
             TOOLS("{\"index\":0,\"function\":{\"arguments\":\":1}\"}}") TOOLS(
                 "{\"index\":1,\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\","
                 "\"arguments\":\"\"}}") TOOLS("{\"index\":1,\"function\":{\"arguments\":\"{}\"}}")
                 FINISH("tool_calls") DONE,
     START "TOOL 0 a f\nARGS 0 {\\\"x\\\"\nARGS 0 :1}\nTOOL 1 b g\nARGS 1 {}\nTOOLEND 0\nTOOLEND "
           "1\n" NO_COUNTS "STOP tool\nEND\n"},
    {"H089 tools interleaved",
     ROLE TOOLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}},"
                "{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"\"}}")
         TOOLS("{\"index\":1,\"function\":{\"arguments\":\"1\"}}")
             TOOLS("{\"index\":0,\"function\":{\"arguments\":\"0\"}}") FINISH("tool_calls") DONE,
     START "TOOL 0 a f\nTOOL 1 b g\nARGS 1 1\nARGS 0 0\nTOOLEND 0\nTOOLEND 1\n" NO_COUNTS
           "STOP tool\nEND\n"},
    {"H090 stop although a tool is called",
     ROLE TOOLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}")
         FINISH("stop") DONE,
     START "TOOL 0 a f\nARGS 0 {}\nTOOLEND 0\n" NO_COUNTS "STOP tool\nEND\n"},
    {"H091 one piece, no index, an object",
     ROLE TOOLS("{\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":{\"a\": 1}}}")
         FINISH("tool_calls") DONE,
     START "TOOL 0 c f\nARGS 0 {\\\"a\\\":1}\nTOOLEND 0\n" NO_COUNTS "STOP tool\nEND\n"},
    {"every call is number 0, told apart by id",
     ROLE TOOLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}")
         TOOLS("{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}")
             FINISH("tool_calls") DONE,
     START "TOOL 0 a f\nARGS 0 {}\nTOOL 1 b g\nARGS 1 {}\nTOOLEND 0\nTOOLEND 1\n" NO_COUNTS
           "STOP tool\nEND\n"},
    {"the id in every chunk",
     ROLE TOOLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}")
         TOOLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}")
             FINISH("tool_calls") DONE,
     START "TOOL 0 a f\nARGS 0 {\nARGS 0 }\nTOOLEND 0\n" NO_COUNTS "STOP tool\nEND\n"},
    {"H092 the name comes late",
     ROLE TOOLS("{\"index\":0,\"id\":\"c\"}") TOOLS("{\"index\":0,\"function\":{\"name\":\"f\"}}")
         TOOLS("{\"index\":0,\"function\":{\"arguments\":\"{}\"}}") FINISH("tool_calls") DONE,
     START "TOOL 0 c f\nARGS 0 {}\nTOOLEND 0\n" NO_COUNTS "STOP tool\nEND\n"},
    {"arguments before the name, no id at all",
     ROLE TOOLS("{\"index\":0,\"function\":{\"arguments\":\"{\"}}")
         TOOLS("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}")
             FINISH("tool_calls") DONE,
     START "TOOL 0  f\nARGS 0 {\nARGS 0 }\nTOOLEND 0\n" NO_COUNTS "STOP tool\nEND\n"},
    {"H093 reasoning, then text",
     ROLE CHUNK("{\"reasoning_content\":\"r\",\"content\":null}", "null") TEXT("t") FINISH("stop")
         DONE,
     START "THINK r\nTEXT t\n" NO_COUNTS "STOP end\nEND\n"},
    {"reasoning by its other name", ROLE CHUNK("{\"reasoning\":\"r\"}", "null") FINISH("stop") DONE,
     START "THINK r\n" NO_COUNTS "STOP end\nEND\n"},
    {"an empty text beside the other name hides nothing",
     ROLE CHUNK("{\"reasoning_content\":\"\",\"reasoning\":\"r\"}", "null") FINISH("stop") DONE,
     START "THINK r\n" NO_COUNTS "STOP end\nEND\n"},
    {"Mistral's thinking is a part of the content",
     ROLE CHUNK("{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":"
                "\"r\"}]},{\"type\":\"text\",\"text\":\"x\"}]}",
                "null") FINISH("stop") DONE,
     START "THINK r\nTEXT x\n" NO_COUNTS "STOP end\nEND\n"},
    {"events that are null are nothing", ROLE "data: null\n\n" TEXT("x") FINISH("stop") DONE,
     START "TEXT x\n" NO_COUNTS "STOP end\nEND\n"},
    {"two whole calls under one index, without ids",
     ROLE TOOLS(
         "{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":\\\"}\\\"}\"}}")
         TOOLS("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}") FINISH("stop")
             DONE,
     START "TOOL 0  f\nARGS 0 {\\\"a\\\":\\\"}\\\"}\nTOOL 1  f\nARGS 1 {}\nTOOLEND 0\nTOOLEND "
           "1\n" NO_COUNTS "STOP tool\nEND\n"},
    {"a name said again within one call",
     ROLE TOOLS("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}") TOOLS(
         "{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"}\"}}") FINISH("stop") DONE,
     START "TOOL 0  f\nARGS 0 {\nARGS 0 }\nTOOLEND 0\n" NO_COUNTS "STOP tool\nEND\n"},
    {"H094 a finish chunk only", ROLE FINISH("stop") DONE, START NO_COUNTS "STOP end\nEND\n"},
    {"H095 cut", ROLE TEXT("Hel"),
     START "TEXT Hel\nERROR upstream_closed upstream closed the stream\n"},
    {"H096 no [DONE]", ROLE TEXT("x") FINISH("stop"), START "TEXT x\n" NO_COUNTS "STOP end\nEND\n"},
    {"H097 an error first", "data: {\"error\":{\"message\":\"x\",\"code\":429}}\n\n",
     "ERROR upstream_rate_limited x\n"},
    {"H097 an error later",
     ROLE TEXT("a") "data: {\"error\":{\"message\":\"x\",\"code\":503}}\n\n" TEXT("b") DONE,
     START "TEXT a\nERROR upstream_overloaded x\n"},
    {"an error by name", ROLE "event: error\ndata: {\"message\":\"x\"}\n\n",
     START "ERROR upstream_error x\n"},
    {"an error as text", ROLE "data: {\"error\":\"no such luck\"}\n\n",
     START "ERROR upstream_error no such luck\n"},
    {"a failure as a finish reason", ROLE TEXT("a") FINISH("insufficient_system_resource") DONE,
     START "TEXT a\nERROR upstream_overloaded The provider ended its answer with an error.\n"},
    {"H098 broken JSON", ROLE "data: {\"choices\":[{\"del\n\n", START "INVALID\n"},
    {"H099 other choices are not shown",
     ROLE "data: {\"id\":\"c1\",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"no\"}}]}\n\n"
          "data: "
          "{\"id\":\"c1\",\"choices\":[{\"index\":1,\"delta\":{\"content\":\"no\"}},{\"index\":0,"
          "\"delta\":{\"content\":\"yes\"}}]}\n\n" FINISH("stop") DONE,
     START "TEXT yes\n" NO_COUNTS "STOP end\nEND\n"},
    {"H100 a refusal",
     CHUNK("{\"role\":\"assistant\",\"content\":null,\"refusal\":\"\"}", "null")
         CHUNK("{\"refusal\":\"I can't\"}", "null") FINISH("stop") USAGE DONE,
     START "REFUSAL I can't\n" COUNTS "STOP filter\nEND\n"},
    {"H017 [DONE] with spaces, H018 nothing behind it",
     ROLE FINISH("stop") "data:  [DONE] \r\n\r\n" TEXT("late") DONE,
     START NO_COUNTS "STOP end\nEND\n"},
    {"no role, no finish, [DONE]", TEXT("x") DONE, START "TEXT x\n" NO_COUNTS "STOP end\nEND\n"},
    {"[DONE] alone", DONE, "INVALID\n"},
    {"vLLM's stop sequence",
     ROLE "data: "
          "{\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\",\"stop_"
          "reason\":\"X\"}]}\n\n" DONE,
     START NO_COUNTS "STOP sequence X\nEND\n"},
    {"usage in every chunk, the last counts",
     "data: "
     "{\"id\":\"c1\",\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}],"
     "\"usage\":{\"prompt_tokens\":14,\"completion_tokens\":1}}\n\n" FINISH("stop") USAGE DONE,
     START "TEXT x\n" COUNTS "STOP end\nEND\n"},
    {"empty finish reasons are none", ROLE CHUNK("{\"content\":\"x\"}", "\"\"") FINISH("eos") DONE,
     START "TEXT x\n" NO_COUNTS "STOP end\nEND\n"},
    {"an error member that says nothing is none",
     ROLE
     "data: {\"error\":null,\"choices\":[]}\n\ndata: {\"error\":false,\"choices\":[]}\n\ndata: "
     "{\"error\":\"\",\"choices\":[]}\n\n" FINISH("stop") DONE,
     START NO_COUNTS "STOP end\nEND\n"},
    {"a detail in place of a chunk", "data: {\"detail\":\"d\"}\n\n", "ERROR upstream_error d\n"},
    {"a chunk that says nothing", ROLE "data: {}\n\ndata:\n\n: ka\n\n" FINISH("stop") DONE,
     START NO_COUNTS "STOP end\nEND\n"},
    {"a chunk that is no object", ROLE "data: [1]\n\n", START "INVALID\n"},
    {"an unknown finish reason", ROLE TEXT("x") FINISH("whatever") DONE,
     START "TEXT x\n" NO_COUNTS "STOP end\nEND\n"},
    {"an unknown finish reason with a tool",
     ROLE TOOLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}")
         FINISH("whatever") DONE,
     START "TOOL 0 a f\nARGS 0 {}\nTOOLEND 0\n" NO_COUNTS "STOP tool\nEND\n"},
    {"cut by length inside a tool",
     ROLE TOOLS("{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}}")
         FINISH("length") DONE,
     START "TOOL 0 a f\nARGS 0 {\nTOOLEND 0\n" NO_COUNTS "STOP length\nEND\n"},
    {"a refusal cut by length", ROLE CHUNK("{\"refusal\":\"I\"}", "null") FINISH("length") DONE,
     START "REFUSAL I\n" NO_COUNTS "STOP length\nEND\n"},
    {"a refusal called content_filter",
     ROLE CHUNK("{\"refusal\":\"I\"}", "null") FINISH("content_filter") DONE,
     START "REFUSAL I\n" NO_COUNTS "STOP filter\nEND\n"},
    {"a stop reason that was not asked for",
     ROLE "data: "
          "{\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\",\"stop_"
          "reason\":\"Y\"}]}\n\n" DONE,
     START NO_COUNTS "STOP end\nEND\n"},
    {"a call whose name never comes",
     ROLE TOOLS("{\"index\":0,\"id\":\"a\",\"function\":{\"arguments\":\"{}\"}}")
         FINISH("tool_calls") DONE,
     START NO_COUNTS "STOP tool\nEND\n"},
    {"a failure called error", ROLE FINISH("error") DONE,
     START "ERROR upstream_error The provider ended its answer with an error.\n"},
    {"bytes that are no UTF-8",
     ROLE TEXT("a\xff"
               "b") FINISH("stop") DONE,
     START "TEXT a\xef\xbf\xbd"
           "b\n" NO_COUNTS "STOP end\nEND\n"},
    {"an error event that is no JSON", ROLE "event: error\ndata: no luck\n\n",
     START "ERROR upstream_error The provider answered with an error.\n"},
    {"counts below zero are none",
     ROLE "data: "
          "{\"choices\":[],\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":2,\"prompt_cache_"
          "hit_tokens\":1}}\n\n" FINISH("stop") DONE,
     START "USAGE in=? cached=1 written=? out=2 reasoning=?\nSTOP end\nEND\n"},
    {"content in parts",
     ROLE CHUNK("{\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}", "null") FINISH("stop") DONE,
     START "TEXT x\n" NO_COUNTS "STOP end\nEND\n"},
};

static void every_stream_becomes_its_events_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        print_message("  %s\n", streams[i].name);
        rig_assert_stream(&provider_openai, "gpt-4o", API_ANTHROPIC_MESSAGES, ASK,
                          span_str(streams[i].in), streams[i].events);
    }
}

static void every_answer_becomes_its_events(void **state)
{
    (void)state;
    static const struct {
        const char *name, *in, *events;
    } cases[] = {
        {"text and counts",
         "{\"id\":\"c1\",\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
         "\"assistant\",\"content\":\"Hi\"},"
         "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":5,"
         "\"prompt_tokens_details\":"
         "{\"cached_tokens\":60,\"cache_write_tokens\":3},\"completion_tokens_details\":{"
         "\"reasoning_tokens\":2}}}",
         START "TEXT Hi\nUSAGE in=100 cached=60 written=3 out=5 reasoning=2\nSTOP end\nEND\n"},
        {"tools, finish says stop",
         "{\"id\":\"c1\",\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"message\":{\"content\":"
         "null,\"tool_calls\":["
         "{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"n\\\":1.50}\"}},{\"id\":"
         "\"b\",\"function\":{\"name\":\"g\","
         "\"arguments\":{\"x\": 1}}}]},\"finish_reason\":\"stop\"}]}",
         START "TOOL 0 a f\nARGS 0 {\\\"n\\\":1.50}\nTOOL 1 b g\nARGS 1 {\\\"x\\\":1}\nTOOLEND "
               "0\nTOOLEND 1\n" NO_COUNTS "STOP tool\nEND\n"},
        {"a legacy function call",
         "{\"id\":\"c1\",\"model\":\"gpt-x\",\"choices\":[{\"message\":{\"content\":null,"
         "\"function_call\":{\"name\":\"f\","
         "\"arguments\":\"{}\"}},\"finish_reason\":\"function_call\"}]}",
         START "TOOL 0  f\nARGS 0 {}\nTOOLEND 0\n" NO_COUNTS "STOP tool\nEND\n"},
        {"thinking with a signature",
         "{\"id\":\"c1\",\"model\":\"gpt-x\",\"choices\":[{\"message\":{\"content\":\"x\","
         "\"reasoning_content\":\"no\",\"thinking_blocks\":["
         "{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"redacted_"
         "thinking\",\"data\":\"d\"}]},"
         "\"finish_reason\":\"stop\"}]}",
         START "THINK t\nSIGNATURE s\nREDACTED d\nTEXT x\n" NO_COUNTS "STOP end\nEND\n"},
        {"a refusal",
         "{\"id\":\"c1\",\"model\":\"gpt-x\",\"choices\":[{\"message\":{\"content\":null,"
         "\"refusal\":\"no\"},\"finish_reason\":\"stop\"}]}",
         START "REFUSAL no\n" NO_COUNTS "STOP filter\nEND\n"},
        {"H125 an error in a 200", "{\"error\":{\"message\":\"m\",\"code\":503}}",
         "ERROR upstream_overloaded m\n"},
        {"an error of vLLM's", "{\"object\":\"error\",\"message\":\"m\",\"code\":400}",
         "ERROR upstream_bad_request m\n"},
        {"a failure as a finish reason",
         "{\"id\":\"c1\",\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"error\"}"
         "]}",
         "ERROR upstream_error The provider ended its answer with an error.\n"},
        {"no thinking blocks",
         "{\"id\":\"c1\",\"model\":\"gpt-x\",\"choices\":[{\"message\":{\"content\":\"x\","
         "\"reasoning\":\"r\",\"thinking_blocks\":[]},"
         "\"finish_reason\":\"stop\"}]}",
         START "THINK r\nTEXT x\n" NO_COUNTS "STOP end\nEND\n"},
        {"bytes that are no UTF-8",
         "{\"id\":\"c1\",\"model\":\"gpt-x\",\"choices\":[{\"message\":{\"content\":\"a\xff\"},"
         "\"finish_reason\":\"stop\"}]}",
         START "TEXT a\xef\xbf\xbd\n" NO_COUNTS "STOP end\nEND\n"},
        {"an error that is none",
         "{\"id\":\"c1\",\"model\":\"gpt-x\",\"error\":false,\"choices\":[{\"message\":{"
         "\"content\":"
         "\"x\"},\"finish_reason\":\"stop\"}]}",
         START "TEXT x\n" NO_COUNTS "STOP end\nEND\n"},
        {"an error that is true", "{\"error\":true}",
         "ERROR upstream_error The provider answered with an error.\n"},
        {"an error as a detail", "{\"detail\":\"m\"}", "ERROR upstream_error m\n"},
        {"no choices", "{\"id\":\"c1\",\"choices\":[]}", "INVALID\n"},
        {"nothing", "{}", "ERROR upstream_error The provider's answer is empty.\n"},
        {"a list", "[]", "INVALID\n"},
        {"HTML", "<html>", "INVALID\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("  %s\n", cases[i].name);
        rig_assert_answer(&provider_openai, "gpt-4o", API_ANTHROPIC_MESSAGES, ASK, cases[i].in,
                          cases[i].events);
    }
}

static void a_body_that_was_cut_is_no_answer(void **state)
{
    (void)state;
    static const char body[] = "{\"id\":\"c1\",\"model\":\"gpt-x\",\"choices\":[{\"index\":0,"
                               "\"message\":{\"content\":\"x\"},"
                               "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1}}";
    for (size_t n = 0; n + 1 < sizeof body; n++) {
        struct rig r;
        rig_init(&r, &provider_openai, "gpt-4o");
        assert_int_equal(rig_build(&r, API_ANTHROPIC_MESSAGES, SPAN(ASK)), OK);
        char *cut = strndup(body, n);
        assert_int_equal(rig_answer(&r, cut), ERR_INVALID);
        assert_int_equal(r.log.len, 0);
        free(cut);
        rig_free(&r);
    }
}

static void too_many_tool_calls_end_the_answer(void **state)
{
    (void)state;
    struct buf in = {0};
    struct rig r;
    for (int i = 0; i < 129; i++)
        buf_printf(&in,
                   "data: "
                   "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":%d,\"id\":\"i%"
                   "d\",\"function\":"
                   "{\"name\":\"f\"}}]}}]}\n\n",
                   i, i);
    rig_init(&r, &provider_openai, "gpt-4o");
    assert_int_equal(rig_build(&r, API_ANTHROPIC_MESSAGES, SPAN(ASK)), OK);
    assert_int_equal(rig_stream(&r, buf_span(&in), 1), ERR_TOO_BIG);
    buf_free(&in);
    rig_free(&r);
}

static int leave(void **state)
{
    (void)state;
    rig_table_free();
    return 0;
}

static void more_calls_than_can_be_kept_end_the_answer(void **state)
{
    (void)state;
    for (int calls = 128; calls <= 129; calls++) {
        struct buf in = {0};
        struct rig r;
        buf_append_str(&in, "{\"id\":\"c\",\"choices\":[{\"message\":{\"tool_calls\":[");
        for (int i = 0; i < calls; i++)
            buf_printf(&in, "%s{\"id\":\"i%d\",\"function\":{\"name\":\"f\"}}", i ? "," : "", i);
        buf_append_str(&in, "]},\"finish_reason\":\"tool_calls\"}]}");
        buf_append_char(&in, 0);
        rig_init(&r, &provider_openai, "gpt-4o");
        assert_int_equal(rig_build(&r, API_ANTHROPIC_MESSAGES, SPAN(ASK)), OK);
        assert_int_equal(rig_answer(&r, in.data), calls == 128 ? OK : ERR_TOO_BIG);
        assert_int_equal(r.ends, calls == 128);
        buf_free(&in);
        rig_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_stream_becomes_its_events_however_it_is_cut),
        cmocka_unit_test(every_answer_becomes_its_events),
        cmocka_unit_test(a_body_that_was_cut_is_no_answer),
        cmocka_unit_test(too_many_tool_calls_end_the_answer),
        cmocka_unit_test(more_calls_than_can_be_kept_end_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, leave);
}
