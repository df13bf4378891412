/* Neutral request → POST /chat/completions (docs/wire.md, Requests). */
#include "services/worker/providers/openai/openai.h"

#include "common/base/crypto.h"
#include "services/worker/providers/effort.h"

enum { MAX_STOPS = 4, MAX_USER_ID = 64 };

static enum err refuse(struct openai_builder *b, unsigned error_class, const char *message,
                       const char *param)
{
    api_error_set(b->fault, error_class, message, param);
    return ERR_INVALID;
}

static bool from_anthropic(const struct openai_builder *b)
{
    return api_is_anthropic(b->r->api);
}

/* A number that goes through as it came, or is named as dropped. */
static void write_number(struct openai_builder *b, const char *name, struct span json, bool allowed)
{
    if (!json.len)
        return;
    if (!allowed) {
        neutral_drop(b->r, name);
        return;
    }
    jw_key(&b->w, name);
    jw_raw(&b->w, json);
}

static void write_sampling(struct openai_builder *b)
{
    bool sampling = b->pc->row->sampling;
    write_number(b, "temperature", b->r->temperature_json, sampling);
    write_number(b, "top_p", b->r->top_p_json, sampling);
    write_number(b, "top_k", b->r->top_k_json, b->pc->compat.top_k);
    write_number(b, "frequency_penalty", b->r->frequency_penalty_json, sampling);
    write_number(b, "presence_penalty", b->r->presence_penalty_json, sampling);
    write_number(b, "seed", b->r->seed_json, true);
}

static void write_max_out(struct openai_builder *b)
{
    if (!b->r->has_max_out)
        return;
    /* every compatible server knows the old name, few the new one */
    bool new_name = b->pc->compat.is_openai && !b->pc->compat.max_tokens_only;
    jw_key(&b->w, new_name ? "max_completion_tokens" : "max_tokens");
    jw_i64(&b->w, b->r->max_out);
}

static enum err write_stop(struct openai_builder *b)
{
    if (b->r->stop_count == 0)
        return OK;
    if (b->r->stop_count > MAX_STOPS && b->pc->compat.is_openai && !b->pc->compat.many_stops)
        return refuse(b, ERROR_INVALID_VALUE, "This model takes at most 4 stop sequences.",
                      from_anthropic(b) ? "stop_sequences" : "stop");
    jw_key(&b->w, "stop");
    jw_array(&b->w);
    for (size_t i = 0; i < b->r->stop_count; i++)
        jw_text(&b->w, b->r->stop_text[i]);
    jw_array_end(&b->w);
    return OK;
}

/* ---- reasoning ---- */

static const struct {
    const char *word;
    unsigned needs;
} efforts[] = {
    {"none", EFFORT_NONE}, {"minimal", EFFORT_MINIMAL}, {"low", EFFORT_LOW}, {"medium", EFFORT_LOW},
    {"high", EFFORT_LOW},  {"xhigh", EFFORT_XHIGH},     {"max", EFFORT_MAX},
};
enum { EFFORTS = sizeof efforts / sizeof efforts[0], EFFORT_AT_LOW = 2 };

/* The nearest word the model knows: one lower, below low one higher. NULL when it knows none. */
static const char *clamp_effort(struct span word, unsigned known)
{
    size_t at = 0;
    while (at < EFFORTS && !span_is(word, efforts[at].word))
        at++;
    if (at == EFFORTS || known == 0)
        return NULL;
    while (at > EFFORT_AT_LOW && !(known & efforts[at].needs))
        at--;
    while (at < EFFORT_AT_LOW && !(known & efforts[at].needs))
        at++;
    return known & efforts[at].needs ? efforts[at].word : NULL;
}

static void write_effort(struct openai_builder *b)
{
    struct span wanted = request_effort(b->r);
    bool off = b->r->thinking == THINKING_OFF;
    if (!wanted.len) { /* adaptive thinking is what a reasoning model does unasked */
        if (b->r->thinking == THINKING_ADAPTIVE && !b->pc->row->reasoning)
            effort_drop(b->r);
        return;
    }
    const char *word = b->pc->row->reasoning ? clamp_effort(wanted, b->pc->row->efforts) : NULL;
    /* "none" where the model can't be silent is left out, not turned into a little */
    if (off && word && strcmp(word, "none") != 0)
        word = NULL;
    if (word) {
        jw_key(&b->w, "reasoning_effort");
        jw_str(&b->w, word);
    } else if (!off) {
        effort_drop(b->r);
    }
}

/* ---- the rest ---- */

static void write_format(struct openai_builder *b)
{
    struct json_writer *w = &b->w;
    if (b->r->format == FORMAT_TEXT)
        return;
    jw_key(w, "response_format");
    jw_object(w);
    jw_key(w, "type");
    if (b->r->format == FORMAT_JSON) {
        jw_str(w, "json_object");
    } else {
        jw_str(w, "json_schema");
        jw_key(w, "json_schema");
        jw_object(w);
        jw_key(w, "name");
        jw_text(w, b->r->format_name_text.len ? b->r->format_name_text : SPAN("output"));
        jw_key(w, "schema");
        jw_raw(w, b->r->format_schema_json);
        jw_key(w, "strict");
        jw_raw(w, b->r->format_strict_json.len ? b->r->format_strict_json : SPAN("true"));
        jw_object_end(w);
    }
    jw_object_end(w);
}

static void write_user_id(struct openai_builder *b)
{
    if (!b->r->user_text.len)
        return;
    if (!b->pc->compat.is_openai) {
        neutral_drop(b->r, from_anthropic(b) ? "metadata" : "user");
        return;
    }
    jw_key(&b->w, "safety_identifier");
    if (b->r->user_text.len <= MAX_USER_ID) {
        jw_text(&b->w, b->r->user_text);
        return;
    }
    uint8_t hash[SHA256_BYTES];
    char text[2 * SHA256_BYTES + 1];
    crypto_sha256(b->r->user_text, hash);
    crypto_hex(hash, SHA256_BYTES, text);
    jw_str(&b->w, text);
}

static void write_tier(struct openai_builder *b)
{
    struct span tier = b->r->service_tier_text;
    if (!tier.len)
        return;
    if (!b->pc->compat.is_openai) {
        neutral_drop(b->r, "service_tier");
        return;
    }
    jw_key(&b->w, "service_tier");
    jw_text(&b->w, span_is(tier, "standard_only") ? SPAN("default") : tier);
}

static void write_stream(struct openai_builder *b)
{
    if (!b->r->stream)
        return;
    jw_key(&b->w, "stream");
    jw_bool(&b->w, true);
    if (b->pc->compat.no_stream_options)
        return;
    jw_key(&b->w, "stream_options");
    jw_raw(&b->w, SPAN("{\"include_usage\":true}"));
}

/* What another protocol's request has beyond the neutral form: chat knows logit_bias of the legacy
 * completions. */
static void write_extras(struct openai_builder *b)
{
    for (size_t i = 0; i < b->r->extra_count; i++) {
        const struct extra *x = &b->r->extras[i];
        if (b->r->api == API_OPENAI_COMPLETIONS && strcmp(x->name, "logit_bias") == 0) {
            jw_key(&b->w, x->name);
            jw_raw(&b->w, x->json);
        } else {
            neutral_drop(b->r, x->name);
        }
    }
    if (b->r->cache_json.len)
        neutral_drop(b->r, "cache_control");
}

static enum err write_body(struct openai_builder *b)
{
    jw_object(&b->w);
    jw_key(&b->w, "model");
    jw_string(&b->w, b->pc->target_model);
    jw_key(&b->w, "messages");
    enum err e = openai_write_messages(b->pc, &b->w, b->fault);
    if (!e)
        e = write_stop(b);
    if (e)
        return e;
    write_max_out(b);
    write_sampling(b);
    e = openai_write_tools(b);
    if (e)
        return e;
    write_effort(b);
    write_format(b);
    write_user_id(b);
    write_tier(b);
    write_stream(b);
    write_extras(b);
    jw_object_end(&b->w);
    return OK;
}

static enum err check(struct openai_builder *b)
{
    if (b->r->n > 1)
        return refuse(b, ERROR_UNSUPPORTED_PARAMETER,
                      "n above 1 is not supported on this route for this model.", "n");
    if (b->r->logprobs)
        return refuse(b, ERROR_UNSUPPORTED_PARAMETER,
                      "logprobs are not supported on this route for this model.", "logprobs");
    return OK;
}

static enum err out_of_memory(struct openai_builder *b)
{
    return refuse(b, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.", NULL);
}

enum err openai_build_request(struct conversion *pc, struct api_error *fault_out)
{
    struct buf body = {0};
    struct openai_builder b = {.pc = pc, .r = pc->request, .w = {.out = &body}, .fault = fault_out};
    struct openai_state *s = ARENA_NEW(pc->arena, struct openai_state);
    struct transfer *x = ARENA_NEW(pc->arena, struct transfer);
    if (!s || !x)
        return out_of_memory(&b);
    s->usage = USAGE_NONE;
    pc->state = s;
    enum err e = check(&b);
    if (!e)
        e = write_body(&b);
    if (!e) {
        *x = (struct transfer){.method = "POST",
                               .path = SPAN("/chat/completions"),
                               .body = arena_copy(pc->arena, buf_span(&body)),
                               .expects_stream = pc->request->stream};
        e = buf_check(&body) || !x->body.data ? out_of_memory(&b) : OK;
    }
    if (!e)
        pc->next = x;
    buf_free(&body);
    return e;
}
