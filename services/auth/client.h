/* A connected edge or worker, kept until the last operation that answers to it is done: peers come
 * and go while the disk works. */
#ifndef SERVICES_AUTH_CLIENT_H
#define SERVICES_AUTH_CLIENT_H

#include "common/runtime/bus/bus.h"

struct auth_client {
    struct bus_peer *peer; /* NULL once it is gone */
    bool is_edge;
    unsigned references; /* the peer's own included */
};

/* For a peer that has come up; NULL without memory. */
struct auth_client *client_create(struct bus_peer *peer);
/* The one of a peer, or NULL. */
struct auth_client *client_of(const struct bus_peer *peer);
/* The peer is gone; the client goes with its last reference. */
void client_leave(struct bus_peer *peer);
struct auth_client *client_ref(struct auth_client *c);
void client_unref(struct auth_client *c);

#endif
