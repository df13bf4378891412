/* Members and events of a stream that is made of a whole answer. */
#include "services/worker/pipeline/synthesize_internal.h"

static bool is_one_of(struct json key, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (json_is(key, names[i]))
            return true;
    }
    return false;
}

void synthesize_put_compact(struct json_writer *w, struct json v)
{
    /* jw_raw keeps white space, and an event's data has one line */
    jw_raw(w, SPAN_NONE);
    json_append_compact(w->out, v);
}

void synthesize_copy_members(struct json_writer *w, struct json object, const char *const *except,
                             size_t except_count)
{
    for (struct json_iter i = json_iter(object); json_next(&i);) {
        if (is_one_of(i.key, except, except_count))
            continue;
        jw_key_text(w, json_text(i.key));
        synthesize_put_compact(w, i.value);
    }
}

void synthesize_begin_event(struct json_writer *w, const char *name)
{
    if (name) {
        buf_append_str(w->out, "event: ");
        buf_append_str(w->out, name);
        buf_append_char(w->out, '\n');
    }
    buf_append_str(w->out, "data: ");
    w->comma_ = false;
}

void synthesize_end_event(struct json_writer *w)
{
    buf_append_str(w->out, "\n\n");
    w->comma_ = false;
}
