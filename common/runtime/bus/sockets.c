/* Sockets: options, addresses, the lock beside an ipc path. */
#include "common/runtime/bus/bus_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/base/log.h"

static struct wire *open_wire(struct bus *bus, int type, enum channel channel,
                              struct bus_peer *link)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (!wire)
        return NULL;
    *wire = (struct wire){.bus = bus, .link = link, .channel = channel};
    wire->zsock = zsock_new(type);
    if (!wire->zsock) {
        free(wire);
        return NULL;
    }
    zsock_set_linger(wire->zsock, 0);
    zsock_set_sndhwm(wire->zsock, HWM_BATCHES);
    zsock_set_rcvhwm(wire->zsock, HWM_BATCHES);
    zsock_set_maxmsgsize(wire->zsock,
                         channel == CHANNEL_CONTROL ? MAX_CONTROL_BYTES : MAX_DATA_BYTES);
    if (type == ZMQ_ROUTER) {
        zsock_set_router_mandatory(wire->zsock, 1);
        zsock_set_router_handover(wire->zsock, 1);
    } else {
        zsock_set_identity(wire->zsock, bus->id);
        zsock_set_immediate(wire->zsock, 1);
        zsock_set_reconnect_ivl(wire->zsock, 50);
        zsock_set_reconnect_ivl_max(wire->zsock, 2000);
    }
    wire->handle = zsock_resolve(wire->zsock);
    wire->next = bus->wires;
    bus->wires = wire;
    return wire;
}

static enum err watch_wire(struct wire *wire)
{
    int fd = (int)zsock_fd(wire->zsock);
    enum err e = loop_watch_add(wire->bus->loop, fd, EPOLLIN, bus_on_wire, wire, &wire->watch);
    wire->touched = true; /* drain once before the first wait */
    loop_again(wire->bus->loop);
    return e;
}

/* "ipc://x" → "ipc://x.ctl", "tcp://h:5571" → "tcp://h:5572". */
static enum err channel_address(const char *address, enum channel channel, char *out, size_t size)
{
    int n;
    const char *colon = strrchr(address, ':');
    uint64_t port = 0;
    if (strncmp(address, "ipc://", 6) == 0)
        n = snprintf(out, size, "%s%s", address, channel == CHANNEL_CONTROL ? ".ctl" : "");
    else if (strncmp(address, "tcp://", 6) == 0 && colon &&
             span_to_u64(span_str(colon + 1), &port) && port < 65535)
        n = snprintf(out, size, "%.*s:%u", (int)(colon - address), address,
                     (unsigned)port + (channel == CHANNEL_CONTROL ? 1 : 0));
    else
        return ERR_INVALID;
    return n > 0 && (size_t)n < size ? OK : ERR_INVALID;
}

/* A second bind on one ipc path succeeds and steals it: hold a lock beside it. */
static enum err lock_ipc(struct bus *bus, const char *address)
{
    char path[300];
    if (strncmp(address, "ipc://", 6) != 0)
        return OK;
    (void)snprintf(path, sizeof path, "%s.lock", address + 6);
    bus->lock_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0640);
    if (bus->lock_fd < 0)
        return ERR_IO;
    return flock(bus->lock_fd, LOCK_EX | LOCK_NB) == 0 ? OK : ERR_EXISTS;
}

enum err bus_bind(struct bus *bus, const char *address)
{
    enum err e = lock_ipc(bus, address);
    mode_t mask = umask(0007);
    for (unsigned c = 0; !e && c < 2; c++) {
        char full[300];
        e = channel_address(address, (enum channel)c, full, sizeof full);
        if (e)
            break;
        struct wire *wire = open_wire(bus, ZMQ_ROUTER, (enum channel)c, NULL);
        if (!wire)
            e = ERR_NOMEM;
        else if (zmq_bind(wire->handle, full) != 0)
            e = errno == EADDRINUSE ? ERR_EXISTS : ERR_IO;
        else
            e = watch_wire(wire);
        bus->bound[c] = wire;
    }
    (void)umask(mask);
    if (e)
        log_error("bind_failed", LSTR("address", address), LSTR("why", err_name(e)));
    return e;
}

enum err bus_connect(struct bus *bus, const char *role, const char *address, struct bus_peer **out)
{
    struct bus_peer *link = calloc(1, sizeof *link);
    *out = NULL;
    if (!link)
        return ERR_NOMEM;
    link->bus = bus;
    link->connecting = true;
    bus_copy_name(link->role, sizeof link->role, span_str(role));
    (void)snprintf(link->address, sizeof link->address, "%s", address);
    link->next = bus->links;
    bus->links = link;
    for (unsigned c = 0; c < 2; c++) {
        char full[300];
        enum err e = channel_address(address, (enum channel)c, full, sizeof full);
        struct wire *wire = e ? NULL : open_wire(bus, ZMQ_DEALER, (enum channel)c, link);
        link->wires[c] = wire;
        if (!e && (!wire || zmq_connect(wire->handle, full) != 0))
            e = ERR_INVALID;
        if (!e)
            e = watch_wire(wire);
        if (e) {
            log_error("connect_failed", LSTR("address", address), LSTR("why", err_name(e)));
            return e;
        }
    }
    *out = link;
    return OK;
}
