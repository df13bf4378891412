#include "common/runtime/config/yaml.h"

#include <stdarg.h>
#include <stdio.h>

#include <yaml.h>

/* ---- complaints ---- */

static void put_line(struct buf *out, const struct yaml_reader *r, unsigned line, const char *where,
                     const char *format, va_list args) __attribute__((format(printf, 5, 0)));

static void put_line(struct buf *out, const struct yaml_reader *r, unsigned line, const char *where,
                     const char *format, va_list args)
{
    char text[512];
    (void)vsnprintf(text, sizeof text, format, args);
    buf_append_str(out, r->path);
    if (line)
        buf_printf(out, ":%u", line);
    buf_printf(out, ": %s%s%s\n", where, *where ? ": " : "", text);
}

void yaml_complain(struct yaml_reader *r, unsigned line, const char *where, const char *format, ...)
{
    va_list args;
    if (++r->error_count == YAML_MAX_COMPLAINTS)
        buf_printf(r->errors, "%s: … and more\n", r->path);
    if (r->error_count >= YAML_MAX_COMPLAINTS)
        return;
    va_start(args, format);
    put_line(r->errors, r, line, where, format, args);
    va_end(args);
}

void yaml_warn(struct yaml_reader *r, unsigned line, const char *where, const char *format, ...)
{
    va_list args;
    if (++r->warning_count > YAML_MAX_COMPLAINTS)
        return;
    va_start(args, format);
    put_line(r->warnings, r, line, where, format, args);
    va_end(args);
}

/* ---- reading ---- */

struct anchor {
    const char *name;
    const struct yaml *node;
};

struct parse {
    struct yaml_reader *r;
    yaml_parser_t parser;
    unsigned nodes;
    struct anchor anchors[YAML_MAX_ANCHORS];
    unsigned anchor_count;
};

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

static bool next_event(struct parse *p, yaml_event_t *event)
{
    if (yaml_parser_parse(&p->parser, event))
        return true;
    if (p->parser.error == YAML_MEMORY_ERROR)
        yaml_complain(p->r, 0, "", "out of memory");
    else
        yaml_complain(p->r, (unsigned)p->parser.problem_mark.line + 1, "", "not YAML: %s",
                      p->parser.problem ? p->parser.problem : "unreadable");
    return false;
}

static unsigned line_of(const yaml_event_t *event)
{
    return (unsigned)event->start_mark.line + 1;
}

static const char *copy_text(struct parse *p, const yaml_event_t *event)
{
    struct span text = span_of(event->data.scalar.value, event->data.scalar.length);
    if (memchr(text.data, '\0', text.len)) {
        yaml_complain(p->r, line_of(event), "", "holds a zero byte");
        return NULL;
    }
    return arena_strdup(p->r->arena, text);
}

static bool count_nodes(struct parse *p, unsigned line, unsigned more)
{
    p->nodes += more;
    if (p->nodes <= YAML_MAX_NODES)
        return true;
    yaml_complain(p->r, line, "", "more than %u values, those behind aliases counted each time",
                  YAML_MAX_NODES);
    return false;
}

/* A node that will hold children until the end event that belongs to it. */
static bool open_node(struct parse *p, const yaml_event_t *event, enum yaml_kind kind,
                      struct yaml **out)
{
    struct yaml *node = *out = ARENA_NEW(p->r->arena, struct yaml);
    if (!node)
        return false;
    *node = (struct yaml){.kind = kind, .line = line_of(event), .nodes = 1};
    if (kind == YAML_TEXT) {
        node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        node->text = copy_text(p, event);
        if (!node->text)
            return false;
    }
    return count_nodes(p, node->line, 1);
}

static bool note_anchor(struct parse *p, const yaml_char_t *name, const struct yaml *node)
{
    if (!name)
        return true;
    if (p->anchor_count == YAML_MAX_ANCHORS) {
        yaml_complain(p->r, node->line, "", "more than %u anchors", YAML_MAX_ANCHORS);
        return false;
    }
    const char *copy = arena_strdup(p->r->arena, span_str((const char *)name));
    p->anchors[p->anchor_count++] = (struct anchor){copy, node};
    return copy != NULL;
}

/* The last one of that name whose value is complete. */
static bool follow_alias(struct parse *p, const yaml_event_t *event, unsigned depth,
                         struct yaml **out)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct yaml *found = NULL;
    for (unsigned i = 0; i < p->anchor_count; i++) {
        if (strcmp(p->anchors[i].name, name) == 0)
            found = p->anchors[i].node;
    }
    if (!found) {
        yaml_complain(p->r, line_of(event), "", "*%s: no &%s before it", name, name);
        return false;
    }
    if (depth + found->depth > YAML_MAX_DEPTH) {
        yaml_complain(p->r, line_of(event), "", "nested too deeply");
        return false;
    }
    *out = ARENA_NEW(p->r->arena, struct yaml);
    if (!*out)
        return false;
    **out = *found;
    (*out)->next = NULL;
    return count_nodes(p, line_of(event), found->nodes);
}

static bool read_value(struct parse *p, const yaml_event_t *event, unsigned depth,
                       struct yaml **out);

static void adopt(struct yaml *parent, struct yaml ***tail, struct yaml *child)
{
    **tail = child;
    *tail = &child->next;
    parent->nodes += child->nodes;
    if (child->depth + 1 > parent->depth)
        parent->depth = child->depth + 1;
}

static bool read_key(struct parse *p, const struct yaml *map, const yaml_event_t *event,
                     const char **key_out)
{
    if (event->type != YAML_SCALAR_EVENT) {
        yaml_complain(p->r, map->line, "", "a key must be a plain word");
        return false;
    }
    *key_out = copy_text(p, event);
    if (*key_out && yaml_member(map, *key_out)) {
        yaml_complain(p->r, line_of(event), *key_out, "given twice");
        return false;
    }
    return *key_out != NULL;
}

/* A list's item, or a map's member whose key is the event. */
static bool read_child(struct parse *p, const struct yaml *parent, yaml_event_t *event,
                       unsigned depth, struct yaml **out)
{
    const char *key = NULL;
    unsigned line = line_of(event);
    if (parent->kind == YAML_MAP) {
        if (!read_key(p, parent, event, &key))
            return false;
        yaml_event_delete(event);
        if (!next_event(p, event))
            return false;
    }
    if (!read_value(p, event, depth + 1, out))
        return false;
    (*out)->key = key;
    (*out)->key_line = line;
    return true;
}

#define TOO_MANY_KEYS "more than %d keys in one place"

static bool read_children(struct parse *p, struct yaml *parent, unsigned depth)
{
    struct yaml **tail = &parent->first;
    unsigned count = 0;
    for (bool ok = true; ok;) {
        yaml_event_t event;
        struct yaml *child = NULL;
        if (!next_event(p, &event))
            return false;
        bool end = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        if (!end)
            ok = read_child(p, parent, &event, depth, &child);
        yaml_event_delete(&event);
        if (end)
            return true;
        if (ok)
            adopt(parent, &tail, child);
        if (ok && parent->kind == YAML_MAP && ++count > YAML_MAX_KEYS) {
            yaml_complain(p->r, parent->line, "", TOO_MANY_KEYS, YAML_MAX_KEYS);
            ok = false;
        }
    }
    return false;
}

/* ---- merge keys: `<<: *other`, `<<: [*one, *two]` ---- */

static const char merge_key[] = "<<";

/* What the map gives itself, or an earlier one has given, stands. */
static bool merge_from(struct parse *p, struct yaml *map, const struct yaml *from)
{
    struct yaml **tail = &map->first;
    unsigned count = 0;
    if (from->kind != YAML_MAP) {
        yaml_complain(p->r, from->line, merge_key,
                      "expected keys and values of another place, or a list of such: *NAME");
        return false;
    }
    for (; *tail; count++)
        tail = &(*tail)->next;
    for (const struct yaml *m = from->first; m; m = m->next) {
        if (++count > YAML_MAX_KEYS) {
            yaml_complain(p->r, map->line, "", TOO_MANY_KEYS, YAML_MAX_KEYS);
            return false;
        }
        struct yaml *copy = yaml_member(map, m->key) ? NULL : ARENA_NEW(p->r->arena, struct yaml);
        if (!copy && p->r->arena->failed)
            return false;
        if (!copy)
            continue;
        *copy = *m;
        copy->next = NULL;
        *tail = copy;
        tail = &copy->next;
    }
    return true;
}

/* Its members were counted where they stand behind the key. */
static bool merge(struct parse *p, struct yaml *map)
{
    struct yaml **at = &map->first;
    while (*at && strcmp((*at)->key, merge_key) != 0)
        at = &(*at)->next;
    const struct yaml *from = *at;
    if (!from)
        return true;
    *at = from->next;
    if (from->kind != YAML_LIST)
        return merge_from(p, map, from);
    for (const struct yaml *i = from->first; i; i = i->next) {
        if (!merge_from(p, map, i))
            return false;
    }
    return true;
}

/* Recursion is bounded by YAML_MAX_DEPTH. */
static bool read_value(struct parse *p, const yaml_event_t *event, unsigned depth,
                       struct yaml **out)
{
    if (depth > YAML_MAX_DEPTH) {
        yaml_complain(p->r, line_of(event), "", "nested too deeply");
        return false;
    }
    if (event->type == YAML_ALIAS_EVENT)
        return follow_alias(p, event, depth, out);
    if (event->type == YAML_SCALAR_EVENT)
        return open_node(p, event, YAML_TEXT, out) &&
               note_anchor(p, event->data.scalar.anchor, *out);
    if (event->type == YAML_SEQUENCE_START_EVENT)
        return open_node(p, event, YAML_LIST, out) && read_children(p, *out, depth) &&
               note_anchor(p, event->data.sequence_start.anchor, *out);
    return open_node(p, event, YAML_MAP, out) && read_children(p, *out, depth) && merge(p, *out) &&
           note_anchor(p, event->data.mapping_start.anchor, *out);
}

static bool empty_map(struct parse *p, struct yaml **out)
{
    *out = ARENA_NEW(p->r->arena, struct yaml);
    if (*out)
        (*out)->kind = YAML_MAP;
    return *out != NULL;
}

/* The first document's value; the events before it only announce it. */
static bool read_document(struct parse *p, struct yaml **out)
{
    bool announces = true, ok = true;
    while (announces) {
        yaml_event_t event;
        if (!next_event(p, &event))
            return false;
        announces =
            event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT;
        if (event.type == YAML_STREAM_END_EVENT)
            ok = empty_map(p, out);
        else if (!announces)
            ok = read_value(p, &event, 0, out);
        yaml_event_delete(&event);
    }
    return ok;
}

/* What follows the document would be ignored. */
static bool read_end(struct parse *p)
{
    yaml_event_type_t type = YAML_DOCUMENT_END_EVENT;
    while (type == YAML_DOCUMENT_END_EVENT) {
        yaml_event_t event;
        if (!next_event(p, &event))
            return false;
        type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT)
            yaml_complain(p->r, line_of(&event), "", "a second document: only one is read");
        yaml_event_delete(&event);
    }
    return type != YAML_DOCUMENT_START_EVENT;
}

struct yaml *yaml_read(struct yaml_reader *r, struct span text)
{
    struct yaml *tree = NULL;
    if (text.len > YAML_MAX_BYTES) {
        yaml_complain(r, 0, "", "larger than %d MiB", YAML_MAX_BYTES >> 20);
        return NULL;
    }
    struct parse *p = ARENA_NEW(r->arena, struct parse);
    if (!p || !yaml_parser_initialize(&p->parser)) {
        yaml_complain(r, 0, "", "out of memory");
        return NULL;
    }
    p->r = r;
    yaml_parser_set_input_string(&p->parser, (const unsigned char *)text.data, text.len);
    bool ok = read_document(p, &tree) && read_end(p);
    yaml_parser_delete(&p->parser);
    if (!ok && r->error_count == 0)
        yaml_complain(r, 0, "", "out of memory");
    if (!ok)
        return NULL;
    if (tree->kind != YAML_MAP) {
        yaml_complain(r, tree->line, "", "expected keys and values, such as `models:`");
        return NULL;
    }
    return tree;
}
