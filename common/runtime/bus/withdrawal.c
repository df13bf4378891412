/* What becomes of peers when the list of keys has changed. */
#include "common/runtime/bus/bus_internal.h"

static bool is_withdrawn(const struct bus_peer *peer)
{
    const struct listed_key *entry =
        key_list_find(&peer->bus->spec.keys->list, span_str(peer->key));
    return !entry ||
           (peer->connecting && !span_is(service_role(span_str(entry->service)), peer->role));
}

void bus_keys_changed(struct bus *bus)
{
    struct bus_peer *peer, *next;
    if (!bus->spec.keys)
        return;
    for (struct bus_peer *link = bus->links; link; link = link->next)
        if (is_withdrawn(link) && !link->stale)
            bus_peer_lost(link, "its key was withdrawn");
    HASH_ITER(hh, bus->clients, peer, next)
    {
        if (is_withdrawn(peer))
            bus_peer_lost(peer, "its key was withdrawn");
    }
}
