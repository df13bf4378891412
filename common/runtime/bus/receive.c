/* Receiving: every socket drained, every frame checked, its handler called. */
#include "common/runtime/bus/bus_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/log.h"

static unsigned on_bundle(struct wire *wire, struct span id, struct span rest);

/* What came while it was suspect. */
static void read_held(struct bus_peer *link)
{
    struct buf held = link->held;
    link->held = (struct buf){0};
    (void)on_bundle(link->wire, SPAN_NONE, buf_span(&held));
    buf_free(&held);
}

/* Keeps it for read_held; a link that brings too much is as good as lost. The largest message there
 * may be has room: that it comes now is no fault of its sender. */
static void hold(struct bus_peer *link, struct span frame)
{
    char length[LENGTH_BYTES];
    link->held.max = (size_t)MAX_HELD_BYTES + link->bus->spec.max_message_bytes;
    for (unsigned i = 0; i < LENGTH_BYTES; i++)
        length[i] = (char)(frame.len >> 8 * i);
    buf_append(&link->held, span_of(length, sizeof length));
    buf_append(&link->held, frame);
    if (buf_check(&link->held) != OK)
        bus_peer_lost(link, "brought too much");
}

static void dispatch(struct bus_peer *peer, struct bus_message *m)
{
    struct bus *bus = peer->bus;
    const union message_body *body = m->body;
    switch ((int)m->header.type) {
    case MESSAGE_PING:
        bus_on_ping(peer, &body->ping);
        return;
    case MESSAGE_PONG:
        if (bus_on_pong(peer, &body->pong))
            read_held(peer);
        return;
    case MESSAGE_DRAIN:
        if (m->header.flags & HEADER_LAST) {
            bool again = false;
            peer->stopped = true;
            if (!bus->closing) {
                bus_send_goodbye(peer); /* all of it was read */
                (void)bus_flush_peer(peer, &again);
            }
            bus_peer_lost(peer, "stopped");
            return;
        }
        break;
    default:
        break;
    }
    loop_works_on(bus->loop, m->header.id.bytes);
    bus_handler handler =
        m->header.type < MESSAGE_TYPES ? bus->spec.handlers[m->header.type] : NULL;
    if (handler && peer->up && !bus->closing && bus_may_say(peer, m->header.type))
        handler(bus->spec.ctx, peer, m);
}

static void on_unknown_peer(struct wire *wire, struct span id, const struct bus_message *m)
{
    if (m->header.type == MESSAGE_HELLO) {
        bus_on_hello(wire, id, &m->header, &m->body->hello);
    } else if (m->header.type == MESSAGE_PING) {
        struct pong pong = bus_make_pong(wire->bus, NULL, &m->body->ping);
        bus_send_unknown(wire, id, MESSAGE_PONG, &pong);
    }
}

static void on_client_frame(struct wire *wire, struct span id, struct bus_message *m)
{
    struct bus_peer *peer = bus_find_client(wire->bus, id);
    if (peer && strcmp(wire->from, peer->key) != 0) {
        wire->bus->dropped++; /* the connection before had that id */
        return;
    }
    if (!peer || m->header.type == MESSAGE_HELLO) {
        on_unknown_peer(wire, id, m);
        return;
    }
    if (m->header.epoch != peer->epoch) {
        wire->bus->dropped++;
        return;
    }
    peer->heard_us = loop_now_us(wire->bus->loop);
    dispatch(peer, m);
}

static void on_link_frame(struct wire *wire, struct bus_message *m)
{
    struct bus_peer *link = wire->link;
    if (link->disconnected || link->stale)
        return;
    link->heard_us = loop_now_us(wire->bus->loop);
    if (m->header.type == MESSAGE_WELCOME) {
        bus_on_welcome(link, &m->header, &m->body->welcome);
    } else if (m->header.type == MESSAGE_REFUSE) {
        log_error("refused_by_peer", LSTR("address", link->address),
                  LSPAN("why", m->body->refuse.reason));
        bus_peer_lost(link, "refused");
    } else if (link->epoch == 0) {
        return; /* not greeted yet */
    } else if (m->header.epoch != link->epoch) {
        wire->bus->dropped++;
        bus_peer_lost(link, "reborn");
    } else if (link->suspect_us && m->header.type != MESSAGE_PONG) {
        hold(link, m->frame);
    } else {
        dispatch(link, m);
    }
}

static void on_frame(struct wire *wire, struct span id, struct span frame)
{
    union message_body body;
    struct bus_message m = {.body = &body, .frame = frame};
    enum err e = header_read(m.frame, &m.header);
    /* a HELLO of another major is still read, so that it can be refused by name */
    if (e && !(e == ERR_VERSION && m.header.type == MESSAGE_HELLO)) {
        wire->bus->dropped++;
        return;
    }
    const struct message_info *info = message_info(m.header.type);
    if (!info)
        return; /* a type that only a newer neighbour knows */
    if (codec_decode(m.header.type, span_skip(m.frame, HEADER_BYTES), &body) != OK) {
        wire->bus->dropped++;
        log_warn("bad_message", LSTR("type", info->name), LU64("bytes", m.frame.len));
        return;
    }
    if (wire->link)
        on_link_frame(wire, &m);
    else
        on_client_frame(wire, id, &m);
}

static unsigned on_bundle(struct wire *wire, struct span id, struct span rest)
{
    unsigned frames = 0;
    while (rest.len) {
        size_t bytes = 0;
        for (unsigned i = 0; i < LENGTH_BYTES && rest.len >= LENGTH_BYTES; i++)
            bytes |= (size_t)(uint8_t)rest.data[i] << 8 * i;
        if (bytes == 0 || bytes > rest.len - LENGTH_BYTES) {
            wire->bus->dropped++;
            log_warn("bad_bundle", LU64("bytes", rest.len));
            break;
        }
        rest = span_skip(rest, LENGTH_BYTES);
        on_frame(wire, id, span_first(rest, bytes));
        rest = span_skip(rest, bytes);
        frames++;
    }
    return frames;
}

/* Returns the number of frames. */
static unsigned on_part(struct wire *wire, struct span id, zmq_msg_t *msg)
{
    struct span part = span_of(zmq_msg_data(msg), zmq_msg_size(msg));
    if (part.len && (uint8_t)part.data[0] == BUNDLE_MARK)
        return on_bundle(wire, id, span_skip(part, BUNDLE_HEAD_BYTES));
    on_frame(wire, id, part);
    return 1;
}

/* By which key whoever it came from is known: the part with the routing id does not always tell. */
static void note_sender(struct wire *wire, const zmq_msg_t *msg)
{
    const char *key = wire->bus->spec.keys ? zmq_msg_gets(msg, "User-Id") : NULL;
    (void)snprintf(wire->from, sizeof wire->from, "%s", key ? key : "");
}

/* Everything that is there. */
void bus_drain(struct wire *wire)
{
    zmq_msg_t msg;
    char id[256];
    size_t id_len = 0;
    bool first = true, named = wire->link != NULL;
    wire->touched = false;
    bus_look_for_stall(wire->bus);
    unsigned n = 0;
    for (;;) {
        if (n >= DRAIN_FRAMES && first) {
            loop_again(wire->bus->loop);
            wire->touched = true; /* not empty yet: look again at the turn's end */
            return;
        }
        (void)zmq_msg_init(&msg);
        bus_lock(wire->bus);
        int came = zmq_msg_recv(&msg, wire->handle, ZMQ_DONTWAIT);
        bus_unlock(wire->bus);
        if (came < 0) {
            (void)zmq_msg_close(&msg);
            return;
        }
        bool more = zmq_msg_more(&msg) != 0;
        if (first && !wire->link) {
            id_len = zmq_msg_size(&msg) < sizeof id ? zmq_msg_size(&msg) : sizeof id;
            memcpy(id, zmq_msg_data(&msg), id_len);
            named = false;
        } else {
            if (!named)
                note_sender(wire, &msg);
            named = true;
            n += on_part(wire, span_of(id, id_len), &msg);
        }
        (void)zmq_msg_close(&msg);
        first = !more;
    }
}

void bus_on_wire(void *ctx, uint32_t events)
{
    const struct wire *wire = ctx;
    (void)events;
    bus_drain(ctx);
    if (wire->link)
        bus_greet(wire->link); /* a connection has come up, perhaps */
}
