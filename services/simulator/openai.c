#include "services/simulator/openai.h"

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
