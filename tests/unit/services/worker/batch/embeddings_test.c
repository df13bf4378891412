#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "services/worker/batch/embeddings.h"

enum { MAX = 4 };

static void expect_same_key(const char *a, const char *b, bool same)
{
    struct embeddings_part part;
    struct buf x = {0}, y = {0};
    assert_int_equal(embeddings_part_read(&part, span_str(a), &x), OK);
    assert_int_equal(embeddings_part_read(&part, span_str(b), &y), OK);
    assert_int_equal(span_equals(buf_span(&x), buf_span(&y)), same);
    buf_free(&x);
    buf_free(&y);
}

static void requests_go_together_when_all_but_the_inputs_is_equal(void **state)
{
    (void)state;
    static const char plain[] = "{\"model\":\"m\",\"input\":\"a\"}";
    expect_same_key(plain, "{\"model\": \"m\", \"input\":[\"b\",\"c\"]}", true);
    expect_same_key("{\"input\":[1,2],\"model\":\"m\"}", "{\"model\":\"m\",\"input\":[[3]]}", true);
    expect_same_key(plain, "{\"model\":\"m\",\"input\":[1]}", false);
    expect_same_key(plain, "{\"model\":\"n\",\"input\":\"a\"}", false);
    expect_same_key(plain, "{\"model\":\"m\",\"input\":\"a\",\"dimensions\":3}", false);
    expect_same_key(plain, "{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"base64\"}",
                    false);
}

static void what_is_not_understood_goes_alone(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"model\":\"m\"}",
        "{\"model\":\"m\",\"input\":[]}",
        "{\"model\":\"m\",\"input\":[[]]}",
        "{\"model\":\"m\",\"input\":null}",
        "{\"model\":\"m\",\"input\":{}}",
        "{\"model\":\"m\",\"input\":7}",
        "{\"model\":\"m\",\"input\":[\"a\",7]}",
        "{\"model\":\"m\",\"input\":[\"a\",[7]]}",
        "{\"model\":\"m\",\"input\":\"a\",\"inp\\u0075t\":\"b\"}",
        "[]",
        "{",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct embeddings_part part;
        struct buf key = {0};
        assert_int_equal(embeddings_part_read(&part, span_str(bodies[i]), &key), ERR_UNSUPPORTED);
        buf_free(&key);
    }
}

static size_t read_parts(const char *const *bodies, struct embeddings_part *parts)
{
    size_t n = 0;
    for (; n < MAX && bodies[n]; n++) {
        struct buf key = {0};
        assert_int_equal(embeddings_part_read(&parts[n], span_str(bodies[n]), &key), OK);
        buf_free(&key);
    }
    return n;
}

static void bodies_are_joined_with_their_inputs_untouched(void **state)
{
    (void)state;
    static const struct {
        const char *bodies[MAX];
        const char *joined;
    } cases[] = {
        {{"{\"model\":\"m\", \"input\" : \"a\\u00e9\" ,\"dimensions\":3}",
          "{\"model\":\"m\",\"input\":[ \"b\", \"\\\"c\" ],\"dimensions\":3}", NULL},
         "{\"model\":\"m\", \"input\" : [\"a\\u00e9\",\"b\",\"\\\"c\"] ,\"dimensions\":3}"},
        {{"{\"input\":[1, 2],\"model\":\"m\"}", "{\"input\":[[3],[4,5]],\"model\":\"m\"}", NULL},
         "{\"input\":[[1, 2],[3],[4,5]],\"model\":\"m\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct embeddings_part parts[MAX];
        size_t n = read_parts(cases[i].bodies, parts);
        struct buf out = {0};
        assert_int_equal(embeddings_join(parts, n, &out), OK);
        buf_append_char(&out, 0);
        assert_string_equal(out.data, cases[i].joined);
        buf_free(&out);
    }
}

static void too_many_inputs_are_not_joined(void **state)
{
    (void)state;
    static const char *const bodies[] = {"{\"input\":\"a\"}", "{\"input\":\"b\"}", NULL};
    struct embeddings_part parts[MAX];
    size_t n = read_parts(bodies, parts);
    parts[1].inputs = EMBEDDINGS_MAX_INPUTS;
    struct buf out = {0};
    assert_int_equal(embeddings_join(parts, n, &out), ERR_TOO_BIG);
    buf_free(&out);
}

static const char *const three[] = {"{\"input\":\"aaaa\"}", "{\"input\":[\"b\",\"cc\"]}",
                                    "{\"input\":\"d\"}", NULL};

static void an_answer_is_taken_apart_by_index(void **state)
{
    (void)state;
    struct embeddings_part parts[MAX];
    struct embeddings_share shares[MAX];
    size_t n = read_parts(three, parts);
    static const char answer[] = "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\","
                                 "\"index\":3,\"embedding\":[4e-1]},"
                                 "{\"object\":\"embedding\",\"embedding\":\"AAAA\",\"index\":1 "
                                 "},{\"index\":0,\"embedding\":[1.50]},"
                                 "{\"index\":2,\"embedding\":[3]}],\"model\":\"m-1\",\"usage\":{"
                                 "\"prompt_tokens\":10,\"total_tokens\":11}}";
    assert_int_equal(embeddings_split(parts, n, span_str(answer), shares), OK);
    static const char *const expected[] = {
        "{\"object\":\"list\",\"data\":[{\"index\":0,\"embedding\":[1.50]}],\"model\":\"m-1\","
        "\"usage\":{\"prompt_tokens\":3,"
        "\"total_tokens\":3}}",
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"embedding\":\"AAAA\",\"index\":"
        "0 },{\"index\":1,\"embedding\":"
        "[3]}],\"model\":\"m-1\",\"usage\":{\"prompt_tokens\":5,\"total_tokens\":6}}",
        "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[4e-1]}"
        "],\"model\":\"m-1\",\"usage\":{"
        "\"prompt_tokens\":2,\"total_tokens\":2}}",
    };
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        buf_append_char(&shares[i].body, 0);
        assert_string_equal(shares[i].body.data, expected[i]);
        sum += shares[i].tokens;
        buf_free(&shares[i].body);
    }
    assert_int_equal(sum, 10);
}

static void shares_always_sum_up(void **state)
{
    (void)state;
    struct embeddings_part parts[MAX];
    size_t n = read_parts(three, parts);
    for (uint64_t total = 0; total < 50; total++) {
        struct embeddings_share shares[MAX];
        struct buf answer = {0};
        buf_printf(&answer,
                   "{\"data\":[{\"index\":0},{\"index\":1},{\"index\":2},{\"index\":3}],\"usage\":{"
                   "\"prompt_tokens\":%llu}}",
                   (unsigned long long)total);
        assert_int_equal(embeddings_split(parts, n, buf_span(&answer), shares), OK);
        uint64_t sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += shares[i].tokens;
            buf_free(&shares[i].body);
        }
        assert_int_equal(sum, total);
        buf_free(&answer);
    }
}

static void an_answer_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "{}",
        "{\"data\":[]}",
        "{\"data\":[{\"index\":0},{\"index\":1},{\"index\":2}]}",
        "{\"data\":[{\"index\":0},{\"index\":1},{\"index\":2},{\"index\":2}]}",
        "{\"data\":[{\"index\":0},{\"index\":1},{\"index\":2},{\"index\":4}]}",
        "{\"data\":[{\"index\":0},{\"index\":1},{\"index\":2},{\"index\":-1}]}",
        "{\"data\":[{\"index\":0},{\"index\":1},{\"index\":2},{}]}",
        "{\"data\":[{\"index\":0},{\"index\":1},{\"index\":2},7]}",
        "<html>",
    };
    struct embeddings_part parts[MAX];
    size_t n = read_parts(three, parts);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct embeddings_share shares[MAX];
        assert_int_equal(embeddings_split(parts, n, span_str(answers[i]), shares), ERR_INVALID);
        for (size_t k = 0; k < n; k++)
            buf_free(&shares[k].body);
    }
}

/* Told to every caller, it would be there as often as there are callers. */
static void an_answer_with_a_large_member_beside_is_not_shared(void **state)
{
    (void)state;
    const struct embeddings_part parts[] = {{.inputs = 1, .bytes = 1}, {.inputs = 1, .bytes = 1}};
    struct embeddings_share shares[2];
    struct buf answer = {0};
    buf_append_str(&answer, "{\"data\":[{\"index\":0},{\"index\":1}],\"x\":\"");
    while (answer.len < 70000)
        buf_append_char(&answer, 'x');
    buf_append_str(&answer, "\"}");
    assert_int_equal(embeddings_split(parts, 2, buf_span(&answer), shares), ERR_INVALID);
    buf_free(&answer);
}

static void what_is_no_request_is_not_joined(void **state)
{
    (void)state;
    const struct embeddings_part parts[] = {{.body = SPAN("{\"input\":\"a\"}"), .inputs = 1},
                                            {.body = SPAN("oops"), .inputs = 1},
                                            {.body = SPAN("{\"input\":\"b\"}"), .inputs = 1}};
    struct buf out = {0};
    assert_int_not_equal(embeddings_join(parts, 3, &out), OK);
    assert_int_equal(out.len, 0);
    assert_int_not_equal(embeddings_join(&parts[1], 1, &out), OK);
    buf_free(&out);
}

static void nothing_shared_is_nothing(void **state)
{
    (void)state;
    struct embeddings_part none = {.body = SPAN("{}"), .inputs = 0};
    struct embeddings_share share;
    assert_int_equal(
        embeddings_split(&none, 1, SPAN("{\"data\":[],\"usage\":{\"prompt_tokens\":3}}"), &share),
        OK);
    assert_int_equal(share.tokens, 0);
    buf_free(&share.body);
    assert_int_equal(embeddings_portion(7, 1, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_go_together_when_all_but_the_inputs_is_equal),
        cmocka_unit_test(what_is_not_understood_goes_alone),
        cmocka_unit_test(bodies_are_joined_with_their_inputs_untouched),
        cmocka_unit_test(too_many_inputs_are_not_joined),
        cmocka_unit_test(an_answer_is_taken_apart_by_index),
        cmocka_unit_test(shares_always_sum_up),
        cmocka_unit_test(an_answer_that_does_not_fit_is_refused),
        cmocka_unit_test(an_answer_with_a_large_member_beside_is_not_shared),
        cmocka_unit_test(what_is_no_request_is_not_joined),
        cmocka_unit_test(nothing_shared_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
