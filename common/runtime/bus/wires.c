/* Wires: ZeroMQ sockets with their options, in the loop. */
#include "common/runtime/bus/bus_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/base/crypto.h"
#include "common/base/log.h"

void bus_lock(struct bus *bus)
{
    (void)pthread_mutex_lock(&bus->lock);
}

void bus_unlock(struct bus *bus)
{
    (void)pthread_mutex_unlock(&bus->lock);
}

struct wire *bus_open_wire(struct bus *bus, int type, struct bus_peer *link)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (!wire)
        return NULL;
    *wire = (struct wire){.bus = bus, .link = link};
    wire->handle = zmq_socket(bus->context, type); /* zsock_new would abort without room */
    if (!wire->handle) {
        free(wire);
        return NULL;
    }
    zsock_set_linger(wire->handle, 0);
    zsock_set_sndhwm(wire->handle, HWM_BATCHES);
    zsock_set_rcvhwm(wire->handle, HWM_BATCHES);
    zsock_set_maxmsgsize(wire->handle, (int)bus->spec.max_message_bytes);
    zsock_set_handshake_ivl(wire->handle, HANDSHAKE_MS);
    enum err e = link ? bus_arm_link(link, wire->handle) : bus_arm_server(bus, wire->handle);
    if (e) {
        log_error("no_curve", LSTR("why", err_name(e)));
        (void)zmq_close(wire->handle);
        free(wire);
        errno = EINVAL;
        return NULL;
    }
    if (type == ZMQ_ROUTER) {
        zsock_set_router_mandatory(wire->handle, 1);
        zsock_set_router_handover(wire->handle, 0); /* who has an id keeps it */
    } else {
        /* A ROUTER that still has the connection before would ignore another one of that id; and
         * nobody but the other end may know it, or take it first. */
        char id[ID_BYTES];
        uint64_t serial;
        crypto_random(&serial, sizeof serial);
        (void)snprintf(id, sizeof id, "%s-%016llx", bus->id, (unsigned long long)serial);
        zsock_set_identity(wire->handle, id);
        zsock_set_immediate(wire->handle, 1);
        zsock_set_reconnect_ivl(wire->handle, RECONNECT_MS);
        zsock_set_reconnect_ivl_max(wire->handle, RECONNECT_MAX_MS);
    }
    DL_PREPEND(bus->wires, wire);
    return wire;
}

enum err bus_watch_wire(struct wire *wire)
{
    int fd = (int)zsock_fd(wire->handle);
    enum err e =
        loop_watch_add(wire->bus->loop, fd, EPOLLIN, wire->bus->on_wire, wire, &wire->watch);
    wire->touched = true; /* drain once before the first wait */
    loop_again(wire->bus->loop);
    return e;
}

int bus_wire_events(struct wire *wire)
{
    int events = 0;
    size_t size = sizeof events;
    bus_lock(wire->bus);
    if (zmq_getsockopt(wire->handle, ZMQ_EVENTS, &events, &size) != 0)
        events = 0;
    bus_unlock(wire->bus);
    return events;
}

void bus_close_wire(struct wire *wire)
{
    DL_DELETE(wire->bus->wires, wire);
    loop_watch_remove(&wire->watch);
    (void)zmq_close(wire->handle);
    free(wire);
}
