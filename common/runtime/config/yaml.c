#include "common/runtime/config/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <yaml.h>

#include "common/base/json.h"
#include "common/runtime/config/value.h"

enum { DEPTH_MAX = 16 };

void yaml_complain(struct yaml_reader *r, unsigned line, const char *where, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_append_str(r->errors, r->path);
    if (line)
        buf_printf(r->errors, ":%u", line);
    buf_printf(r->errors, ": %s%s%s\n", where, *where ? ": " : "", text);
    r->error_count++;
}

struct yaml *yaml_member(const struct yaml *map, const char *key)
{
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (struct yaml *m = map->first; m; m = m->next) {
        if (strcmp(m->key, key) == 0)
            return m;
    }
    return NULL;
}

void yaml_check_keys(struct yaml_reader *r, const struct yaml *map, const char *where,
                     const char *const *keys)
{
    for (const struct yaml *m = map->first; m; m = m->next) {
        bool known = false;
        for (const char *const *k = keys; *k && !known; k++)
            known = strcmp(*k, m->key) == 0;
        if (known)
            continue;
        char place[256];
        (void)snprintf(place, sizeof place, "%s%s%s", where, *where ? "." : "", m->key);
        const char *near = value_nearest(m->key, keys);
        if (near)
            yaml_complain(r, m->key_line, place, "unknown key (did you mean %s?)", near);
        else
            yaml_complain(r, m->key_line, place, "unknown key");
    }
}

static struct yaml *convert(struct yaml_reader *r, yaml_document_t *doc, int index, unsigned depth);

static bool add_child(struct yaml_reader *r, yaml_document_t *doc, struct yaml ***tail, int value,
                      unsigned depth)
{
    struct yaml *child = convert(r, doc, value, depth + 1);
    if (!child)
        return false;
    **tail = child;
    *tail = &child->next;
    return true;
}

static bool add_member(struct yaml_reader *r, yaml_document_t *doc, struct yaml *map,
                       struct yaml ***tail, const yaml_node_pair_t *pair, unsigned depth)
{
    yaml_node_t *key = yaml_document_get_node(doc, pair->key);
    if (!key || key->type != YAML_SCALAR_NODE) {
        yaml_complain(r, map->line, "", "a key must be a plain word");
        return false;
    }
    const char *name = (const char *)key->data.scalar.value;
    unsigned line = (unsigned)key->start_mark.line + 1;
    if (yaml_member(map, name)) {
        yaml_complain(r, line, name, "given twice");
        return false;
    }
    struct yaml **at = *tail;
    if (!add_child(r, doc, tail, pair->value, depth))
        return false;
    (*at)->key = arena_strdup(r->arena, span_str(name));
    (*at)->key_line = line;
    return (*at)->key != NULL;
}

/* Recursion is bounded by DEPTH_MAX. */
static struct yaml *convert(struct yaml_reader *r, yaml_document_t *doc, int index, unsigned depth)
{
    yaml_node_t *node = yaml_document_get_node(doc, index);
    struct yaml *out = node ? ARENA_NEW(r->arena, struct yaml) : NULL;
    if (!out)
        return NULL;
    out->line = (unsigned)node->start_mark.line + 1;
    if (depth > DEPTH_MAX) {
        yaml_complain(r, out->line, "", "nested too deeply");
        return NULL;
    }
    struct yaml **tail = &out->first;
    switch (node->type) {
    case YAML_SCALAR_NODE:
        out->kind = YAML_TEXT;
        out->quoted = node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        out->text =
            arena_strdup(r->arena, span_of(node->data.scalar.value, node->data.scalar.length));
        return out->text ? out : NULL;
    case YAML_SEQUENCE_NODE:
        out->kind = YAML_LIST;
        for (yaml_node_item_t *i = node->data.sequence.items.start;
             i < node->data.sequence.items.top; i++) {
            if (!add_child(r, doc, &tail, *i, depth))
                return NULL;
        }
        return out;
    case YAML_MAPPING_NODE:
        out->kind = YAML_MAP;
        for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
             p++) {
            if (!add_member(r, doc, out, &tail, p, depth))
                return NULL;
        }
        return out;
    case YAML_NO_NODE:
        break;
    }
    return NULL;
}

static struct yaml *read_document(struct yaml_reader *r, yaml_parser_t *parser)
{
    yaml_document_t doc;
    if (!yaml_parser_load(parser, &doc)) {
        yaml_complain(r, (unsigned)parser->problem_mark.line + 1, "", "not YAML: %s",
                      parser->problem ? parser->problem : "unreadable");
        return NULL;
    }
    struct yaml *tree;
    if (!yaml_document_get_root_node(&doc)) {
        tree = ARENA_NEW(r->arena, struct yaml);
        if (tree)
            tree->kind = YAML_MAP;
    } else {
        tree = convert(r, &doc, 1, 0);
    }
    yaml_document_delete(&doc);
    return tree;
}

struct yaml *yaml_read_file(struct yaml_reader *r, const char *path)
{
    yaml_parser_t parser;
    FILE *file = fopen(path, "re");
    if (!file) {
        yaml_complain(r, 0, "", "%s", strerror(errno));
        return NULL;
    }
    if (!yaml_parser_initialize(&parser)) {
        (void)fclose(file);
        return NULL;
    }
    yaml_parser_set_input_file(&parser, file);
    struct yaml *tree = read_document(r, &parser);
    yaml_parser_delete(&parser);
    (void)fclose(file);
    if (tree && tree->kind != YAML_MAP) {
        yaml_complain(r, tree->line, "", "expected keys and values, such as `models:`");
        return NULL;
    }
    return tree;
}

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
    const char *copy = arena_strdup(r->arena, buf_span(&text));
    buf_free(&text);
    return copy;
}
