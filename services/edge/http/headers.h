/* What the edge reads from a request's head, gathered in one pass over its fields; and the key in
 * it. Pure. */
#ifndef SERVICES_EDGE_HTTP_HEADERS_H
#define SERVICES_EDGE_HTTP_HEADERS_H

#include "common/base/arena.h"
#include "common/base/span.h"

enum { KEY_MAX_BYTES = 512, CLIENT_ID_MAX_BYTES = 128 };

/* {0}, then head_field for each field. Views of the exchange. */
struct request_head {
    struct span authorization;
    struct span x_api_key;
    struct span request_id;
    struct span origin;
    struct span content_encoding;
    struct span forwarded_for;  /* the last field: what our own proxy added */
    struct span access_headers; /* Access-Control-Request-Headers */
    struct span patience;       /* x-stainless-read-timeout, else x-stainless-timeout: seconds */
    struct span passed[4]; /* allow-listed fields for the upstream: values, by head_passed_name */
    bool has_anthropic_version;
    bool keys_differ; /* two Authorization or two x-api-key fields that are not equal */
};

/* For http_each_header; ctx is a struct request_head. */
void head_field(void *ctx, struct span name, struct span value);

enum key_found { KEY_FOUND, KEY_MISSING, KEY_AMBIGUOUS, KEY_MALFORMED };
/* The key as presented: `Authorization: Bearer K` or `x-api-key: K`; both and different:
 * ambiguous. */
enum key_found head_key(const struct request_head *h, struct span *key_out);

/* The client's own x-request-id when it is fit to be echoed and logged: 1 to 128 of letters, digits
 * and -_.:/+=@; else SPAN_NONE. */
struct span head_client_id(const struct request_head *h);
/* How long the client says it waits, in ms; 0 = it doesn't say (or nonsense). */
uint64_t head_patience_ms(const struct request_head *h);
/* "anthropic-beta: x\nanthropic-version: y\n": the lines that may travel to an upstream; in the
 * arena. */
struct span head_passed_lines(const struct request_head *h, struct arena *arena);
/* The right-most element of X-Forwarded-For; SPAN_NONE when absent. */
struct span head_forwarded_address(const struct request_head *h);
/* true when the body is sent as it is: no Content-Encoding, or identity. */
bool head_is_identity(const struct request_head *h);

#endif
