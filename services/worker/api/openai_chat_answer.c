/* What the two forms of an OpenAI chat answer share. */
#include "services/worker/api/openai_chat_answer.h"

bool chat_is_legacy(const struct chat_writer *w)
{
    return w->base.options.request->legacy_functions;
}

/* OpenAI's word for the tier that answered; NULL when there is none. */
static const char *tier_word(struct span tier)
{
    if (span_is(tier, "standard") || span_is(tier, "default"))
        return "default";
    if (span_is(tier, "priority"))
        return "priority";
    return span_is(tier, "flex") ? "flex" : NULL;
}

void chat_write_tier(const struct chat_writer *w, struct json_writer *jw)
{
    const char *tier = tier_word(w->base.usage.service_tier_text);
    if (!tier)
        return;
    jw_key(jw, "service_tier");
    jw_str(jw, tier);
}

/* "tool_calls", unless the client used functions. A call that ends as plain "stop" is one
 * all the same. */
const char *chat_finish_word(const struct chat_writer *w)
{
    const char *word = openai_finish_word(w->base.stop);
    bool called = w->tools.count && (w->base.stop == STOP_END || w->base.stop == STOP_UNKNOWN);
    if (w->base.stop != STOP_TOOL && !called)
        return word;
    return chat_is_legacy(w) ? "function_call" : "tool_calls";
}

void chat_write_call(struct json_writer *jw, bool legacy, const struct answer_tool *tool,
                     const size_t *index)
{
    jw_object(jw);
    if (index) {
        jw_key(jw, "index");
        jw_u64(jw, *index);
    }
    if (!legacy) {
        if (tool) {
            jw_key(jw, "id");
            jw_text(jw, tool->id_text);
            jw_key(jw, "type");
            jw_str(jw, "function");
        }
        jw_key(jw, "function");
        jw_object(jw);
    }
    if (tool) {
        jw_key(jw, "name");
        jw_text(jw, tool->name_text);
    }
    jw_key(jw, "arguments");
}

void chat_end_call(struct json_writer *jw, bool legacy)
{
    jw_object_end(jw);
    if (!legacy)
        jw_object_end(jw);
}
