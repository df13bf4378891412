/* Peers: greeting with versions, departure. */
#include "common/runtime/bus/bus_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"

void bus_copy_name(char *out, size_t size, struct span s)
{
    size_t n = s.len < size - 1 ? s.len : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = s.data[i] > ' ' && s.data[i] < 0x7f ? s.data[i] : '?';
    out[n] = '\0';
}

/* A command that asks and leaves is no news, and nor is it that everybody finds everybody while a
 * suite starts; later, and after a loss, it is. */
static enum log_level level_of_coming(const struct bus_peer *peer)
{
    enum { START_US = 10 * 1000 * 1000 };
    const struct bus *bus = peer->bus;
    bool starts = !bus->lost_a_peer && loop_now_us(bus->loop) - bus->created_us < START_US;
    return starts || strcmp(peer->role, "ctl") == 0 ? LEVEL_DEBUG : LEVEL_INFO;
}

/* One that says goodbye is no trouble. */
static enum log_level level_of_going(const struct bus_peer *peer, const char *why)
{
    if (strcmp(why, "stopped") != 0)
        return LEVEL_WARN;
    return strcmp(peer->role, "ctl") == 0 ? LEVEL_DEBUG : LEVEL_INFO;
}

static void peer_up(struct bus_peer *peer)
{
    peer->up = true;
    peer->stopped = false;
    lifeline_add(peer);
    log_write(level_of_coming(peer), "peer_up", LSTR("peer_role", peer->role),
              LSTR("peer", peer->name), LSTR("version", peer->version), LOG_END_);
    if (peer->bus->spec.on_peer_up)
        peer->bus->spec.on_peer_up(peer->bus->spec.ctx, peer);
}

void bus_forget_client(struct bus_peer *peer)
{
    if (peer->bus->found == peer)
        peer->bus->found = NULL;
    HASH_DEL(peer->bus->clients, peer);
    peer->next_dead = peer->bus->dead;
    peer->bus->dead = peer;
}

void bus_peer_lost(struct bus_peer *peer, const char *why)
{
    bool was_up = peer->up;
    peer->up = false;
    lifeline_drop(peer);
    if (was_up) {
        peer->bus->lost_a_peer |= strcmp(peer->role, "ctl") != 0;
        log_write(level_of_going(peer, why), "peer_down", LSTR("peer_role", peer->role),
                  LSTR("peer", peer->name), LSTR("why", why), LOG_END_);
        if (peer->bus->spec.on_peer_down)
            peer->bus->spec.on_peer_down(peer->bus->spec.ctx, peer);
    }
    bus_drop_outbox(peer);
    buf_clear(&peer->held);
    peer->user = NULL;
    peer->epoch = 0;
    peer->suspect_us = 0;
    if (peer->connecting)
        peer->stale = true;
    else
        bus_forget_client(peer);
}

struct bus_peer *bus_find_client(struct bus *bus, struct span id)
{
    struct bus_peer *peer = bus->found;
    if (peer && span_equals(span_of(peer->id, peer->id_len), id))
        return peer;
    HASH_FIND(hh, bus->clients, id.data, id.len, peer);
    bus->found = peer;
    return peer;
}

static struct bus_peer *client_by_name(struct bus *bus, struct span name)
{
    for (struct bus_peer *p = bus->clients; p; p = p->hh.next) {
        if (span_is(name, p->name))
            return p;
    }
    return NULL;
}

static struct bus_peer *add_client(struct bus *bus, struct span id)
{
    struct bus_peer *peer = id.len <= ID_BYTES ? calloc(1, sizeof *peer) : NULL;
    if (!peer)
        return NULL;
    peer->bus = bus;
    peer->wire = bus->bound;
    memcpy(peer->id, id.data, id.len);
    peer->id_len = id.len;
    HASH_ADD_KEYPTR(hh, bus->clients, peer->id, peer->id_len, peer);
    if (!peer->hh.tbl) {
        free(peer);
        return NULL;
    }
    return peer;
}

static void refuse(struct wire *wire, struct span id, const struct hello *hello, const char *reason)
{
    log_error("peer_refused", LSPAN("peer_role", hello->role), LSPAN("peer", hello->name),
              LSTR("why", reason));
    struct refuse message = {.reason = span_str(reason)};
    bus_send_unknown(wire, id, MESSAGE_REFUSE, &message);
}

static void refuse_version(struct wire *wire, struct span id, const struct hello *hello)
{
    char reason[256];
    (void)snprintf(reason, sizeof reason,
                   "%s %.*s (version %.*s) speaks protocol %u, %s %s (version %s) speaks %u",
                   "peer", SPAN_ARG(hello->name), SPAN_ARG(hello->version), hello->major,
                   wire->bus->spec.role, wire->bus->name, TOLLGATE_VERSION, (unsigned)PROTO_MAJOR);
    refuse(wire, id, hello, reason);
}

/* A name is its holder's while that is here, but for another life of the same service. */
static bool is_same_service(const struct bus_peer *peer, const struct hello *hello)
{
    return span_is(hello->role, peer->role) && span_is(hello->provider, peer->provider);
}

/* NULL = it may be who it says it is. */
static const char *find_imposture(const struct wire *wire, struct span id,
                                  const struct hello *hello, const struct bus_peer *of_that_name)
{
    const struct bus *bus = wire->bus;
    bool named = id.len > hello->name.len && hello->name.len &&
                 memcmp(id.data, hello->name.data, hello->name.len) == 0 &&
                 id.data[hello->name.len] == '-';
    if (!bus_may_call(bus, hello->role))
        return "a peer of this role has nothing to do here";
    if (!bus_key_fits(bus, wire->from, hello))
        return "the key is another service's";
    if (!named)
        return "the connection has another name";
    if (of_that_name && !is_same_service(of_that_name, hello))
        return "the name belongs to another service";
    return NULL;
}

/* Where others may be sent: a path of this machine, or numbers. */
static bool is_address(struct span address)
{
    char text[sizeof((struct bus_peer *)0)->address];
    if (address.len >= sizeof text)
        return false;
    for (size_t i = 0; i < address.len; i++)
        if (address.data[i] <= ' ' || address.data[i] >= 0x7f)
            return false;
    (void)snprintf(text, sizeof text, "%.*s", SPAN_ARG(address));
    return span_starts(address, "ipc:///") || resolver_is_numeric(text);
}

void bus_on_hello(struct wire *wire, struct span id, const struct header *h,
                  const struct hello *hello)
{
    struct bus *bus = wire->bus;
    if (hello->major != PROTO_MAJOR) {
        refuse_version(wire, id, hello);
        return;
    }
    struct bus_peer *peer = bus_find_client(bus, id);
    if (!peer) {
        struct bus_peer *old = client_by_name(bus, hello->name);
        const char *imposture = find_imposture(wire, id, hello, old);
        if (imposture) {
            if (bus_note_refusal(bus, BUS_REFUSED_ROLE))
                refuse(wire, id, hello, imposture);
            return;
        }
        if (old) /* the same boot had given us up: it has ended what was between us */
            bus_peer_lost(old, old->epoch != h->epoch ? "reborn" : "gave us up");
        peer = add_client(bus, id);
        if (!peer)
            return;
        peer->epoch = h->epoch;
        memcpy(peer->key, wire->from, sizeof peer->key);
        bus_copy_name(peer->role, sizeof peer->role, hello->role);
        bus_copy_name(peer->name, sizeof peer->name, hello->name);
        bus_copy_name(peer->provider, sizeof peer->provider, hello->provider);
        bus_copy_name(peer->version, sizeof peer->version, hello->version);
        if (is_address(hello->address))
            bus_copy_name(peer->address, sizeof peer->address, hello->address);
    }
    peer->heard_us = loop_now_us(bus->loop);
    bus_send_welcome(peer);
    if (!peer->up)
        peer_up(peer);
}

void bus_on_welcome(struct bus_peer *link, const struct header *h, const struct welcome *welcome)
{
    if (link->epoch && link->epoch != h->epoch) {
        bus_peer_lost(link, "reborn");
        return;
    }
    link->epoch = h->epoch; /* its role is what it was connected to as */
    bus_copy_name(link->name, sizeof link->name, welcome->name);
    bus_copy_name(link->version, sizeof link->version, welcome->version);
    if (!link->up)
        peer_up(link);
}

void bus_free_peer(struct bus_peer *peer)
{
    lifeline_drop(peer);
    bus_drop_outbox(peer);
    buf_free(&peer->out.bundle);
    buf_free(&peer->held);
    resolver_forget(&peer->query);
    if (peer->disconnected)
        bus_close_wire(peer->wire);
    free(peer);
}
