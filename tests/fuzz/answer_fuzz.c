/* Any order of events through each writer: a stream's data lines are JSON and its end comes at most
 * once and last, an Anthropic stream's blocks never overlap, and one answer is one JSON value. */
#include "fuzz/fuzz.h"
#include "services/worker/api/responses.h"
#include "services/worker/neutral/api_ops.h"
#include "unit/services/worker/response_stream.h"

static struct json_doc doc;

struct input {
    const uint8_t *at, *end;
};

static uint8_t next_byte(struct input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

/* Events carry json text: whatever the bytes are, they arrive escaped. */
static struct span next_text(struct input *in, struct buf *text)
{
    size_t n = next_byte(in) % 24;
    size_t left = (size_t)(in->end - in->at);
    n = n < left ? n : left;
    buf_clear(text);
    json_append_text(text, span_of(in->at, n));
    in->at += n;
    return buf_span(text);
}

/* ---- what came out ---- */

struct stream_check {
    bool ended;
    bool open; /* a block of an Anthropic message */
    int64_t next_index;
};

static void check_block(struct stream_check *c, struct json event)
{
    int64_t index;
    struct json type = json_get(event, "type");
    if (!json_i64(json_get(event, "index"), &index))
        return;
    if (json_is(type, "content_block_start")) {
        REQUIRE(!c->open && index == c->next_index);
        c->next_index++;
        c->open = true;
    } else {
        REQUIRE(c->open && index == c->next_index - 1);
        c->open = !json_is(type, "content_block_stop");
    }
}

static void check_data(struct stream_check *c, struct span data)
{
    REQUIRE(!c->ended);
    if (span_is(data, "[DONE]")) {
        c->ended = true;
        return;
    }
    REQUIRE(json_parse(&doc, data, JSON_DEPTH_UPSTREAM) == OK);
    struct json event = json_root(&doc), type = json_get(event, "type");
    check_block(c, event);
    c->ended = json_is(type, "message_stop") || !json_absent(json_get(event, "error"));
    if (json_is(type, "message_delta"))
        REQUIRE(!c->open);
}

static void check_stream(struct span out)
{
    struct stream_check c = {0};
    while (out.len) {
        struct span line = span_cut(&out, '\n');
        REQUIRE(!line.len || span_starts(line, "data: ") || span_starts(line, "event: ") ||
                span_starts(line, ": "));
        if (span_starts(line, "data: "))
            check_data(&c, span_skip(line, 6));
    }
}

/* ---- what goes in ---- */

static struct neutral_event next_event(struct input *in, struct buf *text, struct buf *other)
{
    struct neutral_event e = {.kind = (enum event_kind)(next_byte(in) % (EVENT_ERROR + 1)),
                              .usage = USAGE_NONE};
    e.slot = next_byte(in) % 4;
    e.text = e.stop_sequence_text = e.id_text = next_text(in, text);
    e.name_text = e.model_text = next_text(in, other);
    e.stop = (enum stop_reason)(e.slot * 2);
    if (e.kind == EVENT_USAGE)
        e.usage.output = e.slot;
    e.fault = (struct api_error){.error_class = ERROR_UPSTREAM_CLOSED, .message = e.text};
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct api_ops *const apis[] = {&api_openai_chat, &api_anthropic_messages,
                                                 &api_openai_completions, &api_openai_responses};
    static const enum api names[] = {API_OPENAI_CHAT, API_ANTHROPIC_MESSAGES,
                                     API_OPENAI_COMPLETIONS, API_OPENAI_RESPONSES};
    static struct responses_tool tools[] = {{.kind = RESPONSES_CUSTOM, .sent_text = {"c", 1}},
                                            {.kind = RESPONSES_SHELL, .sent_text = {"s", 1}}};
    static struct responses_request responses = {
        .echo = {"\"metadata\":{}", 13}, .tools = tools, .tool_count = 2};
    struct input in = {data, data + size};
    unsigned which = next_byte(&in) % 4, flags = next_byte(&in);
    struct neutral_request request = {.api = names[which],
                                      .stream = flags & 1,
                                      .want_usage = flags & 2,
                                      .responses = &responses,
                                      .legacy_functions = flags & 4,
                                      .thinking = flags & 8 ? THINKING_ADAPTIVE : THINKING_UNSET,
                                      .format = flags & 16 ? FORMAT_JSON : FORMAT_TEXT};
    responses.shows_reasoning = flags & 32;
    struct arena arena;
    struct buf out = {0}, text = {0}, other = {0};
    arena_init(&arena, 0);
    struct answer_options options = {
        .arena = &arena, .out = &out, .request = &request, .model = SPAN("m")};
    struct answer_writer *w = apis[which]->writer_create(&options);
    REQUIRE(w);
    while (in.at < in.end) {
        struct neutral_event e = next_event(&in, &text, &other);
        apis[which]->write(w, &e);
    }
    apis[which]->write(w, &(struct neutral_event){.kind = EVENT_END});
    REQUIRE(!out.failed);
    if (request.stream && which == 3)
        REQUIRE(!response_stream_complaint(buf_span(&out), true));
    else if (request.stream)
        check_stream(buf_span(&out));
    else
        REQUIRE(!out.len || json_parse(&doc, buf_span(&out), JSON_DEPTH_UPSTREAM) == OK);
    buf_free(&out);
    buf_free(&text);
    buf_free(&other);
    arena_free(&arena);
    return 0;
}
