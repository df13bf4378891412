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

/* What every socket has; false = it refused. ZeroMQ's size is 64 bits wide. */
static bool set_common(const struct bus *bus, void *handle)
{
    int64_t most = (int64_t)bus->spec.max_message_bytes;
    return bus_set_int(handle, ZMQ_LINGER, 0) && bus_set_int(handle, ZMQ_SNDHWM, HWM_BATCHES) &&
           bus_set_int(handle, ZMQ_RCVHWM, HWM_BATCHES) &&
           zmq_setsockopt(handle, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0 &&
           bus_set_int(handle, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
}

static bool set_router(void *handle)
{
    return bus_set_int(handle, ZMQ_ROUTER_MANDATORY, 1) &&
           bus_set_int(handle, ZMQ_ROUTER_HANDOVER, 0); /* who has an id keeps it */
}

static bool set_dealer(const struct bus *bus, void *handle)
{
    /* A ROUTER that still has the connection before would ignore another one of that id; and nobody
     * but the other end may know it, or take it first. */
    char id[ID_BYTES];
    uint64_t serial;
    crypto_random(&serial, sizeof serial);
    (void)snprintf(id, sizeof id, "%s-%016llx", bus->id, (unsigned long long)serial);
    return bus_set_text(handle, ZMQ_ROUTING_ID, id) && bus_set_int(handle, ZMQ_IMMEDIATE, 1) &&
           bus_set_int(handle, ZMQ_RECONNECT_IVL, RECONNECT_MS) &&
           bus_set_int(handle, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
}

static enum err set_up(const struct bus *bus, const struct bus_peer *link, int type, void *handle)
{
    bool fine = set_common(bus, handle) &&
                (type == ZMQ_ROUTER ? set_router(handle) : set_dealer(bus, handle));
    enum err e = link ? bus_arm_link(link, handle) : bus_arm_server(bus, handle);
    if (!fine || e)
        log_error("no_socket",
                  LSTR("why", fine ? "no CURVE with these keys" : "ZeroMQ refuses an option"));
    return fine ? e : ERR_UNSUPPORTED;
}

struct wire *bus_open_wire(struct bus *bus, int type, struct bus_peer *link)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (!wire)
        return NULL;
    *wire = (struct wire){.bus = bus, .link = link};
    wire->handle = zmq_socket(bus->context, type);
    if (!wire->handle) {
        free(wire);
        return NULL;
    }
    if (set_up(bus, link, type, wire->handle) != OK) {
        (void)zmq_close(wire->handle);
        free(wire);
        errno = EINVAL;
        return NULL;
    }
    DL_PREPEND(bus->wires, wire);
    return wire;
}

enum err bus_watch_wire(struct wire *wire)
{
    int fd = bus_fd_of(wire->handle);
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
