#include "common/base/sse.h"

/* Reading: whole lines are looked at once, where their end is found; an unfinished line only waits
 * in `pending`. */

static struct span line_of(const struct sse_reader *r, size_t end)
{
    return span_of(r->pending.data + r->line_start, end - r->line_start);
}

/* Forgets the block, keeps memory and the last id. */
static void next_block(struct sse_reader *r)
{
    buf_clear(&r->pending);
    buf_clear(&r->data);
    r->line_start = 0;
    r->name_at = r->name_len = 0;
    r->has_data = r->has_name = r->joined = false;
}

static struct span first_data_line(const struct sse_reader *r)
{
    return r->data_len ? span_of(r->pending.data + r->data_at, r->data_len) : SPAN_NONE;
}

static enum err dispatch(struct sse_reader *r, bool complete, sse_fn fn, void *ctx)
{
    enum err e = OK;
    if (r->has_data || r->has_name) {
        struct sse_event event = {
            .name = r->name_len ? span_of(r->pending.data + r->name_at, r->name_len) : SPAN_NONE,
            .data = !r->has_data ? SPAN_NONE
                    : r->joined  ? buf_span(&r->data)
                                 : first_data_line(r),
            .id = buf_span(&r->id),
            .has_data = r->has_data,
            .raw = complete ? buf_span(&r->pending) : SPAN_NONE,
            .data_at = complete && r->has_data && !r->joined ? r->data_at : 0,
        };
        e = fn(ctx, &event);
    }
    next_block(r);
    return e;
}

static void on_data(struct sse_reader *r, struct span value)
{
    if (!r->has_data) {
        r->has_data = true;
        r->data_at = (size_t)(value.data - r->pending.data);
        r->data_len = value.len;
        return;
    }
    if (!r->joined)
        buf_append(&r->data, first_data_line(r));
    r->joined = true;
    buf_append_char(&r->data, '\n');
    buf_append(&r->data, value);
}

static void on_field(struct sse_reader *r, struct span field, struct span value)
{
    if (span_is(field, "data")) {
        on_data(r, value);
    } else if (span_is(field, "event")) {
        r->has_name = value.len > 0;
        r->name_at = value.len ? (size_t)(value.data - r->pending.data) : 0;
        r->name_len = value.len;
    } else if (span_is(field, "id") && span_find(value, '\0') == value.len) {
        buf_clear(&r->id);
        buf_append(&r->id, value);
    }
}

/* One line without its end; an empty one ends the block. */
static enum err on_line(struct sse_reader *r, size_t end, sse_fn fn, void *ctx)
{
    if (!r->started) {
        r->started = true;
        if (span_starts(line_of(r, end), "\xef\xbb\xbf")) {
            buf_consume(&r->pending, 3);
            end -= 3;
        }
    }
    struct span line = line_of(r, end);
    if (line.len == 0)
        return dispatch(r, true, fn, ctx);
    r->line_start = r->pending.len;
    size_t colon = span_find(line, ':');
    if (colon == 0)
        return OK;
    struct span value = span_skip(line, colon + 1);
    if (span_starts(value, " "))
        value = span_skip(value, 1);
    on_field(r, span_first(line, colon), value);
    return buf_check(&r->data);
}

/* A run of bytes without a line end inside, onto the unfinished line. */
static enum err keep(struct sse_reader *r, struct span run)
{
    size_t line = r->pending.len - r->line_start;
    if (line + run.len > SSE_MAX_LINE || r->pending.len + run.len > SSE_MAX_EVENT)
        return ERR_TOO_BIG;
    buf_append(&r->pending, run);
    return buf_check(&r->pending);
}

/* The bytes of a line end, after the line; they count for the event's size but not for the line's.
 */
static enum err end_line(struct sse_reader *r, struct span eol, sse_fn fn, void *ctx)
{
    size_t end = r->pending.len - (r->last_was_cr ? 1 : 0);
    r->last_was_cr = false;
    buf_append(&r->pending, eol);
    enum err e = buf_check(&r->pending);
    return e ? e : on_line(r, end, fn, ctx);
}

/* A CR may be half of a CRLF: the line waits for the byte behind it, even if that is in the next
 * read. */
static enum err after_cr(struct sse_reader *r, struct span *bytes, sse_fn fn, void *ctx)
{
    struct span lf = span_first(*bytes, bytes->data[0] == '\n' ? 1 : 0);
    *bytes = span_skip(*bytes, lf.len);
    return end_line(r, lf, fn, ctx);
}

static enum err feed(struct sse_reader *r, struct span bytes, sse_fn fn, void *ctx)
{
    const char *lf =
        bytes.data; /* the next LF is known while it lies ahead: many CRs must not scan twice */
    bool lf_known = false;
    while (bytes.len > 0) {
        enum err e;
        if (r->last_was_cr) {
            e = after_cr(r, &bytes, fn, ctx);
            if (e)
                return e;
            continue;
        }
        if (!lf_known || lf < bytes.data) {
            lf = bytes.data + span_find(bytes, '\n');
            lf_known = true;
        }
        size_t to_lf = (size_t)(lf - bytes.data);
        size_t n = span_find(span_first(bytes, to_lf), '\r');
        e = keep(r, span_first(bytes, n));
        if (e)
            return e;
        bytes = span_skip(bytes, n);
        if (bytes.len == 0)
            return OK;
        if (bytes.data[0] == '\n') {
            e = end_line(r, span_first(bytes, 1), fn, ctx);
        } else {
            buf_append(&r->pending, span_first(bytes, 1));
            r->last_was_cr = true;
            e = buf_check(&r->pending);
        }
        if (e)
            return e;
        bytes = span_skip(bytes, 1);
    }
    return OK;
}

/* A hair over the event's limit, so that line ends never fail on their own. */
static void set_bounds(struct sse_reader *r)
{
    r->pending.max = (size_t)SSE_MAX_EVENT + 1024;
    r->data.max = (size_t)SSE_MAX_EVENT + 1024;
    r->id.max = (size_t)SSE_MAX_LINE;
}

enum err sse_feed(struct sse_reader *r, struct span bytes, sse_fn fn, void *ctx)
{
    set_bounds(r);
    if (!r->error)
        r->error = feed(r, bytes, fn, ctx);
    return r->error;
}

enum err sse_finish(struct sse_reader *r, sse_fn fn, void *ctx)
{
    if (!r->error && r->last_was_cr)
        r->error = end_line(r, SPAN_NONE, fn, ctx);
    if (!r->error && r->pending.len > r->line_start)
        r->error = on_line(r, r->pending.len, fn, ctx);
    if (!r->error)
        r->error = dispatch(r, false, fn, ctx);
    return r->error;
}

void sse_reader_free(struct sse_reader *r)
{
    buf_free(&r->pending);
    buf_free(&r->data);
    buf_free(&r->id);
    *r = (struct sse_reader){0};
}

void sse_write(struct buf *out, struct span name, struct span data)
{
    if (name.len) {
        buf_append(out, SPAN("event: "));
        buf_append(out, name);
        buf_append_char(out, '\n');
    }
    buf_append(out, SPAN("data: "));
    buf_append(out, data);
    buf_append(out, SPAN("\n\n"));
}
