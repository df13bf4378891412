/* The HTTP surface as one table: method, path pattern, protocol, what serves it. The clients' APIs
 * are rows of apis.def. Pure. */
#ifndef SERVICES_EDGE_HTTP_ROUTES_H
#define SERVICES_EDGE_HTTP_ROUTES_H

#include "common/base/span.h"
#include "proto/api.h"

/* What serves a route; services/edge/handlers.c has a function for each. */
enum route_kind {
    ROUTE_API,    /* goes to a broker: POST with a JSON body; GET and DELETE of a stored response */
    ROUTE_MODELS, /* the models a key may use */
    ROUTE_MODEL,  /* one of them */
    ROUTE_HEALTH, /* for people */
    ROUTE_LIVENESS,  /* is the process alive */
    ROUTE_READINESS, /* may a load balancer send here */
    ROUTE_METRICS,   /* the suite's Prometheus text */
    ROUTE_KINDS
};

enum { METHOD_GET = 1, METHOD_POST = 2, METHOD_DELETE = 4, METHOD_HEAD = 8, METHOD_OPTIONS = 16 };

struct http_route {
    unsigned method;     /* one METHOD_ */
    const char *pattern; /* `{}` stands for one segment, a trailing `*` for the rest of the path */
    enum api api;        /* the protocol its errors are said in, and that its requests speak */
    enum route_kind kind;
    bool open; /* served without a key */
    enum api_body body;
    unsigned operation; /* enum operation; 0 where nothing is asked of a worker */
};

enum route_found { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD, ROUTE_OPTIONS };

struct route_match {
    enum route_found found;
    const struct http_route *route; /* NULL unless ROUTE_FOUND */
    unsigned methods; /* METHOD_ bits the path knows, HEAD and OPTIONS included; for Allow */
    struct span rest; /* what `{}` or `*` stood for, still percent-encoded */
};

/* HEAD is served wherever GET is. */
struct route_match route_match(struct span method, struct span path);
/* For the next index from 0; NULL behind the last one. */
const struct http_route *route_at(size_t index);
/* The protocol in which to speak about a path that may be no route at all. */
enum api route_protocol(struct span path, bool anthropic_version);

/* What only operators read: metrics, and health with its detail. Not for scripts of other sites. */
bool route_is_for_operators(struct span path);

/* "GET, HEAD, OPTIONS" into out; the length written. */
enum { ROUTE_METHODS_TEXT = 48 };
size_t route_methods_text(unsigned methods, char out[ROUTE_METHODS_TEXT]);

/* Decodes %XX into out, which has room for text.len bytes; false for a bad escape, %00 or a control
 * character. */
bool route_decode(struct span text, char *out, size_t *len_out);
#endif
