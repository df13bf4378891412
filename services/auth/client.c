#include "services/auth/client.h"

#include <stdlib.h>

struct auth_client *client_create(struct bus_peer *peer)
{
    struct auth_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->peer = peer;
    c->is_edge = strcmp(bus_peer_role(peer), "edge") == 0;
    c->references = 1;
    bus_peer_set_user(peer, c);
    return c;
}

struct auth_client *client_of(const struct bus_peer *peer)
{
    return bus_peer_user(peer);
}

void client_leave(struct bus_peer *peer)
{
    struct auth_client *c = bus_peer_user(peer);
    if (!c)
        return;
    bus_peer_set_user(peer, NULL);
    c->peer = NULL;
    client_unref(c);
}

struct auth_client *client_ref(struct auth_client *c)
{
    c->references++;
    return c;
}

void client_unref(struct auth_client *c)
{
    if (--c->references == 0)
        free(c);
}
