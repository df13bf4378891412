#include "services/edge/grants/links.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "common/base/log.h"

enum { ADDRESS_BYTES = 256 };

struct link_entry {
    struct worker_link link; /* first: callers have this */
    UT_hash_handle hh;
};

static struct link_entry *add(struct worker_links *links, uint64_t epoch, uint64_t now_ms)
{
    struct link_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return NULL;
    entry->link.epoch = epoch;
    entry->link.used_ms = now_ms;
    HASH_ADD(hh, links->all, link.epoch, sizeof entry->link.epoch, entry);
    if (entry->hh.tbl)
        return entry;
    free(entry);
    return NULL;
}

static void drop(struct worker_links *links, struct link_entry *entry)
{
    HASH_DEL(links->all, entry);
    bus_disconnect(&entry->link.peer);
    free(entry);
}

struct worker_link *links_get(struct worker_links *links, struct bus *bus, const struct grant *g,
                              uint64_t now_ms)
{
    struct link_entry *entry = NULL;
    struct span address = g->address;
    char text[ADDRESS_BYTES];
    HASH_FIND(hh, links->all, &g->worker_epoch, sizeof g->worker_epoch, entry);
    if (entry)
        return &entry->link;
    if (!address.len || address.len >= sizeof text)
        return NULL;
    memcpy(text, address.data, address.len);
    text[address.len] = '\0';
    entry = add(links, g->worker_epoch, now_ms);
    if (entry && bus_connect_by_key(bus, "worker", text, g->worker_key, &entry->link.peer)) {
        drop(links, entry);
        entry = NULL;
    }
    return entry ? &entry->link : NULL;
}

struct worker_link *links_of(const struct worker_links *links, const struct bus_peer *peer)
{
    for (struct link_entry *entry = links->all; entry; entry = entry->hh.next)
        if (entry->link.peer == peer)
            return &entry->link;
    return NULL;
}

bool links_greeted(struct worker_link *link)
{
    link->up = bus_peer_epoch(link->peer) == link->epoch;
    if (!link->up)
        log_warn("worker_reborn", LSTR("peer", bus_peer_name(link->peer)));
    return link->up;
}

void links_close(struct worker_links *links, struct worker_link **link)
{
    if (*link)
        drop(links, (struct link_entry *)*link);
    *link = NULL;
}

void links_tick(struct worker_links *links, uint64_t now_ms)
{
    struct link_entry *entry, *next;
    HASH_ITER(hh, links->all, entry, next)
    {
        if (!entry->link.running && now_ms >= entry->link.used_ms + LINK_IDLE_MS)
            drop(links, entry);
    }
}

void links_close_all(struct worker_links *links)
{
    struct link_entry *entry, *next;
    HASH_ITER(hh, links->all, entry, next)
    {
        drop(links, entry);
    }
}
