/* What the edge reads from a request's head, gathered in one pass over its fields; and the key in
 * it. Pure. */
#ifndef SERVICES_EDGE_HTTP_HEADERS_H
#define SERVICES_EDGE_HTTP_HEADERS_H

#include "common/base/arena.h"
#include "common/base/inflate.h"
#include "common/base/secret.h"
#include "common/base/span.h"

enum { KEY_MAX_BYTES = 512, CLIENT_ID_MAX_BYTES = 128, PASSED_MAX = 16, TAG_FIELDS_MAX = 4 };

/* A field that may travel to an upstream: which one (headers.c knows their names), and its value.
 */
struct passed_field {
    unsigned which;
    struct span value;
};

/* {0}, then head_field for each field. Views of the exchange. */
struct request_head {
    struct span authorization;
    struct span x_api_key, api_key, goog_api_key;
    struct span own_key; /* x-tollgate-key or x-litellm-api-key: stands above all others */
    struct span request_id;
    struct span origin;
    struct span content_encoding;
    unsigned content_encodings; /* fields of that name */
    struct span forwarded_for;  /* the last field: what our own proxy added */
    struct span access_headers; /* Access-Control-Request-Headers */
    struct span patience;       /* x-stainless-read-timeout, else x-stainless-timeout: seconds */
    struct span repeats;        /* x-stainless-retry-count */
    struct span tags[TAG_FIELDS_MAX]; /* x-tollgate-tags, x-litellm-tags: for the ledger */
    size_t tags_count;
    struct passed_field passed[PASSED_MAX]; /* in the client's order */
    size_t passed_count;
    bool has_anthropic_version;
    bool keys_differ;     /* two fields of the same name that are not equal */
    bool own_keys_differ; /* … of our own */
};

/* For http_each_header; ctx is a struct request_head. */
void head_field(void *ctx, struct span name, struct span value);

enum key_found { KEY_FOUND, KEY_MISSING, KEY_AMBIGUOUS, KEY_MALFORMED };
/* The key as presented: `x-tollgate-key: K` or `x-litellm-api-key: K` alone where there is one;
 * else `Authorization: Bearer K`, `x-api-key: K`, `api-key: K` (Azure's clients) or
 * `x-goog-api-key: K`; several and different: ambiguous. */
enum key_found head_key(const struct request_head *h, struct span *key_out);

/* What the client shows a provider beside our key, which is in a field of ours then: its
 * Authorization, else its x-api-key, as a line of a head. NULL: none, or one that is not usable. */
struct secret *head_credential(const struct request_head *h);
/* The client's own x-request-id when it is fit to be echoed and logged: 1 to 128 of letters, digits
 * and -_.:/+=@; else SPAN_NONE. */
struct span head_client_id(const struct request_head *h);
/* How long the client says it waits, in ms; 0 = it doesn't say (or nonsense). */
uint64_t head_patience_ms(const struct request_head *h);
/* How often its SDK has asked the same before; 0 = never, or it doesn't say. */
unsigned head_repeats(const struct request_head *h);
/* "anthropic-beta: x\nanthropic-version: y\n": the lines that may travel to an upstream; in the
 * arena. Lists that come in several fields are one line. */
struct span head_passed_lines(const struct request_head *h, struct arena *arena);
/* The right-most element of X-Forwarded-For; SPAN_NONE when absent. */
struct span head_forwarded_address(const struct request_head *h);
/* Of the body. Two fields are two codings, one over the other: unknown. */
enum coding head_coding(const struct request_head *h);

#endif
