/* Checks of values that are passed on as JSON: a number in quotes is no number there. */
#include "common/base/json.h"
#include "common/runtime/config/option.h"

static void check_item(const struct option_row *row, struct json v, struct arena *arena,
                       struct buf *why)
{
    const char *text = arena_strdup(arena, json_string(v, arena));
    if (json_type(v) != JSON_STRING)
        buf_printf(why, "expected a list of texts");
    else if (text && row->limits.words)
        option_check_limits(row, text, why);
}

static void check_list(const struct option_row *row, struct json v, struct arena *arena,
                       struct buf *why)
{
    if (json_type(v) == JSON_STRING && !row->limits.words)
        return;
    if (json_type(v) != JSON_ARRAY)
        buf_printf(why, "expected a list of texts");
    for (struct json_iter i = json_iter(v); json_next(&i) && !why->len;)
        check_item(row, i.value, arena, why);
}

static bool is_type(const struct option_row *row, struct json v)
{
    int64_t whole;
    switch (row->type) {
    case OPTION_BOOL:
        return json_type(v) == JSON_BOOL;
    case OPTION_U32:
        return json_i64(v, &whole) && whole >= 0 && whole <= UINT32_MAX;
    case OPTION_NUMBER:
        return json_type(v) == JSON_NUMBER;
    case OPTION_STR: /* true and false may be among the words */
        return json_type(v) == JSON_STRING || (json_type(v) == JSON_BOOL && row->limits.words);
    case OPTION_MAP:
        return json_type(v) == JSON_OBJECT;
    case OPTION_JSON:
    case OPTION_LIST:
    case OPTION_U64:
    case OPTION_SIZE:
    case OPTION_MS:
    case OPTION_RATE:
    case OPTION_PRICE:
    case OPTION_MAPS:
    case OPTION_TYPES:
        break;
    }
    return true;
}

static void check_value(const struct option_row *row, struct json v, struct arena *arena,
                        struct buf *why)
{
    if (row->type == OPTION_LIST) {
        check_list(row, v, arena, why);
    } else if (!is_type(row, v)) {
        buf_printf(why, "expected %s", option_type_text(row->type));
    } else if (row->type == OPTION_U32 || row->type == OPTION_NUMBER || row->type == OPTION_STR) {
        struct span text = json_type(v) == JSON_STRING ? json_string(v, arena) : json_raw(v);
        const char *copy = arena_strdup(arena, text);
        if (copy)
            option_check_limits(row, copy, why);
    }
}

void option_check_json(const struct option_row *row, const char *json, struct arena *arena,
                       struct buf *why)
{
    struct json_doc doc = {0};
    if (json_parse(&doc, span_str(json), JSON_DEPTH_CLIENT) == OK)
        check_value(row, json_root(&doc), arena, why);
    else
        buf_printf(why, "does not fit into JSON");
    json_doc_free(&doc);
}
