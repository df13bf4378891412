/* Read borders never matter: whole, and cut in two anywhere, gives the same events. The first byte
 * says where to cut. */
#include "common/base/sse.h"
#include "fuzz/fuzz.h"

static enum err record(void *ctx, const struct sse_event *e)
{
    struct buf *out = ctx;
    buf_append(out, e->name);
    buf_append_char(out, '|');
    buf_append(out, e->data);
    buf_append_char(out, '|');
    buf_append(out, e->id);
    buf_append_char(out, e->has_data ? '+' : '-');
    return OK;
}

static enum err feed(struct span bytes, size_t cut, struct buf *out)
{
    struct sse_reader r = {0};
    enum err e = sse_feed(&r, span_first(bytes, cut), record, out);
    if (!e)
        e = sse_feed(&r, span_skip(bytes, cut), record, out);
    if (!e)
        e = sse_finish(&r, record, out);
    sse_reader_free(&r);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct span bytes = span_of(data + 1, size - 1);
    struct buf whole = {0}, split = {0};
    enum err a = feed(bytes, bytes.len, &whole);
    enum err b = feed(bytes, bytes.len * data[0] / 255, &split);
    REQUIRE(a == b);
    REQUIRE(span_equals(buf_span(&whole), buf_span(&split)));
    buf_free(&whole);
    buf_free(&split);
    return 0;
}
