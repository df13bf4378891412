/* The bytes of a plain connection as common/http's own parser reads them: whatever comes, a head is
 * taken only when it is unambiguous, and is read alike in one piece and in two.
 *
 * Input: a byte that says where the pieces part, then the connection's bytes. */
#include "common/http/plain_parse.h"
#include "fuzz/fuzz.h"

enum { MAX_HEAD = 2000 };

static bool is_inside(struct span part, struct span all)
{
    return !part.len || (part.data >= all.data && part.data + part.len <= all.data + all.len);
}

/* A second opinion, slow and simple, on the lines of a sound head. */
static void check_lines(struct span head, const struct plain_head *h)
{
    unsigned lines = 0, hosts = 0, lengths = 0, codings = 0;
    for (size_t i = 0; i < head.len; i++) {
        unsigned char c = (unsigned char)head.data[i];
        REQUIRE(c != 0 && c != 0x7f);
        REQUIRE(c != '\n' || (i && head.data[i - 1] == '\r'));
        REQUIRE(c != '\r' || (i + 1 < head.len && head.data[i + 1] == '\n'));
    }
    for (struct span rest = h->fields, line; rest.len; lines++) {
        line = span_cut(&rest, '\n');
        struct span name = span_cut(&line, ':');
        REQUIRE(name.len && name.data[0] != ' ' && name.data[0] != '\t');
        REQUIRE(name.data[name.len - 1] != ' ' && name.data[name.len - 1] != '\t');
        hosts += span_is_nocase(name, "host");
        lengths += span_is_nocase(name, "content-length");
        codings += span_is_nocase(name, "transfer-encoding");
    }
    REQUIRE(lines == h->framing.fields && lines <= FRAMING_MAX_FIELDS);
    REQUIRE(hosts <= 1 && lengths + codings <= 1);
    REQUIRE(hosts == 1 || !h->framing.http11);
    REQUIRE(lengths == h->framing.has_length && codings == h->framing.chunked);
}

static void check_head(struct span bytes, const struct plain_head *h, enum plain_verdict v)
{
    REQUIRE(is_inside(h->method, bytes) && is_inside(h->target, bytes));
    REQUIRE(is_inside(h->fields, bytes));
    REQUIRE((v == PLAIN_FAULTY) == (h->framing.fault != NULL) || v == PLAIN_TOO_BIG);
    if (v != PLAIN_SOUND)
        return;
    REQUIRE(h->bytes <= bytes.len && h->bytes <= MAX_HEAD);
    REQUIRE(span_ends(span_first(bytes, h->bytes), "\r\n\r\n"));
    REQUIRE(h->method.len && h->target.len);
    struct span head = span_first(bytes, h->bytes);
    check_lines(span_skip(head, (size_t)(h->method.data - bytes.data)), h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct span bytes = span_of(data + 1, size - 1);
    struct plain_head whole, first, second;
    size_t scanned = 0, cut = bytes.len * data[0] / 255;
    enum plain_verdict v = plain_parse(bytes, MAX_HEAD, &scanned, &whole);
    check_head(bytes, &whole, v);
    scanned = 0;
    enum plain_verdict early = plain_parse(span_first(bytes, cut), MAX_HEAD, &scanned, &first);
    check_head(span_first(bytes, cut), &first, early);
    if (early != PLAIN_MORE) {
        /* behind a head that is too big there may be a fault as well */
        REQUIRE(early == v || (early == PLAIN_TOO_BIG && v == PLAIN_FAULTY));
        REQUIRE(v != PLAIN_SOUND || first.bytes == whole.bytes);
        return 0;
    }
    REQUIRE(plain_parse(bytes, MAX_HEAD, &scanned, &second) == v);
    REQUIRE(second.bytes == whole.bytes && second.fields.len == whole.fields.len);
    return 0;
}
