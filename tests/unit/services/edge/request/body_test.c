#include "services/edge/request/body.h"
#include "proto/error_class.h"
#include "proto/labels.h"

#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct json_doc doc;
    struct arena arena;
    struct body body;
    struct api_error fault;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    arena_init(&f->arena, 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    json_doc_free(&f->doc);
    arena_free(&f->arena);
    free(f);
    return 0;
}

static enum err check(struct fixture *f, enum api api, struct span text)
{
    return body_check(api, text, &f->doc, &f->arena, &f->body, &f->fault);
}

static enum err check_str(struct fixture *f, enum api api, const char *text)
{
    return check(f, api, span_str(text));
}

static void malformed_requests_are_refused_with_class_and_parameter(void **state)
{
    static const struct {
        enum api api;
        const char *text;
        unsigned error_class;
        const char *param;
    } cases[] = {
        {API_OPENAI_CHAT, "", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, " \r\n\t", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{\"model\":\"a\"", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{\"model\":\"a\"}x", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{\"model\":\"a\",}", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{'model':'a'}", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{\"model\":\"a\\q\"}", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{\"model\":\"a\x01\"}", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{\"model\":\"\xff\"}", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{\"model\":\"\xc0\xaf\"}", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{\"max_tokens\":01}", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{\"max_tokens\":NaN}", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "[]", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "null", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "\"model\"", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "model=gpt-4&prompt=x", ERROR_INVALID_JSON, NULL},
        {API_OPENAI_CHAT, "{\"model\":1}", ERROR_INVALID_VALUE, "model"},
        {API_OPENAI_CHAT, "{\"model\":[\"a\"]}", ERROR_INVALID_VALUE, "model"},
        {API_ANTHROPIC_COUNT_TOKENS, "{\"model\":{}}", ERROR_INVALID_VALUE, "model"},
        {API_OPENAI_CHAT, "{\"model\":\"a\\u0000b\"}", ERROR_INVALID_VALUE, "model"},
        {API_OPENAI_CHAT, "{\"model\":\"a\",\"model\":\"b\"}", ERROR_INVALID_VALUE, "model"},
        {API_OPENAI_CHAT, "{\"model\":\"a\",\"mod\\u0065l\":\"b\"}", ERROR_INVALID_VALUE, "model"},
        {API_OPENAI_CHAT, "{\"model\":null,\"model\":\"b\"}", ERROR_INVALID_VALUE, "model"},
        {API_OPENAI_CHAT, "{\"stream\":\"true\"}", ERROR_INVALID_VALUE, "stream"},
        {API_OPENAI_CHAT, "{\"stream\":1}", ERROR_INVALID_VALUE, "stream"},
        {API_ANTHROPIC_MESSAGES, "{\"stream\":true,\"stream\":false}", ERROR_INVALID_VALUE,
         "stream"},
        {API_OPENAI_CHAT, "{\"max_tokens\":\"10\"}", ERROR_INVALID_VALUE, "max_tokens"},
        {API_OPENAI_CHAT, "{\"max_tokens\":-1}", ERROR_INVALID_VALUE, "max_tokens"},
        {API_ANTHROPIC_MESSAGES, "{\"max_tokens\":1.5}", ERROR_INVALID_VALUE, "max_tokens"},
        {API_OPENAI_CHAT, "{\"max_tokens\":1e400}", ERROR_INVALID_VALUE, "max_tokens"},
        {API_OPENAI_CHAT, "{\"max_tokens\":1,\"max_tokens\":2}", ERROR_INVALID_VALUE, "max_tokens"},
        {API_OPENAI_CHAT, "{\"max_completion_tokens\":true}", ERROR_INVALID_VALUE,
         "max_completion_tokens"},
        {API_OPENAI_CHAT, "{\"max_completion_tokens\":1,\"max_completion_tokens\":1}",
         ERROR_INVALID_VALUE, "max_completion_tokens"},
        {API_OPENAI_RESPONSES, "{\"max_output_tokens\":{}}", ERROR_INVALID_VALUE,
         "max_output_tokens"},
        {API_OPENAI_CHAT, "{\"n\":0}", ERROR_INVALID_VALUE, "n"},
        {API_OPENAI_CHAT, "{\"n\":129}", ERROR_INVALID_VALUE, "n"},
        {API_OPENAI_CHAT, "{\"n\":1,\"n\":1}", ERROR_INVALID_VALUE, "n"},
        {API_OPENAI_COMPLETIONS, "{\"best_of\":129}", ERROR_INVALID_VALUE, "best_of"},
        {API_OPENAI_COMPLETIONS, "{\"best_of\":\"2\"}", ERROR_INVALID_VALUE, "best_of"},
        {API_OPENAI_COMPLETIONS, "{\"best_of\":1,\"best_of\":2}", ERROR_INVALID_VALUE, "best_of"},
        {API_OPENAI_COMPLETIONS, "{\"prompt\":\"a\",\"prompt\":[]}", ERROR_INVALID_VALUE, "prompt"},
        {API_OPENAI_EMBEDDINGS, "{\"stream\":1,\"stream\":2}", ERROR_INVALID_VALUE, "stream"},
        {API_OPENAI_CHAT, "{\"user\":5}", ERROR_INVALID_VALUE, "user"},
        {API_OPENAI_RESPONSES, "{\"user\":\"a\\nb\"}", ERROR_INVALID_VALUE, "user"},
        {API_OPENAI_CHAT, "{\"user\":\"a\",\"user\":\"b\"}", ERROR_INVALID_VALUE, "user"},
        {API_OPENAI_CHAT, "{\"safety_identifier\":\"\\u0000\"}", ERROR_INVALID_VALUE,
         "safety_identifier"},
        {API_ANTHROPIC_MESSAGES, "{\"metadata\":{\"user_id\":\"\\u001b\"}}", ERROR_INVALID_VALUE,
         "metadata.user_id"},
        {API_OPENAI_CHAT, "{\"metadata\":{\"tags\":[1]}}", ERROR_INVALID_VALUE, "metadata.tags"},
        {API_OPENAI_CHAT, "{\"metadata\":{\"tags\":[\"a\\u007f\"]}}", ERROR_INVALID_VALUE,
         "metadata.tags"},
        {API_OPENAI_CHAT,
         "{\"metadata\":{\"tags\":[\"1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16\",\"17\"]}}",
         ERROR_INVALID_VALUE, "metadata.tags"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(check_str(f, cases[i].api, cases[i].text), ERR_INVALID);
        assert_int_equal(f->fault.error_class, cases[i].error_class);
        assert_non_null(f->fault.message.data);
        if (cases[i].param)
            assert_string_equal(f->fault.param.data, cases[i].param);
        else
            assert_null(f->fault.param.data);
    }
}

static void every_cut_of_a_request_is_refused(void **state)
{
    static const char text[] = "{\"model\":\"gpt-4\",\"stream\":true,\"messages\":[{\"role\":"
                               "\"user\",\"content\":\"h\\u00e9\"}]}";
    struct fixture *f = *state;
    size_t whole = sizeof text - 1;
    for (size_t n = 0; n < whole; n++) {
        char *exact = malloc(n ? n : 1);
        memcpy(exact, text, n);
        assert_int_equal(check(f, API_OPENAI_CHAT, span_of(exact, n)), ERR_INVALID);
        assert_int_equal(f->fault.error_class, ERROR_INVALID_JSON);
        free(exact);
    }
    assert_int_equal(check(f, API_OPENAI_CHAT, span_of(text, whole)), OK);
}

static void deep_nesting_is_refused_at_its_bound(void **state)
{
    struct fixture *f = *state;
    char text[400];
    for (int levels = 127; levels <= 128; levels++) {
        int n = snprintf(text, sizeof text, "{\"x\":");
        for (int i = 0; i < levels; i++)
            text[n++] = '[';
        for (int i = 0; i < levels; i++)
            text[n++] = ']';
        text[n++] = '}';
        assert_int_equal(check(f, API_OPENAI_CHAT, span_of(text, (size_t)n)),
                         levels == 127 ? OK : ERR_INVALID);
    }
    assert_string_equal(f->fault.message.data,
                        "The request body is nested too deeply, or has too many values.");
}

static void end_user_and_tags_are_read_where_each_api_has_them(void **state)
{
    static const struct {
        enum api api;
        const char *text, *user, *tags;
    } cases[] = {
        {API_OPENAI_CHAT, "{\"user\":\"u\",\"safety_identifier\":\"s\"}", "u", ""},
        {API_OPENAI_CHAT, "{\"safety_identifier\":\"s\",\"user\":\"u\"}", "u", ""},
        {API_OPENAI_RESPONSES, "{\"safety_identifier\":\"s\",\"user\":null}", "s", ""},
        {API_OPENAI_EMBEDDINGS, "{\"user\":\"\\u00e9\"}", "\xc3\xa9", ""},
        {API_OPENAI_CHAT, "{\"metadata\":{\"user_id\":\"u\",\"tags\":\"a\"}}", "", ""},
        {API_OPENAI_CHAT, "{\"metadata\":{\"tags\":[\"b\",\" a \",\"b\",\"c,d\",\"\"]}}", "",
         "b,a,c,d"},
        {API_ANTHROPIC_MESSAGES, "{\"metadata\":{\"user_id\":\"u\",\"tags\":[\"a\"]},\"user\":5}",
         "u", "a"},
        {API_ANTHROPIC_MESSAGES, "{\"metadata\":{\"user_id\":5}}", "", ""},
        {API_ANTHROPIC_MESSAGES, "{\"metadata\":null}", "", ""},
        {API_OPENAI_CHAT, "{\"metadata\":7}", "", ""},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(check_str(f, cases[i].api, cases[i].text), OK);
        assert_true(span_is(f->body.end_user, cases[i].user));
        assert_true(span_is(f->body.tags, cases[i].tags));
    }
    char text[END_USER_MAX_BYTES + 40];
    for (int over = 0; over < 2; over++) {
        (void)snprintf(text, sizeof text, "{\"user\":\"%0*d\"}", END_USER_MAX_BYTES + over, 7);
        assert_int_equal(check_str(f, API_OPENAI_CHAT, text), over ? ERR_INVALID : OK);
    }
}

static void the_few_facts_are_read(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        check_str(f, API_OPENAI_CHAT,
                  "{\"m\\u006fdel\":\"gp\\u0074-4\",\"stream\":true,\"max_tokens\":1e2,"
                  "\"max_completion_tokens\":250.0,\"n\":3}"),
        OK);
    assert_true(span_is(f->body.model, "gpt-4"));
    assert_true(f->body.stream && f->body.has_cap);
    assert_int_equal(f->body.output_cap, 250);
    assert_int_equal(f->body.choices, 3);
}

static void null_means_absent(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(check_str(f, API_OPENAI_CHAT,
                               "{\"model\":null,\"stream\":null,\"max_tokens\":null,\"n\":null}"),
                     OK);
    assert_int_equal(f->body.model.len, 0);
    assert_false(f->body.stream || f->body.has_cap);
    assert_int_equal(f->body.choices, 0);
}

static void all_answers_of_a_completion_are_counted(void **state)
{
    static const struct {
        const char *text;
        uint64_t choices, best_of, prompts;
    } cases[] = {
        {"{\"prompt\":\"a\"}", 0, 0, 1},
        {"{\"prompt\":\"a\",\"n\":2,\"best_of\":5}", 2, 5, 1},
        {"{\"prompt\":[\"a\",\"b\",\"c\"]}", 0, 0, 3},
        {"{\"prompt\":[[1,2],[3,4]]}", 0, 0, 2},
        {"{\"prompt\":[1,2,3]}", 0, 0, 1},
        {"{\"prompt\":[],\"best_of\":null}", 0, 0, 1},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(check_str(f, API_OPENAI_COMPLETIONS, cases[i].text), OK);
        assert_int_equal(f->body.choices, cases[i].choices);
        assert_int_equal(f->body.best_of, cases[i].best_of);
        assert_int_equal(f->body.prompts, cases[i].prompts);
    }
    assert_int_equal(check_str(f, API_OPENAI_CHAT, "{\"prompt\":[\"a\",\"b\"],\"best_of\":9}"), OK);
    assert_int_equal(f->body.best_of, 0);
    assert_int_equal(f->body.prompts, 1);
}

static void members_of_another_protocol_are_not_judged(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        check_str(f, API_OPENAI_EMBEDDINGS, "{\"stream\":1,\"max_tokens\":\"x\",\"n\":-4}"), OK);
    assert_int_equal(check_str(f, API_ANTHROPIC_MESSAGES, "{\"n\":\"x\",\"max_output_tokens\":[]}"),
                     OK);
    assert_int_equal(
        check_str(f, API_OPENAI_CHAT, "{\"a\":{\"model\":1,\"model\":2,\"stream\":3}}"), OK);
}

static void a_long_model_name_is_refused(void **state)
{
    struct fixture *f = *state;
    char text[MODEL_MAX_BYTES + 64];
    for (int n = MODEL_MAX_BYTES; n <= MODEL_MAX_BYTES + 1; n++) {
        int len = snprintf(text, sizeof text, "{\"model\":\"%0*d\"}", n, 0);
        assert_int_equal(check(f, API_OPENAI_CHAT, span_of(text, (size_t)len)),
                         n == MODEL_MAX_BYTES ? OK : ERR_INVALID);
    }
    assert_string_equal(f->fault.param.data, "model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(malformed_requests_are_refused_with_class_and_parameter,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(every_cut_of_a_request_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(deep_nesting_is_refused_at_its_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(end_user_and_tags_are_read_where_each_api_has_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_few_facts_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(null_means_absent, setup, teardown),
        cmocka_unit_test_setup_teardown(members_of_another_protocol_are_not_judged, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_long_model_name_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(all_answers_of_a_completion_are_counted, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
