/* Read borders never matter, nor does how much room there is at a time: a body at once, and in two
 * pieces into a few bytes of room, is the same, and is never more than its bounds. The first byte
 * says which coding, the second where to cut. */
#include "common/base/inflate.h"

#include <string.h>

#include "common/base/buf.h"
#include "fuzz/fuzz.h"

enum { MOST = 1 << 16, ROOM = 7 };

static enum err feed(struct inflate *i, struct span in, struct buf *out)
{
    char piece[ROOM];
    size_t got = ROOM;
    while (got == ROOM) {
        enum err e = inflate_next(i, &in, piece, ROOM, &got);
        buf_append(out, span_of(piece, got));
        if (e)
            return e;
        if (out->len > MOST)
            return ERR_TOO_BIG;
    }
    return in.len ? ERR_INVALID : OK;
}

static enum err in_pieces(enum coding coding, struct span in, size_t cut, struct buf *out)
{
    struct inflate *i;
    enum err e = inflate_create(&i, coding);
    if (e == OK)
        e = feed(i, span_first(in, cut), out);
    if (e == OK)
        e = feed(i, span_skip(in, cut), out);
    if (e == OK && !inflate_is_whole(i))
        e = ERR_TRUNCATED;
    inflate_destroy(&i);
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char whole[MOST];
    static const char *const names[] = {"gzip", "deflate", "zstd"};
    uint64_t bytes = 0, counted = 0;
    struct buf pieces = {0};
    if (size < 2)
        return 0;
    enum coding coding = coding_of(span_str(names[data[0] % 3]));
    struct span in = span_of(data + 2, size - 2);
    if (coding == CODING_UNKNOWN)
        return 0;
    enum err a = inflate_body(coding, in, MOST, whole, &bytes);
    enum err b = inflate_body(coding, in, MOST, NULL, &counted);
    enum err c = in_pieces(coding, in, in.len * data[1] / 255, &pieces);
    REQUIRE(bytes <= MOST);
    REQUIRE((a == OK) == (b == OK) && (a == OK) == (c == OK));
    if (a == OK)
        REQUIRE(bytes == counted && span_equals(span_of(whole, (size_t)bytes), buf_span(&pieces)));
    buf_free(&pieces);
    return 0;
}
