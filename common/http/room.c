/* Memory of bodies. Every body counts: in all, for its client's address, and the large ones for
 * their owner. A part is kept for small bodies, so that who fills the rest stops nobody else's. */
#include <stdlib.h>

#include "common/http/internal.h"

static const char at_capacity[] = "The service is at capacity. Try again shortly.";
static const char too_many[] =
    "Too many large request bodies at once. Try again when others of yours have been taken.";

static bool is_small(const struct http_exchange *x, uint64_t bytes)
{
    const struct framing *f = &x->framing;
    return (f->has_length && f->length > bytes ? f->length : bytes) <= HTTP_SMALL_BODY_BYTES;
}

/* More than its due of what is bounded at all? */
static bool exceeds(uint64_t used, uint64_t more, uint64_t bound)
{
    return bound && used + more > bound;
}

const char *room_take(struct http_exchange *x, uint64_t bytes)
{
    struct http_server *s = x->server;
    const struct http_config *config = &s->config;
    struct http_peer *peer = x->conn->peer;
    if (bytes <= x->body_room)
        return NULL;
    uint64_t more = bytes - x->body_room;
    bool small = is_small(x, bytes);
    uint64_t reserve = config->small_body_reserve_bytes;
    uint64_t kept = small ? 0 : reserve;
    uint64_t of_address = config->max_address_body_bytes;
    if (of_address && small) /* one address, with large ones, still has small ones */
        of_address += reserve / 2;
    if (s->stats.body_bytes + more + kept > config->max_body_memory_bytes)
        return at_capacity;
    if (exceeds(peer->body_bytes, more, of_address))
        return too_many;
    if (!small && x->owner && exceeds(x->owner->body_bytes, more, config->max_owner_body_bytes))
        return too_many;
    s->stats.body_bytes += more;
    peer->body_bytes += more;
    if (x->owner)
        x->owner->body_bytes += more;
    x->body_room = bytes;
    return NULL;
}

const char *http_take_room(struct http_exchange *x, uint64_t bytes)
{
    return room_take(x, bytes);
}

void room_leave(struct http_exchange *x)
{
    if (!x->body_room)
        return;
    x->server->stats.body_bytes -= x->body_room;
    x->conn->peer->body_bytes -= x->body_room;
    if (x->owner)
        x->owner->body_bytes -= x->body_room;
    x->body_room = 0;
}

void room_disown(struct http_exchange *x)
{
    struct http_owner *owner = x->owner;
    x->owner = NULL;
    if (!owner || --owner->exchanges)
        return;
    HASH_DEL(x->server->owners, owner);
    free(owner);
}

void http_set_owner(struct http_exchange *x, const uint8_t name[HTTP_OWNER_BYTES])
{
    struct http_server *s = x->server;
    struct http_owner *owner = NULL;
    if (x->owner || x->body_room)
        return;
    HASH_FIND(hh, s->owners, name, HTTP_OWNER_BYTES, owner);
    if (!owner) {
        owner = calloc(1, sizeof *owner);
        if (!owner)
            return; /* the other bounds hold */
        memcpy(owner->name, name, HTTP_OWNER_BYTES);
        HASH_ADD(hh, s->owners, name, HTTP_OWNER_BYTES, owner);
        if (!owner->hh.tbl) {
            free(owner);
            return;
        }
    }
    owner->exchanges++;
    x->owner = owner;
}
