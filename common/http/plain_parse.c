#include "common/http/plain_parse.h"

enum { MAX_BLANK_BYTES = 64 }; /* they are looked at again with every read */

static enum plain_verdict fault(struct plain_head *out, const char *why)
{
    if (!out->framing.fault)
        out->framing.fault = why;
    return PLAIN_FAULTY;
}

/* Where the head begins: RFC 9112 2.2 has blank lines before it ignored. */
static size_t skip_blank_lines(struct span bytes)
{
    size_t at = 0;
    for (;;) {
        if (at < bytes.len && bytes.data[at] == '\n')
            at++;
        else if (at + 1 < bytes.len && bytes.data[at] == '\r' && bytes.data[at + 1] == '\n')
            at += 2;
        else
            return at;
    }
}

/* Looks for the blank line, whose end becomes *end_out. A line feed alone ends no line. */
static enum plain_verdict find_end(struct span bytes, size_t start, size_t *scanned,
                                   size_t *end_out)
{
    size_t at = *scanned > start ? *scanned : start;
    const char *feed;
    while (at < bytes.len && (feed = memchr(bytes.data + at, '\n', bytes.len - at))) {
        size_t line_end = (size_t)(feed - bytes.data);
        if (line_end == start || bytes.data[line_end - 1] != '\r')
            return PLAIN_FAULTY;
        at = line_end + 1;
        if (line_end - start >= 3 && bytes.data[line_end - 2] == '\n') {
            *end_out = at;
            return PLAIN_SOUND;
        }
    }
    *scanned = bytes.len;
    return PLAIN_MORE;
}

/* The next line without its end; all of them end in CR LF. */
static struct span next_line(struct span *rest)
{
    struct span line = span_cut(rest, '\n');
    return span_first(line, line.len ? line.len - 1 : 0);
}

static void take_request_line(struct span line, struct plain_head *out)
{
    struct span method = span_cut(&line, ' '), target = span_cut(&line, ' ');
    framing_begin(&out->framing, method, target, line);
    if (!out->framing.fault) {
        out->method = method;
        out->target = target;
    }
}

static struct span skip_blanks(struct span s)
{
    while (s.len && (*s.data == ' ' || *s.data == '\t'))
        s = span_skip(s, 1);
    return s;
}

static void take_fields(struct span lines, struct plain_head *out)
{
    struct framing *f = &out->framing;
    const char *first = lines.data;
    while (lines.len && !f->fault) {
        out->fields = span_of(first, (size_t)(lines.data - first));
        struct span line = next_line(&lines);
        size_t colon = span_find(line, ':');
        if (colon == line.len)
            (void)fault(out, "field without a colon");
        framing_field(f, span_first(line, colon), skip_blanks(span_skip(line, colon + 1)));
    }
    if (!f->fault)
        out->fields = span_of(first, (size_t)(lines.data - first));
}

static enum plain_verdict too_big(struct span bytes, struct plain_head *out)
{
    size_t feed = span_find(bytes, '\n');
    if (feed < bytes.len) /* who asks, so that the refusal is in the right form */
        take_request_line(next_line(&bytes), out);
    return PLAIN_TOO_BIG;
}

enum plain_verdict plain_parse(struct span bytes, size_t max_bytes, size_t *scanned,
                               struct plain_head *out)
{
    *out = (struct plain_head){0};
    size_t start = skip_blank_lines(bytes), end = 0;
    struct span head = span_skip(bytes, start);
    if (start > MAX_BLANK_BYTES)
        return fault(out, "blank lines before the request");
    /* Other protocols begin with other bytes, and may never send a line end. */
    if (head.len && *head.data != '\r' && !framing_is_token(span_first(head, 1)))
        return fault(out, "malformed method");
    enum plain_verdict found = find_end(bytes, start, scanned, &end);
    if (found == PLAIN_FAULTY)
        return fault(out, "bare line feed");
    if (found == PLAIN_MORE)
        return bytes.len > max_bytes ? too_big(head, out) : PLAIN_MORE;
    if (end > max_bytes)
        return too_big(head, out);
    out->bytes = end;
    head = span_first(head, end - start - 2);
    take_request_line(next_line(&head), out);
    if (!out->framing.fault)
        take_fields(head, out);
    if (!out->framing.fault)
        framing_end(&out->framing);
    if (out->framing.fault)
        return PLAIN_FAULTY;
    return out->framing.fields > FRAMING_MAX_FIELDS ? PLAIN_TOO_BIG : PLAIN_SOUND;
}
