/* Addresses: binding, with a lock beside an ipc path, and connecting. */
#include "common/runtime/bus/bus_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/runtime/holder.h"

/* ERR_AGAIN: the file was removed meanwhile, by one that sweeps up after dead workers. */
static enum err lock_path(const char *path, int *fd_out)
{
    struct stat ours, there;
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0640);
    *fd_out = fd;
    if (fd < 0)
        return ERR_IO;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return ERR_EXISTS;
    if (fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_ino == there.st_ino)
        return OK;
    return ERR_AGAIN;
}

/* A second bind on one ipc path succeeds and steals it: hold a lock beside it. A sweeper holds it
 * for a moment, a daemon for its life. */
static enum err lock_ipc(struct bus *bus, const char *address)
{
    char path[300];
    enum err e = ERR_AGAIN;
    if (strncmp(address, "ipc://", 6) != 0)
        return OK;
    (void)snprintf(path, sizeof path, "%s.lock", address + 6);
    for (unsigned i = 0; i < LOCK_TRIES && (e == ERR_AGAIN || e == ERR_EXISTS); i++) {
        if (i && poll(NULL, 0, 1) < 0)
            return ERR_IO;
        if (bus->lock_fd >= 0)
            (void)close(bus->lock_fd);
        e = lock_path(path, &bus->lock_fd);
    }
    return e;
}

static void log_bind_failure(const char *address, enum err e)
{
    char path[300], holder[HOLDER_BYTES], why[HOLDER_BYTES + 32];
    const char *colon = strrchr(address, ':');
    bool held = false;
    if (e == ERR_EXISTS && strncmp(address, "ipc://", 6) == 0) {
        (void)snprintf(path, sizeof path, "%s.lock", address + 6);
        held = holder_of_lock(path, holder);
    } else if (e == ERR_EXISTS && colon) {
        held = holder_of_port((uint16_t)strtoul(colon + 1, NULL, 10), holder);
    }
    (void)snprintf(why, sizeof why, "address in use%s%s", held ? " by " : "", held ? holder : "");
    log_error("bind_failed", LSTR("address", address),
              LSTR("why", e == ERR_EXISTS ? why : err_name(e)));
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
    int v6 = strchr(address, '[') != NULL || strncmp(address, "tcp://*:", 8) == 0;
    mode_t mask = umask(0007);
    if (!e)
        e = bus_open_guard(bus);
    bus->bound = e ? NULL : bus_open_wire(bus, ZMQ_ROUTER, NULL);
    if (!e && !bus->bound)
        e = errno == EMFILE ? ERR_TOO_BIG : ERR_NOMEM;
    else if (!e)
        (void)zmq_setsockopt(bus->bound->handle, ZMQ_IPV6, &v6, sizeof v6);
    if (!e)
        e = bus_watch_strangers(bus);
    if (!e && zmq_bind(bus->bound->handle, address) != 0)
        e = errno == EADDRINUSE ? ERR_EXISTS : errno == EINVAL ? ERR_INVALID : ERR_IO;
    if (!e)
        e = bus_watch_wire(bus->bound);
    (void)umask(mask);
    if (e)
        log_bind_failure(address, e);
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

/* A server's key that its caller brings must be one that we would take from a client too. */
static enum err give_key(struct bus_peer *link, struct span key)
{
    const struct bus_keys *keys = link->bus->spec.keys;
    const struct listed_key *entry = keys ? key_list_find(&keys->list, key) : NULL;
    if (!keys || !key.len)
        return OK;
    if (!entry || !span_is(service_role(span_str(entry->service)), link->role))
        return ERR_DENIED;
    memcpy(link->key, entry->key, sizeof link->key);
    link->key_given = true;
    return OK;
}

enum err bus_connect_by_key(struct bus *bus, const char *role, const char *address, struct span key,
                            struct bus_peer **out)
{
    struct bus_peer *link = calloc(1, sizeof *link);
    *out = NULL;
    if (!link)
        return ERR_NOMEM;
    link->bus = bus;
    link->connecting = true;
    bus_copy_name(link->role, sizeof link->role, span_str(role));
    (void)snprintf(link->address, sizeof link->address, "%s", address);
    link->named = resolver_is_needed(link->address);
    enum err e = give_key(link, key);
    if (!e)
        e = bus_open_link(link);
    if (e) {
        log_error("connect_failed", LSTR("address", address),
                  LSTR("why", e == ERR_DENIED      ? "its key is not listed for this role"
                              : e == ERR_NOT_FOUND ? "no key of this role is listed"
                                                   : err_name(e)));
        free(link);
        return e;
    }
    link->next = bus->links;
    bus->links = link;
    *out = link;
    return OK;
}

enum err bus_connect(struct bus *bus, const char *role, const char *address, struct bus_peer **out)
{
    return bus_connect_by_key(bus, role, address, SPAN_NONE, out);
}
