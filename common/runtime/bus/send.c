/* Sending: batches by peer, bundles of small frames. */
#include "common/runtime/bus/bus_internal.h"

#include <errno.h>
#include <unistd.h>

#include "common/base/log.h"

void bus_mark_dirty(struct bus_peer *peer)
{
    if (peer->dirty)
        return;
    peer->dirty = true;
    peer->next_dirty = peer->bus->dirty;
    peer->bus->dirty = peer;
}

void bus_drop_outbox(struct bus_peer *peer)
{
    struct bus_outbox *out = &peer->out;
    for (unsigned i = 0; i < out->part_count; i++)
        (void)zmq_msg_close(&out->parts[i]);
    peer->bus->dropped += out->count;
    buf_clear(&out->bundle);
    out->part_count = out->bundled = out->count = 0;
    out->bytes = 0;
}

/* Makes a part of the open bundle; a bundle of one is that frame itself. */
static enum err close_bundle(struct bus_outbox *out)
{
    struct span content = buf_span(&out->bundle);
    if (out->bundled == 0)
        return OK;
    if (out->bundled == 1)
        content = span_skip(content, BUNDLE_HEAD_BYTES + LENGTH_BYTES);
    zmq_msg_t *part = &out->parts[out->part_count];
    if (zmq_msg_init_size(part, content.len) != 0)
        return ERR_NOMEM;
    memcpy(zmq_msg_data(part), content.data, content.len);
    out->part_count++;
    out->bundled = 0;
    buf_clear(&out->bundle);
    if (out->bundle.cap > KEPT_BUNDLE_BYTES)
        buf_free(&out->bundle);
    return OK;
}

/* OK; ERR_AGAIN at the high-water mark (nothing sent); ERR_CLOSED when there is nobody. */
static enum err send_id(struct wire *wire, const char *id, size_t len)
{
    if (zmq_send(wire->handle, id, len, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        return OK;
    return errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
}

/* A link without a connection and one whose pipe is full look the same (IMMEDIATE): which it is,
 * silence tells. */
static enum err not_now(const struct bus_peer *link)
{
    uint64_t now = loop_now_us(link->bus->loop);
    bool heard = now < link->heard_us + UNREACHABLE_US;
    return link->up && heard ? ERR_AGAIN : ERR_CLOSED;
}

/* The lock is held: nothing else comes between the parts. */
static enum err send_parts(struct bus_peer *peer)
{
    struct bus_outbox *out = &peer->out;
    struct wire *wire = peer->wire;
    if (!peer->connecting) {
        enum err e = send_id(wire, peer->id, peer->id_len);
        if (e)
            return e;
    }
    for (unsigned i = 0; i < out->part_count; i++) {
        int more = i + 1 < out->part_count ? ZMQ_SNDMORE : 0;
        if (zmq_msg_send(&out->parts[i], wire->handle, more | ZMQ_DONTWAIT) >= 0)
            continue;
        if (i == 0 && peer->connecting && errno == EAGAIN)
            return not_now(peer);
        (void)zmq_msg_close(&out->parts[i]);
        peer->bus->dropped++;
    }
    out->part_count = out->count = 0;
    out->bytes = 0;
    return OK;
}

static enum err flush_outbox(struct bus_peer *peer)
{
    struct bus_outbox *out = &peer->out;
    if (out->count == 0)
        return OK;
    if (close_bundle(out))
        return ERR_AGAIN; /* without memory just now */
    peer->wire->touched = true;
    bus_lock(peer->bus);
    enum err e = send_parts(peer);
    bus_unlock(peer->bus);
    return e;
}

bool bus_flush_peer(struct bus_peer *peer, bool *again)
{
    enum err e = flush_outbox(peer);
    if (e == ERR_AGAIN) {
        *again = true;
        return true;
    }
    if (e == ERR_CLOSED) {
        uint64_t dropped = peer->bus->dropped;
        bus_drop_outbox(peer);
        if (!peer->up)
            peer->bus->dropped = dropped; /* a HELLO that nobody was there to read is no loss */
        return false;
    }
    return true;
}

/* Makes room for one more frame by flushing a full batch. An error: it can't be sent. */
static enum err make_room(struct bus_peer *to, size_t bytes)
{
    struct bus_outbox *out = &to->out;
    bus_mark_dirty(
        to); /* a closed one is found out at the turn's end, not under its caller's feet */
    if (out->count == 0 || (out->count < BATCH_FRAMES && out->bytes + bytes <= BATCH_BYTES))
        return OK;
    enum err e = flush_outbox(to);
    return e == ERR_AGAIN && out->count < BATCH_FRAMES ? OK : e;
}

/* Room for a frame of that size at the end of the batch: in the bundle, or as a part of its own.
 * NULL when it can't be sent. */
static char *outbox_frame(struct bus_peer *to, size_t bytes, enum err *e_out)
{
    struct bus_outbox *out = &to->out;
    char *at = NULL;
    *e_out = make_room(to, bytes);
    to->urgent = true;
    if (!*e_out && bytes < SMALL_FRAME_BYTES) {
        char *start = buf_reserve(&out->bundle, BUNDLE_HEAD_BYTES + LENGTH_BYTES + bytes);
        if (start) {
            at = start;
            if (out->bundled == 0)
                *at++ = (char)BUNDLE_MARK;
            for (unsigned i = 0; i < LENGTH_BYTES; i++)
                *at++ = (char)(bytes >> 8 * i);
            out->bundle.len += (size_t)(at - start) + bytes;
            out->bundled++;
        }
    } else if (!*e_out && close_bundle(out) == OK &&
               zmq_msg_init_size(&out->parts[out->part_count], bytes) == 0) {
        at = zmq_msg_data(&out->parts[out->part_count++]);
    }
    if (!at) {
        if (out->bundled == 0)
            buf_clear(&out->bundle); /* its failure, too */
        to->bus->dropped++;
        *e_out = *e_out ? *e_out : ERR_NOMEM;
        return NULL;
    }
    out->bytes += bytes;
    out->count++;
    return at;
}

enum err bus_send_raw(struct bus_peer *to, struct header h, enum message_type type,
                      const void *message)
{
    enum err e = OK;
    char *frame = outbox_frame(to, codec_size(type, message), &e);
    if (!frame)
        return e;
    h.version = PROTO_MAJOR;
    h.type = (uint8_t)type;
    h.epoch = to->bus->epoch;
    codec_encode(&h, message, frame);
    return OK;
}

enum err bus_send(struct bus_peer *to, struct header h, enum message_type type, const void *message)
{
    if (!to->up) {
        to->bus->dropped++;
        return ERR_CLOSED;
    }
    return bus_send_raw(to, h, type, message);
}

enum err bus_send_soon(struct bus_peer *to, struct header h, enum message_type type,
                       const void *message)
{
    bool urgent = to->urgent;
    enum err e = bus_send(to, h, type, message);
    to->urgent = urgent;
    return e;
}

void bus_send_goodbye(struct bus_peer *peer)
{
    struct drain drain = {0};
    if (!peer->up)
        return;
    enum err e = bus_send_raw(peer, (struct header){.flags = HEADER_LAST}, MESSAGE_DRAIN, &drain);
    (void)e;
}

/* Where that peer, and whoever it tells, reaches us. */
static struct span address_for(const struct bus_peer *link, char out[OWN_ADDRESS_BYTES])
{
    struct bus *bus = link->bus;
    if (!own_address_is_any(bus->address))
        return span_str(bus->address);
    if (own_address_towards(bus->address, link->endpoint, out) == OK)
        return span_str(out);
    if (!bus->lost_itself)
        log_error("no_address", LSTR("why", "this machine's address is not known"),
                  LSTR("hint", "set bus.worker_address"));
    bus->lost_itself = true;
    return SPAN_NONE;
}

void bus_send_hello(struct bus_peer *link)
{
    const struct bus_spec *spec = &link->bus->spec;
    char address[OWN_ADDRESS_BYTES];
    struct hello hello = {.role = span_str(spec->role),
                          .name = span_str(link->bus->name),
                          .version = span_str(TOLLGATE_VERSION),
                          .major = PROTO_MAJOR,
                          .minor = PROTO_MINOR,
                          .provider = span_str(spec->provider),
                          .pid = (uint32_t)getpid(),
                          .address = address_for(link, address)};
    enum err e = bus_send_raw(link, (struct header){0}, MESSAGE_HELLO, &hello);
    (void)e; /* nobody there yet: the next tick tries again */
}

void bus_send_welcome(struct bus_peer *client)
{
    const struct bus_spec *spec = &client->bus->spec;
    struct welcome welcome = {.role = span_str(spec->role),
                              .name = span_str(client->bus->name),
                              .version = span_str(TOLLGATE_VERSION),
                              .major = PROTO_MAJOR,
                              .minor = PROTO_MINOR};
    enum err e = bus_send_raw(client, (struct header){0}, MESSAGE_WELCOME, &welcome);
    (void)e;
}

void bus_send_unknown(struct wire *wire, struct span id, enum message_type type,
                      const void *message)
{
    struct header h = {.type = (uint8_t)type, .epoch = wire->bus->epoch};
    zmq_msg_t frame;
    if (zmq_msg_init_size(&frame, codec_size(type, message)) != 0)
        return;
    codec_encode(&h, message, zmq_msg_data(&frame));
    wire->touched = true;
    bus_lock(wire->bus);
    if (send_id(wire, id.data, id.len) != OK ||
        zmq_msg_send(&frame, wire->handle, ZMQ_DONTWAIT) < 0)
        (void)zmq_msg_close(&frame);
    bus_unlock(wire->bus);
}
