/* Tools and the choice among them (docs/wire.md, Tools). */
#include "services/worker/providers/openai/openai.h"

/* A search by the provider is what some of OpenAI's models do, asked by a member of its own. */
static bool searches(const struct openai_builder *b, const struct tool *tool)
{
    return span_starts(tool->type_text, "web_search_") && b->pc->compat.is_openai &&
           span_find_span(b->pc->target_model, SPAN("-search")) < b->pc->target_model.len;
}

static bool is_forced(const struct openai_builder *b, const struct tool *tool)
{
    return b->r->tool_mode == TOOLS_NAMED && tool->name_text.len &&
           span_equals(tool->name_text, b->r->tool_name_text);
}

/* May the request go on without that tool? Clients of the Messages protocol, coding agents above
 * all, offer such tools with every request and most are never used; who forces one, and who asks
 * for one in a response, would get something else than asked for. */
static bool may_drop(const struct openai_builder *b, const struct tool *tool)
{
    return !is_forced(b, tool) && (b->pc->compat.drop_hosted_tools || api_is_anthropic(b->r->api));
}

static enum err check_server_tools(struct openai_builder *b)
{
    bool search = false;
    for (size_t i = 0; i < b->r->tool_count; i++) {
        const struct tool *tool = &b->r->tools[i];
        if (!tool->server)
            continue;
        if (!searches(b, tool) && may_drop(b, tool)) {
            neutral_drop(b->r, "tools");
            continue;
        }
        if (!searches(b, tool)) {
            b->fault->error_class = ERROR_UNSUPPORTED_PARAMETER;
            b->fault->message = arena_printf(
                b->pc->arena, "The tool '%.*s' runs at another provider and not for this model.",
                SPAN_ARG(span_first(tool->type_text, 64)));
            b->fault->param = is_forced(b, tool) ? SPAN("tool_choice")
                                                 : arena_printf(b->pc->arena, "tools[%zu].type", i);
            return ERR_INVALID;
        }
        search = true;
    }
    if (search) {
        jw_key(&b->w, "web_search_options");
        jw_raw(&b->w, SPAN("{}"));
    }
    return OK;
}

static size_t usable_tools(const struct openai_builder *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->r->tool_count; i++)
        n += !b->r->tools[i].server;
    return n;
}

static void write_tool(struct openai_builder *b, const struct tool *tool)
{
    struct json_writer *w = &b->w;
    if (tool->custom) {
        jw_raw(w, tool->raw_json);
        return;
    }
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "function");
    jw_key(w, "function");
    jw_object(w);
    jw_key(w, "name");
    jw_text(w, tool->name_text);
    if (tool->description_text.len) {
        jw_key(w, "description");
        jw_text(w, tool->description_text);
    }
    if (tool->schema_json.len) {
        jw_key(w, "parameters");
        jw_raw(w, tool->schema_json);
    }
    if (tool->strict_json.len) {
        jw_key(w, "strict");
        jw_raw(w, tool->strict_json);
    }
    jw_object_end(w);
    jw_object_end(w);
    if (tool->cache_json.len)
        neutral_drop(b->r, "cache_control");
}

static void write_tools(struct openai_builder *b)
{
    if (usable_tools(b) == 0)
        return;
    jw_key(&b->w, "tools");
    jw_array(&b->w);
    for (size_t i = 0; i < b->r->tool_count; i++) {
        if (!b->r->tools[i].server)
            write_tool(b, &b->r->tools[i]);
    }
    jw_array_end(&b->w);
}

static void write_named_choice(struct openai_builder *b)
{
    jw_object(&b->w);
    jw_key(&b->w, "type");
    jw_str(&b->w, "function");
    jw_key(&b->w, "function");
    jw_object(&b->w);
    jw_key(&b->w, "name");
    jw_text(&b->w, b->r->tool_name_text);
    jw_object_end(&b->w);
    jw_object_end(&b->w);
}

static void write_tool_choice(struct openai_builder *b)
{
    if (usable_tools(b) == 0)
        return;
    static const char *const words[] = {
        [TOOLS_AUTO] = "auto", [TOOLS_ANY] = "required", [TOOLS_NONE] = "none"};
    if (b->r->tool_mode == TOOLS_NAMED) {
        jw_key(&b->w, "tool_choice");
        write_named_choice(b);
    } else if (b->r->tool_mode != TOOLS_UNSET) {
        jw_key(&b->w, "tool_choice");
        jw_str(&b->w, words[b->r->tool_mode]);
    }
    if (b->r->parallel_tools == NO) {
        if (b->pc->compat.no_parallel_tool_calls) {
            neutral_drop(b->r, "disable_parallel_tool_use");
        } else {
            jw_key(&b->w, "parallel_tool_calls");
            jw_bool(&b->w, false);
        }
    }
}

enum err openai_write_tools(struct openai_builder *b)
{
    enum err e = check_server_tools(b);
    if (e)
        return e;
    write_tools(b);
    write_tool_choice(b);
    return OK;
}
