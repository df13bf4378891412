#include "common/fetch/response.h"

#include <assert.h>

enum { MAX_SIZE_DIGITS = 15 }; /* of a chunk: no overflow of 64 bits */

static struct span trim_blanks(struct span s)
{
    while (s.len && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = span_skip(s, 1);
    while (s.len && (s.data[s.len - 1] == ' ' || s.data[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* ---- framing (RFC 9112 6.3) ---- */

static enum response_event refuse(struct fetch_response *r, const char *why)
{
    r->state = RESPONSE_FAULTY;
    r->fault = why;
    return RESPONSE_FAULT;
}

struct framing_facts {
    bool has_length, has_coding, chunked, keeps, closes;
    uint64_t length;
};

/* "5" or, from a field that was sent twice, "5, 5". */
static const char *read_length(struct framing_facts *f, struct span value)
{
    bool more = true;
    while (more) {
        uint64_t n = 0;
        more = span_find(value, ',') < value.len;
        if (!span_to_u64(trim_blanks(span_cut(&value, ',')), &n))
            return "malformed Content-Length";
        if (f->has_length && n != f->length)
            return "differing Content-Length";
        f->has_length = true;
        f->length = n;
    }
    return NULL;
}

static void read_connection(struct framing_facts *f, struct span value)
{
    while (value.len) {
        struct span option = trim_blanks(span_cut(&value, ','));
        f->closes = f->closes || span_is_nocase(option, "close");
        f->keeps = f->keeps || span_is_nocase(option, "keep-alive");
    }
}

/* NULL, or what is wrong. */
static const char *read_framing_field(struct framing_facts *f, const struct fetch_field *field)
{
    switch (field->name.len) {
    case 10:
        if (span_is_nocase(field->name, "connection"))
            read_connection(f, field->value);
        return NULL;
    case 14:
        return span_is_nocase(field->name, "content-length") ? read_length(f, field->value) : NULL;
    case 17:
        if (!span_is_nocase(field->name, "transfer-encoding"))
            return NULL;
        if (f->has_coding || !span_is_nocase(field->value, "chunked"))
            return "unknown Transfer-Encoding";
        f->has_coding = true;
        f->chunked = true;
        return NULL;
    default:
        return NULL;
    }
}

static const char *read_framing(struct framing_facts *f, const struct fetch_head *head)
{
    for (size_t i = 0; i < head->count; i++) {
        const char *fault = read_framing_field(f, &head->fields[i]);
        if (fault)
            return fault;
    }
    if (f->chunked && f->has_length)
        return "Content-Length beside Transfer-Encoding";
    if (f->chunked && head->http10)
        return "Transfer-Encoding in HTTP/1.0";
    return NULL;
}

static void begin_body(struct fetch_response *r, const struct fetch_head *head,
                       const struct framing_facts *f)
{
    bool none = r->bodiless || head->status == 204 || head->status == 304;
    r->closes = f->closes || (head->http10 && !f->keeps);
    if (none) {
        r->state = RESPONSE_OVER;
        /* Some send one all the same: it must not be taken for the next response. */
        if (head->status == 204 && (f->chunked || f->length))
            r->closes = true;
    } else if (f->chunked) {
        r->state = RESPONSE_AT_SIZE;
    } else if (f->has_length) {
        r->left = f->length;
        r->state = r->left ? RESPONSE_AT_LENGTH : RESPONSE_OVER;
    } else {
        r->state = RESPONSE_AT_REST;
        r->closes = true;
    }
}

/* ---- the head ---- */

/* Its length once it is whole, or 0. Each byte is looked at once however many pieces it comes in.
 */
static size_t head_end(struct fetch_response *r, struct span all)
{
    const char *lf;
    while (r->scanned < all.len &&
           (lf = memchr(all.data + r->scanned, '\n', all.len - r->scanned))) {
        size_t at = (size_t)(lf - all.data), len = at - r->line_start;
        bool empty = len == 0 || (len == 1 && all.data[r->line_start] == '\r');
        r->line_start = r->scanned = at + 1;
        if (empty)
            return at + 1;
    }
    r->scanned = all.len;
    return 0;
}

static enum response_event hold(struct fetch_response *r, struct span *in, bool holds)
{
    if (!holds)
        buf_append(&r->held, *in);
    *in = span_skip(*in, in->len);
    return buf_check(&r->held) == OK ? RESPONSE_MORE : refuse(r, "no memory");
}

static enum response_event judge(struct fetch_response *r, const struct fetch_head *head)
{
    struct framing_facts facts = {0};
    if (head->status == 101)
        return refuse(r, "a protocol nobody asked for");
    if (head->status < 200) {
        if (++r->interim > RESPONSE_MAX_INTERIM)
            return refuse(r, "too many interim responses");
        buf_clear(&r->held);
        r->line_start = r->scanned = 0;
        return RESPONSE_MORE;
    }
    const char *fault = read_framing(&facts, head);
    if (fault)
        return refuse(r, fault);
    begin_body(r, head, &facts);
    return RESPONSE_HEAD;
}

static enum response_event take_head(struct fetch_response *r, struct span *in,
                                     struct fetch_head *head)
{
    static const char begin[] = "HTTP/1.";
    size_t before = r->held.len;
    if (before)
        buf_append(&r->held, *in);
    struct span all = before ? buf_span(&r->held) : *in;
    size_t n = all.len < sizeof begin - 1 ? all.len : sizeof begin - 1;
    if (buf_check(&r->held) != OK)
        return refuse(r, "no memory");
    if (memcmp(all.data, begin, n) != 0)
        return refuse(r, "no HTTP/1");
    size_t end = head_end(r, all);
    if (end > RESPONSE_MAX_HEAD || (!end && all.len > RESPONSE_MAX_HEAD))
        return refuse(r, "too large a head");
    if (!end)
        return hold(r, in, before > 0);
    *in = span_skip(*in, end - before);
    if (before)
        r->held.len = end;
    if (!fetch_head_read(head, span_first(all, end)))
        return refuse(r, "malformed head");
    return judge(r, head);
}

/* ---- chunks (RFC 9112 7.1) ---- */

static int hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool size_byte(struct fetch_response *r, unsigned char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        r->left = r->left * 16 + (unsigned)digit;
        return ++r->digits <= MAX_SIZE_DIGITS;
    }
    r->line = 0;
    r->state = c == '\r' ? RESPONSE_AT_SIZE_LF : RESPONSE_AT_EXTENSION;
    return r->digits > 0 && (c == '\r' || c == ';' || c == ' ' || c == '\t');
}

static bool extension_byte(struct fetch_response *r, unsigned char c)
{
    if (c == '\r')
        r->state = RESPONSE_AT_SIZE_LF;
    return c != '\n' && c != '\0' && ++r->line <= RESPONSE_MAX_EXTENSION;
}

/* Trailers are read over. */
static bool trailer_byte(struct fetch_response *r, unsigned char c)
{
    bool after_cr = r->after_cr;
    r->after_cr = c == '\r';
    if (c == '\n') {
        if (r->line == 0)
            r->state = RESPONSE_OVER;
        r->line = 0;
    } else if (c != '\r') {
        r->line++;
    }
    return c != '\0' && (!after_cr || c == '\n') && ++r->section <= RESPONSE_MAX_TRAILER;
}

static void begin_size(struct fetch_response *r)
{
    r->state = RESPONSE_AT_SIZE;
    r->left = 0;
    r->digits = 0;
}

/* One byte of what surrounds the data. false: it may not stand there. */
static bool chunk_byte(struct fetch_response *r, unsigned char c)
{
    switch (r->state) {
    case RESPONSE_AT_SIZE:
        return size_byte(r, c);
    case RESPONSE_AT_EXTENSION:
        return extension_byte(r, c);
    case RESPONSE_AT_SIZE_LF:
        r->line = r->section = 0;
        r->after_cr = false;
        r->state = r->left ? RESPONSE_AT_CHUNK : RESPONSE_AT_TRAILER;
        return c == '\n';
    case RESPONSE_AT_CHUNK_CR:
        r->state = RESPONSE_AT_CHUNK_LF;
        return c == '\r';
    case RESPONSE_AT_CHUNK_LF:
        begin_size(r);
        return c == '\n';
    case RESPONSE_AT_TRAILER:
        return trailer_byte(r, c);
    case RESPONSE_AT_HEAD:
    case RESPONSE_AT_LENGTH:
    case RESPONSE_AT_REST:
    case RESPONSE_AT_CHUNK:
    case RESPONSE_OVER:
    case RESPONSE_FAULTY:
        break;
    }
    return false;
}

/* ---- the whole ---- */

static enum response_event take_body(struct fetch_response *r, struct span *in, struct span *body)
{
    bool bounded = r->state != RESPONSE_AT_REST;
    *body = bounded && r->left < in->len ? span_first(*in, (size_t)r->left) : *in;
    *in = span_skip(*in, body->len);
    if (bounded) {
        r->left -= body->len;
        if (!r->left)
            r->state = r->state == RESPONSE_AT_CHUNK ? RESPONSE_AT_CHUNK_CR : RESPONSE_OVER;
    }
    return RESPONSE_BODY;
}

void fetch_response_begin(struct fetch_response *r, bool bodiless)
{
    struct buf held = r->held;
    buf_clear(&held);
    *r = (struct fetch_response){.bodiless = bodiless, .held = held};
}

void fetch_response_free(struct fetch_response *r)
{
    buf_free(&r->held);
}

enum response_event fetch_response_next(struct fetch_response *r, struct span *in,
                                        struct fetch_head *head, struct span *body)
{
    assert(r->state != RESPONSE_FAULTY);
    while (r->state != RESPONSE_OVER) {
        if (!in->len)
            return RESPONSE_MORE;
        r->started = true;
        if (r->state == RESPONSE_AT_HEAD) {
            enum response_event event = take_head(r, in, head);
            if (event != RESPONSE_MORE)
                return event;
        } else if (r->state == RESPONSE_AT_LENGTH || r->state == RESPONSE_AT_REST ||
                   r->state == RESPONSE_AT_CHUNK) {
            return take_body(r, in, body);
        } else {
            unsigned char c = (unsigned char)in->data[0];
            *in = span_skip(*in, 1);
            if (!chunk_byte(r, c))
                return refuse(r, "malformed chunk");
        }
    }
    return RESPONSE_END;
}

bool fetch_response_may_end(struct fetch_response *r)
{
    if (r->state == RESPONSE_AT_REST)
        r->state = RESPONSE_OVER;
    return r->state == RESPONSE_OVER;
}

enum err fetch_response_keep_head(struct fetch_response *r, const struct fetch_head *head)
{
    if (!r->held.len)
        buf_append(&r->held, head->text);
    return buf_check(&r->held) == OK ? OK : ERR_NOMEM;
}

void fetch_response_kept_head(const struct fetch_response *r, struct fetch_head *head)
{
    bool again = fetch_head_read(head, buf_span(&r->held));
    assert(again);
    (void)again;
}

void fetch_response_drop_head(struct fetch_response *r)
{
    buf_free(&r->held);
}
