/* The response of an upstream, as the worker's HTTP client reads it: what is heard must not depend
 * on the pieces it comes in, and what is believed must be unambiguous and bounded.
 *
 * Input: one byte (how it is cut, and whether HEAD was asked), then what the upstream sends. */
#include "common/fetch/response.h"
#include "fuzz/fuzz.h"

struct heard {
    bool over, fault, headed;
    unsigned status;
    struct buf fields, body;
};

static void check_head(struct heard *h, const struct fetch_head *head)
{
    struct span length = fetch_head_get(head, "content-length");
    struct span coding = fetch_head_get(head, "transfer-encoding");
    REQUIRE(!h->headed && head->status >= 200 && head->count <= RESPONSE_MAX_FIELDS);
    REQUIRE(!coding.data || (!length.data && span_is_nocase(coding, "chunked") && !head->http10));
    h->headed = true;
    h->status = head->status;
    for (size_t i = 0; i < head->count; i++) {
        const struct fetch_field *f = &head->fields[i];
        REQUIRE(f->name.len && span_find(f->name, ' ') == f->name.len);
        REQUIRE(span_find(f->value, '\r') == f->value.len &&
                span_find(f->value, '\n') == f->value.len);
        REQUIRE(span_find(f->value, '\0') == f->value.len);
        buf_append(&h->fields, f->name);
        buf_append_char(&h->fields, '=');
        buf_append(&h->fields, f->value);
        buf_append_char(&h->fields, '\n');
    }
}

static bool feed(struct fetch_response *r, struct heard *h, struct span piece)
{
    static struct fetch_head head;
    for (;;) {
        struct span body = SPAN_NONE;
        switch (fetch_response_next(r, &piece, &head, &body)) {
        case RESPONSE_MORE:
            REQUIRE(piece.len == 0 && r->held.len <= RESPONSE_MAX_HEAD);
            return true;
        case RESPONSE_HEAD:
            check_head(h, &head);
            break;
        case RESPONSE_BODY:
            REQUIRE(h->headed && body.len && h->status != 204 && h->status != 304);
            buf_append(&h->body, body);
            break;
        case RESPONSE_END:
            REQUIRE(h->headed);
            h->over = true;
            return false;
        case RESPONSE_FAULT:
            REQUIRE(r->fault);
            h->fault = true;
            return false;
        }
    }
}

static struct heard read_all(struct span text, size_t size, bool bodiless)
{
    struct fetch_response r = {0};
    struct heard h = {0};
    bool more = true;
    fetch_response_begin(&r, bodiless);
    while (more && text.len) {
        struct span piece = span_first(text, size);
        char *own = malloc(piece.len);
        memcpy(own, piece.data, piece.len);
        more = feed(&r, &h, span_of(own, piece.len));
        free(own);
        text = span_skip(text, size);
    }
    if (more)
        h.over = fetch_response_may_end(&r);
    REQUIRE(!bodiless || h.body.len == 0);
    fetch_response_free(&r);
    return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct span text = span_of(data + 1, size - 1);
    struct heard whole = read_all(text, text.len, data[0] & 1);
    struct heard cut = read_all(text, (size_t)(data[0] >> 1) % 32 + 1, data[0] & 1);
    REQUIRE(whole.over == cut.over && whole.fault == cut.fault && whole.status == cut.status);
    REQUIRE(span_equals(buf_span(&whole.fields), buf_span(&cut.fields)));
    REQUIRE(span_equals(buf_span(&whole.body), buf_span(&cut.body)));
    buf_free(&whole.fields);
    buf_free(&whole.body);
    buf_free(&cut.fields);
    buf_free(&cut.body);
    return 0;
}
