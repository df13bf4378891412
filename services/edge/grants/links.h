/* This edge's links to workers: opened with the first grant for one, closed when unused for long.
 * Where workers are, the grants say. */
#ifndef SERVICES_EDGE_GRANTS_LINKS_H
#define SERVICES_EDGE_GRANTS_LINKS_H

#include "common/runtime/bus/bus.h"

enum { LINK_PATIENCE_MS = 1000, LINK_IDLE_MS = 60000 };

/* One worker, of one boot. Freed by links_close and links_tick only. */
struct worker_link {
    uint64_t epoch; /* of the worker's boot; the key */
    struct bus_peer *peer;
    bool up;          /* greeted, and of that boot: messages may go */
    uint32_t running; /* attempts that use it */
    uint64_t used_ms; /* when that was last 0 */
};

/* {NULL} is empty. */
struct worker_links {
    struct link_entry *all; /* by epoch */
};

/* The link to the worker that a grant is for, opened to its address and by its key if there is none
 * yet. NULL when it cannot be opened. */
struct worker_link *links_get(struct worker_links *links, struct bus *bus, const struct grant *g,
                              uint64_t now_ms);
/* The link that this peer is the other end of; NULL when it is no worker's. */
struct worker_link *links_of(const struct worker_links *links, const struct bus_peer *peer);
/* The peer has been greeted: up, or (false) it is another boot than the link was made for. */
bool links_greeted(struct worker_link *link);
/* Takes NULL, nulls. */
void links_close(struct worker_links *links, struct worker_link **link);
/* Closes those that have not been used for long. */
void links_tick(struct worker_links *links, uint64_t now_ms);
void links_close_all(struct worker_links *links);

#endif
