/* json.h, "writing". */
#include "common/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/utf8.h"

void json_append_text(struct buf *out, struct span bytes)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *s = (const unsigned char *)bytes.data;
    size_t from = 0;
    if (bytes.len == 0)
        return;
    for (size_t i = 0; i < bytes.len;) {
        unsigned char c = s[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c < 0x80) {
            i++;
            continue;
        }
        size_t n = c >= 0x80 ? utf8_length(s + i, bytes.len - i) : 0;
        if (n) {
            i += n;
            continue;
        }
        buf_append(out, span_of(bytes.data + from, i - from));
        static const char special[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
        const char *named = c && c < 0x80 ? strchr(special, c) : NULL;
        if (c >= 0x80) {
            buf_append_str(out, "\xef\xbf\xbd");
        } else if (named) {
            char pair[2] = {'\\', letters[named - special]};
            buf_append(out, span_of(pair, 2));
        } else {
            char six[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            buf_append(out, span_of(six, 6));
        }
        from = ++i;
    }
    buf_append(out, span_of(bytes.data + from, bytes.len - from));
}

void json_append_string(struct buf *out, struct span bytes)
{
    buf_append_char(out, '"');
    json_append_text(out, bytes);
    buf_append_char(out, '"');
}

void json_append_compact(struct buf *out, struct json v)
{
    struct span raw = json_raw(v);
    bool inside = false;
    size_t from = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.data[i];
        if (inside) {
            if (c == '\\')
                i++;
            else if (c == '"')
                inside = false;
        } else if (c == '"') {
            inside = true;
        } else if (c == ' ' || c == '\n' || c == '\r' || c == '\t') {
            buf_append(out, span_of(raw.data + from, i - from));
            from = i + 1;
        }
    }
    buf_append(out, span_of(raw.data + from, raw.len - from));
}

static void before_value(struct json_writer *w)
{
    if (w->comma_)
        buf_append_char(w->out, ',');
    w->comma_ = true;
}

void jw_object(struct json_writer *w)
{
    before_value(w);
    buf_append_char(w->out, '{');
    w->comma_ = false;
}

void jw_object_end(struct json_writer *w)
{
    buf_append_char(w->out, '}');
    w->comma_ = true;
}

void jw_array(struct json_writer *w)
{
    before_value(w);
    buf_append_char(w->out, '[');
    w->comma_ = false;
}

void jw_array_end(struct json_writer *w)
{
    buf_append_char(w->out, ']');
    w->comma_ = true;
}

void jw_key_text(struct json_writer *w, struct span text)
{
    jw_text(w, text);
    buf_append_char(w->out, ':');
    w->comma_ = false;
}

void jw_key(struct json_writer *w, const char *name)
{
    jw_key_text(w, span_str(name));
}

void jw_raw(struct json_writer *w, struct span json)
{
    before_value(w);
    buf_append(w->out, json);
}

void jw_value(struct json_writer *w, struct json v)
{
    jw_raw(w, json_raw(v));
}

void jw_string(struct json_writer *w, struct span bytes)
{
    before_value(w);
    json_append_string(w->out, bytes);
}

void jw_text(struct json_writer *w, struct span text)
{
    before_value(w);
    buf_append_char(w->out, '"');
    buf_append(w->out, text);
    buf_append_char(w->out, '"');
}

void jw_str(struct json_writer *w, const char *c_string)
{
    jw_string(w, span_str(c_string));
}

void jw_u64(struct json_writer *w, uint64_t v)
{
    before_value(w);
    buf_append_u64(w->out, v);
}

void jw_i64(struct json_writer *w, int64_t v)
{
    before_value(w);
    buf_append_i64(w->out, v);
}

void jw_double(struct json_writer *w, double v)
{
    char text[40];
    if (!isfinite(v)) {
        jw_null(w);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    jw_raw(w, span_str(text));
}

void jw_bool(struct json_writer *w, bool v)
{
    jw_raw(w, v ? SPAN("true") : SPAN("false"));
}

void jw_null(struct json_writer *w)
{
    jw_raw(w, SPAN("null"));
}

void jw_string_begin(struct json_writer *w)
{
    before_value(w);
    buf_append_char(w->out, '"');
}

void jw_string_part(struct json_writer *w, struct span bytes)
{
    json_append_text(w->out, bytes);
}

void jw_string_text(struct json_writer *w, struct span text)
{
    buf_append(w->out, text);
}

void jw_string_end(struct json_writer *w)
{
    buf_append_char(w->out, '"');
}
