/* Where links lead: sockets opened and made anew, names resolved. A name may mean another machine
 * each time (containers): it is asked for again whenever a link was lost, before anything is
 * connected, for where it led may be somebody else's by now. */
#include "common/runtime/bus/bus_internal.h"

#include <stdio.h>

static void on_resolved(void *ctx, enum err e, const char *endpoint);

/* To link->endpoint. */
static enum err connect_wire(struct bus_peer *link)
{
    int v6 = strchr(link->endpoint, '[') != NULL;
    (void)zmq_setsockopt(link->wire->handle, ZMQ_IPV6, &v6, sizeof v6);
    if (zmq_connect(link->wire->handle, link->endpoint) != 0)
        return ERR_INVALID;
    link->connected = true;
    link->connected_us = loop_now_us(link->bus->loop);
    return OK;
}

static void ask(struct bus_peer *link)
{
    struct bus *bus = link->bus;
    enum err e = bus->resolver ? OK : resolver_create(&bus->resolver, bus->loop, bus->spec.lookup);
    if (!e)
        e = resolver_ask(bus->resolver, link->address, on_resolved, link, &link->query);
    link->asked_us = loop_now_us(bus->loop); /* on failure a later tick tries again */
}

enum err bus_open_link(struct bus_peer *link)
{
    struct wire *old = link->wire;
    enum err e = bus_choose_key(link);
    struct wire *wire = e ? NULL : bus_open_wire(link->bus, ZMQ_DEALER, link);
    if (e)
        return e;
    if (!wire)
        return errno == EMFILE ? ERR_TOO_BIG : ERR_NOMEM;
    e = bus_watch_wire(wire);
    link->wire = wire;
    link->connected = link->sure = false;
    link->greeted_us = 0;
    if (!e && !link->named) {
        (void)snprintf(link->endpoint, sizeof link->endpoint, "%s", link->address);
        link->sure = true;
        e = connect_wire(link);
    }
    if (e) {
        link->wire = old;
        bus_close_wire(wire);
    } else if (link->named && !link->query) {
        ask(link);
    }
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

/* A socket that tries elsewhere begins anew; its last try has had its time. */
static void move(struct bus_peer *link, const char *endpoint)
{
    if (loop_now_us(link->bus->loop) < link->connected_us + UNREACHABLE_US) {
        link->sure = false;
        return;
    }
    if (link->up) {
        bus_peer_lost(link, "moved");
        return;
    }
    struct wire *old = link->wire;
    if (!link->stale && bus_open_link(link) == OK) {
        bus_close_wire(old);
        (void)snprintf(link->endpoint, sizeof link->endpoint, "%s", endpoint);
        link->sure = connect_wire(link) == OK;
    }
}

static void on_resolved(void *ctx, enum err e, const char *endpoint)
{
    struct bus_peer *link = ctx;
    link->query = NULL;
    link->asked_us = loop_now_us(link->bus->loop);
    if (link->disconnected || link->stale || e == ERR_NOT_FOUND)
        return;
    if (e) {
        /* Without a name server, where it led last is the best that is known. */
        if (!link->connected && link->endpoint[0])
            e = connect_wire(link);
        return;
    }
    bool same = strcmp(link->endpoint, endpoint) == 0;
    link->sure = true;
    if (link->connected && !same) {
        move(link, endpoint);
    } else if (!link->connected) {
        (void)snprintf(link->endpoint, sizeof link->endpoint, "%s", endpoint);
        link->sure = connect_wire(link) == OK;
    }
}

void bus_look_up(struct bus_peer *link, uint64_t now_us)
{
    if (!link->named || (link->up && link->sure))
        return;
    if (!link->query && now_us >= link->asked_us + RECONNECT_MAX_MS * 1000)
        ask(link);
    bool slow = link->query && now_us >= link->asked_us + RESOLVE_US;
    if (slow && !link->connected && link->endpoint[0]) {
        enum err e = connect_wire(link);
        (void)e;
    }
}
