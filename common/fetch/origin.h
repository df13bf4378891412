/* One base URL with one key, prepared once: header fields as list nodes that requests share. Inside
 * of the HTTP client; no file outside this folder includes it. */
#ifndef COMMON_FETCH_ORIGIN_H
#define COMMON_FETCH_ORIGIN_H

#include <curl/curl.h>

#include "common/base/arena.h"
#include "common/fetch/fetch.h"

enum { ORIGIN_MAX_DEFAULTS = 32 };

struct fetch_origin {
    struct arena arena;
    struct span base_url; /* NUL-terminated, no slash at its end */
    struct span query;    /* of every request but those of a whole URL */
    size_t authority_len; /* of base_url: scheme://host:port */
    const char *ca_file, *proxy;
    const struct secret *key; /* borrowed; NULL = none */
    struct span way; /* proxy, authorities, trust: with an authority in front, connections that may
                        be shared */
    bool https, private_network, http2;
    bool own_agent;  /* no default says who asks: we do */
    uint64_t serial; /* given at its first use: addresses are used again, serials are not */
    struct curl_slist *common;   /* on every request */
    struct curl_slist *with_key; /* the key in front of them */
    char *defaults[ORIGIN_MAX_DEFAULTS];
    size_t default_count;
};

/* Puts its query behind the path, which may have one already. */
void origin_put_query(const struct fetch_origin *o, struct span path, struct buf *out);
/* May this URL be asked at all, and may it carry the key? */
bool origin_allows_url(const struct fetch_origin *o, struct span url);
bool origin_trusts_url(const struct fetch_origin *o, struct span url);
/* Nothing in it could end a line of a head, or hide in one. */
bool origin_is_line(struct span line);

#endif
