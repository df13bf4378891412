/* Conversations kept by the server (beta message-threads-2026-08-12, what the SDK's tool runner
 * asks for first). Only models with "threads" in their name keep them; the others refuse in the
 * words after which the SDK sends the whole history again, without a thread. */
#include "services/simulator/anthropic.h"

enum { DEPTH = 128 };

static bool refuse(struct ask *ask, const char *message)
{
    anthropic_error(ask, 400, "invalid_request_error", message);
    return false;
}

static bool refuse_thread(struct ask *ask)
{
    struct json_writer w = reply_json(ask->reply, 400);
    ask->reply->reports_usage = false;
    jw_raw(&w, SPAN("{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
                    "\"thread: not supported (simulated)\",\"details\":{\"error_code\":"
                    "\"thread_unsupported_request\",\"unsupported\":[\"thread\"]}}}"));
    return false;
}

static bool has(struct span text, const char *word)
{
    return span_find_span(text, span_str(word)) < text.len;
}

static void copy_elements(struct json_writer *w, struct json list)
{
    for (struct json_iter i = json_iter(list); json_type(list) == JSON_ARRAY && json_next(&i);)
        jw_value(w, i.value);
}

static void copy_member(struct json_writer *w, struct json from, const char *name)
{
    if (json_absent(json_get(from, name)))
        return;
    jw_key(w, name);
    jw_value(w, json_get(from, name));
}

static void copy_others(struct json_writer *w, struct json body)
{
    for (struct json_iter i = json_iter(body); json_next(&i);) {
        if (json_is(i.key, "thread") || json_is(i.key, "messages"))
            continue;
        jw_key_text(w, json_text(i.key));
        jw_value(w, i.value);
    }
}

/* The request with the kept messages, system and tools before its own messages. */
static enum err join(struct ask *ask, struct json kept)
{
    struct buf out = {0};
    struct json_writer w = {.out = &out};
    jw_object(&w);
    copy_others(&w, ask->body);
    copy_member(&w, kept, "system");
    copy_member(&w, kept, "tools");
    jw_key(&w, "messages");
    jw_array(&w);
    copy_elements(&w, json_get(kept, "messages"));
    copy_elements(&w, json_get(ask->body, "messages"));
    jw_array_end(&w);
    jw_key(&w, "thread");
    jw_value(&w, json_get(ask->body, "thread"));
    jw_object_end(&w);
    struct span whole = arena_copy(&ask->sim->arena, buf_span(&out));
    buf_free(&out);
    return whole.len ? json_parse(&ask->sim->thread_doc, whole, DEPTH) : ERR_NOMEM;
}

static bool resume(struct ask *ask, struct json id)
{
    struct span kept;
    if (!json_absent(json_get(ask->body, "system")) || !json_absent(json_get(ask->body, "tools")))
        return refuse(ask, "thread: system and tools are those it was created with (simulated)");
    if (!store_get(ask->sim->threads, json_string(id, &ask->sim->arena), &kept, NULL)) {
        anthropic_error_detailed(ask, 404, "not_found_error", "thread: not found (simulated)",
                                 "thread_not_found");
        return false;
    }
    kept = arena_copy(&ask->sim->arena, kept);
    if (!kept.len || json_parse(&ask->sim->thread_doc, kept, DEPTH) ||
        join(ask, json_root(&ask->sim->thread_doc)))
        return refuse(ask, "thread: cannot be continued (simulated)");
    ask->body = json_root(&ask->sim->thread_doc);
    return true;
}

bool anthropic_thread_resume(struct ask *ask)
{
    struct json thread = json_get(ask->body, "thread");
    if (json_absent(thread))
        return true;
    if (!has(json_text(json_get(ask->body, "model")), "threads"))
        return refuse_thread(ask);
    if (!has(http_header(ask->x, "anthropic-beta"), "message-threads-"))
        return refuse(ask, "thread: Extra inputs are not permitted (simulated)");
    if (json_is(json_get(thread, "type"), "continue"))
        return resume(ask, json_get(thread, "previous_message_id"));
    return json_is(json_get(thread, "type"), "create") || refuse(ask, "thread.type (simulated)");
}

void anthropic_thread_keep(struct ask *ask, const struct sim_answer *a)
{
    if (json_absent(json_get(ask->body, "thread")))
        return;
    struct buf out = {0};
    struct json_writer w = {.out = &out};
    jw_object(&w);
    copy_member(&w, ask->body, "system");
    copy_member(&w, ask->body, "tools");
    jw_key(&w, "messages");
    jw_array(&w);
    copy_elements(&w, json_get(ask->body, "messages"));
    jw_object(&w);
    jw_key(&w, "role");
    jw_str(&w, "assistant");
    jw_key(&w, "content");
    anthropic_write_content(ask, &w, a);
    jw_object_end(&w);
    jw_array_end(&w);
    jw_object_end(&w);
    /* not kept: the next turn will not find it, as with the real one */
    (void)!store_put(ask->sim->threads, anthropic_message_id(ask), buf_span(&out), NULL, 0);
    buf_free(&out);
}
