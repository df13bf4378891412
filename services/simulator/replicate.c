/* Replicate predictions and models (docs/wire.md, Replicate). A prediction's states follow from the
 * time since its creation. */
#include <stdio.h>

#include "common/base/hash.h"
#include "services/simulator/replicate.h"

enum { MAX_WAIT_S = 60, MAX_ID = 32 };

/* Stored beside the prediction's text. */
struct prediction {
    struct sim_fault fault;
    uint64_t created_ms, first_ms, done_ms; /* loop times */
    uint64_t input, output;
    uint32_t input_len; /* of the stored value: the input JSON, then the answer's text */
    uint32_t model_len; /* then the model's name */
    bool cut_short;     /* the token limit ended it */
    bool canceled;
    bool reported; /* its usage has been told, and is not told again for the sums' sake */
    bool stream_url, one_string;
};

static uint64_t now_ms(const struct ask *ask)
{
    return loop_now_ms(ask->sim->loop);
}

/* ---- showing a prediction ---- */

struct view {
    const struct prediction *p;
    struct span id, input, text, model;
};

static bool find(struct ask *ask, struct span id, struct view *v)
{
    struct span value;
    void *extra = NULL;
    if (!store_get(ask->sim->predictions, id, &value, &extra))
        return false;
    const struct prediction *p = extra;
    *v = (struct view){.p = p,
                       .id = id,
                       .input = span_first(value, p->input_len),
                       .model = span_of(value.data + p->input_len, p->model_len),
                       .text = span_skip(value, (size_t)p->input_len + p->model_len)};
    return true;
}

static const char *final_status(const struct prediction *p)
{
    const char *f = p->fault.finish;
    return strcmp(f, "failed") == 0 || strcmp(f, "canceled") == 0 || strcmp(f, "aborted") == 0
               ? f
               : "succeeded";
}

static const char *status_at(const struct prediction *p, uint64_t ms)
{
    if (p->canceled)
        return "canceled";
    if (ms >= p->done_ms)
        return final_status(p);
    return ms >= p->first_ms ? "processing" : "starting";
}

/* How many bytes of the text exist at that time. */
static size_t grown_to(const struct prediction *p, size_t len, uint64_t ms)
{
    if (ms >= p->done_ms)
        return len;
    if (ms < p->first_ms)
        return 0;
    return (size_t)((double)len * (double)(ms - p->first_ms) /
                    (double)(p->done_ms - p->first_ms + 1));
}

static void write_output(struct ask *ask, struct json_writer *w, const struct view *v, uint64_t ms)
{
    size_t most = grown_to(v->p, v->text.len, ms), at = 0;
    const char *status = status_at(v->p, ms);
    if (!most || strcmp(status, "failed") == 0) {
        jw_null(w);
        return;
    }
    if (v->p->one_string) {
        while (at < most)
            (void)answer_piece(ask, v->text, &at);
        jw_string(w, span_first(v->text, at));
        return;
    }
    jw_array(w);
    while (at < most)
        jw_string(w, answer_piece(ask, v->text, &at));
    jw_array_end(w);
}

static void write_urls(struct ask *ask, struct json_writer *w, const struct view *v)
{
    static const struct {
        const char *name, *path, *tail;
    } urls[] = {
        {"get", "predictions", ""}, {"cancel", "predictions", "/cancel"}, {"stream", "stream", ""}};
    struct span host = http_header(ask->x, "host");
    jw_key(w, "urls");
    jw_object(w);
    for (size_t i = 0; i < (v->p->stream_url ? 3 : 2); i++) {
        jw_key(w, urls[i].name);
        jw_string(w, arena_printf(&ask->sim->arena, "http://%.*s/replicate/v1/%s/%.*s%s",
                                  SPAN_ARG(host), urls[i].path, SPAN_ARG(v->id), urls[i].tail));
    }
    jw_object_end(w);
}

static void write_metrics(struct json_writer *w, const struct prediction *p)
{
    jw_key(w, "metrics");
    jw_object(w);
    jw_key(w, "predict_time");
    jw_double(w, (double)(p->done_ms - p->created_ms) / 1000.0);
    if (!p->fault.no_usage) {
        jw_key(w, "input_token_count");
        jw_u64(w, p->input);
        jw_key(w, "output_token_count");
        jw_u64(w, p->output);
    }
    jw_object_end(w);
}

static void write_prediction(struct ask *ask, struct json_writer *w, const struct view *v,
                             uint64_t ms)
{
    const char *status = status_at(v->p, ms);
    bool ended = strcmp(status, "starting") != 0 && strcmp(status, "processing") != 0;
    jw_object(w);
    jw_key(w, "id");
    jw_string(w, v->id);
    jw_key(w, "model");
    jw_string(w, v->model);
    jw_key(w, "version");
    jw_str(w, "hidden");
    jw_key(w, "input");
    jw_raw(w, v->input);
    jw_key(w, "logs");
    jw_str(w, "simulated");
    jw_key(w, "output");
    write_output(ask, w, v, ms);
    jw_key(w, "data_removed");
    jw_bool(w, false);
    jw_key(w, "error");
    if (strcmp(status, "failed") == 0)
        jw_str(w, v->p->fault.message[0] ? v->p->fault.message
                                         : "simulated failure of the prediction");
    else
        jw_null(w);
    jw_key(w, "source");
    jw_str(w, "api");
    jw_key(w, "status");
    jw_str(w, status);
    jw_key(w, "created_at");
    jw_str(w, "2026-01-01T00:00:00.000Z");
    jw_key(w, "started_at");
    jw_null(w);
    jw_key(w, "completed_at");
    if (ended)
        jw_str(w, "2026-01-01T00:00:01.000Z");
    else
        jw_null(w);
    write_urls(ask, w, v);
    if (strcmp(status, "succeeded") == 0)
        write_metrics(w, v->p);
    jw_object_end(w);
}

/* Composes the prediction as it is at `ms`; its usage is reported with the first answer that shows
 * it done. */
static void show(struct ask *ask, struct span id, unsigned status, uint64_t ms)
{
    struct view v;
    void *extra = NULL;
    struct span value;
    if (!find(ask, id, &v))
        return;
    ask->model = arena_copy(&ask->sim->arena, v.model);
    ask->fault.chunks = v.p->fault.chunks;
    struct json_writer w = reply_json(ask->reply, status);
    write_prediction(ask, &w, &v, ms);
    (void)store_get(ask->sim->predictions, id, &value, &extra);
    struct prediction *p = extra;
    ask->reply->input = p->input;
    ask->reply->output = p->output;
    ask->reply->reports_usage =
        !p->reported && !p->fault.no_usage && strcmp(status_at(p, ms), "succeeded") == 0;
    p->reported |= ask->reply->reports_usage;
}

/* ---- creating ---- */

static bool refuse(struct ask *ask, const char *detail)
{
    replicate_error(ask, 422, detail);
    return false;
}

static bool check_create(struct ask *ask, struct json input)
{
    static const char *const allowed[] = {"input", "version", "stream", "webhook",
                                          "webhook_events_filter"};
    for (struct json_iter i = json_iter(ask->body);
         json_type(ask->body) == JSON_OBJECT && json_next(&i);) {
        bool known = false;
        for (size_t k = 0; k < sizeof allowed / sizeof allowed[0]; k++)
            known |= json_is(i.key, allowed[k]);
        if (!known)
            return refuse(ask, "- Additional property is not allowed (simulated)");
    }
    if (json_type(input) != JSON_OBJECT)
        return refuse(ask, "- input is required (simulated)");
    if (json_type(json_get(input, "prompt")) != JSON_STRING)
        return refuse(ask, "- input: prompt is required (simulated)");
    double t = 0;
    struct json temperature = json_get(input, "temperature");
    double least = span_find_span(ask->model, SPAN("llama-2")) < ask->model.len ? 0.01 : 0;
    if (!json_absent(temperature) && (!json_double(temperature, &t) || t < least || t > 5))
        return refuse(ask, "- input.temperature: Must be within the model's range (simulated)");
    return true;
}

/* The seconds of Prefer: wait=N; 0 = async. */
static uint64_t wait_seconds(const struct ask *ask)
{
    struct span prefer = http_header(ask->x, "prefer");
    uint64_t n = MAX_WAIT_S;
    if (!span_starts(prefer, "wait"))
        return 0;
    if (span_starts(prefer, "wait=") &&
        (!span_to_u64(span_trim(span_skip(prefer, 5)), &n) || n < 1 || n > MAX_WAIT_S))
        return MAX_WAIT_S;
    return n;
}

static uint32_t piece_count(const struct ask *ask, struct span text)
{
    uint32_t n = 0;
    for (size_t at = 0; at < text.len; n++)
        (void)answer_piece(ask, text, &at);
    return n;
}

/* The text up to the first of the stop sequences: an array, or one comma-joined string. */
static void apply_stops(struct ask *ask, struct json stops, struct sim_answer *a)
{
    struct span rest = json_string(stops, &ask->sim->arena);
    while (rest.len) {
        struct span stop = span_cut(&rest, ',');
        size_t at = stop.len ? span_find_span(a->text, stop) : a->text.len;
        a->text = span_first(a->text, at);
    }
}

static struct span store_prediction(struct ask *ask, const struct prediction *p, struct span input,
                                    struct span text)
{
    struct span id = arena_printf(&ask->sim->arena, "sim%llu%08x", (unsigned long long)ask->id,
                                  (unsigned)(hash_bytes(HASH_NOTHING, ask->text) & 0xffffffffu));
    struct buf value = {0};
    buf_append(&value, input);
    buf_append(&value, ask->model);
    buf_append(&value, text);
    enum err e = value.failed
                     ? ERR_NOMEM
                     : store_put(ask->sim->predictions, id, buf_span(&value), p, sizeof *p);
    buf_free(&value);
    return e ? SPAN_NONE : id;
}

static void plan(struct ask *ask, struct prediction *p, const struct sim_answer *a,
                 struct span input)
{
    const struct sim_fault *f = &ask->fault;
    *p = (struct prediction){
        .fault = *f,
        .created_ms = now_ms(ask),
        .input = a->input,
        .output = a->output,
        .input_len = (uint32_t)input.len,
        .model_len = (uint32_t)ask->model.len,
        .cut_short = a->finish == FINISH_LENGTH,
        .stream_url = span_find_span(ask->model, SPAN("nostream")) == ask->model.len,
        .one_string = span_find_span(ask->model, SPAN("string")) < ask->model.len,
    };
    p->first_ms = p->created_ms + f->ttft_ms;
    p->done_ms = p->first_ms + (uint64_t)f->pace_ms * piece_count(ask, a->text);
}

static void create(struct ask *ask)
{
    struct json input = json_get(ask->body, "input");
    struct question q = {.stops = json_get(input, "stop_sequences")};
    struct sim_answer a;
    struct prediction p;
    int64_t most = 0;
    ask->route = "replicate_create";
    if (!check_create(ask, input))
        return;
    ask->text = json_string(json_get(input, "prompt"), &ask->sim->arena);
    ask_gather_faults(ask);
    if (replicate_fault(ask))
        return;
    if (json_i64(json_get(input, "max_tokens"), &most) ||
        json_i64(json_get(input, "max_new_tokens"), &most))
        q.max_tokens = most > 0 ? (uint64_t)most : 0;
    q.input_bytes = ask->text.len + json_text(json_get(input, "system_prompt")).len;
    if (json_type(q.stops) == JSON_STRING)
        q.stops = JSON_NOTHING;
    answer_make(ask, &q, &a);
    apply_stops(ask, json_get(input, "stop_sequences"), &a);
    a.output = tokens_of(a.text.len);
    plan(ask, &p, &a, json_raw(input));
    uint64_t wait_s = wait_seconds(ask), until = p.created_ms;
    struct sim_fault *f = &ask->fault;
    if (wait_s) {
        until = p.done_ms < p.created_ms + wait_s * 1000 ? p.done_ms : p.created_ms + wait_s * 1000;
        reply_header(ask->reply, "Preference-Applied", "wait");
    } else {
        /* breaking off is for the stream or the poll that follows */
        f->cut_at = f->stall_at = f->reset_at = -1;
        f->flood = f->drip_ms = 0;
        f->garbage = false;
        /* and a fresh one is never shown begun */
        p.first_ms += p.first_ms == p.created_ms;
        p.done_ms += p.done_ms < p.first_ms;
    }
    struct span id = store_prediction(ask, &p, json_raw(input), a.text);
    f->delay_ms += (uint32_t)(until - p.created_ms);
    f->ttft_ms = 0;
    show(ask, id, 201, until);
}

/* ---- the stream ---- */

/* Plain text: one data line per line of it. */
static void write_event(struct reply *r, unsigned number, const char *name, struct span text)
{
    buf_printf(&r->body, "event: %s\nid: 1690212292000:%u\n", name, number);
    do {
        struct span line = span_first(text, span_find(text, '\n'));
        text = span_skip(text, line.len);
        buf_append_str(&r->body, "data: ");
        buf_append(&r->body, line);
        buf_append_char(&r->body, '\n');
        if (!text.len)
            break;
        text = span_skip(text, 1);
        if (!text.len)
            buf_append_str(&r->body, "data: \n"); /* the text ended in a line end */
    } while (text.len);
    buf_append_char(&r->body, '\n');
}

static void stream(struct ask *ask, struct span id)
{
    struct view v;
    unsigned number = 0;
    size_t at = 0;
    ask->route = "replicate_stream";
    if (!find(ask, id, &v) || !v.p->stream_url) {
        replicate_error(ask, 404, "The requested resource could not be found. (simulated)");
        return;
    }
    ask->model = arena_copy(&ask->sim->arena, v.model);
    ask_gather_faults(ask);
    uint32_t delay_ms = ask->fault.delay_ms;
    ask->fault = v.p->fault;
    ask->fault.delay_ms = delay_ms;
    ask->fault.status = 0;
    ask->fault.script[0] = '\0';
    reply_begin_stream(ask->reply, "text/event-stream; charset=utf-8");
    const char *end = final_status(v.p);
    bool failed = strcmp(end, "succeeded") != 0;
    while (at < v.text.len) {
        if (ask->fault.error_at >= 0 && (int64_t)number >= ask->fault.error_at) {
            failed = true;
            break;
        }
        write_event(ask->reply, number++, "output", answer_piece(ask, v.text, &at));
        reply_mark(ask->reply);
    }
    if (failed && strcmp(end, "canceled") != 0)
        write_event(ask->reply, number++, "error",
                    SPAN("{\"detail\":\"simulated failure of the prediction\"}"));
    if (!ask->fault.no_done)
        write_event(ask->reply, number, "done",
                    !failed                        ? SPAN("{}")
                    : strcmp(end, "canceled") == 0 ? SPAN("{\"reason\":\"canceled\"}")
                                                   : SPAN("{\"reason\":\"error\"}"));
}

/* ---- routes ---- */

static void by_id(struct ask *ask, struct span id)
{
    bool cancel = span_ends(id, "/cancel");
    struct span value;
    void *extra = NULL;
    if (cancel)
        id.len -= strlen("/cancel");
    ask->route = cancel ? "replicate_cancel" : "replicate_get";
    ask_gather_faults(ask);
    if (replicate_fault(ask))
        return;
    if (!store_get(ask->sim->predictions, id, &value, &extra)) {
        replicate_error(ask, 404, "The requested resource could not be found. (simulated)");
        return;
    }
    struct prediction *p = extra;
    if (cancel && now_ms(ask) < p->done_ms)
        p->canceled = true;
    ask->fault.ttft_ms = ask->fault.pace_ms = 0;
    show(ask, id, 200, now_ms(ask));
}

/* The model a create names: by its path, or by version in the body. */
static bool create_model(struct ask *ask, struct span path)
{
    if (span_is(path, "/predictions")) {
        struct span version = json_string(json_get(ask->body, "version"), &ask->sim->arena);
        ask->model = span_first(version, span_find(version, ':'));
        return version.len > 0;
    }
    if (!span_ends(path, "/predictions"))
        return false;
    path.len -= strlen("/predictions");
    if (span_starts(path, "/models/"))
        ask->model = span_skip(path, strlen("/models/"));
    else if (span_starts(path, "/deployments/"))
        ask->model = span_skip(path, strlen("/"));
    else
        return false;
    return span_find(ask->model, '/') < ask->model.len;
}

void replicate_handle(struct ask *ask)
{
    bool is_post = span_is(http_method(ask->x), "POST");
    ask->route = "replicate_other";
    if (is_post && span_ends(ask->path, "/predictions")) {
        if (!create_model(ask, ask->path))
            replicate_error(ask, 422, "- version is required (simulated)");
        else if (replicate_name_has(ask->model, "missing") ||
                 replicate_name_has(ask->model, "unknown"))
            replicate_error(ask, 404, "The requested resource could not be found. (simulated)");
        else
            create(ask);
    } else if (span_starts(ask->path, "/predictions/")) {
        by_id(ask, span_skip(ask->path, strlen("/predictions/")));
    } else if (!is_post && span_starts(ask->path, "/stream/")) {
        stream(ask, span_skip(ask->path, strlen("/stream/")));
    } else if (!is_post && span_starts(ask->path, "/models/")) {
        replicate_model(ask, span_skip(ask->path, strlen("/models/")));
    } else {
        replicate_error(ask, 404, "The requested resource could not be found. (simulated)");
    }
}
