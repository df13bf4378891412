/* What a libcurl failure means for a request (docs/wire.md, Errors). */
#ifndef COMMON_FETCH_FAILURE_H
#define COMMON_FETCH_FAILURE_H

#include <curl/curl.h>

#include "common/base/span.h"
#include "proto/error_class.h"
#include "proto/reason.h"

struct fetch_failure {
    unsigned error_class;
    struct span message; /* static; names no address */
    enum reason reason;
    long os_errno; /* of the failed call, or 0 */
};

/* What libcurl knows beside its code. {0}: nothing. */
struct fetch_facts {
    long os_errno;      /* of the failed call */
    long verify_result; /* OpenSSL's, of the certificate */
    long connect_code;  /* a proxy's answer to CONNECT */
    bool by_proxy;
};

struct fetch_facts fetch_facts_of(CURL *easy, bool by_proxy);

/* sent: bytes of the request left us; headed: the answer's head had come. */
struct fetch_failure fetch_failure_of(CURLcode code, bool sent, bool headed,
                                      struct fetch_facts facts);

#endif
