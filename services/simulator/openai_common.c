/* What every OpenAI answer shares: errors, faults, checks, usage. */
#include "services/simulator/openai.h"

#include <stdio.h>

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
