/* Wires: ZeroMQ sockets with their options, in the loop. */
#include "common/runtime/bus/bus_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

struct wire *bus_open_wire(struct bus *bus, int type, struct bus_peer *link)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (!wire)
        return NULL;
    *wire = (struct wire){.bus = bus, .link = link};
    wire->zsock = zsock_new(type);
    if (!wire->zsock) {
        free(wire);
        return NULL;
    }
    zsock_set_linger(wire->zsock, 0);
    zsock_set_sndhwm(wire->zsock, HWM_BATCHES);
    zsock_set_rcvhwm(wire->zsock, HWM_BATCHES);
    zsock_set_maxmsgsize(wire->zsock, (int)bus->spec.max_message_bytes);
    if (type == ZMQ_ROUTER) {
        zsock_set_router_mandatory(wire->zsock, 1);
    } else {
        /* A ROUTER that still has the connection before would ignore another one of that id. */
        char id[ID_BYTES + 12];
        (void)snprintf(id, sizeof id, "%s-%u", bus->id, bus->opened++);
        zsock_set_identity(wire->zsock, id);
        zsock_set_immediate(wire->zsock, 1);
        zsock_set_reconnect_ivl(wire->zsock, RECONNECT_MS);
        zsock_set_reconnect_ivl_max(wire->zsock, RECONNECT_MAX_MS);
    }
    wire->handle = zsock_resolve(wire->zsock);
    DL_PREPEND(bus->wires, wire);
    return wire;
}

enum err bus_watch_wire(struct wire *wire)
{
    int fd = (int)zsock_fd(wire->zsock);
    enum err e =
        loop_watch_add(wire->bus->loop, fd, EPOLLIN, wire->bus->on_wire, wire, &wire->watch);
    wire->touched = true; /* drain once before the first wait */
    loop_again(wire->bus->loop);
    return e;
}

void bus_close_wire(struct wire *wire)
{
    DL_DELETE(wire->bus->wires, wire);
    loop_watch_remove(&wire->watch);
    zsock_destroy(&wire->zsock);
    free(wire);
}

enum err bus_open_link(struct bus_peer *link)
{
    struct wire *wire = bus_open_wire(link->bus, ZMQ_DEALER, link);
    if (!wire)
        return ERR_NOMEM;
    enum err e = zmq_connect(wire->handle, link->address) != 0 ? ERR_INVALID : bus_watch_wire(wire);
    if (e)
        bus_close_wire(wire);
    else
        link->wire = wire;
    return e;
}

void bus_reopen(struct bus_peer *link)
{
    struct wire *old = link->wire;
    if (bus_open_link(link) != OK)
        return; /* the next tick tries again */
    link->stale = false;
    bus_close_wire(old);
}
