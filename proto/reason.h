/* Why an upstream could not be reached, for the operator: reasons.def. */
#ifndef PROTO_REASON_H
#define PROTO_REASON_H

#include "common/base/span.h"

enum reason {
#define REASON(name, word, text) REASON_##name,
#include "proto/reasons.def"
#undef REASON
    REASON_COUNT
};

/* "tls_expired"; "" for REASON_NONE and unknown numbers (a newer neighbour). */
const char *reason_word(unsigned reason);
/* What a word means, in a sentence; "" when it is not known. */
const char *reason_text(struct span word);

#endif
