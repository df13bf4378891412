#include "common/http/framing.h"

enum { MAX_METHOD = 32, MAX_LENGTH_DIGITS = 18 };

static const unsigned char token_chars[256] = {
    ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1,  ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
    ['8'] = 1, ['9'] = 1, ['A'] = 1, ['B'] = 1,  ['C'] = 1, ['D'] = 1, ['E'] = 1, ['F'] = 1,
    ['G'] = 1, ['H'] = 1, ['I'] = 1, ['J'] = 1,  ['K'] = 1, ['L'] = 1, ['M'] = 1, ['N'] = 1,
    ['O'] = 1, ['P'] = 1, ['Q'] = 1, ['R'] = 1,  ['S'] = 1, ['T'] = 1, ['U'] = 1, ['V'] = 1,
    ['W'] = 1, ['X'] = 1, ['Y'] = 1, ['Z'] = 1,  ['a'] = 1, ['b'] = 1, ['c'] = 1, ['d'] = 1,
    ['e'] = 1, ['f'] = 1, ['g'] = 1, ['h'] = 1,  ['i'] = 1, ['j'] = 1, ['k'] = 1, ['l'] = 1,
    ['m'] = 1, ['n'] = 1, ['o'] = 1, ['p'] = 1,  ['q'] = 1, ['r'] = 1, ['s'] = 1, ['t'] = 1,
    ['u'] = 1, ['v'] = 1, ['w'] = 1, ['x'] = 1,  ['y'] = 1, ['z'] = 1, ['!'] = 1, ['#'] = 1,
    ['$'] = 1, ['%'] = 1, ['&'] = 1, ['\''] = 1, ['*'] = 1, ['+'] = 1, ['-'] = 1, ['.'] = 1,
    ['^'] = 1, ['_'] = 1, ['`'] = 1, ['|'] = 1,  ['~'] = 1};

bool framing_is_token(struct span s)
{
    const unsigned char *c = (const unsigned char *)s.data;
    size_t i = 0;
    for (; s.len - i >= 4; i += 4) {
        if (!(token_chars[c[i]] & token_chars[c[i + 1]] & token_chars[c[i + 2]] &
              token_chars[c[i + 3]]))
            return false;
    }
    for (; i < s.len; i++) {
        if (!token_chars[c[i]])
            return false;
    }
    return s.len > 0;
}

/* Is none of the eight bytes below 0x20 or 0x7f? Subtracting sets the top bit of each that is, and
 * perhaps of one beside it: a false no costs only a closer look. */
static bool are_visible(const char *eight)
{
    const uint64_t each = 0x0101010101010101;
    uint64_t v;
    memcpy(&v, eight, sizeof v);
    uint64_t below = (v - each * 0x20) & ~v, del = ((v ^ each * 0x7f) - each) & ~(v ^ each * 0x7f);
    return !((below | del) & each * 0x80);
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

bool framing_is_printable(struct span s)
{
    while (s.len >= 8 && are_visible(s.data))
        s = span_skip(s, 8);
    for (size_t i = 0; i < s.len; i++) {
        if (is_control(s.data[i]))
            return false;
    }
    return true;
}

bool framing_is_field_value(struct span s)
{
    if (framing_is_printable(s))
        return true;
    for (size_t i = 0; i < s.len; i++) {
        if (is_control(s.data[i]) && s.data[i] != '\t')
            return false;
    }
    return true;
}

static void fail(struct framing *f, const char *why)
{
    if (!f->fault)
        f->fault = why;
}

static bool is_target(struct span s)
{
    if (!span_is_graphic(s) || span_find(s, '#') < s.len)
        return false;
    return span_starts(s, "/") || span_is(s, "*") || span_starts(s, "http://") ||
           span_starts(s, "https://");
}

void framing_begin(struct framing *f, struct span method, struct span target, struct span version)
{
    *f = (struct framing){.http11 = span_is(version, "HTTP/1.1")};
    if (!f->http11 && !span_is(version, "HTTP/1.0"))
        fail(f, "unknown HTTP version");
    if (!framing_is_token(method) || method.len > MAX_METHOD)
        fail(f, "malformed method");
    if (!is_target(target))
        fail(f, "malformed request target");
}

static bool is_host(struct span s)
{
    static const char never[] = "/@,?#\\\"<>";
    if (!span_is_graphic(s))
        return false;
    for (const char *c = never; *c; c++) {
        if (span_find(s, *c) < s.len)
            return false;
    }
    return true;
}

static void take_length(struct framing *f, struct span value)
{
    if (f->has_length)
        fail(f, "two Content-Length fields");
    f->has_length = true;
    if (value.len > MAX_LENGTH_DIGITS || !span_to_u64(value, &f->length))
        fail(f, "malformed Content-Length");
}

static void take_coding(struct framing *f, struct span value)
{
    if (f->chunked)
        fail(f, "two Transfer-Encoding fields");
    f->chunked = true;
    if (!span_is_nocase(value, "chunked"))
        fail(f, "unknown transfer coding");
}

static void take_connection(struct framing *f, struct span value)
{
    while (value.len) {
        struct span token = span_trim(span_cut(&value, ','));
        f->close |= span_is_nocase(token, "close");
        f->keep_alive |= span_is_nocase(token, "keep-alive");
    }
}

static void take_host(struct framing *f, struct span value)
{
    if (f->has_host)
        fail(f, "two Host fields");
    f->has_host = true;
    if (!is_host(value))
        fail(f, "malformed Host");
}

void framing_field(struct framing *f, struct span name, struct span value)
{
    if (!framing_is_token(name))
        fail(f, "field name is not a token");
    if (!framing_is_field_value(value))
        fail(f, "control byte in a field value");
    f->fields++;
    switch (name.len) {
    case 4:
        if (span_is_nocase(name, "host"))
            take_host(f, value);
        break;
    case 6:
        if (span_is_nocase(name, "expect"))
            f->expects_continue = span_is_nocase(value, "100-continue");
        break;
    case 10:
        if (span_is_nocase(name, "connection"))
            take_connection(f, value);
        break;
    case 14:
        if (span_is_nocase(name, "content-length"))
            take_length(f, value);
        break;
    case 16:
        if (span_is_nocase(name, "content-encoding"))
            f->encoded |= value.len > 0 && !span_is_nocase(value, "identity");
        break;
    case 17:
        if (span_is_nocase(name, "transfer-encoding"))
            take_coding(f, value);
        break;
    default:
        break;
    }
}

void framing_end(struct framing *f)
{
    if (f->http11 && !f->has_host)
        fail(f, "Host field missing");
    if (f->chunked && !f->http11)
        fail(f, "Transfer-Encoding in HTTP/1.0");
    if (f->chunked && f->has_length)
        fail(f, "both Content-Length and Transfer-Encoding");
}

bool framing_lives_on(const struct framing *f)
{
    /* RFC 9112 6.1: a connection that carried chunks is not trusted with another request */
    return !f->fault && !f->chunked && !f->close && (f->http11 || f->keep_alive);
}
