/* Any request through a pipeline to any provider, and any bytes of an upstream back: what is sent
 * is JSON, what the client gets is JSON or a stream of it, an end mark stands only behind a
 * complete answer, and how the bytes were cut changes nothing.
 *
 * Input: a byte of choices (provider, api, stream), a byte for the request (a template, or 0xff:
 * the rest is the request), a byte for the answer's head, the answer. */
#include "fuzz/fuzz.h"
#include "unit/services/worker/pipeline_driver.h"

static struct json_doc doc;

/* ---- requests ---- */

static const char *const chats[] = {
    "{\"model\":\"m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
    "{\"model\":\"m\",\"max_tokens\":100,\"stream\":true,\"messages\":[{\"role\":\"user\","
    "\"content\":\"hi\"}]}",
    "{\"model\":\"m\",\"max_tokens\":100,\"stream\":true,\"stream_options\":{\"include_usage\":"
    "true},\"messages\":[{\"role\":\"user\","
    "\"content\":\"hi\"}],\"stop\":[\"\\n\",\",\"],\"tools\":[{\"type\":\"function\",\"function\":{"
    "\"name\":\"f\"}}]}",
    "{\"model\":\"m\",\"stream\":true,\"response_format\":{\"type\":\"json_schema\",\"json_"
    "schema\":{\"name\":\"x\",\"schema\":{\"type\":"
    "\"object\"}}},\"reasoning_effort\":\"high\",\"messages\":[{\"role\":\"user\",\"content\":"
    "\"hi\"}]}",
};
static const char *const completions[] = {
    "{\"model\":\"m\",\"prompt\":\"hi\"}",
    "{\"model\":\"m\",\"prompt\":\"hi\",\"stream\":true,\"echo\":true}",
    ("{\"model\":\"m\",\"prompt\":[\"a\",\"b\"],\"stream\":true,\"stream_options\":{\"include_"
     "usage\":true}}"),
    "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}",
};
static const char *const messages[] = {
    "{\"model\":\"m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
    "{\"model\":\"m\",\"max_tokens\":100,\"stream\":true,\"messages\":[{\"role\":\"user\","
    "\"content\":\"hi\"}]}",
    "{\"model\":\"m\",\"max_tokens\":5000,\"stream\":true,\"thinking\":{\"type\":\"enabled\","
    "\"budget_tokens\":2000},\"tools\":[{\"name\":"
    "\"f\",\"input_schema\":{\"type\":\"object\"}}],\"stop_sequences\":[\" "
    "\"],\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}",
    "{\"model\":\"m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
    "\"system\":\"s\"}",
};
enum { TEMPLATES = 4, FREE_REQUEST = 0xff };

struct plan {
    const struct provider *provider;
    enum api api;
    struct span request, answer;
    unsigned status;
    bool events, failure;
};

static struct plan read_plan(const uint8_t *data, size_t size)
{
    static const enum api apis[] = {API_OPENAI_CHAT, API_OPENAI_COMPLETIONS, API_ANTHROPIC_MESSAGES,
                                    API_OPENAI_RESPONSES};
    static const unsigned statuses[] = {200, 201, 400, 401, 404, 429, 500, 529};
    struct span rest = span_of(data + 3, size - 3);
    struct plan p = {.provider = provider_all[data[0] % 3], .api = apis[data[0] / 3 % 4]};
    const char *const *templates = p.api == API_ANTHROPIC_MESSAGES   ? messages
                                   : p.api == API_OPENAI_COMPLETIONS ? completions
                                                                     : chats;
    p.request = data[1] == FREE_REQUEST ? rest : span_str(templates[data[1] % TEMPLATES]);
    p.answer = data[1] == FREE_REQUEST ? SPAN("{}") : rest;
    p.status = statuses[data[2] % 8];
    p.events = data[2] & 8;
    p.failure = data[2] & 16;
    return p;
}

/* ---- what must hold ---- */

/* A stream's end, in the words of the client's protocol: only `[DONE]` ends OpenAI's, only
 * message_stop Anthropic's, whatever else an upstream puts in. */
struct stream_check {
    bool anthropic, ended;
};

static enum err check_event(void *ctx, const struct sse_event *e)
{
    struct span data = span_trim(e->data);
    struct stream_check *c = ctx;
    if (!e->has_data)
        return OK;
    REQUIRE(!c->ended);
    if (span_starts(data, "[DONE]")) {
        c->ended = !c->anthropic;
        return OK;
    }
    REQUIRE(json_parse(&doc, e->data, JSON_DEPTH_UPSTREAM) == OK);
    /* what passes through may have its type in the event's name only */
    struct json type = json_get(json_root(&doc), "type");
    bool stops = json_type(type) == JSON_STRING ? json_is(type, "message_stop")
                                                : span_is(e->name, "message_stop");
    c->ended = c->anthropic && stops;
    return OK;
}

static void check_output(const struct driver *d)
{
    struct span out = buf_span(&d->output);
    if (!pipeline_is_stream(d->pipeline)) {
        if (pipeline_state(d->pipeline) == PIPELINE_DONE)
            REQUIRE(json_parse(&doc, out, JSON_DEPTH_UPSTREAM) == OK);
        else
            REQUIRE(out.len == 0);
        return;
    }
    struct stream_check c = {.anthropic = api_is_anthropic(d->spec.api)};
    struct sse_reader reader = {0};
    REQUIRE(sse_feed(&reader, out, check_event, &c) == OK &&
            sse_finish(&reader, check_event, &c) == OK);
    sse_reader_free(&reader);
    if (d->spec.api != API_OPENAI_RESPONSES)
        REQUIRE(c.ended == (pipeline_state(d->pipeline) == PIPELINE_DONE));
    if (!pipeline_committed(d->pipeline))
        REQUIRE(out.len == 0);
}

static void check_sent(const struct driver *d)
{
    for (size_t i = 0; i < d->sent_count; i++) {
        if (d->sent[i]->body.len)
            REQUIRE(json_parse(&doc, d->sent[i]->body, JSON_DEPTH_MAX) == OK);
    }
}

/* ---- one run ---- */

static void answer(struct driver *d, const struct plan *p, size_t i, bool bytewise)
{
    driver_head(d, i, p->status,
                p->events ? "content-type: text/event-stream\n"
                          : "content-type: application/json\n");
    for (size_t at = 0; bytewise && at < p->answer.len; at++)
        driver_bytes(d, i, span_of(p->answer.data + at, 1));
    if (!bytewise)
        driver_bytes(d, i, p->answer);
    if (p->failure)
        driver_fail(d, i, ERROR_UPSTREAM_RESET);
    else
        driver_end(d, i);
}

/* Every transfer gets the same answer, as often as one is asked for; then the client leaves. */
static void run(struct driver *d, const struct plan *p, bool bytewise)
{
    driver_init(d, p->provider, p->api, "/x");
    d->spec.target_model = p->provider == &provider_replicate ? SPAN("meta/x") : SPAN("m");
    buf_append(&d->body, p->request);
    if (driver_start(d, ""))
        return;
    for (size_t i = 0; i < 8 && pipeline_state(d->pipeline) == PIPELINE_RUNNING; i++) {
        if (i >= d->sent_count && d->wait_ms)
            driver_timer(d, 1000 * i);
        if (i >= d->sent_count)
            break;
        answer(d, p, i, bytewise);
    }
    pipeline_cancel(d->pipeline);
    driver_pump(d);
    REQUIRE(pipeline_state(d->pipeline) != PIPELINE_RUNNING);
    check_sent(d);
    check_output(d);
    (void)pipeline_result(d->pipeline);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    struct plan p = read_plan(data, size);
    struct driver whole, pieces;
    run(&whole, &p, false);
    run(&pieces, &p, true);
    REQUIRE(span_equals(buf_span(&whole.output), buf_span(&pieces.output)));
    REQUIRE((whole.pipeline == NULL) == (pieces.pipeline == NULL));
    if (whole.pipeline)
        REQUIRE(pipeline_state(whole.pipeline) == pipeline_state(pieces.pipeline));
    driver_done(&whole);
    driver_done(&pieces);
    return 0;
}
