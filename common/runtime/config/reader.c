#include "common/runtime/config/reader.h"

#include <stdio.h>

#include "common/runtime/config/value.h"

/* ---- nodes ---- */

const char *reader_place(struct config_reader *r, const char *section, const char *key)
{
    struct span s = arena_printf(r->yaml.arena, "%s%s%s", section, *section ? "." : "", key);
    return s.data ? s.data : section;
}

const char *reader_text(struct config_reader *r, const struct yaml *node, const char *where)
{
    if (!node)
        return NULL;
    if (node->kind == YAML_TEXT)
        return node->text;
    yaml_complain(&r->yaml, node->line, where, "expected one value");
    return NULL;
}

size_t reader_count(const struct yaml *node)
{
    size_t count = 0;
    for (const struct yaml *i = node ? node->first : NULL; i; i = i->next)
        count++;
    return count;
}

bool reader_is_map(struct config_reader *r, const struct yaml *node, const char *where)
{
    if (!node || node->kind == YAML_MAP || (node->kind == YAML_TEXT && !*node->text))
        return true;
    yaml_complain(&r->yaml, node->line, where, "expected keys and values");
    return false;
}

/* ---- values ---- */

/* {run} and {state} become the directories. */
static const char *with_paths(struct config_reader *r, const char *text)
{
    static const char *const names[] = {"{run}", "{state}"};
    const char *values[] = {r->paths->run, r->paths->state};
    for (int i = 0; i < 2; i++) {
        const char *at = strstr(text, names[i]);
        if (at && values[i]) {
            struct span s = arena_printf(r->yaml.arena, "%.*s%s%s", (int)(at - text), text,
                                         values[i], at + strlen(names[i]));
            text = s.data ? s.data : text;
        }
    }
    return text;
}

/* Only options that a start alone takes are about files and sockets. */
static const char *text_of(struct config_reader *r, const struct option_row *row, const char *text)
{
    bool may_hold_paths = row->when == OPTION_START && strchr(text, '{');
    return may_hold_paths ? with_paths(r, text) : text;
}

/* A daemon would take the variable's name for the value. */
static bool complain_of_variable(struct config_reader *r, const struct option_row *row,
                                 const struct yaml *node, const char *where, const char *text)
{
    if (row->limits.variables || !config_has_variable(text))
        return false;
    yaml_complain(&r->yaml, node->line, where,
                  "%s: variables are read in a provider's api_keys, endpoints, headers, "
                  "organization and proxy alone; write the value itself",
                  text);
    return true;
}

static void complain_if(struct config_reader *r, const struct yaml *node, const char *where,
                        struct buf *why)
{
    if (why->len)
        yaml_complain(&r->yaml, node->line, where, "%.*s", SPAN_ARG(buf_span(why)));
    buf_free(why);
}

static void set_scalar(struct config_reader *r, const struct option_row *row,
                       const struct yaml *node, const char *where, void *at)
{
    struct buf why = {0};
    const char *text = reader_text(r, node, where);
    if (!text)
        return;
    if (complain_of_variable(r, row, node, where, text))
        return;
    text = text_of(r, row, text);
    if (!option_parse(row, text, at))
        buf_printf(&why, "expected %s", option_type_text(row->type));
    else
        option_check_limits(row, text, &why);
    complain_if(r, node, where, &why);
}

static void add_item(struct config_reader *r, const struct option_row *row, const struct yaml *node,
                     const char *where, struct config_list *list)
{
    struct buf why = {0};
    const char *text = reader_text(r, node, where);
    if (!text)
        return;
    if (complain_of_variable(r, row, node, where, text))
        return;
    text = text_of(r, row, text);
    list->items[list->count++] = text;
    option_check_limits(row, text, &why);
    complain_if(r, node, where, &why);
}

/* One value is a list of one; an empty text is an empty list. */
static void set_list(struct config_reader *r, const struct option_row *row, const struct yaml *node,
                     const char *where, struct config_list *list)
{
    struct buf why = {0};
    *list =
        (struct config_list){ARENA_ARRAY(r->yaml.arena, const char *, reader_count(node) + 1), 0};
    if (!list->items)
        return;
    if (node->kind == YAML_MAP)
        yaml_complain(&r->yaml, node->line, where, "expected a list");
    else if (node->kind == YAML_TEXT && *node->text)
        add_item(r, row, node, where, list);
    for (const struct yaml *i = node->kind == YAML_LIST ? node->first : NULL; i; i = i->next)
        add_item(r, row, i, where, list);
    if (node->kind != YAML_MAP)
        option_check_count(row, list->count, &why);
    complain_if(r, node, where, &why);
}

/* "a,b" of the table's default column. */
static struct config_list split_default(struct config_reader *r, const char *text)
{
    struct config_list list = {ARENA_ARRAY(r->yaml.arena, const char *, strlen(text) + 1), 0};
    struct span rest = span_str(text);
    while (list.items && rest.len) {
        const char *item = arena_strdup(r->yaml.arena, span_cut(&rest, ','));
        if (item)
            list.items[list.count++] = with_paths(r, item);
    }
    return list;
}

void reader_set_defaults(struct config_reader *r, const char *group, void *into)
{
    for (const struct option_row *row = option_first(group); row; row = option_next(row)) {
        if (row->offset == OPTION_UNSTORED || !row->def || *row->def == '=')
            continue;
        void *at = (char *)into + row->offset;
        if (row->type == OPTION_LIST)
            *(struct config_list *)at = split_default(r, row->def);
        else
            (void)option_parse(row, text_of(r, row, row->def), at);
    }
}

/* ---- groups ---- */

static bool has_row(const char *name, const char *const *names)
{
    for (; *names; names++) {
        if (strcmp(*names, name) == 0)
            return true;
    }
    return false;
}

/* As in compose files: a place at the top for what anchors name. */
static bool is_for_anchors(const char *group, const char *key)
{
    return strcmp(group, "root") == 0 && strncmp(key, "x-", 2) == 0;
}

static void check_keys(struct config_reader *r, const struct yaml *map, const char *group,
                       const char *where, bool strict)
{
    const char *names[OPTION_GROUP_MAX + 1];
    option_names(group, names);
    for (const struct yaml *m = map->first; m; m = m->next) {
        if (has_row(m->key, names) || is_for_anchors(group, m->key) ||
            r->yaml.error_count > YAML_MAX_COMPLAINTS)
            continue;
        const char *near = value_nearest(m->key, names);
        const char *place = reader_place(r, where, m->key);
        if (!strict && near)
            yaml_warn(&r->yaml, m->key_line, place, "not a known parameter (did you mean %s?)",
                      near);
        else if (near)
            yaml_complain(&r->yaml, m->key_line, place, "unknown key (did you mean %s?)", near);
        else if (strict)
            yaml_complain(&r->yaml, m->key_line, place, "unknown key");
    }
}

void reader_read_group(struct config_reader *r, const struct yaml *map, const char *group,
                       const char *where, void *into)
{
    if (!reader_is_map(r, map, where) || !map || map->kind != YAML_MAP)
        return;
    for (const struct option_row *row = option_first(group); row; row = option_next(row)) {
        const struct yaml *node = yaml_member(map, row->name);
        if (!node || row->offset == OPTION_UNSTORED)
            continue;
        const char *place = reader_place(r, where, row->name);
        void *at = (char *)into + row->offset;
        if (row->type == OPTION_LIST)
            set_list(r, row, node, place, at);
        else
            set_scalar(r, row, node, place, at);
    }
    check_keys(r, map, group, where, true);
}

void reader_check_passed(struct config_reader *r, const struct yaml *map, const char *group,
                         const char *where, bool strict)
{
    for (const struct option_row *row = option_first(group); row; row = option_next(row)) {
        struct buf why = {0};
        const struct yaml *node = yaml_member(map, row->name);
        if (!node)
            continue;
        const char *json = yaml_to_json(&r->yaml, node);
        if (json)
            option_check_json(row, json, r->yaml.arena, &why);
        complain_if(r, node, reader_place(r, where, row->name), &why);
    }
    check_keys(r, map, group, where, strict);
}
