/* The client's request as the parts will send it: read, capped, one per prompt. */
#include "services/worker/pipeline/request_edit.h"
#include "services/worker/pipeline/translation.h"

enum { COMPLETIONS_DEFAULT_MAX_OUT = 1000 };

/* Anthropic's SDK keeps conversations on the server where it can, and goes back to whole ones when
 * it is told exactly this; dropping the member would lose the conversation's beginning. */
static enum err refuse_thread(struct api_error *fault_out)
{
    api_error_set(fault_out, ERROR_UNSUPPORTED_PARAMETER,
                  "thread is not supported for this model: send all messages", "thread");
    fault_out->details_json =
        SPAN("{\"error_code\":\"thread_unsupported_request\",\"unsupported\":[\"thread\"]}");
    return ERR_INVALID;
}

/* Configured defaults are put into the client's own words before they are read. */
enum err translation_read(struct translation *t, struct json body, struct api_error *fault_out)
{
    struct pipeline *c = t->pipeline;
    if (api_is_anthropic(c->spec.api) && !json_absent(json_get(body, "thread")))
        return refuse_thread(fault_out);
    struct request_edit edit = {
        .api = c->spec.api, .compat = &c->compat, .config = c->spec.model_config};
    struct buf edited = {.max = c->spec.body.len + (1u << 20)};
    enum err e = request_edit_defaults(&edit, body, &edited);
    if (e == OK && edited.len) {
        struct span text = arena_copy(&c->arena, buf_span(&edited));
        e = text.data ? json_parse(&c->doc, text, JSON_DEPTH_CLIENT) : ERR_NOMEM;
        body = json_root(&c->doc);
    }
    buf_free(&edited);
    return e ? e : t->api->read_request(body, &c->arena, &t->request, fault_out);
}

void translation_apply_caps(struct translation *t)
{
    struct neutral_request *r = &t->request;
    const struct pipeline *c = t->pipeline;
    if (r->api == API_OPENAI_COMPLETIONS && !r->has_max_out) {
        r->has_max_out = true;
        r->max_out = COMPLETIONS_DEFAULT_MAX_OUT;
    }
    uint64_t parts = r->prompt_count > 1 ? r->prompt_count : 1;
    int64_t cap =
        c->spec.output_cap / parts < INT64_MAX ? (int64_t)(c->spec.output_cap / parts) : INT64_MAX;
    if (c->spec.output_cap == 0 || (r->has_max_out && r->max_out <= cap))
        return;
    r->has_max_out = true;
    r->max_out = cap ? cap : 1;
}

/* A part's request is the client's, with one of its prompts. */
static enum err set_prompt(struct prompt_part *part, const struct span *prompt)
{
    struct arena *arena = &part->owner->pipeline->arena;
    struct turn *turn = ARENA_NEW(arena, struct turn);
    if (!turn)
        return ERR_NOMEM;
    *turn = (struct turn){.role = ROLE_USER, .plain = true};
    struct part *text = part_list_add(&turn->parts, arena);
    if (!text)
        return ERR_NOMEM;
    *text = (struct part){.kind = PART_TEXT, .text = *prompt};
    part->request.turns = turn;
    part->request.turn_count = 1;
    return OK;
}

static enum err init_part(struct translation *t, uint32_t index)
{
    struct pipeline *c = t->pipeline;
    struct prompt_part *part = &t->prompt_parts[index];
    *part = (struct prompt_part){
        .owner = t, .index = index, .request = t->request, .usage = USAGE_NONE};
    part->pc = (struct conversion){.provider = c->spec.provider,
                                   .request = &part->request,
                                   .target_model = c->spec.target_model,
                                   .row = c->row,
                                   .compat = c->compat,
                                   .schemas = c->spec.schemas,
                                   .arena = &c->arena,
                                   .doc = &part->doc,
                                   .emit = translation_emit,
                                   .emit_ctx = part,
                                   .now_s = c->spec.now_s};
    return t->part_count > 1 ? set_prompt(part, &t->request.prompts_text[index]) : OK;
}

enum err translation_make_parts(struct translation *t, struct api_error *fault_out)
{
    size_t count = t->request.prompt_count > 1 ? t->request.prompt_count : 1;
    if (count > TRANSLATION_MAX_PROMPTS) {
        api_error_set(fault_out, ERROR_INVALID_VALUE,
                      "too many prompts for this model: 128 at most", "prompt");
        return ERR_INVALID;
    }
    t->prompt_parts = ARENA_ARRAY(&t->pipeline->arena, struct prompt_part, count);
    if (!t->prompt_parts)
        return ERR_NOMEM;
    t->part_count = count;
    for (uint32_t i = 0; i < count; i++) {
        enum err e = init_part(t, i);
        if (e)
            return e;
    }
    return OK;
}
