#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/services/simulator/test_sim.h"

#define CHAT "/openai/v1/chat/completions"

static unsigned chat(struct test_sim *t, const char *text, bool stream)
{
    struct buf body = {0};
    buf_printf(&body,
               "{\"model\":\"gpt-4\"%s,\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
               stream ? ",\"stream\":true" : "", text);
    buf_append_char(&body, '\0');
    unsigned status = post(t, CHAT, body.data);
    buf_free(&body);
    return status;
}

static void an_error_has_the_asked_status_and_may_pass(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(chat(&t, "[[sim status=503 times=2]]", false), 503);
    assert_int_equal(chat(&t, "[[sim status=503 times=2]]", true), 503);
    assert_int_equal(chat(&t, "[[sim status=503 times=2]]", false), 200);
    assert_int_equal(chat(&t, "[[sim retry-after=2]]", false), 429);
    assert_true(has(&t, "Retry-After: 2\r\n"));
    assert_int_equal(
        chat(&t, "[[sim status=400 code=context_length_exceeded message='too long']]", false), 400);
    assert_true(json_is(at(json_of(&t), "error.code"), "context_length_exceeded"));
    assert_true(json_is(at(json_root(&t.doc), "error.message"), "too long"));
    assert_int_equal(
        ask_sim(&t, "POST", CHAT, "Authorization: Bearer k\r\nx-sim-status: 418\r\n",
                "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"),
        418);
    test_sim_stop(&t);
}

static void answers_break_off_where_asked(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    for (int stream = 0; stream < 2; stream++) {
        assert_int_equal(chat(&t, "[[sim cut=120]]", stream), 200);
        assert_true(t.closed);
        assert_int_equal(body_of(&t).len, 120);
        assert_int_equal(chat(&t, "[[sim stall=120]]", stream), 200);
        assert_false(t.closed);
        assert_int_equal(body_of(&t).len, 120);
        assert_int_equal(chat(&t, "[[sim reset=120]]", stream), 200);
        assert_true(t.closed);
        assert_int_equal(chat(&t, "[[sim cut]]", stream), 0);
        assert_true(t.closed);
        assert_int_equal(chat(&t, "[[sim reset]]", stream), 0);
        assert_true(t.closed);
        assert_int_equal(chat(&t, "[[sim stall]]", stream), 0);
        assert_false(t.closed);
    }
    assert_int_equal(get(&t, "/_sim/stats"), 200);
    assert_int_equal(number_at(json_of(&t), "completed"), 0);
    assert_int_equal(number_at(json_root(&t.doc), "output_tokens"), 0);
    assert_int_equal(number_at(json_root(&t.doc), "faults"), 12);
    test_sim_stop(&t);
}

static void bytes_of_no_protocol_are_sent_on_demand(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    assert_int_equal(chat(&t, "[[sim garbage]]", false), 200);
    assert_true(has(&t, "<html>"));
    assert_int_equal(chat(&t, "[[sim garbage]]", true), 200);
    assert_true(has(&t, "data: {\"choi\n"));
    assert_int_equal(chat(&t, "[[sim error=2 chunks=5]]", true), 200);
    assert_int_equal(times_in_body(&t, "\"delta\":{\"content\":"), 2);
    assert_int_equal(times_in_body(&t, "data: {\"error\""), 1);
    assert_int_equal(times_in_body(&t, "[DONE]"), 0);
    assert_int_equal(chat(&t, "[[sim flood=3000000]]", false), 200);
    assert_int_equal(body_of(&t).len, 3000000);
    test_sim_stop(&t);
}

static void pace_and_delay_take_their_time(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    uint64_t before = t.clock.now_us;
    assert_int_equal(chat(&t, "[[sim delay=100]]", false), 200);
    assert_true(t.clock.now_us - before >= 100000);
    before = t.clock.now_us;
    assert_int_equal(chat(&t, "[[sim ttft=50 pace=20 chunks=5]]", true), 200);
    assert_true(t.clock.now_us - before >= 150000);
    assert_true(span_ends(body_of(&t), "[DONE]\n\n"));
    assert_int_equal(chat(&t, "[[sim drip=1]]", false), 200);
    assert_int_equal(json_type(json_of(&t)), JSON_OBJECT);
    test_sim_stop(&t);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    assert_true(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void remove_file(const char *dir, const char *name)
{
    char path[256];
    assert_true(snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path);
    assert_int_equal(unlink(path), 0);
}

static void scripts_are_files(void **state)
{
    (void)state;
    static const char raw[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-Raw: 1\r\n\r\nabc";
    char dir[] = "/tmp/sim_script_XXXXXX";
    struct test_sim t;
    struct sim_options options = test_options();
    assert_non_null(mkdtemp(dir));
    write_file(dir, "one.http", raw);
    write_file(dir, "some.rules",
               "# comment\n\nmodel=gpt-* text=fail => status=500 times=1\npath=/openai model=other "
               "=> status=501\n");
    options.script = dir;
    test_sim_start(&t, &options);
    assert_int_equal(chat(&t, "[[sim script=one]]", false), 200);
    assert_int_equal(t.got.len, sizeof raw - 1);
    assert_int_equal(chat(&t, "[[sim script=none]]", false), 500);
    assert_int_equal(chat(&t, "fine", false), 200);
    assert_int_equal(chat(&t, "fail", false), 500);
    assert_int_equal(chat(&t, "fail", false), 200);
    assert_int_equal(post(&t, "/_sim/reset", ""), 200);
    assert_int_equal(chat(&t, "fail", false), 500);
    test_sim_stop(&t);

    struct loop *loop;
    struct sim *sim;
    write_file(dir, "some.rules", "model=x => sttus=1\n");
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_not_equal(sim_create(&sim, loop, &options), OK);
    loop_destroy(&loop);
    remove_file(dir, "one.http");
    remove_file(dir, "some.rules");
    assert_int_equal(rmdir(dir), 0);
}

static void what_was_asked_can_be_read_without_secrets(void **state)
{
    (void)state;
    struct test_sim t;
    struct sim_options options = test_options();
    test_sim_start(&t, &options);
    for (int i = 0; i < 12; i++)
        assert_int_equal(chat(&t, "hello", false), 200);
    assert_int_equal(ask_sim(&t, "POST", CHAT,
                             "Authorization: Bearer sk-secret\r\nx-request-id: r1\r\n",
                             "{\"model\":\"m\",\"user\":\"u1\",\"messages\":[{\"role\":\"user\","
                             "\"content\":\"x\"}]}"),
                     200);
    assert_int_equal(get(&t, "/_sim/requests"), 200);
    assert_false(has(&t, "sk-secret"));
    struct json v = json_of(&t);
    assert_int_equal(json_count(v), 10);
    assert_int_equal(number_at(v, "9.number"), 13);
    assert_true(json_is(at(v, "9.headers.authorization"), "***"));
    assert_true(json_is(at(v, "9.headers.x-request-id"), "r1"));
    assert_int_equal(get(&t, "/_sim/stats"), 200);
    v = json_of(&t);
    assert_int_equal(number_at(v, "by_request_id.r1.requests"), 1);
    assert_int_equal(number_at(v, "by_user.u1.requests"), 1);
    test_sim_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_has_the_asked_status_and_may_pass),
        cmocka_unit_test(answers_break_off_where_asked),
        cmocka_unit_test(bytes_of_no_protocol_are_sent_on_demand),
        cmocka_unit_test(pace_and_delay_take_their_time),
        cmocka_unit_test(scripts_are_files),
        cmocka_unit_test(what_was_asked_can_be_read_without_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
