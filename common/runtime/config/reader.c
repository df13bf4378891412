#include "common/runtime/config/reader.h"

void reader_complain(struct config_reader *r, const struct yaml *at, const char *where,
                     const char *what)
{
    yaml_complain(&r->yaml, at->line, where, "%s", what);
}

const char *reader_place(struct config_reader *r, const char *section, const char *key)
{
    struct span s = arena_printf(r->yaml.arena, "%s.%s", section, key);
    return s.data ? s.data : section;
}

const char *reader_text(struct config_reader *r, const struct yaml *node, const char *where)
{
    if (!node)
        return NULL;
    if (node->kind != YAML_TEXT) {
        reader_complain(r, node, where, "expected one value");
        return NULL;
    }
    return node->text;
}

struct config_list reader_list(struct config_reader *r, const struct yaml *node, const char *where)
{
    struct config_list list = {NULL, 0};
    if (!node || (node->kind == YAML_TEXT && !*node->text))
        return list;
    if (node->kind == YAML_MAP) {
        reader_complain(r, node, where, "expected a list");
        return list;
    }
    size_t count = 0;
    for (const struct yaml *i = node->first; i; i = i->next)
        count++;
    list.items = ARENA_ARRAY(r->yaml.arena, const char *, count + 1);
    if (!list.items)
        return list;
    if (node->kind == YAML_TEXT)
        list.items[list.count++] = node->text;
    for (const struct yaml *i = node->first; i; i = i->next) {
        const char *text = reader_text(r, i, where);
        if (text)
            list.items[list.count++] = text;
    }
    return list;
}

bool reader_knows(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(text, *words) == 0)
            return true;
    }
    return false;
}

size_t reader_members(struct config_reader *r, const struct yaml *node, const char *where)
{
    size_t count = 0;
    if (!node || (node->kind == YAML_TEXT && !*node->text))
        return 0;
    if (node->kind != YAML_MAP) {
        reader_complain(r, node, where, "expected names and their settings");
        return 0;
    }
    for (const struct yaml *m = node->first; m; m = m->next)
        count++;
    return count;
}
