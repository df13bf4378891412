/* Neutral request (of an OpenAI client) → POST /messages (docs/wire.md, Requests). */
#include "services/worker/providers/anthropic/anthropic.h"

#include "common/base/crypto.h"

enum {
    UNKNOWN_MAX_OUT = 8192,
    UNARY_MAX_OUT =
        21333 /* above it Anthropic wants a stream: an answer may take more than ten minutes */
};

static enum err refuse(struct anthropic_builder *b, unsigned error_class, const char *message,
                       const char *param)
{
    api_error_set(b->fault, error_class, message, param);
    return ERR_INVALID;
}

static enum err refuse_tool(struct anthropic_builder *b, size_t index)
{
    b->fault->error_class = ERROR_UNSUPPORTED_PARAMETER;
    b->fault->message = arena_printf(
        b->pc->arena, "The tool '%.*s' runs at another provider and not for this model.",
        SPAN_ARG(span_first(b->r->tools[index].type_text, 64)));
    b->fault->param = arena_printf(b->pc->arena, "tools[%zu].type", index);
    return ERR_INVALID;
}

static enum err check(struct anthropic_builder *b)
{
    if (b->r->n > 1)
        return refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model gives one choice only.", "n");
    if (b->r->logprobs)
        return refuse(b, ERROR_UNSUPPORTED_PARAMETER, "This model gives no logprobs.", "logprobs");
    for (size_t i = 0; i < b->r->tool_count; i++) {
        const struct tool *tool = &b->r->tools[i];
        if (tool->custom)
            return refuse(b, ERROR_UNSUPPORTED_PARAMETER,
                          "Custom tools are not supported by this model.", "tools");
        if (tool->server && !anthropic_has_tool(tool))
            return refuse_tool(b, i);
    }
    if (b->r->has_max_out && b->r->max_out < 1)
        return refuse(b, ERROR_INVALID_VALUE, "The maximum of output tokens must be at least 1.",
                      "max_completion_tokens");
    return OK;
}

static int64_t max_tokens(const struct anthropic_builder *b)
{
    int64_t most = b->row->max_out ? (int64_t)b->row->max_out : UNKNOWN_MAX_OUT;
    int64_t wanted = most;
    if (b->r->has_max_out)
        wanted = b->r->max_out;
    /* the default row only guesses at a maximum: a client that says more may know more */
    bool known = b->row->max_out && b->row->pattern[0];
    return wanted > most && known ? most : wanted;
}

/* ---- system ---- */

static void write_system(struct anthropic_builder *b)
{
    struct json_writer *w = &b->w;
    bool json = b->r->format == FORMAT_JSON;
    if (b->conversation.system_count == 0 && !json)
        return;
    jw_key(w, "system");
    jw_array(w);
    for (size_t i = 0; i < b->conversation.system_count; i++) {
        jw_object(w);
        jw_key(w, "type");
        jw_str(w, "text");
        jw_key(w, "text");
        jw_text(w, b->conversation.system[i]->text);
        anthropic_write_mark(w, &b->marks, b->conversation.system[i]->cache_json);
        jw_object_end(w);
    }
    /* no prefilled "{": newer models refuse it */
    if (json)
        jw_raw(w, SPAN("{\"type\":\"text\",\"text\":\"Answer with one JSON object only, no other "
                       "text.\"}"));
    jw_array_end(w);
}

/* ---- sampling ---- */

static bool number(struct anthropic_builder *b, struct span json, double *out)
{
    return json_parse(b->pc->doc, json, 2) == OK && json_double(json_root(b->pc->doc), out);
}

static bool thinks(const struct anthropic_builder *b)
{
    return b->plan.kind == PLAN_BUDGET || b->plan.kind == PLAN_ADAPTIVE;
}

static void write_temperature(struct anthropic_builder *b)
{
    double t;
    struct span json = b->r->temperature_json;
    if (!json.len)
        return;
    if (!b->row->sampling || thinks(b)) {
        neutral_drop(b->r, "temperature");
        return;
    }
    jw_key(&b->w, "temperature");
    jw_raw(&b->w, number(b, json, &t) && t > 1 ? SPAN("1") : json);
}

static void write_top_p(struct anthropic_builder *b)
{
    double p;
    struct span json = b->r->top_p_json;
    if (!json.len)
        return;
    bool ok = b->row->sampling &&
              !(b->row->sampling_one_only && b->r->temperature_json.len && !thinks(b));
    if (ok && thinks(b))
        ok = number(b, json, &p) && p >= 0.95 && p <= 1;
    if (!ok) {
        neutral_drop(b->r, "top_p");
        return;
    }
    jw_key(&b->w, "top_p");
    jw_raw(&b->w, json);
}

static void write_sampling(struct anthropic_builder *b)
{
    write_temperature(b);
    write_top_p(b);
    if (b->r->top_k_json.len && b->row->sampling && !thinks(b)) {
        jw_key(&b->w, "top_k");
        jw_raw(&b->w, b->r->top_k_json);
    } else if (b->r->top_k_json.len) {
        neutral_drop(b->r, "top_k");
    }
    const struct {
        struct span json;
        const char *name;
    } unknown[] = {{b->r->seed_json, "seed"},
                   {b->r->frequency_penalty_json, "frequency_penalty"},
                   {b->r->presence_penalty_json, "presence_penalty"}};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        if (unknown[i].json.len)
            neutral_drop(b->r, unknown[i].name);
    }
}

/* ---- stop ---- */

static bool is_blank(struct span text)
{
    struct buf bytes = {0};
    json_text_decode(text, &bytes);
    bool blank = true;
    for (size_t i = 0; i < bytes.len; i++)
        blank &= bytes.data[i] == ' ' || (bytes.data[i] >= '\t' && bytes.data[i] <= '\r');
    buf_free(&bytes);
    return blank;
}

/* The API refuses blank ones: these the gateway enforces on the answer. */
static enum err write_stop(struct anthropic_builder *b)
{
    bool any = false;
    if (b->r->stop_count == 0)
        return OK;
    enum err e = stop_filter_init(&b->state->out.filter, b->pc->arena, b->r->stop_count);
    for (size_t i = 0; !e && i < b->r->stop_count; i++) {
        struct span stop = b->r->stop_text[i];
        if (is_blank(stop)) {
            e = stop_filter_add(&b->state->out.filter, stop);
            continue;
        }
        if (!any) {
            jw_key(&b->w, "stop_sequences");
            jw_array(&b->w);
        }
        any = true;
        jw_text(&b->w, stop);
    }
    if (any)
        jw_array_end(&b->w);
    return e ? refuse(b, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.", NULL)
             : OK;
}

/* ---- the rest ---- */

static void write_thinking(struct anthropic_builder *b)
{
    struct json_writer *w = &b->w;
    if (b->plan.kind == PLAN_NOTHING)
        return;
    jw_key(w, "thinking");
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, b->plan.kind == PLAN_BUDGET     ? "enabled"
              : b->plan.kind == PLAN_ADAPTIVE ? "adaptive"
                                              : "disabled");
    if (b->plan.kind == PLAN_BUDGET) {
        jw_key(w, "budget_tokens");
        jw_i64(w, b->plan.budget);
    }
    jw_object_end(w);
}

static void write_output_config(struct anthropic_builder *b)
{
    struct json_writer *w = &b->w;
    bool format = b->r->format == FORMAT_SCHEMA && !anthropic_by_json_tool(b);
    if (!b->plan.effort && !format)
        return;
    jw_key(w, "output_config");
    jw_object(w);
    if (b->plan.effort) {
        jw_key(w, "effort");
        jw_str(w, b->plan.effort);
    }
    if (format) {
        jw_key(w, "format");
        jw_object(w);
        jw_key(w, "type");
        jw_str(w, "json_schema");
        jw_key(w, "schema");
        jw_raw(w, b->r->format_schema_json);
        jw_object_end(w);
    }
    jw_object_end(w);
}

/* The provider refuses addresses and phone numbers, and must not learn them. */
static bool is_personal(struct span id)
{
    size_t digits = 0;
    bool phone = true;
    if (span_find(id, '@') < id.len)
        return true;
    for (size_t i = 0; i < id.len; i++) {
        bool digit = id.data[i] >= '0' && id.data[i] <= '9';
        digits += digit;
        phone &= digit || memchr("+-() .", id.data[i], 6) != NULL;
    }
    return phone && digits >= 7;
}

static void write_user_id(struct anthropic_builder *b)
{
    struct buf id = {0};
    json_text_decode(b->r->user_text, &id);
    if (id.len) {
        jw_key(&b->w, "metadata");
        jw_object(&b->w);
        jw_key(&b->w, "user_id");
        if (is_personal(buf_span(&id))) {
            uint8_t hash[SHA256_BYTES];
            char text[2 * SHA256_BYTES + 1];
            crypto_sha256(buf_span(&id), hash);
            crypto_hex(hash, SHA256_BYTES, text);
            jw_str(&b->w, text);
        } else {
            jw_text(&b->w, b->r->user_text);
        }
        jw_object_end(&b->w);
    }
    buf_free(&id);
}

static void write_tier(struct anthropic_builder *b)
{
    struct span tier = b->r->service_tier_text;
    const char *word = span_is(tier, "auto") || span_is(tier, "priority") ? "auto"
                       : span_is(tier, "default")                         ? "standard_only"
                                                                          : NULL;
    if (word) {
        jw_key(&b->w, "service_tier");
        jw_str(&b->w, word);
    } else if (tier.len) {
        neutral_drop(b->r, "service_tier");
    }
}

static bool streams_upstream(const struct anthropic_builder *b)
{
    return b->r->stream || b->max_tokens > UNARY_MAX_OUT;
}

static enum err write_body(struct anthropic_builder *b)
{
    struct json_writer *w = &b->w;
    jw_object(w);
    jw_key(w, "model");
    jw_string(w, b->pc->target_model);
    jw_key(w, "max_tokens");
    jw_i64(w, b->max_tokens);
    if (streams_upstream(b)) {
        jw_key(w, "stream");
        jw_bool(w, true);
    }
    anthropic_write_tools(b);
    anthropic_write_tool_choice(b);
    write_system(b);
    jw_key(w, "messages");
    enum err e = anthropic_write_messages(b->pc, &b->conversation, w, &b->marks, b->fault);
    if (!e)
        e = write_stop(b);
    if (e)
        return e;
    write_sampling(b);
    write_thinking(b);
    write_output_config(b);
    write_user_id(b);
    write_tier(b);
    for (size_t i = 0; i < b->r->extra_count; i++)
        neutral_drop(b->r, b->r->extras[i].name);
    jw_object_end(w);
    return OK;
}

static enum err prepare(struct anthropic_builder *b)
{
    enum err e = check(b);
    if (e)
        return e;
    e = anthropic_arrange(b->pc, &b->conversation, b->fault);
    if (e)
        return e;
    b->max_tokens = max_tokens(b);
    b->state->json_tool = anthropic_by_json_tool(b);
    anthropic_plan_thinking(b->pc, &b->conversation, b->max_tokens, anthropic_is_forced(b),
                            &b->plan);
    return OK;
}

enum err anthropic_build_request(struct conversion *pc, struct api_error *fault_out)
{
    struct buf body = {0};
    struct anthropic_builder b = {.pc = pc,
                                  .r = pc->request,
                                  .row = pc->row,
                                  .state = ARENA_NEW(pc->arena, struct anthropic_state),
                                  .w = {.out = &body},
                                  .fault = fault_out,
                                  .marks = {.request = pc->request}};
    struct transfer *x = ARENA_NEW(pc->arena, struct transfer);
    if (!b.state || !x)
        return refuse(&b, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.", NULL);
    pc->state = b.state;
    enum err e = prepare(&b);
    if (!e)
        e = write_body(&b);
    if (!e) {
        *x = (struct transfer){.method = "POST",
                               .path = SPAN("/messages"),
                               .body = arena_copy(pc->arena, buf_span(&body)),
                               .expects_stream = streams_upstream(&b)};
        if (buf_check(&body) || !x->body.data)
            e = refuse(&b, ERROR_REQUEST_TOO_LARGE, "The request is too large to translate.", NULL);
    }
    if (!e)
        pc->next = x;
    buf_free(&body);
    return e;
}
