/* What all parts of the edge share, from start to stop: the daemon it runs in, its HTTP server,
 * what it derives from the configuration, and the tables that outlive a request. */
#ifndef SERVICES_EDGE_CONTEXT_H
#define SERVICES_EDGE_CONTEXT_H

#include "common/base/json.h"
#include "common/http/http.h"
#include "common/runtime/catalog.h"
#include "common/runtime/daemon.h"
#include "services/edge/grants/grants.h"
#include "services/edge/grants/links.h"
#include "services/edge/http/cidr.h"
#include "services/edge/leases/known_keys.h"
#include "services/edge/leases/leases.h"
#include "services/edge/leases/releases.h"
#include "services/edge/leases/slot_book.h"
#include "services/edge/request/model_names.h"

struct edge_request;
struct key_check;

enum {
    EDGE_PATIENCE_MS = 3000,
    EDGE_BROKER_PATIENCE_MS = 10000,
    EDGE_MAX_LEASES = 65536,
    EDGE_MAX_KNOWN_KEYS = 16384,
    EDGE_MAX_UNKNOWN_KEYS = 1024,
    EDGE_MAX_SPARE = 512,
    EDGE_ID_STOCK = 64
};

struct edge {
    struct catalog catalog; /* what providers list */
    struct daemon *d;
    struct http_server *http;
    struct key_leases *leases;
    struct slot_book *slots;
    struct known_keys *known_keys;
    struct key_check *key_checks, *key_checks_by_id; /* that auth has not answered */
    struct releases *releases;
    struct grants *grants;
    struct worker_links links;
    uint32_t report_seq; /* of the last REPORT */
    size_t next_broker;  /* to be asked, among equals */
    struct loop_timer grants_timer;
    struct loop_hook grants_hook;

    /* From the configuration; made anew on reload. */
    struct cidr_list metrics_allow;
    uint64_t config_read_ms; /* wall clock */
    bool forwarded_warned;   /* of an X-Forwarded-For that is not trusted */

    /* Requests that have not ended, by id; ended ones wait in `spare` with their arenas. */
    struct edge_request *requests;
    struct edge_request *spare;
    uint32_t request_count, spare_count;

    /* Since when there has been no auth, or no broker, to ask; 0 = there is one. Monotonic ms: a
     * request waits for one that has just gone, and does not wait for one long gone. */
    uint64_t auth_down_ms, brokers_down_ms;
    bool was_ready; /* auth and a broker have been there once */

    /* Fresh request ids: the kernel is asked for many at once. */
    struct request_id ids[EDGE_ID_STOCK];
    size_t ids_left;

    /* Scratch of one handler call. */
    struct json_doc doc;
    struct buf scratch;

    struct loop_timer gather_timer; /* RELEASEs wait for company */
    struct loop_timer gauge_timer;
    struct loop_timer lame_duck_timer; /* then nobody is accepted any more */
    struct model_names model_names;
    struct http_stats last_reported; /* what of these has gone into the metrics */
    uint64_t releases_dropped_reported;
};

/* Fresh and random. */
struct request_id edge_new_id(struct edge *e);
/* May this client read what is for operators, without a key? */
bool edge_allows_address(const struct edge *e, struct span address);
bool edge_has_broker(const struct edge *e);
/* Up, and not about to stop. */
bool edge_broker_is_usable(const struct bus_peer *broker);
static inline uint64_t edge_now_ms(const struct edge *e)
{
    return loop_now_ms(e->d->loop);
}
static inline const struct config_options *edge_options(const struct edge *e)
{
    return &e->d->config->options;
}

#endif
