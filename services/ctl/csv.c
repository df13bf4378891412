#include "services/ctl/csv.h"

#include <stdio.h>

#include "services/ctl/command.h"

static void put_cell(struct buf *out, struct span text)
{
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++)
        quoted |= memchr(",\"\r\n", text.data[i], 4) != NULL;
    if (!quoted) {
        buf_append(out, text);
        return;
    }
    buf_append_char(out, '"');
    while (text.len) {
        struct span part = span_first(text, span_find(text, '"'));
        buf_append(out, part);
        text = span_skip(text, part.len);
        if (text.len) {
            buf_append_str(out, "\"\"");
            text = span_skip(text, 1);
        }
    }
    buf_append_char(out, '"');
}

static void put_value(struct buf *out, struct json v)
{
    struct buf text = {0};
    if (json_type(v) == JSON_STRING)
        json_text_decode(json_text(v), &text);
    else
        buf_append(&text, json_raw(v));
    put_cell(out, buf_span(&text));
    buf_free(&text);
}

static void put_row(struct buf *out, struct json row, bool names)
{
    const char *before = "";
    for (struct json_iter i = json_iter(row); json_next(&i);) {
        buf_append_str(out, before);
        put_value(out, names ? i.key : i.value);
        before = ",";
    }
    buf_append_str(out, "\r\n");
}

int csv_print(struct json rows)
{
    struct buf out = {0};
    bool first = true;
    for (struct json_iter i = json_iter(rows); json_next(&i);) {
        if (first)
            put_row(&out, i.value, true);
        put_row(&out, i.value, false);
        first = false;
    }
    enum err e = buf_check(&out);
    if (!e)
        (void)fwrite(out.data, 1, out.len, stdout);
    buf_free(&out);
    return e ? failure("out of memory") : EXIT_DONE;
}
