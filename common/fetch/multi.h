/* Transfers that libcurl carries whole: HTTP/2, and what our own client leaves to it. Inside of the
 * HTTP client. */
#ifndef COMMON_FETCH_MULTI_H
#define COMMON_FETCH_MULTI_H

#include "common/fetch/fetch_internal.h"

extern const struct fetch_engine fetch_engine_multi;

/* Makes libcurl's side of a transfer. ERR_INVALID, ERR_TOO_BIG, ERR_NOMEM: it can't go. */
enum err multi_prepare(struct fetch_transfer *r) NODISCARD;
/* Once nothing runs. */
void multi_free(struct fetch *up);

#endif
