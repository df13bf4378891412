/* The translating pipeline, with a provider that reads a script instead of a protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "unit/services/worker/pipeline_driver.h"

/* ---- a provider that does what its upstream says, word by word ---- */

static struct transfer *new_transfer(struct conversion *pc, const char *method, const char *path)
{
    struct transfer *x = ARENA_NEW(pc->arena, struct transfer);
    *x = (struct transfer){.method = method, .path = span_str(path)};
    return x;
}

static enum err build_request(struct conversion *pc, struct api_error *fault_out)
{
    const struct neutral_request *r = pc->request;
    if (r->seed_json.len)
        neutral_drop(pc->request, "seed");
    if (r->n > 1) {
        fault_out->error_class = ERROR_UNSUPPORTED_PARAMETER;
        fault_out->message = SPAN("one answer only");
        fault_out->param = SPAN("n");
        return ERR_INVALID;
    }
    pc->next = new_transfer(pc, "POST", "/ask");
    pc->next->expects_stream = r->stream;
    struct span prompt = r->turn_count ? r->turns[0].parts.items[0].text : SPAN_NONE;
    if (span_is(prompt, "bad"))
        return ERR_INVALID; /* and no word why */
    pc->next->body =
        arena_printf(pc->arena, "max=%lld temperature=%.*s prompt=%.*s", (long long)r->max_out,
                     SPAN_ARG(r->temperature_json), SPAN_ARG(prompt));
    return OK;
}

static uint64_t number(struct span s)
{
    uint64_t v = 0;
    return span_to_u64(s, &v) ? v : 0;
}

static void emit(struct conversion *pc, struct neutral_event e)
{
    pc->emit(pc->emit_ctx, &e);
}

static void emit_usage(struct conversion *pc, uint64_t input, uint64_t output, struct span tier)
{
    struct usage usage = USAGE_NONE;
    usage.input = input;
    usage.output = output;
    usage.service_tier_text = tier;
    emit(pc, (struct neutral_event){.kind = EVENT_USAGE, .usage = usage});
}

static enum err do_word(struct conversion *pc, struct span word)
{
    struct span arg = word;
    struct span verb = span_cut(&arg, ':');
    if (span_is(verb, "start"))
        emit(pc, (struct neutral_event){.kind = EVENT_START,
                                        .id_text = arg,
                                        .model_text = SPAN("mo\\u0064el"),
                                        .usage = USAGE_NONE});
    else if (span_is(verb, "text"))
        emit(pc, (struct neutral_event){.kind = EVENT_TEXT, .text = arg, .usage = USAGE_NONE});
    else if (span_is(verb, "in"))
        emit_usage(pc, number(arg), USAGE_UNKNOWN, SPAN_NONE);
    else if (span_is(verb, "out"))
        emit_usage(pc, USAGE_UNKNOWN, number(arg), SPAN("priority"));
    else if (span_is(verb, "stop"))
        emit(pc, (struct neutral_event){.kind = EVENT_STOP, .stop = STOP_END, .usage = USAGE_NONE});
    else if (span_is(verb, "ping"))
        emit(pc, (struct neutral_event){.kind = EVENT_PING, .usage = USAGE_NONE});
    else if (span_is(verb, "end"))
        emit(pc, (struct neutral_event){.kind = EVENT_END, .usage = USAGE_NONE});
    else if (span_is(verb, "error"))
        emit(pc, (struct neutral_event){
                     .kind = EVENT_ERROR,
                     .fault = {.error_class = ERROR_UPSTREAM_OVERLOADED, .message = arg}});
    else if (span_is(verb, "refuse"))
        emit(pc, (struct neutral_event){.kind = EVENT_REFUSAL, .text = arg, .usage = USAGE_NONE});
    else if (span_is(verb, "detach")) {
        pc->next = new_transfer(pc, "POST", "/aside");
        pc->next->detached = true;
    } else if (span_is(verb, "follow")) {
        pc->next = new_transfer(pc, "GET", "/follow");
        pc->next->repeatable = pc->next->expects_stream = true;
    } else if (span_is(verb, "full"))
        return ERR_NOMEM;
    else if (span_is(verb, "look")) {
        pc->next = new_transfer(pc, "GET", "/look");
        pc->next->repeatable = true;
    } else if (span_is(verb, "wait"))
        pc->wait_ms = number(arg);
    else
        return ERR_INVALID;
    return OK;
}

static enum err do_words(struct conversion *pc, struct span words)
{
    enum err e = OK;
    while (words.len && e == OK)
        e = do_word(pc, span_cut(&words, ' '));
    return e;
}

static enum err parse_response(struct conversion *pc, const struct transfer *x, struct span body)
{
    (void)x;
    return do_words(pc, body);
}

static enum err parse_event(struct conversion *pc, const struct transfer *x,
                            const struct sse_event *e)
{
    (void)x;
    return do_words(pc, e->data);
}

static enum err parse_end(struct conversion *pc, const struct transfer *x)
{
    (void)x;
    emit(pc, (struct neutral_event){
                 .kind = EVENT_ERROR,
                 .fault = {.error_class = ERROR_UPSTREAM_CLOSED, .message = SPAN("cut")}});
    return OK;
}

static void map_error(struct conversion *pc, unsigned status,
                      const struct upstream_headers *headers, struct span body,
                      struct api_error *fault_out)
{
    (void)pc;
    (void)headers;
    fault_out->error_class = status == 400 ? ERROR_UPSTREAM_BAD_REQUEST : ERROR_UPSTREAM_OVERLOADED;
    fault_out->message = body;
}

static enum err on_timer(struct conversion *pc)
{
    if (pc->waited_ms > 60000) {
        emit(pc, (struct neutral_event){
                     .kind = EVENT_ERROR,
                     .fault = {.error_class = ERROR_DEADLINE, .message = SPAN("too long")}});
        return OK;
    }
    pc->next = new_transfer(pc, "GET", "/poll");
    pc->next->repeatable = true;
    return OK;
}

static void cancel(struct conversion *pc)
{
    pc->next = new_transfer(pc, "POST", "/cancel");
    pc->next->detached = true;
}

static const struct provider fake = {.protocol = PROTOCOL_REPLICATE,
                                     .build_request = build_request,
                                     .parse_response = parse_response,
                                     .parse_event = parse_event,
                                     .parse_end = parse_end,
                                     .map_error = map_error,
                                     .on_timer = on_timer,
                                     .cancel = cancel};

#define MESSAGES "\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define PLAIN "content-type: text/plain\n"

static void init(struct driver *d, enum api api)
{
    driver_init(d, &fake, api, "/x");
}

static struct driver started(enum api api, const char *body)
{
    struct driver d;
    init(&d, api);
    enum err e = driver_start(&d, body);
    if (e)
        fail_msg("%.*s", SPAN_ARG(d.fault.message));
    return d;
}

/* ---- one part ---- */

static void a_whole_answer_is_translated_and_metered(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"seed\":7,\"foo\":1}");
    assert_int_equal(d.sent_count, 1);
    driver_answer(&d, 0, 200, PLAIN, "start:abc text:Hello in:11 out:2 stop end");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_has(&d, "\"content\":\"Hello\""));
    assert_true(driver_output_has(&d, "\"prompt_tokens\":11"));
    const struct pipeline_result *r = pipeline_result(d.pipeline);
    assert_int_equal(r->usage.input, 11);
    assert_int_equal(r->usage.output, 2);
    assert_false(r->estimated);
    assert_true(span_is(r->upstream_id, "abc"));
    assert_true(span_is(r->upstream_model, "model"));
    assert_true(span_find_span(r->headers, SPAN("seed")) < r->headers.len);
    assert_true(span_starts(r->headers, "x-tollgate-dropped: "));
    assert_true(span_ends(r->headers, "\n"));
    driver_done(&d);
}

static void an_upstream_stream_is_assembled_for_a_unary_client(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc text:Hel\n\ndata: text:lo in:1 out:1\n\n");
    assert_false(pipeline_committed(d.pipeline));
    assert_int_equal(pipeline_output(d.pipeline)->len, 0);
    driver_text(&d, 0, "data: stop end\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_has(&d, "\"content\":\"Hello\""));
    driver_done(&d);
}

/* H126 */
static void a_whole_answer_to_a_stream_request_becomes_a_stream(void **state)
{
    (void)state;
    struct driver d =
        started(API_OPENAI_CHAT,
                "{" MESSAGES ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    driver_answer(&d, 0, 200, PLAIN, "start:abc text:Hello in:11 out:2 stop end");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_has(&d, "\"delta\":{\"content\":\"Hello\"}"));
    assert_true(driver_output_has(&d, "\"prompt_tokens\":11"));
    assert_true(span_ends(buf_span(&d.output), "data: [DONE]\n\n"));
    driver_done(&d);
}

static void a_stream_is_committed_by_its_first_content(void **state)
{
    (void)state;
    struct driver d =
        started(API_ANTHROPIC_MESSAGES, "{" MESSAGES ",\"max_tokens\":9,\"stream\":true}");
    assert_true(d.sent[0]->expects_stream);
    driver_stream_head(&d, 0);
    assert_int_equal(d.wait_ms, 10000);
    driver_text(&d, 0, "data: start:abc\n\ndata: ping\n\ndata: in:4\n\n");
    assert_false(pipeline_committed(d.pipeline));
    driver_text(&d, 0, "data: text:Hi\n\n");
    assert_true(pipeline_committed(d.pipeline));
    assert_true(driver_output_has(&d, "event: message_start\n"));
    assert_true(driver_output_has(&d, "\"text\":\"Hi\""));
    driver_text(&d, 0, "data: stop out:1\n\ndata: end\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_has(&d, "event: message_stop\n"));
    driver_done(&d);
}

static void an_error_before_content_forgets_what_was_written(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc\n\ndata: error:full\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(pipeline_output(d.pipeline)->len, 0);
    assert_false(pipeline_committed(d.pipeline));
    assert_int_equal(pipeline_result(d.pipeline)->status, 503);
    assert_true(span_is(pipeline_fault(d.pipeline)->message, "full"));
    assert_int_equal(pipeline_result(d.pipeline)->usage.input, 0);
    driver_done(&d);
    d = started(API_ANTHROPIC_MESSAGES, "{" MESSAGES ",\"max_tokens\":9}");
    driver_answer(&d, 0, 200, PLAIN, "start:abc text:half error:full");
    assert_int_equal(pipeline_result(d.pipeline)->status, 529);
    driver_done(&d);
}

static void an_error_in_mid_stream_leaves_no_end_mark(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0,
                "data: start:abc text:Hi\n\ndata: error:full\n\ndata: text:more stop end\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_true(pipeline_committed(d.pipeline));
    assert_false(driver_output_has(&d, "[DONE]"));
    assert_false(driver_output_has(&d, "more"));
    driver_done(&d);
}

static void a_cut_stream_is_for_the_provider_to_judge(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc text:Hi\n\n");
    driver_end(&d, 0);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_CLOSED);
    driver_done(&d);
    d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc text:Hi\n\n");
    driver_fail(&d, 0, ERROR_UPSTREAM_TIMEOUT);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_TIMEOUT);
    driver_done(&d);
}

static void an_answer_that_never_ends_its_events_is_cut(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_answer(&d, 0, 200, PLAIN, "start:abc text:Hi");
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_CLOSED);
    driver_done(&d);
}

static void nonsense_is_a_protocol_error(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_answer(&d, 0, 200, PLAIN, "<html>");
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
    driver_done(&d);
}

static void a_status_is_mapped_by_the_provider(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_answer(&d, 0, 400, PLAIN, "bad");
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_BAD_REQUEST);
    assert_int_equal(pipeline_fault(d.pipeline)->upstream_status, 400);
    assert_true(span_is(pipeline_fault(d.pipeline)->message, "bad"));
    driver_done(&d);
}

static void a_request_the_upstream_cannot_be_told_is_refused(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    assert_int_equal(driver_start(&d, "{" MESSAGES ",\"n\":2}"), ERR_INVALID);
    assert_int_equal(d.fault.error_class, ERROR_UNSUPPORTED_PARAMETER);
    assert_true(span_is(d.fault.param, "n"));
    driver_done(&d);
}

static void broken_characters_of_an_upstream_are_mended(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc text:a\xff\n\n");
    assert_true(driver_output_has(&d, "a\xef\xbf\xbd"));
    driver_done(&d);
}

static void usage_that_never_came_is_estimated(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    d.spec.input_tokens = 21;
    assert_int_equal(driver_start(&d, "{" MESSAGES "}"), OK);
    driver_answer(&d, 0, 200, PLAIN, "start:abc text:Hello stop end");
    assert_true(driver_output_has(&d, "\"prompt_tokens\":21"));
    assert_true(driver_output_has(&d, "\"completion_tokens\":2"));
    const struct pipeline_result *r = pipeline_result(d.pipeline);
    assert_true(r->estimated);
    assert_int_equal(r->usage.output, 2);
    assert_true(span_is(r->headers, "x-tollgate-usage: estimated\n"));
    driver_done(&d);
}

/* A stream's head has gone by then: the usage itself says what it is. */
static void estimated_usage_of_a_stream_is_marked(void **state)
{
    (void)state;
    static const struct {
        enum api api;
        const char *body;
    } cases[] = {
        {API_OPENAI_CHAT,
         "{" MESSAGES ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"},
        {API_ANTHROPIC_MESSAGES, "{" MESSAGES ",\"max_tokens\":9,\"stream\":true}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int told = 0; told < 2; told++) {
            struct driver d = started(cases[i].api, cases[i].body);
            driver_stream_head(&d, 0);
            driver_text(&d, 0, "data: start:abc text:Hello\n\n");
            driver_text(&d, 0, told ? "data: in:1 out:1 stop end\n\n" : "data: stop end\n\n");
            assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
            assert_int_equal(driver_output_has(&d, "\"estimated\":true}"), !told);
            driver_done(&d);
        }
    }
}

/* ---- several transfers ---- */

static void a_provider_may_poll(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_answer(&d, 0, 201, PLAIN, "start:abc wait:250");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
    assert_int_equal(d.wait_ms, 250);
    driver_timer(&d, 300);
    assert_int_equal(d.sent_count, 2);
    assert_true(span_is(d.sent[1]->path, "/poll"));
    assert_int_equal(d.sent[1]->index, 1);
    driver_answer(&d, 1, 200, PLAIN, "wait:500");
    assert_int_equal(d.wait_ms, 500);
    driver_timer(&d, 800);
    driver_answer(&d, 2, 200, PLAIN, "text:Hi stop end");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    driver_done(&d);
}

static void polling_sees_how_long_it_has_waited(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_answer(&d, 0, 201, PLAIN, "wait:250");
    driver_timer(&d, 60001);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_DEADLINE);
    driver_done(&d);
}

static void a_look_that_fails_is_repeated_three_times(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_answer(&d, 0, 201, PLAIN, "wait:250");
    driver_timer(&d, 250);
    driver_answer(&d, 1, 503, PLAIN, "full");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
    assert_int_equal(d.wait_ms, 1000);
    driver_timer(&d, 1250);
    assert_true(span_is(d.sent[2]->path, "/poll"));
    driver_fail(&d, 2, ERROR_UPSTREAM_RESET);
    driver_timer(&d, 2250);
    driver_answer(&d, 3, 503, PLAIN, "full");
    driver_timer(&d, 3250);
    driver_answer(&d, 4, 503, PLAIN, "full");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_OVERLOADED);
    driver_done(&d);
}

static void a_post_is_never_repeated(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_answer(&d, 0, 503, PLAIN, "full");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(d.sent_count, 1);
    driver_done(&d);
}

static void an_exchange_asked_for_in_mid_stream_takes_over(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc text:Hi\n\ndata: look\n\ndata: text:late\n\n");
    assert_int_equal(d.sent_count, 2);
    driver_text(&d, 0, "data: text:later\n\n");
    driver_end(&d, 0);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
    driver_answer(&d, 1, 200, PLAIN, "in:1 out:2 stop end");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_false(driver_output_has(&d, "late"));
    assert_int_equal(pipeline_result(d.pipeline)->usage.output, 2);
    driver_done(&d);
}

/* H114 */
static void a_client_that_leaves_cancels_upstream_once(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_answer(&d, 0, 201, PLAIN, "start:abc wait:250");
    pipeline_cancel(d.pipeline);
    pipeline_cancel(d.pipeline);
    driver_pump(&d);
    assert_int_equal(d.sent_count, 2);
    assert_true(span_is(d.sent[1]->path, "/cancel"));
    assert_true(d.sent[1]->detached);
    driver_answer(&d, 1, 200, PLAIN, "text:x end");
    driver_timer(&d, 250);
    assert_int_equal(d.sent_count, 2);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_CLIENT_GONE);
    driver_done(&d);
}

/* ---- several prompts ---- */

static void prompts_run_in_parallel_and_answer_in_their_order(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}");
    assert_int_equal(d.sent_count, 2);
    assert_true(span_is(d.sent[0]->body, "max=1000 temperature= prompt=a"));
    assert_true(span_is(d.sent[1]->body, "max=1000 temperature= prompt=b"));
    driver_answer(&d, 1, 200, PLAIN, "start:2 text:B in:3 out:4 stop end");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
    driver_answer(&d, 0, 200, PLAIN, "start:1 text:A in:1 out:2 stop end");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, buf_span(&d.output), 64), OK);
    struct json choices = json_get(json_root(&doc), "choices");
    assert_int_equal(json_count(choices), 2);
    assert_true(json_is(json_get(json_at(choices, 0), "text"), "A"));
    assert_true(json_is(json_get(json_at(choices, 1), "text"), "B"));
    int64_t index;
    assert_true(json_i64(json_get(json_at(choices, 1), "index"), &index) && index == 1);
    int64_t total;
    assert_true(json_i64(json_get(json_get(json_root(&doc), "usage"), "total_tokens"), &total) &&
                total == 10);
    json_doc_free(&doc);
    assert_int_equal(pipeline_result(d.pipeline)->usage.input, 4);
    assert_int_equal(pipeline_result(d.pipeline)->usage.output, 6);
    driver_done(&d);
}

static size_t occurrences(const struct driver *d, const char *needle)
{
    size_t n = 0;
    struct span rest = buf_span(&d->output);
    for (;;) {
        size_t at = span_find_span(rest, span_str(needle));
        if (at == rest.len)
            return n;
        n++;
        rest = span_skip(rest, at + 1);
    }
}

static void a_stream_of_several_prompts_has_one_usage_and_one_end(void **state)
{
    (void)state;
    struct driver d =
        started(API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"stream\":true,"
                                        "\"stream_options\":{\"include_usage\":true}}");
    driver_stream_head(&d, 0);
    driver_stream_head(&d, 1);
    driver_text(&d, 1, "data: start:2 text:B1\n\n");
    driver_text(&d, 0, "data: start:1 text:A1\n\n");
    driver_text(&d, 1, "data: text:B2 in:3 out:4 stop end\n\n");
    assert_int_equal(occurrences(&d, "[DONE]"), 0);
    driver_text(&d, 0, "data: in:1 out:2 stop end\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_int_equal(occurrences(&d, "[DONE]"), 1);
    assert_int_equal(occurrences(&d, "\"total_tokens\":10"), 1);
    assert_int_equal(occurrences(&d, "\"finish_reason\":\"stop\""), 2);
    driver_done(&d);
}

static void at_most_eight_prompts_run_at_once(void **state)
{
    (void)state;
    struct driver d =
        started(API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\",\"c\",\"d\","
                                        "\"e\",\"f\",\"g\",\"h\",\"i\",\"j\"]}");
    assert_int_equal(d.sent_count, 8);
    for (size_t i = 0; i < d.sent_count; i++)
        driver_answer(&d, i, 200, PLAIN, "start:x text:y in:1 out:1 stop end");
    assert_int_equal(d.sent_count, 10);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_int_equal(pipeline_result(d.pipeline)->usage.input, 10);
    driver_done(&d);
}

static void one_failed_prompt_fails_the_call(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}");
    driver_answer(&d, 0, 200, PLAIN, "start:1 text:A in:1 out:2 stop end");
    driver_answer(&d, 1, 503, PLAIN, "full");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    /* what the first one cost is known, and charged */
    assert_int_equal(pipeline_result(d.pipeline)->usage.output, 2);
    driver_done(&d);
}

/* ---- caps and defaults ---- */

static void caps_and_defaults_reach_the_provider(void **state)
{
    (void)state;
    static struct config_default defaults[] = {{"max_tokens", "300"}, {"temperature", "0.7"}};
    static const struct config_model config = {.defaults = defaults, .default_count = 2};
    static const struct {
        enum api api;
        const char *body, *sent;
        uint64_t cap;
    } cases[] = {
        {API_OPENAI_CHAT, "{" MESSAGES "}", "max=300 temperature=0.7 prompt=hi", 0},
        {API_OPENAI_CHAT, "{" MESSAGES "}", "max=200 temperature=0.7 prompt=hi", 200},
        {API_OPENAI_CHAT, "{" MESSAGES ",\"max_tokens\":50,\"temperature\":1}",
         "max=50 temperature=1 prompt=hi", 200},
        {API_ANTHROPIC_MESSAGES, "{" MESSAGES "}", "max=300 temperature=0.7 prompt=hi", 0},
        {API_OPENAI_COMPLETIONS, "{\"prompt\":\"p\"}", "max=300 temperature=0.7 prompt=p", 0},
        {API_OPENAI_COMPLETIONS, "{\"prompt\":[\"p\",\"q\"]}", "max=100 temperature=0.7 prompt=p",
         200},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, cases[i].api);
        d.spec.model_config = &config;
        d.spec.output_cap = cases[i].cap;
        assert_int_equal(driver_start(&d, cases[i].body), OK);
        if (!span_is(d.sent[0]->body, cases[i].sent))
            fail_msg("case %zu sent %.*s", i, SPAN_ARG(d.sent[0]->body));
        driver_done(&d);
    }
}

/* H106 */
static void a_cache_warming_request_is_answered_here(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        struct driver d;
        init(&d, API_ANTHROPIC_MESSAGES);
        d.spec.input_tokens = 77;
        assert_int_equal(driver_start(&d, stream ? "{" MESSAGES ",\"max_tokens\":0,\"stream\":true}"
                                                 : "{" MESSAGES ",\"max_tokens\":0}"),
                         OK);
        assert_int_equal(d.sent_count, 0);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
        assert_true(driver_output_has(&d, "\"stop_reason\":\"max_tokens\""));
        assert_true(driver_output_has(&d, "\"input_tokens\":77"));
        assert_int_equal(pipeline_result(d.pipeline)->cost_nano, 0);
        driver_done(&d);
    }
}

/* ---- other routes ---- */

static void what_other_providers_lack_is_refused_clearly(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_EMBEDDINGS);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\",\"input\":\"x\"}"), ERR_INVALID);
    assert_int_equal(d.fault.error_class, ERROR_MODEL_NOT_FOUND);
    driver_done(&d);
}

/* Of responses only the making of one is translated, and the count of its tokens. */
static void responses_are_made_and_counted_but_not_kept(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_RESPONSES);
    d.spec.path = SPAN("/responses");
    assert_int_equal(driver_start(&d, "{\"model\":\"m\",\"input\":\"x\"}"), OK);
    driver_answer(&d, 0, 200, PLAIN, "start:abc text:Hello in:11 out:2 stop end");
    assert_true(driver_output_has(&d, "\"object\":\"response\""));
    assert_true(driver_output_has(&d, "\"text\":\"Hello\""));
    assert_int_equal(pipeline_result(d.pipeline)->usage.output, 2);
    driver_done(&d);
    init(&d, API_OPENAI_RESPONSES);
    d.spec.path = SPAN("/responses/input_tokens?x=1");
    d.spec.input_tokens = 42;
    assert_int_equal(driver_start(&d, "{\"model\":\"m\",\"input\":\"x\"}"), OK);
    assert_true(driver_output_is(&d, "{\"object\":\"response.input_tokens\",\"input_tokens\":42}"));
    driver_done(&d);
    init(&d, API_OPENAI_RESPONSES);
    d.spec.method = SPAN("GET");
    d.spec.path = SPAN("/responses/resp_1");
    assert_int_equal(driver_start(&d, ""), ERR_INVALID);
    assert_int_equal(d.fault.error_class, ERROR_NOT_FOUND);
    driver_done(&d);
}

static void tokens_are_counted_by_estimate_and_say_so(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_ANTHROPIC_COUNT_TOKENS);
    d.spec.input_tokens = 42;
    assert_int_equal(driver_start(&d, "{" MESSAGES "}"), OK);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_is(&d, "{\"input_tokens\":42}"));
    assert_true(span_is(pipeline_result(d.pipeline)->headers, "x-tollgate-usage: estimated\n"));
    assert_int_equal(pipeline_result(d.pipeline)->cost_nano, 0);
    driver_done(&d);
    init(&d, API_ANTHROPIC_COUNT_TOKENS);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}"),
                     ERR_INVALID);
    driver_done(&d);
}

static void openai_counts_for_itself(void **state)
{
    (void)state;
    static const struct provider openai = {.protocol = PROTOCOL_OPENAI, .map_error = map_error};
    static const char body[] = "{\"model\":\"m\",\"system\":[{\"type\":\"text\",\"text\":\"a\"},{"
                               "\"type\":\"text\",\"text\":\"b\"}],\"messages\":["
                               "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
                               "\"see\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\","
                               "\"media_type\":\"image/png\",\"data\":\"AA==\"}}]},"
                               "{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":"
                               "\"ok\"},{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"f\","
                               "\"input\":{\"a\":1}}]},"
                               "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_"
                               "use_id\":\"t1\",\"content\":\"r\"}]}],"
                               "\"tools\":[{\"name\":\"f\",\"description\":\"d\",\"input_schema\":{"
                               "\"type\":\"object\"}}]}";
    static const char sent[] =
        "{\"model\":\"gpt-5\",\"instructions\":\"a\\n\\nb\",\"input\":["
        "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"see\"},{\"type\":"
        "\"input_image\",\"image_url\":"
        "\"data:image/png;base64,AA==\"}]},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"ok\"}]},"
        "{\"type\":\"function_call\",\"call_id\":\"t1\",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":"
        "1}\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"t1\",\"output\":\"r\"}],"
        "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"d\",\"parameters\":{"
        "\"type\":\"object\"}}]}";
    for (int status = 200; status <= 404; status += 204) {
        struct driver d;
        driver_init(&d, &openai, API_ANTHROPIC_COUNT_TOKENS, "/messages/count_tokens");
        d.spec.base_url = SPAN("https://api.openai.com/v1");
        d.spec.target_model = SPAN("gpt-5");
        d.spec.input_tokens = 42;
        assert_int_equal(driver_start(&d, body), OK);
        assert_true(span_is(d.sent[0]->path, "/responses/input_tokens"));
        if (!span_is(d.sent[0]->body, sent))
            fail_msg("%.*s", SPAN_ARG(d.sent[0]->body));
        driver_answer(&d, 0, (unsigned)status, PLAIN,
                      "{\"object\":\"response.input_tokens\",\"input_tokens\":123}");
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
        assert_true(driver_output_is(&d, status == 200 ? "{\"input_tokens\":123}"
                                                       : "{\"input_tokens\":42}"));
        driver_done(&d);
    }
}

static void a_count_openai_cannot_give_is_an_error(void **state)
{
    (void)state;
    static const struct provider openai = {.protocol = PROTOCOL_OPENAI, .map_error = map_error};
    static const struct {
        unsigned status;
        const char *headers, *body;
        unsigned error_class; /* 0 = an estimate instead */
    } cases[] = {
        {200, PLAIN, "{}", ERROR_UPSTREAM_PROTOCOL},
        {200, PLAIN, "{\"input_tokens\":-1}", ERROR_UPSTREAM_PROTOCOL},
        {200, PLAIN, "<html>", ERROR_UPSTREAM_PROTOCOL},
        {200, "content-type: text/event-stream\n", "data: {}\n\n", ERROR_UPSTREAM_PROTOCOL},
        {405, PLAIN, "", 0},
        {400, PLAIN, "bad", ERROR_UPSTREAM_BAD_REQUEST},
        {503, PLAIN, "full", ERROR_UPSTREAM_OVERLOADED},
    };
    for (size_t i = 0; i <= sizeof cases / sizeof *cases; i++) {
        struct driver d;
        driver_init(&d, &openai, API_ANTHROPIC_COUNT_TOKENS, "/messages/count_tokens");
        d.spec.base_url = SPAN("https://api.openai.com/v1");
        assert_int_equal(driver_start(&d, "{" MESSAGES ",\"max_tokens\":5}"), OK);
        if (i == sizeof cases / sizeof *cases) {
            driver_fail(&d, 0, ERROR_UPSTREAM_RESET);
            assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_RESET);
        } else {
            driver_answer(&d, 0, cases[i].status, cases[i].headers, cases[i].body);
            if (cases[i].error_class)
                assert_int_equal(pipeline_fault(d.pipeline)->error_class, cases[i].error_class);
            else
                assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
        }
        driver_done(&d);
    }
}

static void a_count_request_holds_every_kind_of_part(void **state)
{
    (void)state;
    static const struct provider openai = {.protocol = PROTOCOL_OPENAI, .map_error = map_error};
    struct driver d;
    driver_init(&d, &openai, API_ANTHROPIC_COUNT_TOKENS, "/messages/count_tokens");
    d.spec.base_url = SPAN("https://api.openai.com/v1");
    assert_int_equal(
        driver_start(
            &d,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":["
            "{\"type\":\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://x.test/a.png\"}},"
            "{\"type\":\"document\",\"source\":{\"type\":\"text\",\"media_type\":\"text/"
            "plain\",\"data\":\"plain\"}},"
            "{\"type\":\"document\",\"source\":{\"type\":\"url\",\"url\":\"https://x.test/"
            "a.pdf\"}},"
            "{\"type\":\"document\",\"source\":{\"type\":\"base64\",\"media_type\":"
            "\"application/"
            "pdf\",\"data\":\"AA==\"}},{\"type\":\"mid_conv_system\",\"content\":\"s\"},"
            "{\"type\":\"document\",\"title\":\"t.pdf\",\"source\":{\"type\":\"base64\",\"media_"
            "type\":"
            "\"application/pdf\",\"data\":\"JVBERi0=\"}}]},"
            "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"t\","
            "\"signature\":\"s\"}]}],"
            "\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"},{\"name\":\"f\","
            "\"input_schema\":{}}]}"),
        OK);
    struct span sent = d.sent[0]->body;
    static const char *const expected[] = {
        "{\"type\":\"input_image\",\"image_url\":\"https://x.test/a.png\"}",
        "{\"type\":\"input_text\",\"text\":\"plain\"}",
        "\"filename\":\"document.pdf\"",
        "{\"role\":\"developer\",\"content\":[{\"type\":\"input_text\",\"text\":\"s\"}]}",
        "{\"type\":\"input_file\",\"file_url\":\"https://x.test/a.pdf\"}",
        ("{\"type\":\"input_file\",\"filename\":\"t.pdf\","
         "\"file_data\":\"data:application/pdf;base64,JVBERi0=\"}"),
        "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{}}]",
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        if (span_find_span(sent, span_str(expected[i])) == sent.len)
            fail_msg("%s is not in %.*s", expected[i], SPAN_ARG(sent));
    }
    driver_done(&d);
}

static void too_many_prompts_are_refused(void **state)
{
    (void)state;
    struct buf body = {0};
    buf_append_str(&body, "{\"model\":\"m\",\"prompt\":[\"a\"");
    for (int i = 0; i < 128; i++)
        buf_append_str(&body, ",\"a\"");
    buf_append_str(&body, "]}");
    buf_append_char(&body, 0);
    struct driver d;
    init(&d, API_OPENAI_COMPLETIONS);
    assert_int_equal(driver_start(&d, body.data), ERR_INVALID);
    assert_true(span_is(d.fault.param, "prompt"));
    driver_done(&d);
    buf_free(&body);
}

static void bounds_hold_while_translating(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    d.spec.max_response = 10;
    assert_int_equal(driver_start(&d, "{" MESSAGES "}"), OK);
    driver_head(&d, 0, 200, PLAIN);
    driver_text(&d, 0, "start:abc text:Hello");
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
    driver_done(&d);

    init(&d, API_OPENAI_CHAT);
    d.spec.max_response = 1;
    assert_int_equal(driver_start(&d, "{" MESSAGES "}"), OK);
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc\n\ndata: text:Hello\n\n");
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
    driver_done(&d);
}

static void what_concerns_nobody_is_ignored(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    struct transfer stranger = {.method = "GET"};
    struct upstream_headers headers = {.get = driver_get_header, .ctx = ""};
    pipeline_on_head(d.pipeline, &stranger, 200, &headers);
    pipeline_on_bytes(d.pipeline, &stranger, SPAN("x"));
    pipeline_on_end(d.pipeline, &stranger);
    pipeline_on_failure(d.pipeline, &stranger, ERROR_UPSTREAM_RESET, SPAN("x"));
    driver_text(&d, 0, "before the head");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
    driver_end(&d, 0);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_CLOSED);
    driver_done(&d);
}

static void several_lanes_wait_each_for_itself(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}");
    driver_answer(&d, 0, 201, PLAIN, "start:1 wait:1000");
    driver_answer(&d, 1, 201, PLAIN, "start:2 wait:400");
    assert_int_equal(d.wait_ms, 400);
    driver_timer(&d, 400);
    assert_int_equal(d.sent_count, 3);
    assert_int_equal(d.wait_ms, 600);
    driver_answer(&d, 2, 200, PLAIN, "text:B in:1 out:1 stop end");
    driver_timer(&d, 1000);
    assert_int_equal(d.sent_count, 4);
    driver_answer(&d, 3, 200, PLAIN, "text:A in:1 out:1 stop end");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    driver_done(&d);
}

static void a_lane_that_ended_needs_no_cancelling(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}");
    driver_answer(&d, 0, 200, PLAIN, "start:1 text:A in:1 out:1 stop end");
    pipeline_cancel(d.pipeline);
    driver_pump(&d);
    assert_int_equal(d.sent_count, 3);
    driver_done(&d);
}

static void a_stream_that_waits_and_holds_is_committed_first(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc wait:20000\n\n");
    assert_int_equal(d.wait_ms, 10000);
    driver_timer(&d, 10000);
    assert_true(pipeline_committed(d.pipeline));
    assert_int_equal(d.wait_ms, 10000);
    driver_timer(&d, 20000);
    assert_int_equal(d.sent_count, 2);
    driver_done(&d);
}

static void what_is_said_behind_the_end_is_not_heard(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0,
                "data: ping start:1 ping text: text:A in:1 out:1 stop end text:B wait:5\n\n");
    driver_text(&d, 0, "data: text:C\n\n");
    driver_text(&d, 0, "data: end look\n\n");
    driver_end(&d, 0);
    driver_fail(&d, 0, ERROR_UPSTREAM_RESET);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
    assert_int_equal(d.sent_count, 2);
    assert_int_equal(d.wait_ms, 0);
    driver_answer(&d, 1, 200, PLAIN, "start:2 text:D in:1 out:1 stop end look detach");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(driver_output_has(&d, "\"text\":\"A\""));
    assert_false(driver_output_has(&d, "B") || driver_output_has(&d, "C"));
    assert_int_equal(d.sent_count, 3);
    assert_true(span_is(d.sent[2]->path, "/aside"));
    driver_done(&d);
}

static void the_first_failure_counts(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        unsigned error_class;
    } cases[] = {
        {"error:first nonsense", ERROR_UPSTREAM_OVERLOADED},
        {"error:first wait:5", ERROR_UPSTREAM_OVERLOADED},
        {"error:first error:second", ERROR_UPSTREAM_OVERLOADED},
        {"start:1 full", ERROR_INTERNAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
        driver_answer(&d, 0, 200, PLAIN, cases[i].words);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
        assert_int_equal(pipeline_fault(d.pipeline)->error_class, cases[i].error_class);
        assert_int_equal(d.wait_ms, 0);
        driver_done(&d);
    }
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_fail(&d, 0, ERROR_NONE);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_ERROR);
    driver_done(&d);
}

static void the_last_event_needs_no_empty_line(void **state)
{
    (void)state;
    static const struct {
        const char *last;
        enum pipeline_state state;
        size_t sent;
    } cases[] = {
        {"data: stop end\n", PIPELINE_DONE, 1},
        {"data: look\n", PIPELINE_RUNNING, 2},
        {"data: error:x\n", PIPELINE_FAILED, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
        driver_stream_head(&d, 0);
        driver_text(&d, 0, "data: start:abc text:Hi in:1 out:1\n\n");
        driver_text(&d, 0, cases[i].last);
        driver_end(&d, 0);
        assert_int_equal(d.sent_count, cases[i].sent);
        if (pipeline_state(d.pipeline) != cases[i].state)
            fail_msg("%s", cases[i].last);
        driver_done(&d);
    }
}

static void a_stream_that_may_be_read_again_is_for_the_provider_to_judge(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc text:Hi\n\ndata: follow\n\n");
    assert_int_equal(d.sent_count, 2);
    driver_stream_head(&d, 1); /* committed: nothing to hold any more */
    driver_text(&d, 1, "data: refuse:no\n\n");
    driver_fail(&d, 1, ERROR_UPSTREAM_RESET);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_CLOSED);
    driver_done(&d);
    /* before its head it is no answer yet, and a stream is not asked for twice */
    d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_answer(&d, 0, 201, PLAIN, "follow");
    driver_fail(&d, 1, ERROR_UPSTREAM_RESET);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_RESET);
    driver_done(&d);
}

static void a_look_that_can_never_work_is_not_repeated(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES "}");
    driver_answer(&d, 0, 201, PLAIN, "look");
    driver_answer(&d, 1, 400, PLAIN, "bad");
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_BAD_REQUEST);
    driver_done(&d);
}

static void what_nobody_waits_for_is_not_listened_to(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc text:Hi detach\n\n");
    assert_int_equal(d.sent_count, 2);
    driver_answer(&d, 1, 500, PLAIN, "boom");
    driver_fail(&d, 1, ERROR_UPSTREAM_RESET);
    driver_text(&d, 0, "data: in:1 out:1 stop end\n\n");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    driver_done(&d);
}

static void a_poll_may_come_before_the_commit(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_CHAT, "{" MESSAGES ",\"stream\":true}");
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc wait:250\n\n");
    assert_int_equal(d.wait_ms, 250);
    driver_timer(&d, 250);
    assert_false(pipeline_committed(d.pipeline));
    assert_int_equal(d.sent_count, 2);
    assert_int_equal(d.wait_ms, 9750);
    driver_timer(&d, 10000);
    assert_true(pipeline_committed(d.pipeline));
    driver_done(&d);
}

static void a_provider_without_a_timer_is_left_alone(void **state)
{
    (void)state;
    static struct provider still;
    struct driver d;
    still = fake;
    still.on_timer = NULL;
    still.cancel = NULL;
    driver_init(&d, &still, API_OPENAI_CHAT, "/x");
    assert_int_equal(driver_start(&d, "{" MESSAGES "}"), OK);
    driver_answer(&d, 0, 201, PLAIN, "wait:250");
    driver_timer(&d, 250);
    assert_int_equal(d.sent_count, 1);
    pipeline_cancel(d.pipeline);
    driver_pump(&d);
    assert_int_equal(d.sent_count, 1);
    driver_done(&d);
}

static void a_late_prompt_that_cannot_be_sent_fails_the_call(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_COMPLETIONS,
                              "{\"model\":\"m\",\"prompt\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\","
                              "\"7\",\"8\",\"bad\"]}");
    assert_int_equal(d.sent_count, 8);
    driver_answer(&d, 0, 200, PLAIN, "start:1 text:A in:1 out:1 stop end");
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    driver_done(&d);
    init(&d, API_OPENAI_COMPLETIONS);
    assert_int_equal(driver_start(&d, "{\"model\":\"m\",\"prompt\":\"bad\"}"), ERR_INVALID);
    assert_int_equal(d.fault.error_class, ERROR_INTERNAL);
    driver_done(&d);
}

static void one_lane_that_waited_too_long_ends_all(void **state)
{
    (void)state;
    struct driver d = started(API_OPENAI_COMPLETIONS, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}");
    driver_answer(&d, 0, 201, PLAIN, "wait:250");
    driver_answer(&d, 1, 201, PLAIN, "wait:250");
    driver_timer(&d, 60001);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_DEADLINE);
    assert_int_equal(d.sent_count, 2);
    driver_done(&d);
}

static void a_cap_is_shared_by_the_prompts(void **state)
{
    (void)state;
    static const struct {
        uint64_t cap;
        const char *body, *starts;
    } cases[] = {
        {1, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}", "max=1 "},
        {10, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}", "max=5 "},
        {UINT64_MAX, "{\"model\":\"m\",\"prompt\":\"a\",\"max_tokens\":7}", "max=7 "},
        {0, "{\"model\":\"m\",\"prompt\":\"a\"}", "max=1000 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        init(&d, API_OPENAI_COMPLETIONS);
        d.spec.output_cap = cases[i].cap;
        assert_int_equal(driver_start(&d, cases[i].body), OK);
        if (!span_starts(d.sent[0]->body, cases[i].starts))
            fail_msg("%.*s", SPAN_ARG(d.sent[0]->body));
        driver_done(&d);
    }
}

static void an_answer_assembled_beyond_its_bound_is_an_error(void **state)
{
    (void)state;
    struct driver d;
    struct buf event = {0};
    buf_append_str(&event, "data: text:");
    for (size_t i = 0; i < 2000; i++)
        buf_append_str(&event, "0123456789");
    buf_append_str(&event, "\n\n");
    buf_append_char(&event, 0);
    init(&d, API_OPENAI_CHAT);
    d.spec.max_response = 100000;
    assert_int_equal(driver_start(&d, "{" MESSAGES "}"), OK);
    driver_stream_head(&d, 0);
    driver_text(&d, 0, "data: start:abc\n\n");
    for (size_t i = 0; i < 65; i++)
        driver_text(&d, 0, event.data);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
    driver_text(&d, 0, "data: stop end\n\n");
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
    driver_done(&d);
    buf_free(&event);
}

static void a_client_that_leaves_at_once_costs_nothing(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_OPENAI_CHAT);
    buf_append_str(&d.body, "{" MESSAGES "}");
    d.spec.body = buf_span(&d.body);
    d.spec.provider =
        &(const struct provider){.protocol = PROTOCOL_REPLICATE, .build_request = build_request};
    assert_int_equal(pipeline_create(&d.pipeline, &d.spec, &d.arena, &d.fault), OK);
    pipeline_cancel(d.pipeline);
    assert_null(pipeline_next(d.pipeline));
    assert_int_equal(pipeline_wait_ms(d.pipeline), 0);
    driver_done(&d);
}

static void a_protocol_nobody_speaks_is_refused(void **state)
{
    (void)state;
    struct driver d;
    init(&d, API_COUNT);
    assert_int_equal(driver_start(&d, "{" MESSAGES "}"), ERR_INVALID);
    assert_int_equal(d.fault.error_class, ERROR_NOT_FOUND);
    driver_done(&d);
}

static void a_count_has_its_bounds(void **state)
{
    (void)state;
    static const struct provider openai = {.protocol = PROTOCOL_OPENAI, .map_error = map_error};
    static const struct {
        const char *base_url;
        uint64_t max_response;
        unsigned error_class;
    } cases[] = {
        {"https://api.openai.com/v1", 5, ERROR_UPSTREAM_PROTOCOL},
        {"https://compatible.test/v1", 0, ERROR_NONE}, /* estimated here */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct driver d;
        driver_init(&d, &openai, API_ANTHROPIC_COUNT_TOKENS, "/messages/count_tokens");
        d.spec.base_url = span_str(cases[i].base_url);
        d.spec.max_response = cases[i].max_response;
        assert_int_equal(driver_start(&d, "{" MESSAGES "}"), OK);
        assert_int_equal(d.sent_count, cases[i].error_class != ERROR_NONE);
        if (d.sent_count) {
            driver_head(&d, 0, 200, PLAIN);
            driver_text(&d, 0, "{\"input_tokens\":123}");
            driver_text(&d, 0, "late");
        }
        assert_int_equal(pipeline_fault(d.pipeline)->error_class, cases[i].error_class);
        driver_done(&d);
    }
    struct driver d;
    driver_init(&d, &openai, API_ANTHROPIC_COUNT_TOKENS, "/messages/count_tokens");
    d.spec.base_url = SPAN("https://api.openai.com/v1");
    assert_int_equal(driver_start(&d, "{" MESSAGES "}"), OK);
    driver_head(&d, 0, 200, "content-type: text/event-stream\n");
    driver_text(&d, 0, "data: {}\n\n");
    driver_end(&d, 0);
    assert_int_equal(pipeline_fault(d.pipeline)->error_class, ERROR_UPSTREAM_PROTOCOL);
    driver_done(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_answer_is_translated_and_metered),
        cmocka_unit_test(an_upstream_stream_is_assembled_for_a_unary_client),
        cmocka_unit_test(a_whole_answer_to_a_stream_request_becomes_a_stream),
        cmocka_unit_test(a_stream_is_committed_by_its_first_content),
        cmocka_unit_test(an_error_before_content_forgets_what_was_written),
        cmocka_unit_test(an_error_in_mid_stream_leaves_no_end_mark),
        cmocka_unit_test(a_cut_stream_is_for_the_provider_to_judge),
        cmocka_unit_test(an_answer_that_never_ends_its_events_is_cut),
        cmocka_unit_test(nonsense_is_a_protocol_error),
        cmocka_unit_test(a_status_is_mapped_by_the_provider),
        cmocka_unit_test(a_request_the_upstream_cannot_be_told_is_refused),
        cmocka_unit_test(broken_characters_of_an_upstream_are_mended),
        cmocka_unit_test(usage_that_never_came_is_estimated),
        cmocka_unit_test(estimated_usage_of_a_stream_is_marked),
        cmocka_unit_test(a_provider_may_poll),
        cmocka_unit_test(polling_sees_how_long_it_has_waited),
        cmocka_unit_test(a_look_that_fails_is_repeated_three_times),
        cmocka_unit_test(a_post_is_never_repeated),
        cmocka_unit_test(an_exchange_asked_for_in_mid_stream_takes_over),
        cmocka_unit_test(a_client_that_leaves_cancels_upstream_once),
        cmocka_unit_test(prompts_run_in_parallel_and_answer_in_their_order),
        cmocka_unit_test(a_stream_of_several_prompts_has_one_usage_and_one_end),
        cmocka_unit_test(at_most_eight_prompts_run_at_once),
        cmocka_unit_test(one_failed_prompt_fails_the_call),
        cmocka_unit_test(caps_and_defaults_reach_the_provider),
        cmocka_unit_test(a_cache_warming_request_is_answered_here),
        cmocka_unit_test(what_other_providers_lack_is_refused_clearly),
        cmocka_unit_test(responses_are_made_and_counted_but_not_kept),
        cmocka_unit_test(tokens_are_counted_by_estimate_and_say_so),
        cmocka_unit_test(openai_counts_for_itself),
        cmocka_unit_test(a_count_openai_cannot_give_is_an_error),
        cmocka_unit_test(a_count_request_holds_every_kind_of_part),
        cmocka_unit_test(too_many_prompts_are_refused),
        cmocka_unit_test(bounds_hold_while_translating),
        cmocka_unit_test(what_concerns_nobody_is_ignored),
        cmocka_unit_test(several_lanes_wait_each_for_itself),
        cmocka_unit_test(a_lane_that_ended_needs_no_cancelling),
        cmocka_unit_test(a_stream_that_waits_and_holds_is_committed_first),
        cmocka_unit_test(what_is_said_behind_the_end_is_not_heard),
        cmocka_unit_test(the_first_failure_counts),
        cmocka_unit_test(the_last_event_needs_no_empty_line),
        cmocka_unit_test(a_stream_that_may_be_read_again_is_for_the_provider_to_judge),
        cmocka_unit_test(a_look_that_can_never_work_is_not_repeated),
        cmocka_unit_test(what_nobody_waits_for_is_not_listened_to),
        cmocka_unit_test(a_poll_may_come_before_the_commit),
        cmocka_unit_test(a_provider_without_a_timer_is_left_alone),
        cmocka_unit_test(a_late_prompt_that_cannot_be_sent_fails_the_call),
        cmocka_unit_test(one_lane_that_waited_too_long_ends_all),
        cmocka_unit_test(a_cap_is_shared_by_the_prompts),
        cmocka_unit_test(an_answer_assembled_beyond_its_bound_is_an_error),
        cmocka_unit_test(a_client_that_leaves_at_once_costs_nothing),
        cmocka_unit_test(a_protocol_nobody_speaks_is_refused),
        cmocka_unit_test(a_count_has_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
