/* What of a URL matters before it is asked. Pure. */
#ifndef COMMON_BASE_URL_H
#define COMMON_BASE_URL_H

#include "common/base/span.h"

enum { URL_MAX_BYTES = 4096 };

/* Scheme, host and port: up to the first '/' or '?' behind "://". 0 when it is no such URL (http or
 * https), is longer than URL_MAX_BYTES, or has user info, a fragment, a blank or a control byte. */
size_t url_authority_length(struct span url);

#endif
