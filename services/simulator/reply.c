#include <stdlib.h>

#include "services/simulator/sim.h"

void reply_reset(struct reply *r)
{
    buf_clear(&r->headers);
    buf_clear(&r->body);
    r->status = 200;
    r->content_type = "application/json";
    r->mark_count = 0;
    r->streamed = false;
    r->input = r->output = r->cached = 0;
    r->reports_usage = false;
}

void reply_free(struct reply *r)
{
    buf_free(&r->headers);
    buf_free(&r->body);
    free(r->marks);
    *r = (struct reply){0};
}

void reply_header(struct reply *r, const char *name, const char *value)
{
    buf_append(&r->headers, span_of(name, strlen(name) + 1));
    buf_append(&r->headers, span_of(value, strlen(value) + 1));
}

void reply_mark(struct reply *r)
{
    if (r->mark_count == r->mark_cap) {
        uint32_t cap = r->mark_cap ? r->mark_cap * 2 : 64;
        uint32_t *grown = realloc(r->marks, cap * sizeof *grown);
        if (!grown)
            return; /* two pieces become one */
        r->marks = grown;
        r->mark_cap = cap;
    }
    r->marks[r->mark_count++] = (uint32_t)r->body.len;
}

struct json_writer reply_event(struct reply *r, const char *name)
{
    if (name) {
        buf_append_str(&r->body, "event: ");
        buf_append_str(&r->body, name);
        buf_append_char(&r->body, '\n');
    }
    buf_append_str(&r->body, "data: ");
    return (struct json_writer){.out = &r->body};
}

void reply_event_end(struct reply *r)
{
    buf_append_str(&r->body, "\n\n");
}

struct json_writer reply_json(struct reply *r, unsigned status)
{
    buf_clear(&r->body);
    r->mark_count = 0;
    r->streamed = false;
    r->status = status;
    r->content_type = "application/json";
    return (struct json_writer){.out = &r->body};
}

void reply_begin_stream(struct reply *r, const char *content_type)
{
    buf_clear(&r->body);
    r->status = 200;
    r->content_type = content_type;
    r->streamed = true;
}
