/* A part of the configuration as JSON: parameters and capabilities go to the worker in that form.
 */
#include "common/base/json.h"
#include "common/runtime/config/yaml.h"

static void put_json(struct json_writer *w, const struct yaml *node)
{
    struct json_doc doc = {0};
    switch (node->kind) {
    case YAML_TEXT:
        if (!node->quoted && json_parse(&doc, span_str(node->text), 1) == OK)
            jw_raw(w, span_trim(span_str(node->text)));
        else
            jw_str(w, node->text);
        json_doc_free(&doc);
        return;
    case YAML_LIST:
        jw_array(w);
        for (const struct yaml *i = node->first; i; i = i->next)
            put_json(w, i);
        jw_array_end(w);
        return;
    case YAML_MAP:
        jw_object(w);
        for (const struct yaml *i = node->first; i; i = i->next) {
            struct buf key = {0};
            json_append_text(&key, span_str(i->key));
            jw_key_text(w, buf_span(&key));
            buf_free(&key);
            put_json(w, i);
        }
        jw_object_end(w);
        return;
    }
}

const char *yaml_to_json(struct yaml_reader *r, const struct yaml *node)
{
    struct buf text = {0};
    struct json_writer w = {.out = &text};
    put_json(&w, node);
    const char *copy = buf_check(&text) == OK ? arena_strdup(r->arena, buf_span(&text)) : NULL;
    buf_free(&text);
    if (!copy)
        yaml_complain(r, node->line, "", "does not fit into memory");
    return copy;
}
