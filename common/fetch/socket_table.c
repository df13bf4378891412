#include "common/fetch/socket_table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DESCRIPTORS = 1 << 20 };

struct socket_slot {
    struct socket_owner *owner;
    struct loop_watch *watch; /* NULL = not in epoll */
    uint32_t registered;      /* what epoll watches for */
    uint32_t wanted;
    int fd;
    bool ours;
};

void socket_table_init(struct socket_table *t, struct loop *loop)
{
    *t = (struct socket_table){.loop = loop};
}

void socket_table_free(struct socket_table *t)
{
    for (size_t i = 0; i < t->cap; i++) {
        if (!t->slots[i])
            continue;
        loop_watch_remove(&t->slots[i]->watch);
        free(t->slots[i]);
    }
    free(t->slots);
    *t = (struct socket_table){0};
}

static bool grow(struct socket_table *t, size_t fd)
{
    size_t cap = t->cap ? t->cap : 256;
    while (cap <= fd)
        cap *= 2;
    struct socket_slot **slots = realloc(t->slots, cap * sizeof(struct socket_slot *));
    if (!slots)
        return false;
    memset(slots + t->cap, 0, (cap - t->cap) * sizeof(struct socket_slot *));
    t->slots = slots;
    t->cap = cap;
    return true;
}

/* The slot of a descriptor, made at need; it then stays for the descriptor's next socket. */
static struct socket_slot *slot_of(struct socket_table *t, int fd)
{
    if (fd < 0 || fd >= MAX_DESCRIPTORS || ((size_t)fd >= t->cap && !grow(t, (size_t)fd)))
        return NULL;
    struct socket_slot *slot = t->slots[fd];
    if (!slot) {
        slot = calloc(1, sizeof *slot);
        if (!slot)
            return NULL;
        slot->fd = fd;
        t->slots[fd] = slot;
    }
    return slot;
}

static void unregister(struct socket_slot *slot)
{
    loop_watch_remove(&slot->watch);
    slot->registered = 0;
}

static void on_events(void *ctx, uint32_t events)
{
    struct socket_slot *slot = ctx;
    uint32_t ready = events & slot->wanted;
    if (events & (EPOLLERR | EPOLLHUP))
        ready |= EPOLLERR | EPOLLIN;
    if (slot->wanted == 0) {
        /* An idle connection closed by its peer, or a paused one with bytes waiting: whoever wants
         * the socket next finds out by reading. Level-triggered, it would come again and again. */
        unregister(slot);
        return;
    }
    if (slot->registered & ~slot->wanted) {
        if (loop_watch_set(slot->watch, slot->wanted) == OK)
            slot->registered = slot->wanted;
    }
    if (ready)
        slot->owner->on_ready(slot->owner, slot->fd, ready);
}

enum err socket_table_opened(struct socket_table *t, int fd)
{
    struct socket_slot *slot = slot_of(t, fd);
    if (!slot)
        return ERR_NOMEM;
    unregister(slot);
    slot->ours = true;
    slot->wanted = 0;
    slot->owner = NULL;
    return OK;
}

enum err socket_table_want(struct socket_table *t, int fd, uint32_t events,
                           struct socket_owner *owner)
{
    struct socket_slot *slot = slot_of(t, fd);
    if (!slot)
        return ERR_NOMEM;
    slot->wanted = events;
    slot->owner = owner;
    if (events == 0) {
        if (!slot->ours)
            unregister(slot);
        return OK;
    }
    /* Input will be wanted sooner or later; output only now. */
    uint32_t mask = events | (slot->ours ? (uint32_t)EPOLLIN : 0);
    if (!slot->watch) {
        enum err err = loop_watch_add(t->loop, fd, mask, on_events, slot, &slot->watch);
        slot->registered = err == OK ? mask : 0;
        return err;
    }
    if (slot->registered == mask)
        return OK;
    enum err err = loop_watch_set(slot->watch, mask);
    if (err == OK)
        slot->registered = mask;
    return err;
}

void socket_table_closed(struct socket_table *t, int fd)
{
    if (fd < 0 || (size_t)fd >= t->cap || !t->slots[fd])
        return;
    struct socket_slot *slot = t->slots[fd];
    unregister(slot);
    slot->ours = false;
    slot->wanted = 0;
    slot->owner = NULL;
}
