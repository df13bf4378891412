/* A connected edge or worker, kept until the last operation that answers to it is done: peers come
 * and go while the disk works. */
#ifndef SERVICES_AUTH_CLIENT_H
#define SERVICES_AUTH_CLIENT_H

#include "common/runtime/bus/bus.h"

struct client {
    struct bus_peer *peer; /* NULL once it is gone */
    bool is_edge;
    unsigned references; /* the peer's own included */
};

/* For a peer that has come up; NULL without memory. */
struct client *client_create(struct bus_peer *peer);
/* The one of a peer, or NULL. */
struct client *client_of(const struct bus_peer *peer);
/* The peer is gone; the client goes with its last reference. */
void client_leave(struct bus_peer *peer);
struct client *client_reservation(struct client *c);
void client_drop(struct client *c);

#endif
