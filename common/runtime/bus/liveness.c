/* Liveness: pings, silence, and a loop of our own that stood still. */
#include "common/runtime/bus/bus_internal.h"

#include "common/base/log.h"

static uint64_t us_since(uint64_t then, uint64_t now)
{
    return now > then ? now - then : 0;
}

static void send_ping(struct bus_peer *peer, uint64_t now_us)
{
    struct ping ping = {.sent_us = now_us};
    peer->pinged_us = now_us;
    enum err e = bus_send_raw(peer, (struct header){0}, MESSAGE_PING, &ping);
    (void)e;
}

/* When our own loop stood still (a stopped process, a machine without time) nobody is judged by the
 * silence. But peers may have given us up meanwhile, and what they had sent before, others may have
 * done since: what a link brings is held until the peer says that it still knows us. */
void bus_look_for_stall(struct bus *bus)
{
    uint64_t now = clock_mono_us(loop_clock(bus->loop));
    uint64_t still = us_since(bus->ticked_us, now);
    if (still <= STALL_US)
        return;
    bus->ticked_us = now;
    bool alone = true; /* as while a daemon starts */
    for (struct bus_peer *peer = bus->clients; peer; peer = peer->hh.next) {
        peer->heard_us = now;
        alone = false;
    }
    for (struct bus_peer *link = bus->links; link; link = link->next) {
        link->heard_us = now;
        if (!link->up)
            continue;
        send_ping(link, now);
        link->suspect_us = now;
        alone = false;
    }
    if (!alone)
        log_warn("stood_still", LU64("ms", still / 1000));
}

struct pong bus_make_pong(struct bus *bus, const struct bus_peer *peer, const struct ping *ping)
{
    bool greeted = peer && peer->up;
    uint32_t queued = greeted && bus->spec.queued ? bus->spec.queued(bus->spec.ctx, peer) : 0;
    return (struct pong){.sent_us = ping->sent_us, .queued = queued, .greeted = greeted};
}

void bus_on_ping(struct bus_peer *peer, const struct ping *ping)
{
    struct pong pong = bus_make_pong(peer->bus, peer, ping);
    lifeline_said_queued(peer, pong.queued);
    enum err e = bus_send_raw(peer, (struct header){0}, MESSAGE_PONG, &pong);
    (void)e;
}

bool bus_on_pong(struct bus_peer *peer, const struct pong *pong)
{
    peer->queued = pong->queued;
    memset(&peer->busy, 0, sizeof peer->busy);
    if (pong->busy.len == sizeof peer->busy)
        memcpy(&peer->busy, pong->busy.data, sizeof peer->busy);
    if (peer->connecting && peer->up && !pong->greeted) {
        bus_peer_lost(peer, "forgot us");
        return false;
    }
    if (!peer->suspect_us || pong->sent_us != peer->suspect_us)
        return false;
    peer->suspect_us = 0;
    return true;
}

void bus_greet(struct bus_peer *link)
{
    uint64_t now = loop_now_us(link->bus->loop);
    /* A WELCOME makes it up; whatever was queued before is stale. */
    if (link->up || link->stale || link->disconnected || link->out.count ||
        us_since(link->greeted_us, now) < TICK_MS * 1000 ||
        !(bus_wire_events(link->wire) & ZMQ_POLLOUT))
        return;
    link->greeted_us = now;
    bus_send_hello(link);
}

static void tick_peer(struct bus_peer *peer, uint64_t now)
{
    if (peer->up && us_since(peer->heard_us, now) > peer->bus->spec.peer_timeout_ms * 1000) {
        bus_peer_lost(peer, "silent");
        return;
    }
    if (peer->up && us_since(peer->pinged_us, now) >= PING_US) {
        send_ping(peer, now);
    } else if (peer->stale || (peer->connecting && bus_should_try_anew(peer, now))) {
        bus_reopen(peer);
    } else if (peer->connecting) {
        bus_greet(peer);
    }
    if (peer->connecting)
        bus_look_up(peer, now);
}

void bus_on_tick(void *ctx)
{
    struct bus *bus = ctx;
    bus_look_for_stall(bus);
    uint64_t now = loop_now_us(bus->loop);
    bus->ticked_us = now;
    loop_timer_start(bus->loop, &bus->tick, TICK_MS, bus_on_tick, bus);
    for (struct bus_peer *link = bus->links; link; link = link->next)
        tick_peer(link, now);
    struct bus_peer *peer, *next;
    HASH_ITER(hh, bus->clients, peer, next)
    {
        if (!peer->up && us_since(peer->heard_us, now) > 10 * bus->spec.peer_timeout_ms * 1000)
            bus_forget_client(peer); /* half a HELLO that never became whole */
        else
            tick_peer(peer, now);
    }
}
