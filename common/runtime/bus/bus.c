#include "common/runtime/bus/bus_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/crypto.h"

enum err bus_create(struct bus **out, struct loop *loop, const struct bus_spec *spec)
{
    *out = NULL;
    struct bus *bus = calloc(1, sizeof *bus);
    if (!bus)
        return ERR_NOMEM;
    /* czmq would take SIGTERM for itself */
    (void)zsys_init();
    zsys_handler_set(NULL);
    bus->loop = loop;
    bus->spec = *spec;
    bus->lock_fd = -1;
    bus_copy_name(bus->name, sizeof bus->name, span_str(spec->name));
    bus->spec.name = bus->name;
    if (!bus->spec.peer_timeout_ms)
        bus->spec.peer_timeout_ms = PEER_TIMEOUT_MS;
    crypto_random(&bus->epoch, sizeof bus->epoch);
    bus->epoch |= 1; /* never 0 */
    (void)snprintf(bus->id, sizeof bus->id, "%s-%016llx", bus->name,
                   (unsigned long long)bus->epoch);
    bus->ticked_us = loop_now_us(loop);
    bus->flush_hook = (struct loop_hook){.fn = bus_on_turn_end, .ctx = bus};
    loop_hook_turn_end(loop, &bus->flush_hook);
    loop_timer_start(loop, &bus->tick, 0, bus_on_tick, bus);
    *out = bus;
    return OK;
}

static void send_goodbye(struct bus_peer *peer)
{
    struct drain drain = {0};
    if (!peer->up)
        return;
    enum err e = bus_send_on(peer, CHANNEL_CONTROL, (struct header){.flags = HEADER_LAST},
                             MESSAGE_DRAIN, &drain);
    (void)e;
}

void bus_destroy(struct bus **pointer)
{
    struct bus *bus = *pointer;
    struct bus_peer *peer, *next;
    if (!bus)
        return;
    for (struct bus_peer *link = bus->links; link; link = link->next)
        send_goodbye(link);
    HASH_ITER(hh, bus->clients, peer, next)
    send_goodbye(peer);
    bus->spec.on_peer_down = NULL;
    bus_flush(bus);
    loop_timer_stop(bus->loop, &bus->tick);
    loop_timer_stop(bus->loop, &bus->retry);
    loop_timer_stop(bus->loop, &bus->soon);
    loop_hook_remove(bus->loop, &bus->flush_hook);
    while (bus->wires) {
        struct wire *wire = bus->wires;
        bus->wires = wire->next;
        loop_watch_remove(&wire->watch);
        zsock_set_linger(wire->zsock, GOODBYE_LINGER_MS);
        zsock_destroy(&wire->zsock);
        free(wire);
    }
    HASH_ITER(hh, bus->clients, peer, next)
    {
        HASH_DEL(bus->clients, peer);
        bus_free_peer(peer);
    }
    while (bus->links) {
        peer = bus->links;
        bus->links = peer->next;
        bus_free_peer(peer);
    }
    while (bus->dead) {
        peer = bus->dead;
        bus->dead = peer->next_dead;
        bus_free_peer(peer);
    }
    if (bus->lock_fd >= 0)
        (void)close(bus->lock_fd);
    free(bus);
    *pointer = NULL;
}

bool bus_peer_up(const struct bus_peer *peer)
{
    return peer && peer->up;
}

const char *bus_peer_role(const struct bus_peer *peer)
{
    return peer->role;
}

const char *bus_peer_name(const struct bus_peer *peer)
{
    return peer->name;
}

const char *bus_peer_provider(const struct bus_peer *peer)
{
    return peer->provider;
}

const char *bus_peer_version(const struct bus_peer *peer)
{
    return peer->version;
}

uint64_t bus_peer_epoch(const struct bus_peer *peer)
{
    return peer->epoch;
}

uint32_t bus_peer_queued(const struct bus_peer *peer)
{
    return peer->queued;
}

void *bus_peer_user(const struct bus_peer *peer)
{
    return peer->user;
}

void bus_peer_set_user(struct bus_peer *peer, void *user)
{
    peer->user = user;
}

/* Links first, then clients. */
struct bus_peer *bus_next_peer(struct bus *bus, struct bus_peer *after)
{
    struct bus_peer *p = !after ? bus->links : after->connecting ? after->next : after->hh.next;
    bool in_links = !after || after->connecting;
    for (;;) {
        if (!p && in_links) {
            p = bus->clients;
            in_links = false;
        }
        if (!p || p->up)
            return p;
        p = in_links ? p->next : p->hh.next;
    }
}

uint64_t bus_epoch(const struct bus *bus)
{
    return bus->epoch;
}

const char *bus_role(const struct bus *bus)
{
    return bus->spec.role;
}

uint64_t bus_dropped(const struct bus *bus)
{
    return bus->dropped;
}
