/* Predictions and their streams → neutral events (docs/wire.md, Replicate). */
#include "services/worker/providers/replicate/replicate.h"

#include "services/worker/providers/error_map.h"
#include "services/worker/providers/mask.h"

enum { FIRST_WAIT_MS = 250, MAX_WAIT_MS = 2000 };

/* ---- failures ---- */

static unsigned class_of(struct span message)
{
    static const char *const memory[] = {"out of memory", NULL};
    static const char *const interrupted[] = {"interrupted", "please retry", "try again", NULL};
    static const char *const context[] = {"context length", "context window", "maximum context",
                                          NULL};
    static const char *const input[] = {"input",  "validation", "invalid",        "content policy",
                                        "nsfw",   "sensitive",  "maximum length", "too long",
                                        "length", NULL};
    if (error_message_has(message, memory))
        return ERROR_PREDICTION_OUT_OF_MEMORY;
    if (error_message_has(message, interrupted))
        return ERROR_PREDICTION_INTERRUPTED;
    if (error_message_has(message, context))
        return ERROR_UPSTREAM_CONTEXT_LENGTH;
    return error_message_has(message, input) ? ERROR_UPSTREAM_BAD_REQUEST : ERROR_PREDICTION_FAILED;
}

static void fault_of(struct conversion *pc, struct span message, struct api_error *fault_out)
{
    *fault_out = (struct api_error){
        .error_class = class_of(message),
        .message = message.len ? mask_message(message, pc->arena) : SPAN("The prediction failed."),
    };
}

static void say_failed(struct conversion *pc, struct replicate_state *s, struct span message)
{
    struct api_error fault;
    fault_of(pc, message, &fault);
    s->over = true;
    out_fault(pc, &s->out, &fault);
}

static void say_canceled(struct conversion *pc, struct replicate_state *s, bool aborted)
{
    struct api_error fault;
    s->over = true;
    if (aborted) {
        api_error_set(&fault, ERROR_UPSTREAM_TIMEOUT,
                      "The prediction was aborted: it ran too long.", NULL);
        fault.code = SPAN("prediction_canceled");
        fault.final = true;
    } else {
        api_error_set(&fault, ERROR_PREDICTION_CANCELED, "The prediction was canceled.", NULL);
    }
    out_fault(pc, &s->out, &fault);
}

/* ---- output ---- */

static bool is_text_list(struct json output)
{
    for (struct json_iter i = json_iter(output); json_next(&i);) {
        if (json_type(i.value) != JSON_STRING)
            return false;
    }
    return json_type(output) == JSON_ARRAY;
}

/* json text without the escaped half of a character at its end, which only begins one. */
static struct span whole_characters(struct span text)
{
    size_t slashes = 0;
    if (text.len < 6)
        return text;
    const char *unit = text.data + text.len - 6;
    while (slashes <= text.len - 6 && text.data[text.len - 6 - slashes] == '\\')
        slashes++;
    bool half = slashes % 2 == 1 && unit[1] == 'u' && (unit[2] | 0x20) == 'd' &&
                memchr("89abAB", unit[3], 6) != NULL;
    return half ? span_first(text, text.len - 6) : text;
}

/* The output so far as bytes. Halves of a character may stand in two pieces, and come in two
 * looks: joined before it is decoded, a half at the end waits for the next look. */
static void join_output(struct json output, bool final, struct buf *out)
{
    struct buf text = {0};
    if (json_absent(output))
        return;
    if (json_type(output) == JSON_STRING) {
        buf_append(&text, json_text(output));
    } else if (is_text_list(output)) {
        for (struct json_iter i = json_iter(output); json_next(&i);)
            buf_append(&text, json_text(i.value));
    } else {
        json_append_compact(out, output);
    }
    json_text_decode(final ? buf_span(&text) : whole_characters(buf_span(&text)), out);
    out->failed |= text.failed;
    buf_free(&text);
}

static enum err say_bytes(struct conversion *pc, struct replicate_state *s, struct span bytes)
{
    struct buf text = {0};
    if (!arena_text_append(&s->sent, pc->arena, bytes))
        return ERR_NOMEM;
    json_append_text(&text, bytes);
    out_text(pc, &s->out, EVENT_TEXT, buf_span(&text));
    buf_free(&text);
    return OK;
}

/* What is new in the output since the last look; ERR_INVALID when what was given out has changed.
 */
static enum err say_output(struct conversion *pc, struct replicate_state *s, struct json output,
                           bool final)
{
    struct buf all = {0};
    enum err e = OK;
    join_output(output, final, &all);
    if (buf_check(&all))
        e = ERR_TOO_BIG;
    else if (all.len < s->sent.len)
        e = all.len == 0 ? OK : ERR_INVALID; /* output is deleted after an hour */
    else if (s->sent.len && memcmp(all.data, s->sent.data, s->sent.len) != 0)
        e = ERR_INVALID;
    else
        e = say_bytes(pc, s, span_skip(buf_span(&all), s->sent.len));
    buf_free(&all);
    return e;
}

/* ---- a prediction ---- */

static void take_count(struct json metrics, const char *name, uint64_t *into)
{
    int64_t n;
    if (json_i64(json_get(metrics, name), &n) && n >= 0)
        *into = (uint64_t)n;
}

static enum err say_succeeded(struct conversion *pc, struct replicate_state *s,
                              struct json prediction)
{
    struct usage usage = USAGE_NONE;
    struct json metrics = json_get(prediction, "metrics");
    s->over = true;
    take_count(metrics, "input_token_count", &usage.input);
    take_count(metrics, "output_token_count", &usage.output);
    enum err e = say_output(pc, s, json_get(prediction, "output"), true);
    if (e)
        return e;
    bool cut =
        s->asked_max > 0 && usage.output != USAGE_UNKNOWN && usage.output >= (uint64_t)s->asked_max;
    out_finish(pc, &s->out, &usage, cut ? STOP_LENGTH : STOP_END, SPAN_NONE);
    return OK;
}

static void keep_id(struct conversion *pc, struct replicate_state *s, struct json prediction)
{
    if (!s->id.len)
        s->id = arena_copy(pc->arena, json_string(json_get(prediction, "id"), pc->arena));
}

/* Slower each time: 0.25 s growing to 2 s. */
static void wait_for_more(struct conversion *pc, struct replicate_state *s)
{
    s->wait_ms = s->wait_ms ? s->wait_ms * 3 / 2 : FIRST_WAIT_MS;
    s->wait_ms = s->wait_ms > MAX_WAIT_MS ? MAX_WAIT_MS : s->wait_ms;
    pc->wait_ms = s->wait_ms;
}

static enum err open_stream(struct conversion *pc, struct replicate_state *s, struct span url)
{
    struct transfer *x = ARENA_NEW(pc->arena, struct transfer);
    if (!x)
        return ERR_NOMEM;
    *x = (struct transfer){
        .method = "GET",
        .url = arena_copy(pc->arena, url),
        .headers = SPAN("cache-control: no-store\n"),
        .expects_stream = true,
        .repeatable = true,
    };
    s->stream = x;
    pc->next = x;
    return x->url.data ? OK : ERR_NOMEM;
}

/* Still running: follow its stream if there is one that may be asked, else look again later. By
 * status, never by the presence of output. */
static enum err follow(struct conversion *pc, struct replicate_state *s, struct json prediction,
                       bool created)
{
    struct span url = json_string(json_get(json_get(prediction, "urls"), "stream"), pc->arena);
    if (created && pc->request->stream && url.len && replicate_stream_is_safe(pc, url))
        return open_stream(pc, s, url);
    enum err e = OK;
    if (pc->request->stream)
        e = say_output(pc, s, json_get(prediction, "output"), false);
    if (!e && out_is_open(&s->out))
        wait_for_more(pc, s);
    return e;
}

enum err replicate_take_prediction(struct conversion *pc, struct replicate_state *s,
                                   struct json prediction, bool created)
{
    struct json status = json_get(prediction, "status");
    if (json_type(status) != JSON_STRING)
        return ERR_INVALID;
    keep_id(pc, s, prediction);
    if (json_is(status, "failed")) {
        say_failed(pc, s, json_string(json_get(prediction, "error"), pc->arena));
        return OK;
    }
    if (json_is(status, "canceled") || json_is(status, "aborted")) {
        say_canceled(pc, s, json_is(status, "aborted"));
        return OK;
    }
    bool running =
        json_is(status, "starting") || json_is(status, "processing") || json_is(status, "queued");
    if ((!running && !json_is(status, "succeeded")) || !s->id.len)
        return ERR_INVALID;
    if (!running || pc->request->stream)
        out_start(pc, &s->out, json_text(json_get(prediction, "id")),
                  json_text(json_get(prediction, "model")), &USAGE_NONE);
    enum err e = running ? follow(pc, s, prediction, created) : say_succeeded(pc, s, prediction);
    if (s->out.filter.done)
        replicate_ask_cancel(pc, s);
    return e;
}

/* ---- a stream ---- */

/* {"detail":"…"} or plain text. */
static void say_error_event(struct conversion *pc, struct replicate_state *s, struct span data)
{
    struct json root;
    struct buf repaired = {0};
    struct span message = data;
    if (!out_parse(pc, data, &repaired, &root) &&
        json_type(json_get(root, "detail")) == JSON_STRING)
        message = json_string(json_get(root, "detail"), pc->arena);
    say_failed(pc, s, message);
    buf_free(&repaired);
}

static enum err on_done(struct conversion *pc, struct replicate_state *s, struct span data)
{
    struct json root = JSON_NOTHING;
    struct buf repaired = {0};
    if (data.len && out_parse(pc, data, &repaired, &root))
        root = JSON_NOTHING;
    struct json reason = json_get(root, "reason");
    bool canceled = json_is(reason, "canceled");
    buf_free(&repaired);
    if (canceled) {
        say_canceled(pc, s, false);
        return OK;
    }
    /* the counts, or the error's words, are in the prediction */
    s->wait_ms = 0;
    return replicate_ask_prediction(pc, s);
}

enum err replicate_parse_event(struct conversion *pc, const struct transfer *x,
                               const struct sse_event *e)
{
    struct replicate_state *s = pc->state;
    if (!out_is_open(&s->out) || x != s->stream)
        return OK;
    if (span_is(e->name, "output")) {
        enum err err = say_bytes(pc, s, e->data);
        if (s->out.filter.done)
            replicate_ask_cancel(pc, s);
        return err;
    }
    if (span_is(e->name, "error"))
        say_error_event(pc, s, e->data);
    else if (span_is(e->name, "done")) {
        s->stream = NULL;
        return on_done(pc, s, e->data);
    }
    return OK;
}

/* No `done`: the prediction itself knows how it ended. */
enum err replicate_parse_end(struct conversion *pc, const struct transfer *x)
{
    struct replicate_state *s = pc->state;
    if (!out_is_open(&s->out) || x != s->stream)
        return OK;
    s->stream = NULL;
    return replicate_ask_prediction(pc, s);
}
