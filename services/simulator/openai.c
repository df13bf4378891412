#include "services/simulator/openai.h"

#include <stdio.h>

void openai_error(struct ask *ask, unsigned status, const char *type, const char *code,
                  const char *param, const char *message)
{
    struct json_writer w = reply_json(ask->reply, status);
    ask->reply->reports_usage = false;
    jw_object(&w);
    jw_key(&w, "error");
    jw_object(&w);
    jw_key(&w, "message");
    jw_str(&w, message);
    jw_key(&w, "type");
    jw_str(&w, type);
    jw_key(&w, "param");
    if (param)
        jw_str(&w, param);
    else
        jw_null(&w);
    jw_key(&w, "code");
    if (code && *code)
        jw_str(&w, code);
    else
        jw_null(&w);
    jw_object_end(&w);
    jw_object_end(&w);
}

static const struct {
    unsigned status;
    const char *type, *code;
} fault_bodies[] = {
    {400, "invalid_request_error", "invalid_value"},
    {401, "invalid_request_error", "invalid_api_key"},
    {403, "invalid_request_error", "permission"},
    {404, "invalid_request_error", "model_not_found"},
    {413, "invalid_request_error", "too_large"},
    {429, "rate_limit_error", "rate_limit_exceeded"},
    {503, "server_error", "server_is_overloaded"},
};

bool openai_fault(struct ask *ask)
{
    const struct sim_fault *f = &ask->fault;
    const char *type = "server_error", *code = "";
    if (!f->status || f->status == 200)
        return false;
    for (size_t i = 0; i < sizeof fault_bodies / sizeof fault_bodies[0]; i++) {
        if (fault_bodies[i].status == f->status) {
            type = fault_bodies[i].type;
            code = fault_bodies[i].code;
        }
    }
    openai_error(ask, f->status, f->type[0] ? f->type : type, f->code[0] ? f->code : code, NULL,
                 f->message[0] ? f->message : "simulated failure");
    return true;
}

void openai_stream_error(struct ask *ask)
{
    const struct sim_fault *f = &ask->fault;
    struct json_writer w = reply_event(ask->reply, NULL);
    jw_object(&w);
    jw_key(&w, "error");
    jw_object(&w);
    jw_key(&w, "message");
    jw_str(&w, f->message[0] ? f->message : "simulated failure in mid-stream");
    jw_key(&w, "type");
    jw_str(&w, f->type[0] ? f->type : "server_error");
    jw_key(&w, "param");
    jw_null(&w);
    jw_key(&w, "code");
    if (f->code[0])
        jw_str(&w, f->code);
    else
        jw_null(&w);
    jw_object_end(&w);
    jw_object_end(&w);
    reply_event_end(ask->reply);
    ask->reply->reports_usage = false;
}

bool openai_common(struct ask *ask)
{
    struct json model = json_get(ask->body, "model");
    if (json_type(model) != JSON_STRING) {
        openai_error(ask, 400, "invalid_request_error", "", NULL,
                     "you must provide a model parameter (simulated)");
        return false;
    }
    ask->model = json_string(model, &ask->sim->arena);
    struct json stream = json_get(ask->body, "stream");
    if (!json_absent(stream) && !json_bool(stream, &ask->stream)) {
        openai_error(ask, 400, "invalid_request_error", "invalid_type", "stream",
                     "Invalid type for 'stream': expected a boolean (simulated)");
        return false;
    }
    if (span_starts(ask->model, "missing") || span_starts(ask->model, "unknown")) {
        openai_error(ask, 404, "invalid_request_error", "model_not_found", NULL,
                     "The model does not exist or you do not have access to it. (simulated)");
        return false;
    }
    return true;
}

bool openai_wants_usage(const struct ask *ask)
{
    bool wants = false;
    return json_bool(json_get(json_get(ask->body, "stream_options"), "include_usage"), &wants) &&
           wants && !ask->fault.no_usage;
}

const char *openai_finish(const struct ask *ask, const struct sim_answer *a)
{
    static const char *const words[] = {"stop", "length", "tool_calls", "stop"};
    return ask->fault.finish[0] ? ask->fault.finish : words[a->finish];
}

void openai_usage(struct json_writer *w, const struct sim_answer *a)
{
    jw_object(w);
    jw_key(w, "prompt_tokens");
    jw_u64(w, a->input);
    jw_key(w, "completion_tokens");
    jw_u64(w, a->output);
    jw_key(w, "total_tokens");
    jw_u64(w, a->input + a->output);
    jw_key(w, "prompt_tokens_details");
    jw_object(w);
    jw_key(w, "cached_tokens");
    jw_u64(w, a->cached);
    jw_key(w, "audio_tokens");
    jw_u64(w, 0);
    jw_object_end(w);
    jw_key(w, "completion_tokens_details");
    jw_object(w);
    jw_key(w, "reasoning_tokens");
    jw_u64(w, a->reasoning);
    jw_key(w, "audio_tokens");
    jw_u64(w, 0);
    jw_key(w, "accepted_prediction_tokens");
    jw_u64(w, 0);
    jw_key(w, "rejected_prediction_tokens");
    jw_u64(w, 0);
    jw_object_end(w);
    jw_object_end(w);
}

/* ---- models ---- */

static const char *const models[] = {"gpt-4o", "gpt-4o-mini", "gpt-4", "gpt-3.5-turbo-instruct",
                                     "text-embedding-3-small"};

static void write_model(struct json_writer *w, struct span id)
{
    jw_object(w);
    jw_key(w, "id");
    jw_string(w, id);
    jw_key(w, "object");
    jw_str(w, "model");
    jw_key(w, "created");
    jw_u64(w, OPENAI_CREATED);
    jw_key(w, "owned_by");
    jw_str(w, "simulated");
    jw_object_end(w);
}

static void list_models(struct ask *ask)
{
    struct json_writer w = reply_json(ask->reply, 200);
    jw_object(&w);
    jw_key(&w, "object");
    jw_str(&w, "list");
    jw_key(&w, "data");
    jw_array(&w);
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        write_model(&w, span_str(models[i]));
    jw_array_end(&w);
    jw_object_end(&w);
}

static void one_model(struct ask *ask)
{
    struct span id = span_skip(ask->path, strlen("/models/"));
    if (span_starts(id, "missing") || span_starts(id, "unknown")) {
        openai_error(ask, 404, "invalid_request_error", "model_not_found", "model",
                     "The model does not exist (simulated)");
        return;
    }
    struct json_writer w = reply_json(ask->reply, 200);
    write_model(&w, id);
}

/* ---- routes ---- */

static const struct {
    const char *path;
    const char *route;
    void (*handle)(struct ask *ask);
} posts[] = {
    {"/chat/completions", "openai_chat", openai_chat},
    {"/completions", "openai_completions", openai_completions},
    {"/embeddings", "openai_embeddings", openai_embeddings},
};

void openai_handle(struct ask *ask)
{
    bool is_get = span_is(http_method(ask->x), "GET");
    reply_header(ask->reply, "openai-organization", "simulated");
    reply_header(ask->reply, "openai-processing-ms", "1");
    if (span_starts(ask->path, "/responses")) {
        openai_responses_handle(ask);
        return;
    }
    if (is_get && span_starts(ask->path, "/models")) {
        ask->route = "openai_models";
        ask_gather_faults(ask);
        if (openai_fault(ask))
            return;
        if (span_is(ask->path, "/models"))
            list_models(ask);
        else
            one_model(ask);
        return;
    }
    for (size_t i = 0; i < sizeof posts / sizeof posts[0]; i++) {
        if (!span_is(ask->path, posts[i].path))
            continue;
        ask->route = posts[i].route;
        if (is_get)
            break;
        if (json_type(ask->body) == JSON_NONE)
            openai_error(ask, 400, "invalid_request_error", "", NULL,
                         "the body is empty (simulated)");
        else if (openai_common(ask))
            posts[i].handle(ask);
        return;
    }
    openai_error(ask, is_get ? 405 : 404, "invalid_request_error", "unknown_url", NULL,
                 "Invalid URL or method (simulated)");
}
