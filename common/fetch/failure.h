/* What a libcurl failure means for a request (docs/wire.md, Errors). */
#ifndef COMMON_FETCH_FAILURE_H
#define COMMON_FETCH_FAILURE_H

#include <curl/curl.h>

#include "common/base/span.h"
#include "proto/error_class.h"

struct fetch_failure {
    unsigned error_class;
    struct span message; /* static; names no address */
    long os_errno;       /* of the failed call, or 0 */
};

/* sent: bytes of the request left us; headed: the answer's head had come; os_errno: of the failed
 * call, or 0. */
struct fetch_failure fetch_failure_of(CURLcode code, bool sent, bool headed, long os_errno);

#endif
