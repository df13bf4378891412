/* A client's body through each reader (the first byte says which): refused with a fault, or read in
 * at most 16 times its size, into pieces of JSON that are whole. */
#include "fuzz/fuzz.h"
#include "services/worker/neutral/api_ops.h"

static struct json_doc piece_doc;

static void require_json(struct span json)
{
    REQUIRE(!json.len || json_parse(&piece_doc, json, JSON_DEPTH_CLIENT) == OK);
}

static void require_text(struct span text)
{
    struct buf quoted = {0};
    buf_append_char(&quoted, '"');
    buf_append(&quoted, text);
    buf_append_char(&quoted, '"');
    require_json(buf_span(&quoted));
    buf_free(&quoted);
}

static void require_part(const struct part *p)
{
    const struct span texts[] = {p->text,       p->url_text,    p->media_type_text, p->data_text,
                                 p->title_text, p->id_text,     p->context_text,    p->name_text,
                                 p->args_text,  p->detail_text, p->signature_text};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        require_text(texts[i]);
    require_json(p->args_json);
    require_json(p->raw_json);
    require_json(p->cache_json);
}

static void require_parts(const struct part_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        require_part(&list->items[i]);
        for (size_t k = 0; list->items[i].parts && k < list->items[i].parts->count; k++)
            require_part(&list->items[i].parts->items[k]);
    }
}

static void require_request(const struct neutral_request *r)
{
    const struct span numbers[] = {r->temperature_json,
                                   r->top_p_json,
                                   r->top_k_json,
                                   r->seed_json,
                                   r->frequency_penalty_json,
                                   r->presence_penalty_json,
                                   r->format_schema_json,
                                   r->format_strict_json,
                                   r->cache_json};
    const struct span texts[] = {r->tool_name_text, r->effort_text, r->format_name_text,
                                 r->user_text, r->service_tier_text};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        require_json(numbers[i]);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        require_text(texts[i]);
    require_parts(&r->system);
    for (size_t i = 0; i < r->turn_count; i++)
        require_parts(&r->turns[i].parts);
    for (size_t i = 0; i < r->tool_count; i++) {
        require_text(r->tools[i].name_text);
        require_text(r->tools[i].description_text);
        require_json(r->tools[i].schema_json);
    }
    for (size_t i = 0; i < r->extra_count; i++)
        require_json(r->extras[i].json);
    for (size_t i = 0; i < r->prompt_count; i++)
        require_text(r->prompts_text[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct api_ops *const apis[] = {&api_openai_chat, &api_anthropic_messages,
                                                 &api_openai_completions, &api_openai_responses};
    static struct json_doc doc;
    if (size < 2 || json_parse(&doc, span_of(data + 1, size - 1), JSON_DEPTH_CLIENT) != OK)
        return 0;
    struct arena arena;
    struct neutral_request request;
    struct api_error fault = {0};
    arena_init(&arena, 32 * size + 4096);
    enum err e = apis[data[0] % 4]->read_request(json_root(&doc), &arena, &request, &fault);
    if (e)
        REQUIRE(e == ERR_INVALID && fault.error_class != ERROR_NONE &&
                fault.error_class != ERROR_REQUEST_TOO_LARGE);
    else
        require_request(&request);
    arena_free(&arena);
    return 0;
}
