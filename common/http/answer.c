/* What handlers answer, for every way: fields, whole answers, an answer's head. */
#include <time.h>

#include "common/http/internal.h"

enum { FIELDS_BYTES = 1024 }; /* of most answers */

static bool is_servers_own(struct span name)
{
    return span_is_nocase(name, "content-length") || span_is_nocase(name, "connection") ||
           span_is_nocase(name, "date") || span_is_nocase(name, "transfer-encoding");
}

void http_add_header(struct http_exchange *x, const char *name, struct span value)
{
    struct span n = span_str(name);
    if (is_servers_own(n))
        return;
    if (!framing_is_token(n) || !framing_is_printable(value)) {
        x->server->stats.bad_headers++;
        return;
    }
    /* in one piece: half a field would shift all that follow */
    if (!x->fields.cap)
        (void)buf_reserve(&x->fields, FIELDS_BYTES);
    char *to = buf_reserve(&x->fields, n.len + value.len + 4);
    if (!to) {
        x->fields.failed = false;
        x->server->stats.bad_headers++;
        return;
    }
    memcpy(to, n.data, n.len);
    memcpy(to + n.len, ": ", 2);
    if (value.len)
        memcpy(to + n.len + 2, value.data, value.len);
    memcpy(to + n.len + 2 + value.len, "\r\n", 2);
    x->fields.len += n.len + value.len + 4;
}

void http_respond(struct http_exchange *x, unsigned status, struct span body)
{
    if (!exchange_is_open(x))
        return;
    x->held = false;
    if (x->slow && x->state == X_READING)
        exchange_stop_reading(x);
    if (x->state != X_CUT)
        x->way->respond(x, status, body);
}

void http_stream_begin(struct http_exchange *x, unsigned status)
{
    if (!exchange_is_open(x))
        return;
    x->held = false;
    x->way->stream_begin(x, status);
}

void http_stream_begin_whole(struct http_exchange *x, unsigned status, uint64_t bytes)
{
    x->is_whole = true;
    x->whole_bytes = x->whole_left = bytes;
    http_stream_begin(x, status);
}

/* Made once a second. */
static struct span date_field(struct http_server *s)
{
    uint64_t now = clock_wall_ms(loop_clock(s->loop)) / 1000;
    if (now != s->date_unix_s || !s->date[0]) {
        const time_t at = (time_t)now;
        struct tm tm;
        s->date_unix_s = now;
        if (!gmtime_r(&at, &tm) ||
            !strftime(s->date, sizeof s->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm))
            s->date[0] = '\0';
    }
    return span_str(s->date);
}

bool answer_has_body(unsigned status)
{
    return status >= 200 && status != 204 && status != 304;
}

static void append_status(unsigned status, struct buf *out)
{
    const char *phrase = MHD_get_reason_phrase_for(status);
    buf_append(out, SPAN("HTTP/1.1 "));
    buf_append_u64(out, status);
    buf_append_char(out, ' ');
    buf_append_str(out, phrase ? phrase : "Unknown");
    buf_append(out, SPAN("\r\n"));
}

void answer_head(const struct http_exchange *x, unsigned status, int64_t body_bytes,
                 struct buf *out)
{
    append_status(status, out);
    buf_append(out, date_field(x->server));
    if (x->close_after)
        buf_append(out, SPAN("Connection: close\r\n"));
    else if (!x->framing.http11)
        buf_append(out, SPAN("Connection: Keep-Alive\r\n"));
    if (body_bytes == HTTP_BODY_CHUNKED) {
        buf_append(out, SPAN("Transfer-Encoding: chunked\r\n"));
    } else if (body_bytes >= 0 && answer_has_body(status)) {
        buf_append(out, SPAN("Content-Length: "));
        buf_append_u64(out, (uint64_t)body_bytes);
        buf_append(out, SPAN("\r\n"));
    }
    buf_append(out, buf_span(&x->fields));
    buf_append(out, SPAN("\r\n"));
}
