/* The end of a turn: what has gathered is sent, what came meanwhile is read, who is gone is freed.
 */
#include "common/runtime/bus/bus_internal.h"

static void on_retry(void *ctx)
{
    (void)ctx; /* waking the loop is enough: the turn's end flushes */
}

static void on_soon(void *ctx)
{
    struct bus *bus = ctx;
    bus->soon_is_now = true; /* at the turn's end */
}

/* What may wait does so while the peer is there and nothing else leaves for it. */
static bool may_wait(const struct bus_peer *peer)
{
    return peer->up && !peer->urgent && !peer->bus->soon_is_now;
}

static void send_all(struct bus *bus, bool all)
{
    struct bus_peer *list = bus->dirty;
    bus->dirty = NULL;
    while (list) {
        struct bus_peer *peer = list;
        list = peer->next_dirty;
        peer->dirty = false;
        if (!all && may_wait(peer)) {
            bus_mark_dirty(peer);
            if (!loop_timer_running(&bus->soon))
                loop_timer_start(bus->loop, &bus->soon, SOON_MS, on_soon, bus);
            continue;
        }
        peer->urgent = false;
        bool again = false;
        bool there = peer->disconnected || bus_flush_peer(peer, &again);
        if (!there && peer->up)
            bus_peer_lost(peer, "unreachable");
        if (again) {
            bus_mark_dirty(peer);
            peer->urgent = true;
            if (!loop_timer_running(&bus->retry))
                loop_timer_start(bus->loop, &bus->retry, RETRY_MS, on_retry, bus);
        }
    }
}

void bus_flush(struct bus *bus)
{
    send_all(bus, true);
}

static void free_dead(struct bus *bus)
{
    while (bus->dead) {
        struct bus_peer *peer = bus->dead;
        if (peer->dirty)
            return; /* still in the flush list: next time */
        bus->dead = peer->next_dead;
        bus_free_peer(peer);
    }
}

/* Sends the turn's batches, then looks once more at every socket that was sent on: a send may have
 * eaten the edge that tells of new input, or of a connection. */
void bus_on_turn_end(void *ctx)
{
    struct bus *bus = ctx;
    send_all(bus, false);
    for (struct wire *wire = bus->wires; wire; wire = wire->next) {
        if (!wire->touched)
            continue;
        wire->touched = false;
        if (bus_wire_events(wire) & ZMQ_POLLIN)
            loop_again(bus->loop), bus_drain(wire);
        if (wire->link)
            bus_greet(wire->link);
    }
    if (bus->dirty)
        send_all(bus, false);
    bus->soon_is_now = false;
    for (struct wire *wire = bus->wires; wire; wire = wire->next) {
        if (wire->touched)
            loop_again(bus->loop);
    }
    free_dead(bus);
}
