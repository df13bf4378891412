/* Sockets: options, addresses, the lock beside an ipc path. */
#include "common/runtime/bus/bus_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <utlist.h>

#include "common/base/log.h"

static struct wire *open_wire(struct bus *bus, int type, struct bus_peer *link)
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

static enum err watch_wire(struct wire *wire)
{
    int fd = (int)zsock_fd(wire->zsock);
    enum err e = loop_watch_add(wire->bus->loop, fd, EPOLLIN, bus_on_wire, wire, &wire->watch);
    wire->touched = true; /* drain once before the first wait */
    loop_again(wire->bus->loop);
    return e;
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

void bus_close_wire(struct wire *wire)
{
    DL_DELETE(wire->bus->wires, wire);
    loop_watch_remove(&wire->watch);
    zsock_destroy(&wire->zsock);
    free(wire);
}

/* With the port that was given where the address asks for any. */
static void note_address(struct bus *bus)
{
    size_t size = sizeof bus->address;
    if (zmq_getsockopt(bus->bound->handle, ZMQ_LAST_ENDPOINT, bus->address, &size) != 0)
        bus->address[0] = '\0';
}

enum err bus_bind(struct bus *bus, const char *address)
{
    enum err e = lock_ipc(bus, address);
    mode_t mask = umask(0007);
    bus->bound = e ? NULL : open_wire(bus, ZMQ_ROUTER, NULL);
    if (!e && !bus->bound)
        e = errno == EMFILE ? ERR_TOO_BIG : ERR_NOMEM;
    else if (!e && zmq_bind(bus->bound->handle, address) != 0)
        e = errno == EADDRINUSE ? ERR_EXISTS : errno == EINVAL ? ERR_INVALID : ERR_IO;
    if (!e)
        e = watch_wire(bus->bound);
    (void)umask(mask);
    if (e)
        log_error("bind_failed", LSTR("address", address), LSTR("why", err_name(e)));
    else
        note_address(bus);
    return e;
}

const char *bus_address(const struct bus *bus)
{
    return bus->address;
}

void bus_advertise(struct bus *bus, const char *address)
{
    (void)snprintf(bus->address, sizeof bus->address, "%s", address);
}

/* Gives it a socket; on failure it has the one before. */
static enum err open_link(struct bus_peer *link)
{
    struct wire *wire = open_wire(link->bus, ZMQ_DEALER, link);
    if (!wire)
        return ERR_NOMEM;
    enum err e = zmq_connect(wire->handle, link->address) != 0 ? ERR_INVALID : watch_wire(wire);
    if (e)
        bus_close_wire(wire);
    else
        link->wire = wire;
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
    enum err e = open_link(link);
    if (e) {
        log_error("connect_failed", LSTR("address", address), LSTR("why", err_name(e)));
        free(link);
        return e;
    }
    link->next = bus->links;
    bus->links = link;
    *out = link;
    return OK;
}

void bus_reopen(struct bus_peer *link)
{
    struct wire *old = link->wire;
    if (open_link(link) != OK)
        return; /* the next tick tries again */
    link->stale = false;
    bus_close_wire(old);
}
