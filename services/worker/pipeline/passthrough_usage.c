#include "services/worker/pipeline/passthrough.h"
#include "services/worker/neutral/estimate.h"

void passthrough_estimated_usage(struct pipeline *c)
{
    const struct passthrough *p = c->kind_state;
    struct usage usage = p->scan.usage;
    struct buf data = {.max = SSE_MAX_EVENT};
    struct json_writer w = {.out = &data};
    if (!p->facts.asked_usage || !api_streams_chunks(c->spec.api) ||
        p->scan.usage.output != USAGE_UNKNOWN || p->scan.usage.input != USAGE_UNKNOWN)
        return;
    uint64_t input =
        c->spec.input_tokens ? c->spec.input_tokens : estimate_tokens(c->spec.body.len);
    (void)usage_complete(&usage, input, estimate_tokens(c->text_bytes));
    jw_object(&w);
    jw_key(&w, "id");
    jw_string(&w, c->upstream_id.len ? c->upstream_id : c->spec.request_id);
    jw_key(&w, "object");
    jw_str(&w, c->spec.api == API_OPENAI_CHAT ? "chat.completion.chunk" : "text_completion");
    jw_key(&w, "created");
    jw_u64(&w, c->spec.now_s);
    jw_key(&w, "model");
    jw_string(&w, c->upstream_model.len ? c->upstream_model : c->spec.target_model);
    jw_key(&w, "choices");
    jw_array(&w);
    jw_array_end(&w);
    jw_key(&w, "usage");
    jw_object(&w);
    jw_key(&w, "prompt_tokens");
    jw_u64(&w, usage.input);
    jw_key(&w, "completion_tokens");
    jw_u64(&w, usage.output);
    jw_key(&w, "total_tokens");
    jw_u64(&w, usage.input + usage.output);
    jw_key(&w, "estimated");
    jw_bool(&w, true);
    jw_object_end(&w);
    jw_object_end(&w);
    sse_write(&c->out, SPAN_NONE, buf_span(&data));
    buf_free(&data);
}

bool passthrough_says_more(struct json event)
{
    static const char *const common[] = {"id",      "object", "created",      "model",
                                         "choices", "usage",  "service_tier", "system_fingerprint"};
    for (struct json_iter i = json_iter(event); json_next(&i);) {
        bool known = json_absent(i.value) || json_is(i.key, "obfuscation");
        for (size_t k = 0; k < sizeof common / sizeof common[0]; k++)
            known |= json_is(i.key, common[k]);
        if (!known)
            return true;
    }
    return false;
}
