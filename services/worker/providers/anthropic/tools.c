/* Tools and the choice among them (docs/wire.md, Tools). */
#include "services/worker/providers/anthropic/anthropic.h"

#include "common/base/span_groups.h"

enum { MAX_USED_TOOLS = 128 };

bool anthropic_by_json_tool(const struct anthropic_builder *b)
{
    return b->r->format == FORMAT_SCHEMA && !b->row->json_schema;
}

/* Every key as it came; only a root without a type gets one. */
static void write_schema(struct anthropic_builder *b, struct span schema)
{
    if (!schema.len) {
        jw_raw(&b->w, SPAN("{\"type\":\"object\",\"properties\":{}}"));
        return;
    }
    bool parsed = json_parse(b->pc->doc, schema, JSON_DEPTH_MAX) == OK;
    struct json root = parsed ? json_root(b->pc->doc) : JSON_NOTHING;
    if (json_type(root) != JSON_OBJECT || !json_absent(json_get(root, "type"))) {
        jw_raw(&b->w, schema);
        return;
    }
    struct buf typed = {0};
    struct span inside = span_skip(json_raw(root), 1);
    buf_append_str(&typed, json_count(root) ? "{\"type\":\"object\"," : "{\"type\":\"object\"");
    buf_append(&typed, inside);
    jw_raw(&b->w, buf_span(&typed));
    b->w.out->failed |= typed.failed;
    buf_free(&typed);
}

bool anthropic_has_tool(const struct tool *tool)
{
    return span_starts(tool->type_text, "web_search");
}

/* OpenAI's web search in Anthropic's words. */
static void write_search(struct anthropic_builder *b, const struct tool *tool)
{
    struct json_writer *w = &b->w;
    struct json given = json_parse(b->pc->doc, tool->raw_json, JSON_DEPTH_MAX)
                            ? JSON_NOTHING
                            : json_root(b->pc->doc);
    struct json domains = json_get(json_get(given, "filters"), "allowed_domains"),
                place = json_get(given, "user_location");
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "web_search_20250305");
    jw_key(w, "name");
    jw_text(w, tool->name_text);
    if (json_type(domains) == JSON_ARRAY && json_count(domains)) {
        jw_key(w, "allowed_domains");
        jw_value(w, domains);
    }
    if (json_type(place) == JSON_OBJECT) {
        jw_key(w, "user_location");
        jw_object(w);
        for (struct json_iter i = json_iter(place); json_next(&i);) {
            if (json_absent(i.value))
                continue;
            jw_key_text(w, json_text(i.key));
            jw_value(w, i.value);
        }
        jw_object_end(w);
    }
    jw_object_end(w);
}

static void write_tool(struct anthropic_builder *b, const struct tool *tool)
{
    struct json_writer *w = &b->w;
    if (tool->server) {
        write_search(b, tool);
        return;
    }
    jw_object(w);
    jw_key(w, "name");
    jw_text(w, tool->name_text);
    if (tool->description_text.len) {
        jw_key(w, "description");
        jw_text(w, tool->description_text);
    }
    jw_key(w, "input_schema");
    write_schema(b, tool->schema_json);
    if (tool->strict_json.len) {
        jw_key(w, "strict");
        jw_raw(w, tool->strict_json);
    }
    anthropic_write_mark(w, &b->marks, tool->cache_json);
    jw_object_end(w);
}

static void write_json_tool(struct anthropic_builder *b)
{
    struct json_writer *w = &b->w;
    jw_object(w);
    jw_key(w, "name");
    jw_str(w, ANTHROPIC_JSON_TOOL);
    jw_key(w, "description");
    jw_str(w, "Gives the answer in the form that was asked for.");
    jw_key(w, "input_schema");
    write_schema(b, b->r->format_schema_json);
    jw_object_end(w);
}

static bool is_call(const struct block *b)
{
    return b->part && b->part->kind == PART_TOOL_CALL;
}

static void write_used_tool(struct anthropic_builder *b, struct span name)
{
    jw_object(&b->w);
    jw_key(&b->w, "name");
    jw_text(&b->w, name);
    jw_key(&b->w, "input_schema");
    jw_raw(&b->w, SPAN("{\"type\":\"object\"}"));
    jw_object_end(&b->w);
}

/* The names of all calls, in their order; *count_out of them. NULL without memory. */
static struct span *names_of_calls(struct anthropic_builder *b, size_t *count_out)
{
    const struct conversation *c = &b->conversation;
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++)
        count += c->messages[i].count;
    struct span *names = ARENA_ARRAY(b->pc->arena, struct span, count);
    *count_out = 0;
    for (size_t i = 0; names && i < c->count; i++) {
        for (size_t k = 0; k < c->messages[i].count; k++) {
            if (is_call(&c->messages[i].blocks[k]))
                names[(*count_out)++] = c->messages[i].blocks[k].part->name_text;
        }
    }
    return names;
}

/* The API wants definitions for the tools of the history even when none may be called any more. */
static void write_used_tools(struct anthropic_builder *b)
{
    struct arena *arena = b->pc->arena;
    size_t count, written = 0;
    struct span_groups groups = {0};
    const struct span *names = names_of_calls(b, &count);
    size_t *group = names ? ARENA_ARRAY(arena, size_t, count) : NULL;
    bool *seen = group && span_groups_build(&groups, arena, names, count, group) == OK
                     ? ARENA_ARRAY(arena, bool, groups.count)
                     : NULL;
    b->w.out->failed |= !seen;
    for (size_t i = 0; seen && i < count && written < MAX_USED_TOOLS; i++) {
        if (seen[group[i]])
            continue;
        seen[group[i]] = true;
        write_used_tool(b, names[i]);
        written++;
    }
}

static bool has_tools(const struct anthropic_builder *b)
{
    return b->r->tool_count || anthropic_by_json_tool(b) || b->conversation.calls;
}

void anthropic_write_tools(struct anthropic_builder *b)
{
    if (!has_tools(b))
        return;
    jw_key(&b->w, "tools");
    jw_array(&b->w);
    for (size_t i = 0; i < b->r->tool_count; i++)
        write_tool(b, &b->r->tools[i]);
    if (b->r->tool_count == 0)
        write_used_tools(b);
    if (anthropic_by_json_tool(b))
        write_json_tool(b);
    jw_array_end(&b->w);
}

/* The choice as Anthropic names it; NULL = nothing to say. */
static const char *choice_type(const struct anthropic_builder *b)
{
    if (anthropic_by_json_tool(b))
        return b->r->tool_count ? "any" : "tool";
    if (b->r->tool_count == 0)
        return b->conversation.calls ? "none" : NULL;
    switch (b->r->tool_mode) {
    case TOOLS_UNSET:
        return b->r->parallel_tools == NO ? "auto" : NULL;
    case TOOLS_AUTO:
        return "auto";
    case TOOLS_ANY:
        return "any";
    case TOOLS_NONE:
        return "none";
    case TOOLS_NAMED:
        return "tool";
    }
    return NULL;
}

bool anthropic_is_forced(const struct anthropic_builder *b)
{
    const char *type = choice_type(b);
    return type && (strcmp(type, "any") == 0 || strcmp(type, "tool") == 0);
}

void anthropic_write_tool_choice(struct anthropic_builder *b)
{
    const char *type = choice_type(b);
    if (!type)
        return;
    jw_key(&b->w, "tool_choice");
    jw_object(&b->w);
    jw_key(&b->w, "type");
    jw_str(&b->w, type);
    if (strcmp(type, "tool") == 0) {
        jw_key(&b->w, "name");
        jw_text(&b->w,
                anthropic_by_json_tool(b) ? SPAN(ANTHROPIC_JSON_TOOL) : b->r->tool_name_text);
    }
    if (b->r->parallel_tools == NO && b->r->tool_count && strcmp(type, "none") != 0) {
        jw_key(&b->w, "disable_parallel_tool_use");
        jw_bool(&b->w, true);
    }
    jw_object_end(&b->w);
}
