/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates. */
#ifndef COMMON_BASE_UTF8_H
#define COMMON_BASE_UTF8_H

#include "common/base/buf.h"

bool utf8_valid(struct span s);
/* Appends s with every invalid sequence replaced by U+FFFD. */
void utf8_repair(struct buf *out, struct span s);
/* Length of the valid sequence at s[0..n), n > 0; 0 when it is none. */
size_t utf8_length(const unsigned char *s, size_t n);
/* Writes the code point's 1 to 4 bytes; at has room for 4. */
size_t utf8_put(char *at, uint32_t code_point);

#endif
