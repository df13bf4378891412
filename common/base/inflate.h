/* Content codings of HTTP (RFC 9110 8.4.1, RFC 8878), taken off: gzip, deflate, zstd. The only user
 * of zlib and libzstd. What comes out is bounded by what goes in, so that a few bytes never cost
 * much work or memory. */
#ifndef COMMON_BASE_INFLATE_H
#define COMMON_BASE_INFLATE_H

#include "common/base/err.h"
#include "common/base/span.h"

enum coding { CODING_NONE, CODING_GZIP, CODING_DEFLATE, CODING_ZSTD, CODING_UNKNOWN };

enum {
    INFLATE_MAX_RATIO = 200,       /* bytes out for one in … */
    INFLATE_FREE_BYTES = 1 << 20,  /* … once there are more than these */
    INFLATE_WINDOW_BYTES = 8 << 20 /* of zstd's frames at most (RFC 9659) */
};

/* Of a Content-Encoding field. NONE: empty, or identity. UNKNOWN: several at once too. */
enum coding coding_of(struct span field);
/* "gzip, deflate, zstd": those that are known here, as Accept-Encoding has them. */
extern const char coding_names[];

struct inflate;

/* Of a coding that is known. */
enum err inflate_create(struct inflate **out, enum coding coding) NODISCARD;
/* Takes NULL, nulls. */
void inflate_destroy(struct inflate **inflate);
/* Takes bytes from *in and writes at most `size` of what they stand for. All that can be had has
 * come when *in is empty and *got_out is less than `size`. ERR_INVALID: not of this coding;
 * ERR_TOO_BIG: beyond the ratio; ERR_NOMEM. */
enum err inflate_next(struct inflate *i, struct span *in, char *to, size_t size,
                      size_t *got_out) NODISCARD;
/* What has come is whole: it ends where the coding says so. */
bool inflate_is_whole(const struct inflate *i);

/* A whole body at once. *bytes_out: what it stands for, which is written to `to`, where there is
 * room for `most`; `to` NULL: only counted. ERR_TOO_BIG: more than `most`, or beyond the ratio;
 * ERR_TRUNCATED: not whole; ERR_INVALID, ERR_NOMEM. */
enum err inflate_body(enum coding coding, struct span in, uint64_t most, char *to,
                      uint64_t *bytes_out) NODISCARD;

#endif
