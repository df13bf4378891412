#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "unit/services/worker/api/test_api.h"

static void same(char *got, char *expect)
{
    assert_string_equal(got, expect);
    free(got);
    free(expect);
}

#define S E_START("chatcmpl-1", "gpt-x")
#define HEAD "{'id':'cmpl-1','object':'text_completion','created':0,'model':'gpt-x','choices':["
#define CHOICE(i, t, finish)                                                                       \
    "{'text':'" t "','index':" i ",'logprobs':null,'finish_reason':" finish "}"
#define CHUNK(i, t, finish) "data: " HEAD CHOICE(i, t, finish) "]}\n\n"
#define CHUNK_U(i, t, finish) "data: " HEAD CHOICE(i, t, finish) "],'usage':null}\n\n"
#define USAGE(i, o, t)                                                                             \
    "{'prompt_tokens':" #i ",'completion_tokens':" #o ",'total_tokens':" #t                        \
    ",'prompt_tokens_details':{'cached_tokens':0,"                                                 \
    "'cache_write_tokens':0},'completion_tokens_details':{'reasoning_tokens':0}}"
#define DONE "data: [DONE]\n\n"

static const struct test_play stream = {.api = &api_openai_completions,
                                        .request = {.stream = true}};
static const struct test_play unary = {.api = &api_openai_completions};

static void a_stream_has_no_role_and_ends_with_its_reason(void **state)
{
    (void)state;
    same(PLAY(&stream, E_PING, S, E_PING, E_TEXT("a"), E_TEXT(""), E_TEXT("b\\n"),
              E_STOP(STOP_UNKNOWN), E_STOP(STOP_LENGTH), E_USAGE(1, 0, 0, 2, 0), E_END,
              E_TEXT("late"), E_END),
         test_quoted(": ping\n\n" CHUNK("0", "a", "null") CHUNK("0", "b\\n", "null")
                         CHUNK("0", "", "'length'") DONE));
}

static void usage_comes_when_asked_for(void **state)
{
    (void)state;
    struct test_play play = stream;
    play.request.want_usage = true;
    same(PLAY(&play, S, E_TEXT("a"), E_STOP(STOP_END), E_USAGE(1, 0, 0, 2, 0), E_END),
         test_quoted(CHUNK_U("0", "a", "null") CHUNK_U(
             "0", "", "'stop'") "data: " HEAD "],'usage':" USAGE(1, 2, 3) "}\n\n" DONE));
}

/* H118: a choice for every prompt, however the answers interleave. */
static void several_prompts_have_a_choice_each(void **state)
{
    (void)state;
    struct span prompts[] = {SPAN("P"), SPAN("Q")};
    struct test_play play = stream;
    play.request.prompts_text = prompts;
    play.request.prompt_count = 2;
    same(PLAY(&play, S, E_SLOT_TEXT(1, "y"), E_SLOT_TEXT(0, "x"), E_SLOT_STOP(1, STOP_LENGTH),
              E_SLOT_TEXT(0, "z"), E_SLOT_STOP(0, STOP_END), E_USAGE(1, 0, 0, 2, 0), E_END),
         test_quoted(CHUNK("1", "y", "null") CHUNK("0", "x", "null") CHUNK("1", "", "'length'")
                         CHUNK("0", "z", "null") CHUNK("0", "", "'stop'") DONE));
    play.request.stream = false;
    same(PLAY(&play, S, E_SLOT_TEXT(1, "y"), E_SLOT_TEXT(0, "x"), E_SLOT_STOP(1, STOP_LENGTH),
              E_SLOT_TEXT(0, "z"), E_SLOT_STOP(0, STOP_END), E_USAGE(3, 0, 0, 2, 0), E_END),
         test_quoted(HEAD CHOICE("0", "xz", "'stop'") "," CHOICE(
             "1", "y", "'length'") "],'usage':" USAGE(3, 2, 5) "}"));
}

static void echo_puts_the_prompt_in_front(void **state)
{
    (void)state;
    struct span prompts[] = {SPAN("P "), SPAN("Q ")};
    struct test_play play = stream;
    play.request.prompts_text = prompts;
    play.request.prompt_count = 2;
    play.request.echo = true;
    same(PLAY(&play, S, E_SLOT_TEXT(0, "x"), E_SLOT_TEXT(0, "y"), E_SLOT_STOP(0, STOP_END),
              E_SLOT_STOP(1, STOP_END), E_USAGE(1, 0, 0, 2, 0), E_END),
         test_quoted(CHUNK("0", "P ", "null") CHUNK("0", "x", "null") CHUNK("0", "y", "null") CHUNK(
             "0", "", "'stop'") CHUNK("1", "Q ", "null") CHUNK("1", "", "'stop'") DONE));
    play.request.stream = false;
    same(PLAY(&play, S, E_SLOT_TEXT(0, "x"), E_USAGE(1, 0, 0, 1, 0), E_END),
         test_quoted(HEAD CHOICE("0", "P x", "'stop'") "," CHOICE(
             "1", "Q ", "'stop'") "],'usage':" USAGE(1, 1, 2) "}"));
}

static void calls_and_thoughts_have_no_place_and_refusals_are_text(void **state)
{
    (void)state;
    same(PLAY(&unary, E_START("msg_1", "gpt-x"), E_THINK("h"), E_SIGN("S"), E_REDACTED("D"),
              E_TEXT("a"), E_TOOL(0, "t", "f"), E_ARGS(0, "{}"), E_TOOL_END(0), E_STOP(STOP_TOOL),
              E_USAGE(1, 0, 0, 2, 0), E_END),
         test_quoted("{'id':'cmpl-msg_1','object':'text_completion','created':0,'model':'gpt-x','"
                     "choices':[" CHOICE("0", "a", "'stop'") "],'usage':" USAGE(1, 2, 3) "}"));
    same(PLAY(&unary, S, E_REFUSAL("no"), E_STOP(STOP_FILTER), E_USAGE(1, 0, 0, 2, 0), E_END),
         test_quoted(HEAD CHOICE("0", "no", "'content_filter'") "],'usage':" USAGE(1, 2, 3) "}"));
}

static void an_error_ends_a_stream_without_done(void **state)
{
    (void)state;
    same(PLAY(&stream, S, E_TEXT("a"), E_ERROR(ERROR_UPSTREAM_CLOSED, "upstream closed the stream"),
              E_END),
         test_quoted(CHUNK(
             "0", "a",
             "null") "data: {'error':{'message':'upstream closed the stream','type':'server_error',"
                     "'param':null,'code':'upstream_closed'}}\n\n"));
    same(PLAY(&unary, S, E_TEXT("a"), E_ERROR(ERROR_INTERNAL, "x"), E_END), test_quoted(""));
}

static void a_full_arena_is_said_and_never_half_an_answer(void **state)
{
    (void)state;
    PLAY_BOUNDED(&unary, S, E_TEXT("a"), E_STOP(STOP_END), E_END);
    PLAY_BOUNDED(&stream, S, E_TEXT("a"), E_STOP(STOP_END), E_END);
}

static void a_slot_without_a_prompt_is_the_first(void **state)
{
    (void)state;
    struct test_play play = unary;
    play.request.echo = true;
    same(PLAY(&play, S, E_PING, E_SLOT_TEXT(9, "a"), E_SLOT_STOP(9, STOP_END),
              E_USAGE(1, 0, 0, 2, 0), E_END),
         test_quoted(HEAD CHOICE("0", "a", "'stop'") "],'usage':" USAGE(1, 2, 3) "}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_has_no_role_and_ends_with_its_reason),
        cmocka_unit_test(usage_comes_when_asked_for),
        cmocka_unit_test(several_prompts_have_a_choice_each),
        cmocka_unit_test(echo_puts_the_prompt_in_front),
        cmocka_unit_test(calls_and_thoughts_have_no_place_and_refusals_are_text),
        cmocka_unit_test(an_error_ends_a_stream_without_done),
        cmocka_unit_test(a_full_arena_is_said_and_never_half_an_answer),
        cmocka_unit_test(a_slot_without_a_prompt_is_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
