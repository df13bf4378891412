/* A chat's messages with all that is system in front, as one message: for servers whose template
 * knows no other place. */
#include "services/worker/pipeline/request_edit.h"

static bool is_system(struct json message)
{
    struct json role = json_get(message, "role");
    return json_is(role, "system") || json_is(role, "developer");
}

static bool is_in_place(struct json messages)
{
    size_t index = 0;
    for (struct json_iter i = json_iter(messages); json_next(&i); index++) {
        if (is_system(i.value) && index > 0)
            return false;
    }
    return true;
}

static void put_text(struct json_writer *w, struct json text, bool *any)
{
    if (json_type(text) != JSON_STRING || json_text(text).len == 0)
        return;
    if (*any)
        jw_string_text(w, SPAN("\\n\\n"));
    jw_string_text(w, json_text(text));
    *any = true;
}

static void put_system(struct json_writer *w, struct json messages)
{
    bool any = false;
    jw_object(w);
    jw_key(w, "role");
    jw_str(w, "system");
    jw_key(w, "content");
    jw_string_begin(w);
    for (struct json_iter i = json_iter(messages); json_next(&i);) {
        struct json content = json_get(i.value, "content");
        if (!is_system(i.value))
            continue;
        put_text(w, content, &any);
        for (struct json_iter k = json_iter(content);
             json_type(content) == JSON_ARRAY && json_next(&k);)
            put_text(w, json_get(k.value, "text"), &any);
    }
    jw_string_end(w);
    jw_object_end(w);
}

void request_put_system_first(struct json messages, struct buf *out)
{
    struct json_writer w = {.out = out};
    if (json_type(messages) != JSON_ARRAY || is_in_place(messages))
        return;
    jw_array(&w);
    put_system(&w, messages);
    for (struct json_iter i = json_iter(messages); json_next(&i);) {
        if (!is_system(i.value))
            jw_value(&w, i.value);
    }
    jw_array_end(&w);
}
