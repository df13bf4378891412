/* Whole requests through a worker's pipeline, for each API of clients and each provider: the
 * request built, the answers of tests/fixtures/providers taken, the client's bytes made. */
#include <stdio.h>

#include "bench/micro.h"
#include "proto/provider_info.h"
#include "unit/services/worker/pipeline_driver.h"

enum { MOST_STEPS = 8, REQUEST_BYTES = 700, FILE_ROOM = 65536 };

struct exchange {
    unsigned status;
    bool events;
    struct span body;
};

static const struct provider *provider;
static enum api api;
static struct span request, model;
static struct exchange exchanges[MOST_STEPS];
static size_t exchange_count;

/* No data where there is no such file. */
static struct span read_fixture(const char *name, const char *kind, size_t n, const char *ending)
{
    char path[512];
    (void)snprintf(path, sizeof path, SOURCE_DIR "/tests/fixtures/providers/%s/%s%zu%s", name, kind,
                   n, ending);
    FILE *f = fopen(path, "rb");
    if (!f)
        return SPAN_NONE;
    char *text = malloc(FILE_ROOM);
    MICRO_REQUIRE(text);
    size_t len = fread(text, 1, FILE_ROOM, f);
    fclose(f);
    return span_of(text, len);
}

static void load_exchanges(const char *name, const char *kind, const char *status_kind)
{
    for (exchange_count = 0; exchange_count < MOST_STEPS; exchange_count++) {
        struct exchange *x = &exchanges[exchange_count];
        uint64_t status = 200;
        x->body = read_fixture(name, kind, exchange_count, ".json");
        x->events = !x->body.data;
        if (x->events)
            x->body = read_fixture(name, kind, exchange_count, ".sse");
        if (!x->body.data)
            break;
        (void)span_to_u64(span_trim(read_fixture(name, status_kind, exchange_count, "")), &status);
        x->status = (unsigned)status;
    }
    MICRO_REQUIRE(exchange_count > 0);
}

static void prepare(enum api which, const struct provider *whose, bool stream)
{
    api = which;
    provider = whose;
    const char *name = provider_protocol(whose);
    request = which == API_ANTHROPIC_MESSAGES ? micro_messages_body(REQUEST_BYTES, stream)
                                              : micro_chat_body(REQUEST_BYTES, stream);
    load_exchanges(name, stream ? "stream." : "unary.",
                   stream ? "status.stream." : "status.unary.");
    model = whose == &provider_replicate   ? SPAN("meta/meta-llama-3-8b-instruct")
            : whose == &provider_anthropic ? SPAN("claude-haiku-4-5")
                                           : SPAN("gpt-4o");
}

static void answer(struct driver *d, size_t at)
{
    const struct exchange *x = &exchanges[at];
    if (at >= d->sent_count && d->wait_ms)
        driver_timer(d, 1000 + at);
    MICRO_REQUIRE(at < d->sent_count);
    driver_head(d, at, x->status,
                x->events ? "content-type: text/event-stream\n"
                          : "content-type: application/json\n");
    /* a stream comes in pieces that cut events, as from a socket */
    size_t piece = x->events ? 150 : x->body.len;
    for (struct span rest = x->body; rest.len;
         rest = span_skip(rest, piece < rest.len ? piece : rest.len))
        driver_bytes(d, at, span_first(rest, piece < rest.len ? piece : rest.len));
    driver_end(d, at);
}

static void run_pipeline(void)
{
    struct driver d;
    driver_init(&d, provider, api,
                api == API_ANTHROPIC_MESSAGES ? "/messages" : "/chat/completions");
    d.spec.target_model = model;
    buf_append(&d.body, request);
    MICRO_REQUIRE(driver_start(&d, "") == OK);
    for (size_t i = 0; i < exchange_count && pipeline_state(d.pipeline) == PIPELINE_RUNNING; i++)
        answer(&d, i);
    MICRO_REQUIRE(pipeline_state(d.pipeline) == PIPELINE_DONE);
    MICRO_REQUIRE(pipeline_result(d.pipeline)->status / 100 == 2);
    driver_done(&d);
}

#define ROUTES(X)                                                                                  \
    X(chat_to_openai, API_OPENAI_CHAT, provider_openai)                                            \
    X(chat_to_anthropic, API_OPENAI_CHAT, provider_anthropic)                                      \
    X(chat_to_replicate, API_OPENAI_CHAT, provider_replicate)                                      \
    X(messages_to_openai, API_ANTHROPIC_MESSAGES, provider_openai)                                 \
    X(messages_to_anthropic, API_ANTHROPIC_MESSAGES, provider_anthropic)                           \
    X(messages_to_replicate, API_ANTHROPIC_MESSAGES, provider_replicate)

#define PREPARE(name, from, to)                                                                    \
    static void prepare_##name(void)                                                               \
    {                                                                                              \
        prepare(from, &to, false);                                                                 \
    }                                                                                              \
    static void prepare_##name##_stream(void)                                                      \
    {                                                                                              \
        prepare(from, &to, true);                                                                  \
    }
ROUTES(PREPARE)

#define STAGES(name, from, to)                                                                     \
    {#name, prepare_##name, run_pipeline}, {#name "_stream", prepare_##name##_stream, run_pipeline},
const struct micro_stage micro_pipeline_stages[] = {ROUTES(STAGES){0}};
