#include "services/worker/api/custom_input.h"

#include <stdio.h>

#include "common/base/json.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* A model may write what JSON does not allow inside of a string; a client gets JSON. */
static void put_plain(struct buf *out, char c)
{
    char escape[8];
    if ((unsigned char)c >= ' ') {
        buf_append_char(out, c);
        return;
    }
    (void)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(unsigned char)c);
    buf_append_str(out, escape);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What is held is no escape after all: a backslash of its own. */
static void release(struct custom_input *c, struct buf *out)
{
    buf_append_str(out, "\\\\");
    for (size_t i = 1; i < c->held_len; i++)
        put_plain(out, c->held[i]);
    c->held_len = 0;
}

/* One more character of an escape. */
static void hold(struct custom_input *c, char ch, struct buf *out)
{
    bool fits = c->held_len == 1 ? memchr("\"\\/bfnrtu", ch, 9) != NULL : is_hex(ch);
    if (!fits) {
        release(c, out);
        put_plain(out, ch);
        return;
    }
    c->held[c->held_len++] = ch;
    if (c->held[1] != 'u' || c->held_len == sizeof c->held) {
        buf_append(out, span_of(c->held, c->held_len));
        c->held_len = 0;
    }
}

static void in_text(struct custom_input *c, char ch, struct buf *out)
{
    if (c->held_len)
        hold(c, ch, out);
    else if (ch == '\\')
        c->held[c->held_len++] = ch;
    else if (ch == '"')
        c->state = CUSTOM_DONE;
    else
        put_plain(out, ch);
}

static void in_name(struct custom_input *c, char ch)
{
    if (ch == '"')
        c->state = span_is(span_of(c->name, c->name_len), "input") ? CUSTOM_COLON : CUSTOM_ODD;
    else if (c->name_len == sizeof c->name)
        c->state = CUSTOM_ODD;
    else
        c->name[c->name_len++] = ch;
}

static void step(struct custom_input *c, char ch, struct buf *out)
{
    switch (c->state) {
    case CUSTOM_BEFORE:
        if (!is_blank(ch))
            c->state = ch == '{' ? CUSTOM_KEY : CUSTOM_ODD;
        break;
    case CUSTOM_KEY:
        if (!is_blank(ch))
            c->state = ch == '"' ? CUSTOM_NAME : CUSTOM_ODD;
        break;
    case CUSTOM_NAME:
        in_name(c, ch);
        break;
    case CUSTOM_COLON:
        if (!is_blank(ch))
            c->state = ch == ':' ? CUSTOM_VALUE : CUSTOM_ODD;
        break;
    case CUSTOM_VALUE:
        if (!is_blank(ch))
            c->state = ch == '"' ? CUSTOM_TEXT : CUSTOM_ODD;
        break;
    case CUSTOM_TEXT:
        in_text(c, ch, out);
        break;
    case CUSTOM_DONE:
    case CUSTOM_ODD:
        break;
    }
}

void custom_input_feed(struct custom_input *c, struct span bytes, struct buf *text_out)
{
    for (size_t i = 0; i < bytes.len; i++)
        step(c, bytes.data[i], text_out);
}

struct span custom_input_whole(struct span args, struct span args_text, struct arena *arena)
{
    struct json_doc doc = {0};
    struct span out = args_text;
    if (json_parse(&doc, args, JSON_DEPTH_CLIENT) == OK) {
        struct json input = json_get(json_root(&doc), "input");
        if (json_type(input) == JSON_STRING)
            out = json_text(input);
    }
    out = arena_copy(arena, out);
    json_doc_free(&doc);
    return out;
}
