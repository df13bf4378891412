#include "common/base/inflate.h"

#include <stdlib.h>

#include <zlib.h>
#ifdef TOLLGATE_ZSTD
#include <zstd.h>
#endif

struct inflate {
    enum coding coding;
    bool whole, begun;
    uint64_t taken, given;
    z_stream z;
#ifdef TOLLGATE_ZSTD
    ZSTD_DStream *zstd;
#endif
};

#ifdef TOLLGATE_ZSTD
const char coding_names[] = "gzip, deflate, zstd";
#else
const char coding_names[] = "gzip, deflate";
#endif

enum coding coding_of(struct span field)
{
    static const struct {
        const char *name;
        enum coding coding;
    } known[] = {
        {"identity", CODING_NONE}, {"gzip", CODING_GZIP},
        {"x-gzip", CODING_GZIP},   {"deflate", CODING_DEFLATE},
#ifdef TOLLGATE_ZSTD
        {"zstd", CODING_ZSTD},
#endif
    };
    field = span_trim(field);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (span_is_nocase(field, known[i].name))
            return known[i].coding;
    }
    return field.len ? CODING_UNKNOWN : CODING_NONE;
}

enum err inflate_create(struct inflate **out, enum coding coding)
{
    *out = NULL;
    if (coding == CODING_NONE || coding == CODING_UNKNOWN)
        return ERR_INVALID;
    struct inflate *i = calloc(1, sizeof *i);
    if (!i)
        return ERR_NOMEM;
    i->coding = coding;
    *out = i;
    return OK;
}

void inflate_destroy(struct inflate **inflate)
{
    struct inflate *i = *inflate;
    *inflate = NULL;
    if (!i)
        return;
    if (i->begun && i->coding != CODING_ZSTD)
        (void)inflateEnd(&i->z);
#ifdef TOLLGATE_ZSTD
    (void)ZSTD_freeDStream(i->zstd);
#endif
    free(i);
}

/* ---- zlib ---- */

/* deflate is zlib's format by the standard, and none at all with some senders. */
static int window_bits(const struct inflate *i, unsigned char first)
{
    enum { GZIP = 16 };
    bool zlib = (first & 0x8f) == 0x08;
    return i->coding == CODING_GZIP ? MAX_WBITS + GZIP : zlib ? MAX_WBITS : -MAX_WBITS;
}

static enum err begin_zlib(struct inflate *i, unsigned char first)
{
    if (i->begun) /* another member */
        return inflateReset(&i->z) == Z_OK ? OK : ERR_INVALID;
    if (inflateInit2(&i->z, window_bits(i, first)) != Z_OK)
        return ERR_NOMEM;
    i->begun = true;
    return OK;
}

static enum err next_zlib(struct inflate *i, struct span *in, char *to, size_t size,
                          size_t *got_out)
{
    uInt most = in->len > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uInt)in->len;
    uInt room = size > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uInt)size;
    union {
        const char *from;
        Bytef *to;
    } input = {.from = in->data}; /* zlib reads it only */
    i->z.next_in = input.to;
    i->z.avail_in = most;
    i->z.next_out = (Bytef *)to;
    i->z.avail_out = room;
    int rc = inflate(&i->z, Z_SYNC_FLUSH);
    *in = span_skip(*in, most - i->z.avail_in);
    *got_out = room - i->z.avail_out;
    i->whole = rc == Z_STREAM_END;
    if (rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR)
        return OK;
    return rc == Z_MEM_ERROR ? ERR_NOMEM : ERR_INVALID;
}

/* ---- zstd ---- */

#ifdef TOLLGATE_ZSTD
static enum err begin_zstd(struct inflate *i)
{
    enum { WINDOW_LOG = 23 };
    _Static_assert(INFLATE_WINDOW_BYTES == 1 << WINDOW_LOG, "the window");
    if (i->begun)
        return OK;
    i->begun = true;
    i->zstd = ZSTD_createDStream();
    bool ready =
        i->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(i->zstd, ZSTD_d_windowLogMax, WINDOW_LOG));
    return ready ? OK : ERR_NOMEM;
}

static enum err next_zstd(struct inflate *i, struct span *in, char *to, size_t size,
                          size_t *got_out)
{
    ZSTD_inBuffer input = {in->data, in->len, 0};
    ZSTD_outBuffer output = {to, size, 0};
    size_t rc = ZSTD_decompressStream(i->zstd, &output, &input);
    *in = span_skip(*in, input.pos);
    *got_out = output.pos;
    if (ZSTD_isError(rc))
        return ERR_INVALID;
    i->whole = rc == 0;
    return OK;
}
#endif

/* ---- both ---- */

static enum err step(struct inflate *i, struct span *in, char *to, size_t size, size_t *got_out)
{
    bool fresh = !i->begun || (i->whole && in->len > 0);
    *got_out = 0;
    if ((fresh || i->whole) && in->len == 0)
        return OK;
    enum err e = OK;
#ifdef TOLLGATE_ZSTD
    if (i->coding == CODING_ZSTD) {
        e = fresh ? begin_zstd(i) : OK;
        return e ? e : next_zstd(i, in, to, size, got_out);
    }
#endif
    if (fresh)
        e = begin_zlib(i, (unsigned char)in->data[0]);
    return e ? e : next_zlib(i, in, to, size, got_out);
}

enum err inflate_next(struct inflate *i, struct span *in, char *to, size_t size, size_t *got_out)
{
    *got_out = 0;
    while (*got_out < size) {
        size_t before = in->len, got = 0;
        enum err e = step(i, in, to + *got_out, size - *got_out, &got);
        i->taken += before - in->len;
        i->given += got;
        *got_out += got;
        if (e)
            return e;
        if (i->given > INFLATE_FREE_BYTES && i->given / INFLATE_MAX_RATIO > i->taken)
            return ERR_TOO_BIG;
        if (got == 0 && before == in->len)
            break;
    }
    return OK;
}

bool inflate_is_whole(const struct inflate *i)
{
    return i->whole;
}

/* Into `to`, or into nothing. */
static enum err inflate_into(struct inflate *i, struct span in, uint64_t most, char *to,
                             uint64_t *bytes_out)
{
    char piece[16 << 10];
    for (;;) {
        uint64_t left = most - *bytes_out;
        size_t size = to && left < sizeof piece ? (size_t)left : sizeof piece, got = 0;
        char last; /* is there more than the room? */
        bool full = to && size == 0;
        enum err e = inflate_next(i, &in,
                                  full ? &last
                                  : to ? to + *bytes_out
                                       : piece,
                                  full ? 1 : size, &got);
        if (e)
            return e;
        if (full && got)
            return ERR_TOO_BIG;
        *bytes_out += got;
        if (*bytes_out > most)
            return ERR_TOO_BIG;
        if (got < (full ? 1 : size))
            return in.len ? ERR_INVALID : inflate_is_whole(i) ? OK : ERR_TRUNCATED;
    }
}

enum err inflate_body(enum coding coding, struct span in, uint64_t most, char *to,
                      uint64_t *bytes_out)
{
    struct inflate *i;
    *bytes_out = 0;
    enum err e = inflate_create(&i, coding);
    if (e == OK)
        e = inflate_into(i, in, most, to, bytes_out);
    inflate_destroy(&i);
    return e;
}
