/* The head of a request of HTTP/1.1, as our own client sends it. Pure. Inside of the HTTP client.
 */
#ifndef COMMON_FETCH_REQUEST_HEAD_H
#define COMMON_FETCH_REQUEST_HEAD_H

#include "common/base/buf.h"
#include "common/fetch/origin.h"

/* Where a spec's request goes. */
struct request_target {
    struct span authority;  /* "https://host:port" */
    struct span base, path; /* one behind the other: the request target; empty = "/" */
    bool keyed;             /* it may carry the origin's key */
};

/* false: it needs libcurl's eye (dot segments, a fragment, bytes that must be escaped), or can't go
 * at all. */
bool request_target_of(const struct fetch_spec *spec, struct request_target *target) NODISCARD;

/* Request line and fields: Host, Accept, Content-Type, the request's own, the origin's defaults
 * that it does not carry, the key, User-Agent unless one of those is, Accept-Encoding: identity,
 * Content-Length. A field that would change the framing (Content-Length, Transfer-Encoding,
 * Connection, Expect) is left out, as is one without a value; Host replaces ours. The caller asks
 * buf_check. */
void request_head_write(struct buf *out, const struct fetch_spec *spec,
                        const struct request_target *target);

#endif
