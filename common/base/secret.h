/* A provider's key or another secret: opaque so that no printf, log line or message takes it by
 * accident, wiped before its memory is given back. Only the code that puts it on the wire reveals
 * it. */
#ifndef COMMON_BASE_SECRET_H
#define COMMON_BASE_SECRET_H

#include "common/base/err.h"
#include "common/base/span.h"

enum { SECRET_MAX_BYTES = 16 * 1024 };

struct secret;

/* A copy of prefix + text ("Authorization: Bearer " + key; either may be empty). ERR_INVALID when
 * text is empty or holds a byte below 0x20 or 0x7f (it could not stand in a header field),
 * ERR_TOO_BIG past the bound. */
enum err secret_create(struct span prefix, struct span text, struct secret **out) NODISCARD;
/* The trimmed text of a file that only its owner may touch (mode & 077 is ERR_DENIED).
 * ERR_NOT_FOUND, ERR_INVALID, ERR_TOO_BIG, ERR_IO. */
enum err secret_from_file(const char *path, struct secret **out) NODISCARD;
/* Wipes and frees; takes NULL, nulls. */
void secret_destroy(struct secret **secret);

/* The bytes, NUL-terminated behind their end. For the wire only. */
struct span secret_reveal(const struct secret *secret);

#endif
