#include "services/worker/neutral/splice.h"

void splice_init(struct splice *s, struct span text)
{
    s->text = text;
    s->count = 0;
    s->failed = false;
}

static void add_edit(struct splice *s, struct splice_edit e)
{
    if (s->count == SPLICE_MAX_EDITS) {
        s->failed = true;
        return;
    }
    /* by position; of equal ones the first stays first */
    size_t i = s->count++;
    for (; i > 0 && s->edits[i - 1].at > e.at; i--)
        s->edits[i] = s->edits[i - 1];
    s->edits[i] = e;
}

static size_t end_of(struct json v)
{
    return json_offset(v) + json_raw(v).len;
}

void splice_replace(struct splice *s, struct json value, struct span put)
{
    add_edit(s, (struct splice_edit){
                    .at = json_offset(value), .removed_bytes = json_raw(value).len, .put = put});
}

void splice_rename(struct splice *s, struct json object, const char *name, const char *new_name)
{
    for (struct json_iter i = json_iter(object); json_next(&i);) {
        if (!json_is(i.key, name))
            continue;
        /* inside the quotes */
        add_edit(s, (struct splice_edit){.at = json_offset(i.key) + 1,
                                         .removed_bytes = json_raw(i.key).len - 2,
                                         .put = span_str(new_name)});
    }
}

static bool is_named(struct json key, const char *const *names, size_t name_count)
{
    for (size_t i = 0; i < name_count; i++) {
        if (json_is(key, names[i]))
            return true;
    }
    return false;
}

static void remove_range(struct splice *s, struct json object, size_t from, size_t to, int members)
{
    add_edit(s,
             (struct splice_edit){
                 .at = from, .removed_bytes = to - from, .owner = object.at, .members = -members});
}

/* A run of removed members goes with the comma behind it; one at the end with the comma before it.
 */
void splice_remove(struct splice *s, struct json object, const char *const *names,
                   size_t name_count)
{
    size_t kept_end = 0, run_start = 0, run_end = 0;
    int run = 0;
    for (struct json_iter i = json_iter(object); json_next(&i);) {
        if (is_named(i.key, names, name_count)) {
            if (run++ == 0)
                run_start = json_offset(i.key);
            run_end = end_of(i.value);
            continue;
        }
        if (run)
            remove_range(s, object, run_start, json_offset(i.key), run);
        run = 0;
        kept_end = end_of(i.value);
    }
    if (run)
        remove_range(s, object, kept_end ? kept_end : run_start, run_end, run);
}

static bool has_members(const struct splice *s, struct json object)
{
    long members = (long)json_count(object);
    for (size_t i = 0; i < s->count; i++) {
        if (s->edits[i].members && s->edits[i].owner == object.at)
            members += s->edits[i].members;
    }
    return members > 0;
}

void splice_add(struct splice *s, struct json object, const char *name, struct span json)
{
    add_edit(s, (struct splice_edit){.at = end_of(object) - 1,
                                     .put = json,
                                     .put_name = name,
                                     .comma = has_members(s, object),
                                     .owner = object.at,
                                     .members = 1});
}

bool splice_is_empty(const struct splice *s)
{
    return s->count == 0;
}

enum err splice_write(struct splice *s, struct buf *out)
{
    if (s->failed)
        return ERR_TOO_BIG;
    size_t at = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct splice_edit *e = &s->edits[i];
        buf_append(out, span_of(s->text.data + at, e->at - at));
        if (e->comma)
            buf_append_char(out, ',');
        if (e->put_name) {
            json_append_string(out, span_str(e->put_name));
            buf_append_char(out, ':');
        }
        buf_append(out, e->put);
        at = e->at + e->removed_bytes;
    }
    buf_append(out, span_skip(s->text, at));
    return buf_check(out);
}
