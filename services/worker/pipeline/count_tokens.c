/* Counts of tokens, Anthropic's and those of responses, for upstreams that do not speak the
 * client's protocol (docs/wire.md, Token counts): OpenAI counts at /responses/input_tokens, for all
 * others the edge's estimate is the answer, and says so. */
#include "services/worker/neutral/api_ops.h"
#include "services/worker/pipeline/pipeline_internal.h"
#include "services/worker/neutral/estimate.h"
#include "services/worker/pipeline/upstream_answer.h"

struct count_tokens {
    struct transfer transfer;
    struct neutral_request request;
    struct buf body;
    struct upstream_answer answer;
};

static struct count_tokens *state_of(struct pipeline *c)
{
    return c->kind_state;
}

/* ---- neutral request → OpenAI responses input ---- */

static void put_text_part(struct json_writer *w, const char *type, struct span text)
{
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, type);
    jw_key(w, "text");
    jw_text(w, text);
    jw_object_end(w);
}

static void put_data_url(struct json_writer *w, const struct part *p)
{
    if (p->url_text.len) {
        jw_text(w, p->url_text);
        return;
    }
    jw_string_begin(w);
    jw_string_text(w, SPAN("data:"));
    jw_string_text(w, p->media_type_text);
    jw_string_text(w, SPAN(";base64,"));
    jw_string_text(w, p->data_text);
    jw_string_end(w);
}

static void put_file_part(struct json_writer *w, const struct part *p)
{
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, p->kind == PART_IMAGE ? "input_image" : "input_file");
    if (p->kind == PART_IMAGE) {
        jw_key(w, "image_url");
        put_data_url(w, p);
    } else if (p->url_text.len) {
        jw_key(w, "file_url");
        jw_text(w, p->url_text);
    } else {
        jw_key(w, "filename");
        jw_text(w, p->title_text.len ? p->title_text : SPAN("document.pdf"));
        jw_key(w, "file_data");
        put_data_url(w, p);
    }
    jw_object_end(w);
}

/* Parts of a message; what is no message part is left to put_item. */
static void put_message_part(struct json_writer *w, const struct part *p, bool assistant)
{
    switch (p->kind) {
    case PART_TEXT:
    case PART_REFUSAL:
        put_text_part(w, assistant ? "output_text" : "input_text", p->text);
        break;
    case PART_IMAGE:
        put_file_part(w, p);
        break;
    case PART_DOCUMENT:
        if (p->text.len)
            put_text_part(w, "input_text", p->text);
        else
            put_file_part(w, p);
        break;
    case PART_SEARCH:
    case PART_TOOL_CALL:
    case PART_TOOL_RESULT:
    case PART_THINKING:
    case PART_REDACTED:
    case PART_OPAQUE:
        break;
    }
}

static bool is_message_part(const struct part *p)
{
    return p->kind == PART_TEXT || p->kind == PART_IMAGE || p->kind == PART_DOCUMENT;
}

static void put_result_text(struct json_writer *w, const struct part_list *parts)
{
    jw_string_begin(w);
    for (size_t i = 0; i < parts->count; i++)
        jw_string_text(w, parts->items[i].text);
    jw_string_end(w);
}

static void put_tool_item(struct json_writer *w, const struct part *p)
{
    bool call = p->kind == PART_TOOL_CALL;
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, call ? "function_call" : "function_call_output");
    jw_key(w, "call_id");
    jw_text(w, p->id_text);
    if (call) {
        jw_key(w, "name");
        jw_text(w, p->name_text);
        jw_key(w, "arguments");
        jw_string(w, p->args_json); /* an object always, as Anthropic's clients say it */
    } else {
        jw_key(w, "output");
        put_result_text(w, p->parts);
    }
    jw_object_end(w);
}

static void put_message(struct json_writer *w, const struct turn *turn)
{
    bool assistant = turn->role == ROLE_ASSISTANT;
    size_t count = 0;
    for (size_t i = 0; i < turn->parts.count; i++)
        count += is_message_part(&turn->parts.items[i]);
    if (count == 0)
        return;
    jw_object(w);
    jw_key(w, "role");
    jw_str(w, assistant                                            ? "assistant"
              : turn->role == ROLE_USER || turn->role == ROLE_TOOL ? "user"
                                                                   : "developer");
    jw_key(w, "content");
    jw_array(w);
    for (size_t i = 0; i < turn->parts.count; i++)
        put_message_part(w, &turn->parts.items[i], assistant);
    jw_array_end(w);
    jw_object_end(w);
}

/* Results stand before the rest of their turn, calls behind it: the order that OpenAI asks of
 * messages. */
static void put_turn(struct json_writer *w, const struct turn *turn)
{
    for (size_t i = 0; i < turn->parts.count; i++) {
        if (turn->parts.items[i].kind == PART_TOOL_RESULT)
            put_tool_item(w, &turn->parts.items[i]);
    }
    put_message(w, turn);
    for (size_t i = 0; i < turn->parts.count; i++) {
        if (turn->parts.items[i].kind == PART_TOOL_CALL)
            put_tool_item(w, &turn->parts.items[i]);
    }
}

static void put_tools(struct json_writer *w, const struct neutral_request *r)
{
    jw_key(w, "tools");
    jw_array(w);
    for (size_t i = 0; i < r->tool_count; i++) {
        const struct tool *t = &r->tools[i];
        if (t->server)
            continue;
        jw_object(w);
        jw_key(w, "type");
        jw_str(w, "function");
        jw_key(w, "name");
        jw_text(w, t->name_text);
        if (t->description_text.len) {
            jw_key(w, "description");
            jw_text(w, t->description_text);
        }
        jw_key(w, "parameters");
        jw_raw(w, t->schema_json);
        jw_object_end(w);
    }
    jw_array_end(w);
}

static void put_instructions(struct json_writer *w, const struct part_list *system)
{
    jw_key(w, "instructions");
    jw_string_begin(w);
    for (size_t i = 0; i < system->count; i++) {
        jw_string_text(w, i ? SPAN("\\n\\n") : SPAN_NONE);
        jw_string_text(w, system->items[i].text);
    }
    jw_string_end(w);
}

static void write_count_request(struct buf *out, struct span model, const struct neutral_request *r)
{
    struct json_writer w = {.out = out};
    jw_object(&w);
    jw_key(&w, "model");
    jw_string(&w, model);
    if (r->system.count)
        put_instructions(&w, &r->system);
    jw_key(&w, "input");
    jw_array(&w);
    for (size_t i = 0; i < r->turn_count; i++)
        put_turn(&w, &r->turns[i]);
    jw_array_end(&w);
    if (r->tool_count)
        put_tools(&w, r);
    jw_object_end(&w);
}

/* ---- answers ---- */

static void answer(struct pipeline *c, uint64_t tokens)
{
    struct json_writer w = {.out = &c->out};
    jw_object(&w);
    if (c->spec.api == API_OPENAI_RESPONSES) {
        jw_key(&w, "object");
        jw_str(&w, "response.input_tokens");
    }
    jw_key(&w, "input_tokens");
    jw_u64(&w, tokens);
    jw_object_end(&w);
    /* counting is free */
    c->usage = (struct usage){0};
    pipeline_finish(c);
}

static void answer_estimate(struct pipeline *c)
{
    uint64_t guess =
        c->spec.input_tokens ? c->spec.input_tokens : estimate_tokens(c->spec.body.len);
    c->estimated = true;
    answer(c, guess);
}

static void end_whole(struct pipeline *c)
{
    struct count_tokens *t = state_of(c);
    int64_t tokens;
    if (json_parse(&c->doc, buf_span(&t->answer.body), JSON_DEPTH_UPSTREAM) ||
        !json_i64(json_get(json_root(&c->doc), "input_tokens"), &tokens) || tokens < 0)
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL,
                            "the upstream's token count is not what its protocol says");
    else
        answer(c, (uint64_t)tokens);
}

static void end_error(struct pipeline *c)
{
    struct count_tokens *t = state_of(c);
    struct upstream_headers headers = upstream_answer_headers(&t->answer);
    struct api_error fault;
    /* a model or an account without this endpoint still gets an answer */
    if (t->answer.status == 404 || t->answer.status == 405) {
        answer_estimate(c);
        return;
    }
    pipeline_map_error(c, t->answer.status, &headers, buf_span(&t->answer.body), &fault);
    pipeline_fail(c, &fault);
}

static void on_head(struct pipeline *c, const struct transfer *x, unsigned status,
                    const struct upstream_headers *headers)
{
    (void)x;
    upstream_answer_begin(&state_of(c)->answer, status, headers, c->spec.max_response, &c->arena);
}

static void on_bytes(struct pipeline *c, const struct transfer *x, struct span bytes)
{
    (void)x;
    struct count_tokens *t = state_of(c);
    bool gathers = t->answer.mode == ANSWER_ERROR || t->answer.mode == ANSWER_WHOLE;
    if (gathers && upstream_answer_gather(&t->answer, bytes))
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
}

static void on_end(struct pipeline *c, const struct transfer *x)
{
    (void)x;
    switch (state_of(c)->answer.mode) {
    case ANSWER_ERROR:
        end_error(c);
        break;
    case ANSWER_WHOLE:
        end_whole(c);
        break;
    case ANSWER_NONE:
    case ANSWER_EVENTS:
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL,
                            "the upstream's token count is not what its protocol says");
        break;
    }
}

static void on_failure(struct pipeline *c, const struct transfer *x, const struct api_error *fault)
{
    (void)x;
    pipeline_fail(c, fault);
}

static void destroy(struct pipeline *c)
{
    struct count_tokens *t = state_of(c);
    buf_free(&t->body);
    upstream_answer_reset(&t->answer);
}

static size_t answer_bytes(const struct pipeline *c)
{
    const struct count_tokens *t = c->kind_state;
    return upstream_answer_bytes(&t->answer);
}

static const struct pipeline_kind kind = {.on_head = on_head,
                                          .on_bytes = on_bytes,
                                          .on_end = on_end,
                                          .on_failure = on_failure,
                                          .answer_bytes = answer_bytes,
                                          .destroy = destroy};

/* ---- start ---- */

/* The messages reader wants a cap, which a count has none of. */
static struct json with_cap(struct pipeline *c, struct json body)
{
    struct span raw = json_raw(body);
    if (!json_absent(json_get(body, "max_tokens")) || json_count(body) == 0)
        return body;
    struct span text =
        arena_printf(&c->arena, "{\"max_tokens\":1,%.*s", (int)(raw.len - 1), raw.data + 1);
    return text.data && json_parse(&c->doc, text, JSON_DEPTH_CLIENT) == OK ? json_root(&c->doc)
                                                                           : body;
}

enum err count_tokens_start(struct pipeline *c, struct json body, struct api_error *fault_out)
{
    struct count_tokens *t = ARENA_NEW(&c->arena, struct count_tokens);
    if (!t)
        return ERR_NOMEM;
    bool responses = c->spec.api == API_OPENAI_RESPONSES;
    const struct api_ops *api = responses ? &api_openai_responses : &api_anthropic_messages;
    enum err e =
        api->read_request(responses ? body : with_cap(c, body), &c->arena, &t->request, fault_out);
    if (e)
        return e;
    c->kind = &kind;
    c->kind_state = t;
    if (responses || !c->compat.is_openai || c->spec.provider->protocol != PROTOCOL_OPENAI) {
        answer_estimate(c);
        return OK;
    }
    buf_init(&t->body, c->spec.body.len * 2 + 4096);
    write_count_request(&t->body, c->spec.target_model, &t->request);
    if (buf_check(&t->body))
        return ERR_TOO_BIG;
    t->transfer = (struct transfer){.method = "POST",
                                    .path = SPAN("/responses/input_tokens"),
                                    .body = buf_span(&t->body),
                                    .repeatable = true};
    pipeline_send(c, &t->transfer);
    return OK;
}
