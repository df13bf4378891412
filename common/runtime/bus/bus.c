#include "common/runtime/bus/bus_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/crypto.h"

/* A socket takes a descriptor, and its connection another one. ZeroMQ keeps 12 bytes for each that
 * may be. */
static void *make_context(void)
{
    void *context = zmq_ctx_new();
    struct rlimit limit;
    int sockets = MAX_SOCKETS;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < MAX_SOCKETS)
        sockets = (int)(limit.rlim_cur / 2);
    if (context)
        (void)zmq_ctx_set(context, ZMQ_MAX_SOCKETS, sockets);
    return context;
}

/* A handler that nobody may reach is a bug of ours. */
static void check_senders(const struct bus_spec *spec)
{
    for (unsigned type = 0; spec->senders && type < MESSAGE_TYPES; type++)
        assert(!spec->handlers[type] || spec->senders[type]);
}

enum err bus_create(struct bus **out, struct loop *loop, const struct bus_spec *spec)
{
    *out = NULL;
    check_senders(spec);
    struct bus *bus = calloc(1, sizeof *bus);
    if (!bus)
        return ERR_NOMEM;
    bus->context = make_context();
    if (!bus->context) {
        free(bus);
        return ERR_NOMEM;
    }
    bus->loop = loop;
    bus->spec = *spec;
    bus->lock_fd = -1;
    (void)pthread_mutex_init(&bus->lock, NULL);
    bus->on_wire = bus_on_wire;
    bus_copy_name(bus->name, sizeof bus->name, span_str(spec->name));
    bus->spec.name = bus->name;
    if (!bus->spec.max_message_bytes)
        bus->spec.max_message_bytes = DEFAULT_MAX_BYTES;
    if (!bus->spec.peer_timeout_ms)
        bus->spec.peer_timeout_ms = PEER_TIMEOUT_MS;
    crypto_random(&bus->epoch, sizeof bus->epoch);
    bus->epoch |= 1; /* never 0 */
    (void)snprintf(bus->id, sizeof bus->id, "%s-%016llx", bus->name,
                   (unsigned long long)bus->epoch);
    bus->created_us = bus->ticked_us = loop_now_us(loop);
    bus->flush_hook = (struct loop_hook){.fn = bus_on_turn_end, .ctx = bus};
    loop_hook_turn_end(loop, &bus->flush_hook);
    loop_timer_start(loop, &bus->tick, 0, bus_on_tick, bus);
    *out = bus;
    return OK;
}

/* A connection that is closed takes with it what the other end has not read yet (ZMQ_IMMEDIATE):
 * wait until everybody has answered, and so has read all before. */
static void say_goodbye(struct bus *bus)
{
    uint64_t until = clock_mono_ms(&clock_real) + GOODBYE_MS;
    for (struct bus_peer *p = bus_next_peer(bus, NULL); p; p = bus_next_peer(bus, p))
        bus_send_goodbye(p);
    bus->spec.on_peer_up = bus->spec.on_peer_down = NULL;
    bus->spec.queued = NULL; /* the daemon has let go of what it counts */
    bus->closing = true;
    bus_flush(bus);
    while (bus_next_peer(bus, NULL) && clock_mono_ms(&clock_real) < until)
        if (loop_turn(bus->loop, 10) != OK)
            break;
}

void bus_destroy(struct bus **pointer)
{
    struct bus *bus = *pointer;
    struct bus_peer *peer, *next;
    if (!bus)
        return;
    lifeline_stop(bus);
    say_goodbye(bus);
    loop_timer_stop(bus->loop, &bus->tick);
    loop_timer_stop(bus->loop, &bus->retry);
    loop_timer_stop(bus->loop, &bus->soon);
    loop_hook_remove(bus->loop, &bus->flush_hook);
    while (bus->wires)
        bus_close_wire(bus->wires);
    bus_close_guard(bus);
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
        peer->disconnected = false; /* its wire is closed */
        bus_free_peer(peer);
    }
    resolver_destroy(&bus->resolver);
    while (zmq_ctx_term(bus->context) != 0 && errno == EINTR)
        continue;
    if (bus->lock_fd >= 0)
        (void)close(bus->lock_fd);
    (void)pthread_mutex_destroy(&bus->lock);
    free(bus);
    *pointer = NULL;
}

void bus_disconnect(struct bus_peer **pointer)
{
    struct bus_peer *link = *pointer;
    if (!link)
        return;
    bool again = false;
    bus_send_goodbye(link);
    (void)bus_flush_peer(link, &again);
    bus_drop_outbox(link);
    struct bus_peer **at = &link->bus->links;
    while (*at != link)
        at = &(*at)->next;
    *at = link->next; /* link->next stays: the list may be walked through just now */
    lifeline_drop(link);
    link->up = false;
    link->epoch = 0;
    link->disconnected = true;
    link->next_dead = link->bus->dead;
    link->bus->dead = link;
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

const char *bus_peer_key(const struct bus_peer *peer)
{
    return peer->key;
}

uint64_t bus_peer_epoch(const struct bus_peer *peer)
{
    return peer->epoch;
}

bool bus_peer_stopped(const struct bus_peer *peer)
{
    return peer->stopped;
}

const char *bus_peer_address(const struct bus_peer *peer)
{
    return peer->connecting ? "" : peer->address;
}

uint32_t bus_peer_queued(const struct bus_peer *peer)
{
    return peer->queued;
}

const struct request_id *bus_peer_busy_with(const struct bus_peer *peer)
{
    static const struct request_id nothing;
    return request_id_equals(&peer->busy, &nothing) ? NULL : &peer->busy;
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
