/* One suite over every provider: what each of them must do, whatever it speaks. Its fixtures are a
 * condition: a provider without a folder in tests/fixtures/providers fails. */
#include "contract/test_support.h"

#include <stdio.h>

#include "unit/services/worker/response_stream.h"

#define FIXTURES SOURCE_DIR "/tests/fixtures/providers"
#define TEXT "Hello, w\xc3\xb6rld!"
enum { MAX_STEPS = 16 };

/* ---- a scenario: the answers to the transfers, in order ---- */

struct step {
    unsigned status;
    bool events;
    struct span body;
};

struct scenario {
    const struct provider *provider;
    char model[128];
    struct step steps[MAX_STEPS];
    size_t count;
};

static unsigned status_of(const char *provider, const char *kind, size_t n)
{
    struct span file = file_read(FIXTURES "/%s/status.%s.%zu", provider, kind, n);
    uint64_t status;
    bool given = span_to_u64(span_trim(file), &status);
    file_free(file);
    return given ? (unsigned)status : 200;
}

static void load(struct scenario *s, const struct provider *provider, const char *kind)
{
    *s = (struct scenario){.provider = provider};
    struct span model = file_read(FIXTURES "/%s/model", provider_protocol(provider));
    if (!model.data)
        fail_msg("provider %s has no fixtures in tests/fixtures/providers/%s",
                 provider_protocol(provider), provider_protocol(provider));
    (void)snprintf(s->model, sizeof s->model, "%.*s", SPAN_ARG(span_trim(model)));
    file_free(model);
    while (s->count < MAX_STEPS) {
        struct step *step = &s->steps[s->count];
        step->body =
            file_read(FIXTURES "/%s/%s.%zu.json", provider_protocol(provider), kind, s->count);
        if (!step->body.data) {
            step->body =
                file_read(FIXTURES "/%s/%s.%zu.sse", provider_protocol(provider), kind, s->count);
            step->events = true;
        }
        if (!step->body.data)
            break;
        step->status = status_of(provider_protocol(provider), kind, s->count);
        s->count++;
    }
    if (s->count == 0)
        fail_msg("provider %s has no %s.0 fixture", provider_protocol(provider), kind);
}

static void unload(struct scenario *s)
{
    for (size_t i = 0; i < s->count; i++)
        file_free(s->steps[i].body);
}

static const char *request_for(enum api api, bool stream)
{
    static const char *const bodies[API_COUNT][2] = {
        [API_OPENAI_CHAT] =
            {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
             "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stream\":"
             "true}"},
        [API_OPENAI_COMPLETIONS] = {"{\"model\":\"m\",\"prompt\":\"hi\"}",
                                    "{\"model\":\"m\",\"prompt\":\"hi\",\"stream\":true}"},
        [API_ANTHROPIC_MESSAGES] = {"{\"model\":\"m\",\"max_tokens\":50,\"messages\":[{\"role\":"
                                    "\"user\",\"content\":\"hi\"}]}",
                                    "{\"model\":\"m\",\"max_tokens\":50,\"messages\":[{\"role\":"
                                    "\"user\",\"content\":\"hi\"}],\"stream\":true}"},
        [API_OPENAI_RESPONSES] = {"{\"model\":\"m\",\"input\":\"hi\"}",
                                  "{\"model\":\"m\",\"input\":\"hi\",\"stream\":true}"},
    };
    return bodies[api][stream];
}

static const enum api apis[] = {API_OPENAI_CHAT, API_OPENAI_COMPLETIONS, API_ANTHROPIC_MESSAGES,
                                API_OPENAI_RESPONSES};
enum { APIS = sizeof apis / sizeof *apis };

static void begin(struct driver *d, const struct scenario *s, enum api api, bool stream)
{
    contract_init(d, api, s->provider, s->model);
    if (api == API_OPENAI_RESPONSES)
        contract_chat_only(d);
    contract_start(d, request_for(api, stream));
}

/* Answers transfer `at`, waiting for it if the provider polls. False: it was never asked for. */
static bool answer(struct driver *d, const struct scenario *s, size_t at, struct span body,
                   struct cut cut)
{
    const struct step *step = &s->steps[at];
    if (at >= d->sent_count && d->wait_ms && pipeline_state(d->pipeline) == PIPELINE_RUNNING)
        driver_timer(d, 1000 + at);
    if (at >= d->sent_count || pipeline_state(d->pipeline) != PIPELINE_RUNNING)
        return false;
    if (step->events) {
        contract_stream(d, at, body, cut);
        return true;
    }
    driver_head(d, at, step->status, "content-type: application/json\n");
    contract_feed(d, at, body, cut);
    driver_end(d, at);
    return true;
}

static void play(struct driver *d, const struct scenario *s, struct cut cut)
{
    for (size_t i = 0; i < s->count; i++) {
        if (!answer(d, s, i, s->steps[i].body, cut))
            fail_msg("%s did not ask for exchange %zu", provider_protocol(s->provider), i);
    }
}

/* ---- what the client got ---- */

static void append_all(struct buf *out, struct span stream, const char *member)
{
    for (struct span rest = stream; rest.len;) {
        size_t at = span_find_span(rest, span_str(member));
        if (at == rest.len)
            return;
        rest = span_skip(rest, at + strlen(member));
        size_t end = span_find(rest, '"');
        buf_append(out, span_first(rest, end));
        rest = span_skip(rest, end);
    }
}

/* The text of an answer; fixtures need no escapes. */
static struct buf text_of(struct span output, enum api api, bool stream)
{
    struct buf text = {0};
    if (api == API_OPENAI_CHAT)
        append_all(&text, output, "\"content\":\"");
    else if (api == API_OPENAI_RESPONSES && stream)
        append_all(&text, output, "\"delta\":\"");
    else
        append_all(&text, output,
                   api == API_OPENAI_COMPLETIONS || !stream
                       ? "\"text\":\""
                       : "\"type\":\"text_delta\",\"text\":\"");
    /* a native OpenAI body has its own white space */
    if (text.len == 0)
        append_all(&text, output,
                   api == API_ANTHROPIC_MESSAGES ? "\"text\": \"" : "\"content\": \"");
    return text;
}

static bool has_full_text(struct driver *d, enum api api, bool stream)
{
    struct buf text = text_of(buf_span(&d->output), api, stream);
    bool full = span_is(buf_span(&text), TEXT);
    buf_free(&text);
    return full;
}

static bool has_end_mark(const struct driver *d, enum api api)
{
    return driver_output_has(d, api == API_ANTHROPIC_MESSAGES ? "event: message_stop"
                                : api == API_OPENAI_RESPONSES ? "event: response.completed"
                                                              : "data: [DONE]");
}

static void expect_whole(struct driver *d, const struct scenario *s, enum api api, bool stream)
{
    struct span out = contract_output(d);
    if (pipeline_state(d->pipeline) != PIPELINE_DONE)
        fail_msg("%s: %.*s", provider_protocol(s->provider), SPAN_ARG(out));
    if (!has_full_text(d, api, stream))
        fail_msg("%s answers %.*s", provider_protocol(s->provider), SPAN_ARG(out));
    if (stream)
        assert_true(has_end_mark(d, api));
    if (stream && api == API_OPENAI_RESPONSES)
        assert_null(response_stream_complaint(out, false));
    struct span usage = file_read(FIXTURES "/%s/usage", provider_protocol(s->provider));
    assert_non_null(usage.data);
    struct span rest = span_trim(usage);
    uint64_t input = 0, output = 0;
    assert_true(span_to_u64(span_cut(&rest, ' '), &input) && span_to_u64(rest, &output));
    const struct pipeline_result *r = pipeline_result(d->pipeline);
    assert_int_equal(r->usage.input, input);
    assert_int_equal(r->usage.output, output);
    assert_false(r->estimated);
    assert_true(r->upstream_id.len > 0);
    assert_int_equal(r->status / 100, 2);
    file_free(usage);
}

/* ---- the suite ---- */

static void is_whole(void **state)
{
    const struct provider *p = *state;
    assert_true(*provider_protocol(p));
    const char *base_url = provider_info_find(provider_protocol(p))->base_url;
    assert_true(span_starts(span_str(base_url), "https://") &&
                span_ends(span_str(base_url), "/v1"));
    assert_true(p->build_request && p->parse_response && p->parse_event && p->parse_end &&
                p->map_error);
    assert_ptr_equal(provider_all[p->protocol], p);
}

static void answers_whole(void **state)
{
    struct scenario s;
    load(&s, *state, "unary");
    for (size_t i = 0; i < APIS; i++) {
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            struct driver d;
            begin(&d, &s, apis[i], false);
            play(&d, &s, (struct cut){bytewise ? CUT_BYTES : CUT_NONE, 0});
            expect_whole(&d, &s, apis[i], false);
            driver_done(&d);
        }
    }
    unload(&s);
}

static void answers_in_a_stream(void **state)
{
    struct scenario s;
    load(&s, *state, "stream");
    for (size_t i = 0; i < APIS; i++) {
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            struct driver d;
            begin(&d, &s, apis[i], true);
            play(&d, &s, (struct cut){bytewise ? CUT_BYTES : CUT_NONE, 0});
            expect_whole(&d, &s, apis[i], true);
            driver_done(&d);
        }
    }
    unload(&s);
}

/* Plain HTTP that other code can trust: JSON bodies, clean headers, no secret, no absolute URL
 * unless it is a stream's. */
static void expect_clean(const struct transfer *x)
{
    struct json_doc doc = {0};
    assert_true(strcmp(x->method, "POST") == 0 || strcmp(x->method, "GET") == 0);
    assert_true(x->url.len ? x->expects_stream : span_starts(x->path, "/"));
    if (x->body.len)
        assert_int_equal(json_parse(&doc, x->body, JSON_DEPTH_MAX), OK);
    for (struct span rest = x->headers; rest.len;) {
        struct span line = span_cut(&rest, '\n');
        struct span name = span_cut(&line, ':');
        assert_true(name.len > 0 && line.len > 0);
        assert_false(span_is_nocase(name, "authorization") || span_is_nocase(name, "x-api-key"));
        for (size_t i = 0; i < line.len; i++)
            assert_true((unsigned char)line.data[i] >= 0x20 && line.data[i] != 0x7f);
    }
    json_doc_free(&doc);
}

static void asks_cleanly(void **state)
{
    static const char *const kinds[] = {"unary", "stream"};
    for (size_t k = 0; k < 2; k++) {
        struct scenario s;
        load(&s, *state, kinds[k]);
        for (size_t i = 0; i < APIS; i++) {
            struct driver d;
            begin(&d, &s, apis[i], k == 1);
            play(&d, &s, (struct cut){CUT_NONE, 0});
            for (size_t n = 0; n < d.sent_count; n++)
                expect_clean(d.sent[n]);
            driver_done(&d);
        }
        unload(&s);
    }
}

/* A connection that ends anywhere: an answer is complete, or it is a failure; never half of one
 * with an end mark. */
static void never_takes_half_for_whole(void **state)
{
    static const char *const kinds[] = {"unary", "stream"};
    for (size_t k = 0; k < 2; k++) {
        struct scenario s;
        load(&s, *state, kinds[k]);
        size_t last = 0;
        for (size_t i = 0; i < s.count; i++)
            last = s.steps[i].events || k == 0 ? i : last;
        for (size_t n = 0; n < s.steps[last].body.len; n++) {
            enum api api = apis[n % APIS];
            struct driver d;
            begin(&d, &s, api, k == 1);
            for (size_t i = 0; i < last; i++)
                assert_true(answer(&d, &s, i, s.steps[i].body, (struct cut){CUT_NONE, 0}));
            assert_true(
                answer(&d, &s, last, span_first(s.steps[last].body, n), (struct cut){CUT_NONE, 0}));
            if (pipeline_state(d.pipeline) == PIPELINE_DONE && !has_full_text(&d, api, k == 1))
                fail_msg("%s cut at %zu is done with %.*s", provider_protocol(s.provider), n,
                         SPAN_ARG(buf_span(&d.output)));
            if (pipeline_state(d.pipeline) != PIPELINE_DONE && k == 1)
                assert_false(has_end_mark(&d, api));
            driver_done(&d);
        }
        unload(&s);
    }
}

static void keeps_the_class_of_a_lost_connection(void **state)
{
    struct scenario s;
    load(&s, *state, "unary");
    static const unsigned classes[] = {ERROR_UPSTREAM_UNREACHABLE, ERROR_UPSTREAM_TLS,
                                       ERROR_UPSTREAM_CONNECT_TIMEOUT};
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        struct driver d;
        begin(&d, &s, API_OPENAI_CHAT, false);
        size_t post = 0;
        for (; strcmp(d.sent[post]->method, "POST") != 0; post++)
            assert_true(answer(&d, &s, post, s.steps[post].body, (struct cut){CUT_NONE, 0}));
        driver_fail(&d, post, classes[i]);
        assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
        assert_int_equal(pipeline_fault(d.pipeline)->error_class, classes[i]);
        driver_done(&d);
    }
    unload(&s);
}

/* What a client of either protocol gets for an upstream's status (docs/wire.md, Errors). */
static const struct {
    unsigned status, openai, anthropic;
} statuses[] = {
    {400, 400, 400}, {401, 502, 502}, {402, 503, 503}, {403, 502, 502}, {404, 404, 404},
    {408, 504, 504}, {409, 409, 409}, {413, 413, 413}, {418, 400, 400}, {422, 422, 400},
    {429, 429, 429}, {500, 502, 502}, {502, 503, 529}, {503, 503, 529}, {504, 504, 504},
    {529, 503, 529}, {599, 502, 502}, {301, 502, 502},
};

static const char *const error_bodies[] = {
    "",
    "<html><body>nginx</body></html>",
    "{",
    "[]",
    "null",
    "{\"error\":null}",
    "{\"error\":\"text\"}",
    "{\"error\":{\"message\":null,\"type\":7,\"code\":[]}}",
    "{\"error\":{\"message\":\"short\",\"type\":\"x\",\"code\":7}}",
    "{\"type\":\"error\",\"error\":{\"type\":\"made_up_error\",\"message\":\"short\"}}",
    "{\"detail\":\"short\"}",
    "{\"detail\":[{\"loc\":[\"input\",\"x\"],\"msg\":\"bad\",\"type\":\"y\"}]}",
    "{\"object\":\"error\",\"message\":\"short\",\"code\":40001}",
    "{\"message\":\"short\"}",
    "\xff\xfe\x00",
};

static void expect_mapped(const struct scenario *s, enum api api, size_t which, const char *body)
{
    struct driver d;
    begin(&d, s, api, false);
    size_t post = 0;
    for (; strcmp(d.sent[post]->method, "POST") != 0; post++)
        assert_true(answer(&d, s, post, s->steps[post].body, (struct cut){CUT_NONE, 0}));
    driver_answer(&d, post, statuses[which].status, "content-type: application/json\n", body);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    const struct api_error *f = pipeline_fault(d.pipeline);
    unsigned expected = api_is_anthropic(api) ? statuses[which].anthropic : statuses[which].openai;
    if (pipeline_result(d.pipeline)->status != expected)
        fail_msg("%s maps %u with %s to %u (%s), not %u", provider_protocol(s->provider),
                 statuses[which].status, body, pipeline_result(d.pipeline)->status,
                 error_info(f->error_class)->name, expected);
    assert_true(f->message.len > 0 && f->message.len <= 1024);
    assert_int_equal(span_find(f->message, '<'), f->message.len);
    assert_int_equal(f->upstream_status, statuses[which].status);
    /* whatever it says, the client gets a body it can read */
    struct json_doc doc = {0};
    assert_int_equal(json_parse(&doc, contract_output(&d), 64), OK);
    json_doc_free(&doc);
    driver_done(&d);
}

static void maps_every_status(void **state)
{
    struct scenario s;
    load(&s, *state, "unary");
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        for (size_t k = 0; k < sizeof error_bodies / sizeof *error_bodies; k++) {
            for (size_t a = 0; a < APIS; a++)
                expect_mapped(&s, apis[a], i, error_bodies[k]);
        }
    }
    unload(&s);
}

static void takes_no_nonsense(void **state)
{
    static const char *const bodies[] = {"",
                                         "null",
                                         "[]",
                                         "{}",
                                         "<html>",
                                         "7",
                                         "\"x\"",
                                         "{\"choices\":7}",
                                         "{\"content\":{}}",
                                         "{\"status\":7}",
                                         "{\"id\":1,\"status\":\"dancing\"}",
                                         "\xff"};
    struct scenario s;
    load(&s, *state, "unary");
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        for (size_t a = 0; a < APIS; a++) {
            struct driver d;
            begin(&d, &s, apis[a], false);
            size_t post = 0;
            for (; strcmp(d.sent[post]->method, "POST") != 0; post++)
                assert_true(answer(&d, &s, post, s.steps[post].body, (struct cut){CUT_NONE, 0}));
            bool native =
                (s.provider->native_apis & 1u << apis[a]) != 0 && apis[a] != API_OPENAI_COMPLETIONS;
            contract_answer(&d, post, 200, span_str(bodies[i]));
            /* what passes through is only looked at */
            if (pipeline_state(d.pipeline) == PIPELINE_DONE && !native)
                fail_msg("%s takes %s for an answer: %.*s", provider_protocol(s.provider),
                         bodies[i], SPAN_ARG(buf_span(&d.output)));
            driver_done(&d);
        }
    }
    unload(&s);
}

/* Wherever it stands: at most one detached transfer, and nothing else is asked for. */
static void cancels_at_most_once(void **state)
{
    static const char *const kinds[] = {"unary", "stream"};
    for (size_t k = 0; k < 2; k++) {
        struct scenario s;
        load(&s, *state, kinds[k]);
        for (size_t stage = 0; stage <= s.count; stage++) {
            struct driver d;
            begin(&d, &s, API_OPENAI_CHAT, k == 1);
            for (size_t i = 0; i < stage; i++)
                (void)answer(&d, &s, i, s.steps[i].body, (struct cut){CUT_NONE, 0});
            size_t before = d.sent_count;
            pipeline_cancel(d.pipeline);
            pipeline_cancel(d.pipeline);
            driver_pump(&d);
            assert_true(d.sent_count <= before + 1);
            if (d.sent_count > before)
                assert_true(d.sent[before]->detached);
            assert_int_not_equal(pipeline_state(d.pipeline), PIPELINE_RUNNING);
            driver_done(&d);
        }
        unload(&s);
    }
}

/* Every character a client may send, in a place every provider has: the question. */
static void carries_any_text(void **state)
{
    static const char *const texts[] = {
        "\\u0000", "\\ud800", "\\\"\\\\\\/\\b\\f\\n\\r\\t", "\xf0\x9f\x98\x80",
        "\\u2028", "%s%n",    "</s>[INST]<|eot_id|>",       "{{prompt}} ${x}"};
    struct scenario s;
    load(&s, *state, "unary");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char body[256];
        (void)snprintf(body, sizeof body,
                       "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a%sb\"}]}",
                       texts[i]);
        struct driver d;
        contract_init(&d, API_OPENAI_CHAT, s.provider, s.model);
        contract_start(&d, body);
        play(&d, &s, (struct cut){CUT_NONE, 0});
        for (size_t n = 0; n < d.sent_count; n++)
            expect_clean(d.sent[n]);
        driver_done(&d);
    }
    unload(&s);
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction run;
    } suite[] = {
        {"is whole", is_whole},
        {"answers whole", answers_whole},
        {"answers in a stream", answers_in_a_stream},
        {"asks cleanly", asks_cleanly},
        {"never takes half for whole", never_takes_half_for_whole},
        {"keeps the class of a lost connection", keeps_the_class_of_a_lost_connection},
        {"maps every status", maps_every_status},
        {"takes no nonsense", takes_no_nonsense},
        {"cancels at most once", cancels_at_most_once},
        {"carries any text", carries_any_text},
    };
    enum { SUITE = sizeof suite / sizeof *suite, MAX_PROVIDERS = 16 };
    static char names[MAX_PROVIDERS * SUITE][96];
    struct CMUnitTest tests[MAX_PROVIDERS * SUITE];
    size_t n = 0;
    for (size_t p = 0; provider_all[p] && p < MAX_PROVIDERS; p++) {
        for (size_t i = 0; i < SUITE; i++, n++) {
            (void)snprintf(names[n], sizeof names[n], "%s %s", provider_protocol(provider_all[p]),
                           suite[i].name);
            tests[n] = (struct CMUnitTest){names[n], suite[i].run, NULL, NULL,
                                           (void *)(uintptr_t)provider_all[p]};
        }
    }
    return _cmocka_run_group_tests("providers", tests, n, NULL, NULL);
}
