/* A whole native answer turned into the stream of the same protocol: for servers that answer a
 * stream request with plain JSON. Members are copied verbatim. */
#ifndef SERVICES_WORKER_PIPELINE_SYNTHESIZE_H
#define SERVICES_WORKER_PIPELINE_SYNTHESIZE_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "proto/api.h"

/* Appends the events; a [DONE] behind them is left to the caller. with_usage: the OpenAI client
 * asked for it. ERR_INVALID when the body is not an answer of this protocol. */
enum err synthesize_stream(enum api api, struct json body, bool with_usage,
                           struct buf *out) NODISCARD;

#endif
