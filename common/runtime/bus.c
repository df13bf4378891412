#include "common/runtime/bus.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <czmq.h>
#include <uthash.h>
#include <zmq.h>

#include "common/base/buf.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "proto/codec.h"

enum {
    BATCH_FRAMES = 64,
    BATCH_BYTES = 256 * 1024,
    SMALL_FRAME_BYTES = 8 * 1024, /* smaller ones travel in a bundle */
    KEPT_BUNDLE_BYTES = 64 * 1024,
    DRAIN_FRAMES = 4096, /* one socket's share of a turn */
    TICK_MS = 100,
    PING_US = 250 * 1000,
    PEER_TIMEOUT_MS = 1200,
    STALL_US = 1000 * 1000, /* our own loop stood still: judge nobody by it */
    SOON_MS = 4,
    RETRY_MS = 5, /* a batch that met the high-water mark */
    HWM_BATCHES = 10000,
    MAX_CONTROL_BYTES = 64 * 1024,
    MAX_DATA_BYTES = 80 * 1024 * 1024,
    GOODBYE_LINGER_MS = 100,
    NAME_BYTES = 96,
    ID_BYTES = 120
};

/* One ZeroMQ socket in the loop. */
struct wire {
    struct bus *bus;
    struct bus_peer *link; /* a DEALER's peer; NULL for a ROUTER */
    zsock_t *zsock;
    void *handle;
    enum channel channel;
    struct loop_watch *watch;
    bool touched; /* sent on since it was last drained: its readiness may have been eaten
                     (edge-triggered ZMQ_FD) */
    struct wire *next;
};

/* A part of a ZeroMQ message is a frame, or a bundle of small ones: this byte, which is no version,
 * then each frame behind its length (32 bit, little-endian). A frame of its own costs ZeroMQ about
 * a microsecond over all threads, and it writes parts that come together in pieces of 8 KiB. */
enum { BUNDLE_MARK = 0xb0, BUNDLE_HEAD_BYTES = 1, LENGTH_BYTES = 4 };

/* Frames of one peer and channel waiting for the end of the turn. */
struct outbox {
    zmq_msg_t parts[BATCH_FRAMES];
    unsigned part_count;
    struct buf bundle; /* open: becomes the last part */
    unsigned bundled;
    unsigned count; /* frames in all */
    size_t bytes;
};

struct bus_peer {
    struct bus *bus;
    struct wire *wires[2]; /* by channel: own DEALERs, or the binding's ROUTERs */
    bool connecting;       /* we connect to it; else it is a client of our binding */
    bool up;
    bool hello_seen[2]; /* by channel; WELCOME for a connecting one */
    char role[32], name[NAME_BYTES], provider[64], version[32], address[256];
    uint64_t epoch;
    uint32_t session; /* the connecting side counts how often it greets anew; it travels as HELLO's
                         and WELCOME's seq */
    uint64_t heard_us, pinged_us;
    uint64_t doubt_us; /* a link, when our loop had stood still: the PING whose PONG must say that
                          it still knows us; its data waits until then. 0 = no doubt */
    uint32_t queued;
    void *user;
    char id[ID_BYTES]; /* routing id at our ROUTERs */
    size_t id_len;
    struct outbox out[2];
    bool dirty, urgent; /* something waits; some of it for the end of this turn only */
    struct bus_peer *next_dirty;
    UT_hash_handle hh;     /* clients, by id */
    struct bus_peer *next; /* links */
    struct bus_peer *next_dead;
};

struct bus {
    struct loop *loop;
    struct bus_spec spec;
    char name[NAME_BYTES];
    char id[ID_BYTES];
    uint64_t epoch;
    struct wire *wires;
    struct wire *bound[2];
    int lock_fd;
    struct bus_peer *clients; /* uthash */
    struct bus_peer *links;
    struct bus_peer *dirty;
    struct bus_peer *dead; /* freed at the end of the turn: a handler may still hold one */
    struct loop_timer tick, retry, soon;
    bool soon_is_now;
    struct loop_hook flush_hook;
    uint64_t ticked_us;
    uint64_t dropped;
};

/* ---- sending ---- */

static void mark_dirty(struct bus_peer *peer)
{
    if (peer->dirty)
        return;
    peer->dirty = true;
    peer->next_dirty = peer->bus->dirty;
    peer->bus->dirty = peer;
}

static void drop_outbox(struct bus_peer *peer, enum channel channel)
{
    struct outbox *out = &peer->out[channel];
    for (unsigned i = 0; i < out->part_count; i++)
        (void)zmq_msg_close(&out->parts[i]);
    peer->bus->dropped += out->count;
    buf_clear(&out->bundle);
    out->part_count = out->bundled = out->count = 0;
    out->bytes = 0;
}

/* Makes a part of the open bundle; a bundle of one is that frame itself. */
static enum err close_bundle(struct outbox *out)
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

static void peer_lost(struct bus_peer *peer, const char *why);

/* OK; ERR_AGAIN at the high-water mark (nothing sent); ERR_CLOSED when there is nobody. */
static enum err send_id(struct wire *wire, const char *id, size_t len)
{
    if (zmq_send(wire->handle, id, len, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0)
        return OK;
    return errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
}

static enum err flush_outbox(struct bus_peer *peer, enum channel channel)
{
    struct outbox *out = &peer->out[channel];
    struct wire *wire = peer->wires[channel];
    if (out->count == 0)
        return OK;
    if (close_bundle(out))
        return ERR_AGAIN; /* without memory just now */
    wire->touched = true;
    if (!peer->connecting) {
        enum err e = send_id(wire, peer->id, peer->id_len);
        if (e)
            return e;
    }
    for (unsigned i = 0; i < out->part_count; i++) {
        int more = i + 1 < out->part_count ? ZMQ_SNDMORE : 0;
        if (zmq_msg_send(&out->parts[i], wire->handle, more | ZMQ_DONTWAIT) >= 0)
            continue;
        /* IMMEDIATE: no connection is EAGAIN too, and the only reason on control, which never fills
         */
        if (i == 0 && peer->connecting && errno == EAGAIN)
            return peer->up && channel == CHANNEL_DATA ? ERR_AGAIN : ERR_CLOSED;
        (void)zmq_msg_close(&out->parts[i]);
        peer->bus->dropped++;
    }
    out->part_count = out->count = 0;
    out->bytes = 0;
    return OK;
}

/* false when the peer turned out to be gone. */
static bool flush_channel(struct bus_peer *peer, enum channel channel, bool *again)
{
    enum err e = flush_outbox(peer, channel);
    if (e == ERR_AGAIN) {
        *again = true;
        return true;
    }
    if (e == ERR_CLOSED) {
        uint64_t dropped = peer->bus->dropped;
        drop_outbox(peer, channel);
        if (!peer->up)
            peer->bus->dropped = dropped; /* a HELLO to nobody is no loss */
        return false;
    }
    return true;
}

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

static void flush(struct bus *bus, bool all)
{
    struct bus_peer *list = bus->dirty;
    bus->dirty = NULL;
    while (list) {
        struct bus_peer *peer = list;
        list = peer->next_dirty;
        peer->dirty = false;
        if (!all && may_wait(peer)) {
            mark_dirty(peer);
            if (!loop_timer_running(&bus->soon))
                loop_timer_start(bus->loop, &bus->soon, SOON_MS, on_soon, bus);
            continue;
        }
        peer->urgent = false;
        bool again = false;
        bool there = flush_channel(peer, CHANNEL_CONTROL, &again);
        there = flush_channel(peer, CHANNEL_DATA, &again) && there;
        if (!there && peer->up)
            peer_lost(peer, "unreachable");
        if (again) {
            mark_dirty(peer);
            peer->urgent = true;
            if (!loop_timer_running(&bus->retry))
                loop_timer_start(bus->loop, &bus->retry, RETRY_MS, on_retry, bus);
        }
    }
}

void bus_flush(struct bus *bus)
{
    flush(bus, true);
}

/* Makes room for one more frame by flushing a full batch. An error: it can't be sent. */
static enum err make_room(struct bus_peer *to, enum channel channel, size_t bytes)
{
    struct outbox *out = &to->out[channel];
    mark_dirty(to); /* a closed one is found out at the turn's end, not under its caller's feet */
    if (out->count == 0 || (out->count < BATCH_FRAMES && out->bytes + bytes <= BATCH_BYTES))
        return OK;
    enum err e = flush_outbox(to, channel);
    return e == ERR_AGAIN && out->count < BATCH_FRAMES ? OK : e;
}

/* Room for a frame of that size at the end of the batch: in the bundle, or as a part of its own.
 * NULL when it can't be sent. */
static char *outbox_frame(struct bus_peer *to, enum channel channel, size_t bytes, enum err *e_out)
{
    struct outbox *out = &to->out[channel];
    char *at = NULL;
    *e_out = make_room(to, channel, bytes);
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

static enum err send_on(struct bus_peer *to, enum channel channel, struct header h,
                        enum message_type type, const void *message)
{
    enum err e = OK;
    char *frame = outbox_frame(to, channel, codec_size(type, message), &e);
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
    return send_on(to, message_info(type)->channel, h, type, message);
}

enum err bus_send_soon(struct bus_peer *to, struct header h, enum message_type type,
                       const void *message)
{
    bool urgent = to->urgent;
    enum err e = bus_send(to, h, type, message);
    to->urgent = urgent;
    return e;
}

static enum err forward_copy(struct bus_peer *to, enum channel channel, const struct header *h,
                             struct span frame)
{
    enum err e = OK;
    char *copy = outbox_frame(to, channel, frame.len, &e);
    if (!copy)
        return e;
    memcpy(copy, frame.data, frame.len);
    header_write(h, (uint8_t *)copy);
    return OK;
}

/* Ours alone since it was received: the header may be written in place. Above 33 bytes the content
 * does not move with the struct, so views of it stay good. */
static enum err forward_part(struct bus_peer *to, enum channel channel, const struct header *h,
                             zmq_msg_t *msg)
{
    struct outbox *out = &to->out[channel];
    size_t bytes = zmq_msg_size(msg);
    enum err e = make_room(to, channel, bytes);
    to->urgent = true;
    if (!e)
        e = close_bundle(out);
    if (e) {
        to->bus->dropped++;
        return e;
    }
    zmq_msg_t *part = &out->parts[out->part_count++];
    (void)zmq_msg_init(part);
    (void)zmq_msg_move(part, msg);
    header_write(h, zmq_msg_data(part));
    out->bytes += bytes;
    out->count++;
    return OK;
}

enum err bus_forward(struct bus_peer *to, struct header h, const struct bus_message *m)
{
    const struct message_info *info = message_info(m->header.type);
    if (!to->up || !info) {
        to->bus->dropped++;
        return to->up ? ERR_UNSUPPORTED : ERR_CLOSED;
    }
    h.version = PROTO_MAJOR;
    h.type = m->header.type;
    h.epoch = to->bus->epoch;
    if (m->frame.len < SMALL_FRAME_BYTES || !m->zmq_msg_)
        return forward_copy(to, info->channel, &h, m->frame);
    return forward_part(to, info->channel, &h, m->zmq_msg_);
}

static void send_hello(struct bus_peer *link, enum channel channel)
{
    const struct bus_spec *spec = &link->bus->spec;
    struct hello hello = {.role = span_str(spec->role),
                          .name = span_str(link->bus->name),
                          .version = span_str(TOLLGATE_VERSION),
                          .major = PROTO_MAJOR,
                          .minor = PROTO_MINOR,
                          .provider = span_str(spec->provider),
                          .pid = (uint32_t)getpid()};
    enum err e =
        send_on(link, channel, (struct header){.seq = link->session}, MESSAGE_HELLO, &hello);
    (void)e; /* nobody there yet: the next tick tries again */
}

static void send_welcome(struct bus_peer *client, enum channel channel)
{
    const struct bus_spec *spec = &client->bus->spec;
    struct welcome welcome = {.role = span_str(spec->role),
                              .name = span_str(client->bus->name),
                              .version = span_str(TOLLGATE_VERSION),
                              .major = PROTO_MAJOR,
                              .minor = PROTO_MINOR};
    enum err e = send_on(client, channel, (struct header){.seq = client->session}, MESSAGE_WELCOME,
                         &welcome);
    (void)e;
}

/* To an identity that is no peer: one frame, now. */
static void send_stranger(struct wire *wire, struct span id, enum message_type type,
                          const void *message)
{
    struct header h = {.type = (uint8_t)type, .epoch = wire->bus->epoch};
    zmq_msg_t frame;
    if (zmq_msg_init_size(&frame, codec_size(type, message)) != 0)
        return;
    codec_encode(&h, message, zmq_msg_data(&frame));
    wire->touched = true;
    if (send_id(wire, id.data, id.len) != OK ||
        zmq_msg_send(&frame, wire->handle, ZMQ_DONTWAIT) < 0)
        (void)zmq_msg_close(&frame);
}

/* ---- peers ---- */

static void copy_name(char *out, size_t size, struct span s)
{
    size_t n = s.len < size - 1 ? s.len : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = s.data[i] > ' ' && s.data[i] < 0x7f ? s.data[i] : '?';
    out[n] = '\0';
}

static void peer_up(struct bus_peer *peer)
{
    peer->up = true;
    log_info("peer_up", LSTR("peer_role", peer->role), LSTR("peer", peer->name),
             LSTR("version", peer->version));
    if (peer->bus->spec.on_peer_up)
        peer->bus->spec.on_peer_up(peer->bus->spec.ctx, peer);
}

static void forget_client(struct bus_peer *peer)
{
    HASH_DEL(peer->bus->clients, peer);
    peer->next_dead = peer->bus->dead;
    peer->bus->dead = peer;
}

static void peer_lost(struct bus_peer *peer, const char *why)
{
    bool was_up = peer->up;
    peer->up = false;
    peer->hello_seen[0] = peer->hello_seen[1] = false;
    if (was_up) {
        /* One that says goodbye is no trouble. */
        log_write(strcmp(why, "stopped") == 0 ? LEVEL_INFO : LEVEL_WARN, "peer_down",
                  LSTR("peer_role", peer->role), LSTR("peer", peer->name), LSTR("why", why),
                  LOG_END_);
        if (peer->bus->spec.on_peer_down)
            peer->bus->spec.on_peer_down(peer->bus->spec.ctx, peer);
    }
    drop_outbox(peer, CHANNEL_CONTROL);
    drop_outbox(peer, CHANNEL_DATA);
    peer->user = NULL;
    peer->epoch = 0;
    if (!peer->connecting) {
        forget_client(peer);
        return;
    }
    peer->session++;
    peer->doubt_us = 0; /* what waits is read now, and is nobody's */
    peer->wires[CHANNEL_DATA]->touched = true;
}

static struct bus_peer *find_client(struct bus *bus, struct span id)
{
    struct bus_peer *peer = NULL;
    HASH_FIND(hh, bus->clients, id.data, id.len, peer);
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
    peer->wires[CHANNEL_CONTROL] = bus->bound[CHANNEL_CONTROL];
    peer->wires[CHANNEL_DATA] = bus->bound[CHANNEL_DATA];
    memcpy(peer->id, id.data, id.len);
    peer->id_len = id.len;
    HASH_ADD_KEYPTR(hh, bus->clients, peer->id, peer->id_len, peer);
    return peer;
}

static void refuse(struct wire *wire, struct span id, const struct hello *hello)
{
    char reason[256];
    (void)snprintf(reason, sizeof reason,
                   "%s %.*s (version %.*s) speaks protocol %u, %s %s (version %s) speaks %u",
                   "peer", SPAN_ARG(hello->name), SPAN_ARG(hello->version), hello->major,
                   wire->bus->spec.role, wire->bus->name, TOLLGATE_VERSION, (unsigned)PROTO_MAJOR);
    log_error("peer_refused", LSPAN("peer_role", hello->role), LSPAN("peer", hello->name),
              LSTR("why", reason));
    struct refuse message = {.reason = span_str(reason)};
    send_stranger(wire, id, MESSAGE_REFUSE, &message);
}

static void on_hello(struct wire *wire, struct span id, const struct header *h,
                     const struct hello *hello)
{
    struct bus *bus = wire->bus;
    if (hello->major != PROTO_MAJOR) {
        refuse(wire, id, hello);
        return;
    }
    struct bus_peer *peer = find_client(bus, id);
    if (peer && peer->epoch == h->epoch && h->seq < peer->session)
        return; /* late: it has greeted anew since, on the other socket */
    if (peer && (peer->epoch != h->epoch || peer->session != h->seq)) {
        /* The same boot in a new session had given us up: it has ended what was between us. */
        peer_lost(peer, peer->epoch != h->epoch ? "reborn" : "gave us up");
        peer = NULL;
    }
    if (!peer) {
        struct bus_peer *old = client_by_name(bus, hello->name);
        if (old)
            peer_lost(old, "reborn");
        peer = add_client(bus, id);
        if (!peer)
            return;
        peer->epoch = h->epoch;
        peer->session = h->seq;
        copy_name(peer->role, sizeof peer->role, hello->role);
        copy_name(peer->name, sizeof peer->name, hello->name);
        copy_name(peer->provider, sizeof peer->provider, hello->provider);
        copy_name(peer->version, sizeof peer->version, hello->version);
    }
    peer->heard_us = loop_now_us(bus->loop);
    peer->hello_seen[wire->channel] = true;
    send_welcome(peer, wire->channel);
    if (!peer->up && peer->hello_seen[0] && peer->hello_seen[1])
        peer_up(peer);
}

static void on_welcome(struct bus_peer *link, enum channel channel, const struct header *h,
                       const struct welcome *welcome)
{
    if (h->seq != link->session)
        return; /* of a greeting before this one */
    if (link->epoch && link->epoch != h->epoch) {
        peer_lost(link, "reborn");
        return; /* it shall welcome the new session */
    }
    link->epoch = h->epoch;
    link->hello_seen[channel] = true;
    copy_name(link->role, sizeof link->role, welcome->role);
    copy_name(link->name, sizeof link->name, welcome->name);
    copy_name(link->version, sizeof link->version, welcome->version);
    if (!link->up && link->hello_seen[0] && link->hello_seen[1])
        peer_up(link);
}

static void send_ping(struct bus_peer *peer, uint64_t now_us)
{
    struct ping ping = {.sent_us = now_us};
    peer->pinged_us = now_us;
    enum err e = send_on(peer, CHANNEL_CONTROL, (struct header){0}, MESSAGE_PING, &ping);
    (void)e;
}

static struct pong make_pong(struct bus *bus, const struct ping *ping, bool greeted)
{
    uint32_t queued = bus->spec.queued ? bus->spec.queued(bus->spec.ctx) : 0;
    return (struct pong){.sent_us = ping->sent_us, .queued = queued, .greeted = greeted};
}

static void on_ping(struct bus_peer *peer, const struct ping *ping)
{
    struct pong pong = make_pong(peer->bus, ping, peer->up);
    enum err e = send_on(peer, CHANNEL_CONTROL, (struct header){0}, MESSAGE_PONG, &pong);
    (void)e;
}

/* Its data is read (again) at the turn's end. */
static void end_doubt(struct bus_peer *link)
{
    if (!link->doubt_us)
        return;
    link->doubt_us = 0;
    link->wires[CHANNEL_DATA]->touched = true;
}

static void on_pong(struct bus_peer *peer, const struct pong *pong)
{
    peer->queued = pong->queued;
    if (peer->connecting && peer->up && !pong->greeted)
        peer_lost(peer, "forgot us");
    if (pong->sent_us == peer->doubt_us)
        end_doubt(peer);
}

/* ---- receiving ---- */

static void dispatch(struct bus_peer *peer, struct bus_message *m)
{
    struct bus *bus = peer->bus;
    const union message_body *body = m->body;
    switch ((int)m->header.type) {
    case MESSAGE_PING:
        on_ping(peer, &body->ping);
        return;
    case MESSAGE_PONG:
        on_pong(peer, &body->pong);
        return;
    case MESSAGE_DRAIN:
        if (m->header.flags & HEADER_LAST) {
            peer_lost(peer, "stopped");
            return;
        }
        break;
    default:
        break;
    }
    bus_handler handler =
        m->header.type < MESSAGE_TYPES ? bus->spec.handlers[m->header.type] : NULL;
    if (handler && peer->up)
        handler(bus->spec.ctx, peer, m);
}

static void on_stranger(struct wire *wire, struct span id, const struct bus_message *m)
{
    if (m->header.type == MESSAGE_HELLO) {
        on_hello(wire, id, &m->header, &m->body->hello);
    } else if (m->header.type == MESSAGE_PING) {
        struct pong pong = make_pong(wire->bus, &m->body->ping, false);
        send_stranger(wire, id, MESSAGE_PONG, &pong);
    }
}

static void on_client_frame(struct wire *wire, struct span id, struct bus_message *m)
{
    struct bus_peer *peer = find_client(wire->bus, id);
    if (!peer || m->header.type == MESSAGE_HELLO) {
        on_stranger(wire, id, m);
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
    link->heard_us = loop_now_us(wire->bus->loop);
    if (m->header.type == MESSAGE_WELCOME) {
        on_welcome(link, wire->channel, &m->header, &m->body->welcome);
    } else if (m->header.type == MESSAGE_REFUSE) {
        log_error("refused_by_peer", LSTR("address", link->address),
                  LSPAN("why", m->body->refuse.reason));
        peer_lost(link, "refused");
    } else if (link->epoch == 0) {
        return; /* not greeted yet */
    } else if (m->header.epoch != link->epoch) {
        wire->bus->dropped++;
        peer_lost(link, "reborn");
    } else {
        dispatch(link, m);
    }
}

/* msg: the part the frame is all of; NULL in a bundle. */
static void on_frame(struct wire *wire, struct span id, struct span frame, zmq_msg_t *msg)
{
    union message_body body;
    struct bus_message m = {.body = &body, .frame = frame, .zmq_msg_ = msg};
    enum err e = header_read(m.frame, &m.header);
    /* a HELLO of another major is still read, so that it can be refused by name */
    if (e && !(e == ERR_VERSION && m.header.type == MESSAGE_HELLO)) {
        wire->bus->dropped++;
        return;
    }
    const struct message_info *info = message_info(m.header.type);
    if (!info)
        return; /* a newer neighbour's */
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
        on_frame(wire, id, span_first(rest, bytes), NULL);
        rest = span_skip(rest, bytes);
        frames++;
    }
    return frames;
}

/* Says how many frames it was. */
static unsigned on_part(struct wire *wire, struct span id, zmq_msg_t *msg)
{
    struct span part = span_of(zmq_msg_data(msg), zmq_msg_size(msg));
    if (part.len && (uint8_t)part.data[0] == BUNDLE_MARK)
        return on_bundle(wire, id, span_skip(part, BUNDLE_HEAD_BYTES));
    on_frame(wire, id, part, msg);
    return 1;
}

static uint64_t us_since(uint64_t then, uint64_t now)
{
    return now > then ? now - then : 0;
}

/* When our own loop stood still (a stopped process, a machine without time) nobody is judged by the
 * silence. But peers may have given us up meanwhile, and what they had sent before, others may have
 * done since: a link's data waits until the peer says that it still knows us. */
static void look_for_stall(struct bus *bus)
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
        link->doubt_us = now;
        alone = false;
    }
    if (!alone)
        log_warn("stood_still", LU64("ms", still / 1000));
}

/* Everything that is there. */
static void drain(struct wire *wire)
{
    zmq_msg_t msg;
    char id[256];
    size_t id_len = 0;
    bool first = true;
    wire->touched = false;
    look_for_stall(wire->bus);
    if (wire->link && wire->link->doubt_us && wire->channel == CHANNEL_DATA)
        return;
    unsigned n = 0;
    for (;;) {
        if (n >= DRAIN_FRAMES && first) {
            loop_again(wire->bus->loop);
            wire->touched = true; /* not empty yet: look again at the turn's end */
            return;
        }
        (void)zmq_msg_init(&msg);
        if (zmq_msg_recv(&msg, wire->handle, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&msg);
            return;
        }
        bool more = zmq_msg_more(&msg) != 0;
        if (first && !wire->link) {
            id_len = zmq_msg_size(&msg) < sizeof id ? zmq_msg_size(&msg) : sizeof id;
            memcpy(id, zmq_msg_data(&msg), id_len);
        } else {
            n += on_part(wire, span_of(id, id_len), &msg);
        }
        (void)zmq_msg_close(&msg);
        first = !more;
    }
}

static void on_wire(void *ctx, uint32_t events)
{
    (void)events;
    drain(ctx);
}

static bool has_input(struct wire *wire)
{
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(wire->handle, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN);
}

static void free_peer(struct bus_peer *peer)
{
    drop_outbox(peer, CHANNEL_CONTROL);
    drop_outbox(peer, CHANNEL_DATA);
    for (unsigned c = 0; c < 2; c++)
        buf_free(&peer->out[c].bundle);
    free(peer);
}

static void free_dead(struct bus *bus)
{
    while (bus->dead) {
        struct bus_peer *peer = bus->dead;
        if (peer->dirty)
            return; /* still in the flush list: next time */
        bus->dead = peer->next_dead;
        free_peer(peer);
    }
}

/* Sends the turn's batches, then looks once more at every socket that was sent on: a send may have
 * eaten the edge that tells of new input. */
static void on_turn_end(void *ctx)
{
    struct bus *bus = ctx;
    flush(bus, false);
    for (struct wire *wire = bus->wires; wire; wire = wire->next) {
        if (!wire->touched)
            continue;
        wire->touched = false;
        if (has_input(wire))
            loop_again(bus->loop), drain(wire);
    }
    if (bus->dirty)
        flush(bus, false);
    bus->soon_is_now = false;
    for (struct wire *wire = bus->wires; wire; wire = wire->next) {
        if (wire->touched)
            loop_again(bus->loop);
    }
    free_dead(bus);
}

/* ---- liveness ---- */

static void tick_peer(struct bus_peer *peer, uint64_t now)
{
    if (peer->up && us_since(peer->heard_us, now) > peer->bus->spec.peer_timeout_ms * 1000) {
        peer_lost(peer, "silent");
        return;
    }
    if (peer->up && us_since(peer->pinged_us, now) >= PING_US) {
        send_ping(peer, now);
    } else if (!peer->up && peer->connecting) {
        /* A WELCOME on both sockets makes it up; whatever was queued before is stale. */
        for (unsigned c = 0; c < 2; c++) {
            if (!peer->out[c].count)
                send_hello(peer, (enum channel)c);
        }
    }
}

static void on_tick(void *ctx)
{
    struct bus *bus = ctx;
    look_for_stall(bus);
    uint64_t now = loop_now_us(bus->loop);
    bus->ticked_us = now;
    loop_timer_start(bus->loop, &bus->tick, TICK_MS, on_tick, bus);
    for (struct bus_peer *link = bus->links; link; link = link->next)
        tick_peer(link, now);
    struct bus_peer *peer, *next;
    HASH_ITER(hh, bus->clients, peer, next)
    {
        if (!peer->up && us_since(peer->heard_us, now) > 10 * bus->spec.peer_timeout_ms * 1000)
            forget_client(peer); /* half a HELLO that never became whole */
        else
            tick_peer(peer, now);
    }
}

/* ---- sockets ---- */

static struct wire *open_wire(struct bus *bus, int type, enum channel channel,
                              struct bus_peer *link)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (!wire)
        return NULL;
    *wire = (struct wire){.bus = bus, .link = link, .channel = channel};
    wire->zsock = zsock_new(type);
    if (!wire->zsock) {
        free(wire);
        return NULL;
    }
    zsock_set_linger(wire->zsock, 0);
    zsock_set_sndhwm(wire->zsock, HWM_BATCHES);
    zsock_set_rcvhwm(wire->zsock, HWM_BATCHES);
    zsock_set_maxmsgsize(wire->zsock,
                         channel == CHANNEL_CONTROL ? MAX_CONTROL_BYTES : MAX_DATA_BYTES);
    if (type == ZMQ_ROUTER) {
        zsock_set_router_mandatory(wire->zsock, 1);
        zsock_set_router_handover(wire->zsock, 1);
    } else {
        zsock_set_identity(wire->zsock, bus->id);
        zsock_set_immediate(wire->zsock, 1);
        zsock_set_reconnect_ivl(wire->zsock, 50);
        zsock_set_reconnect_ivl_max(wire->zsock, 2000);
    }
    wire->handle = zsock_resolve(wire->zsock);
    wire->next = bus->wires;
    bus->wires = wire;
    return wire;
}

static enum err watch_wire(struct wire *wire)
{
    int fd = (int)zsock_fd(wire->zsock);
    enum err e = loop_watch_add(wire->bus->loop, fd, EPOLLIN, on_wire, wire, &wire->watch);
    wire->touched = true; /* drain once before the first wait */
    loop_again(wire->bus->loop);
    return e;
}

/* "ipc://x" → "ipc://x.ctl", "tcp://h:5571" → "tcp://h:5572". */
static enum err channel_address(const char *address, enum channel channel, char *out, size_t size)
{
    int n;
    const char *colon = strrchr(address, ':');
    uint64_t port = 0;
    if (strncmp(address, "ipc://", 6) == 0)
        n = snprintf(out, size, "%s%s", address, channel == CHANNEL_CONTROL ? ".ctl" : "");
    else if (strncmp(address, "tcp://", 6) == 0 && colon &&
             span_to_u64(span_str(colon + 1), &port) && port < 65535)
        n = snprintf(out, size, "%.*s:%u", (int)(colon - address), address,
                     (unsigned)port + (channel == CHANNEL_CONTROL ? 1 : 0));
    else
        return ERR_INVALID;
    return n > 0 && (size_t)n < size ? OK : ERR_INVALID;
}

/* A second bind on one ipc path succeeds and steals it (fact 4): hold a lock beside it. */
static enum err lock_ipc(struct bus *bus, const char *address)
{
    char path[300];
    if (strncmp(address, "ipc://", 6) != 0)
        return OK;
    (void)snprintf(path, sizeof path, "%s.lock", address + 6);
    bus->lock_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0640);
    if (bus->lock_fd < 0)
        return ERR_IO;
    return flock(bus->lock_fd, LOCK_EX | LOCK_NB) == 0 ? OK : ERR_EXISTS;
}

enum err bus_bind(struct bus *bus, const char *address)
{
    enum err e = lock_ipc(bus, address);
    mode_t mask = umask(0007);
    for (unsigned c = 0; !e && c < 2; c++) {
        char full[300];
        e = channel_address(address, (enum channel)c, full, sizeof full);
        if (e)
            break;
        struct wire *wire = open_wire(bus, ZMQ_ROUTER, (enum channel)c, NULL);
        if (!wire)
            e = ERR_NOMEM;
        else if (zmq_bind(wire->handle, full) != 0)
            e = errno == EADDRINUSE ? ERR_EXISTS : ERR_IO;
        else
            e = watch_wire(wire);
        bus->bound[c] = wire;
    }
    (void)umask(mask);
    if (e)
        log_error("bind_failed", LSTR("address", address), LSTR("why", err_name(e)));
    return e;
}

enum err bus_connect(struct bus *bus, const char *role, const char *address, struct bus_peer **out)
{
    struct bus_peer *link = calloc(1, sizeof *link);
    *out = NULL;
    if (!link)
        return ERR_NOMEM;
    link->bus = bus;
    link->connecting = true;
    copy_name(link->role, sizeof link->role, span_str(role));
    (void)snprintf(link->address, sizeof link->address, "%s", address);
    link->next = bus->links;
    bus->links = link;
    for (unsigned c = 0; c < 2; c++) {
        char full[300];
        enum err e = channel_address(address, (enum channel)c, full, sizeof full);
        struct wire *wire = e ? NULL : open_wire(bus, ZMQ_DEALER, (enum channel)c, link);
        link->wires[c] = wire;
        if (!e && (!wire || zmq_connect(wire->handle, full) != 0))
            e = ERR_INVALID;
        if (!e)
            e = watch_wire(wire);
        if (e) {
            log_error("connect_failed", LSTR("address", address), LSTR("why", err_name(e)));
            return e;
        }
    }
    *out = link;
    return OK;
}

/* ---- life ---- */

enum err bus_create(struct bus **out, struct loop *loop, const struct bus_spec *spec)
{
    *out = NULL;
    struct bus *bus = calloc(1, sizeof *bus);
    if (!bus)
        return ERR_NOMEM;
    /* czmq would take SIGTERM for itself */
    (void)zsys_init();
    zsys_handler_set(NULL);
    bus->loop = loop;
    bus->spec = *spec;
    bus->lock_fd = -1;
    copy_name(bus->name, sizeof bus->name, span_str(spec->name));
    bus->spec.name = bus->name;
    if (!bus->spec.peer_timeout_ms)
        bus->spec.peer_timeout_ms = PEER_TIMEOUT_MS;
    crypto_random(&bus->epoch, sizeof bus->epoch);
    bus->epoch |= 1; /* never 0 */
    (void)snprintf(bus->id, sizeof bus->id, "%s-%016llx", bus->name,
                   (unsigned long long)bus->epoch);
    bus->ticked_us = loop_now_us(loop);
    bus->flush_hook = (struct loop_hook){.fn = on_turn_end, .ctx = bus};
    loop_hook_turn_end(loop, &bus->flush_hook);
    loop_timer_start(loop, &bus->tick, 0, on_tick, bus);
    *out = bus;
    return OK;
}

static void say_goodbye(struct bus_peer *peer)
{
    struct drain drain = {0};
    if (!peer->up)
        return;
    enum err e = send_on(peer, CHANNEL_CONTROL, (struct header){.flags = HEADER_LAST},
                         MESSAGE_DRAIN, &drain);
    (void)e;
}

void bus_destroy(struct bus **pointer)
{
    struct bus *bus = *pointer;
    struct bus_peer *peer, *next;
    if (!bus)
        return;
    for (struct bus_peer *link = bus->links; link; link = link->next)
        say_goodbye(link);
    HASH_ITER(hh, bus->clients, peer, next)
    say_goodbye(peer);
    bus->spec.on_peer_down = NULL;
    bus_flush(bus);
    loop_timer_stop(bus->loop, &bus->tick);
    loop_timer_stop(bus->loop, &bus->retry);
    loop_timer_stop(bus->loop, &bus->soon);
    loop_hook_remove(bus->loop, &bus->flush_hook);
    while (bus->wires) {
        struct wire *wire = bus->wires;
        bus->wires = wire->next;
        loop_watch_remove(&wire->watch);
        zsock_set_linger(wire->zsock, GOODBYE_LINGER_MS);
        zsock_destroy(&wire->zsock);
        free(wire);
    }
    HASH_ITER(hh, bus->clients, peer, next)
    {
        HASH_DEL(bus->clients, peer);
        free_peer(peer);
    }
    while (bus->links) {
        peer = bus->links;
        bus->links = peer->next;
        free_peer(peer);
    }
    while (bus->dead) {
        peer = bus->dead;
        bus->dead = peer->next_dead;
        free_peer(peer);
    }
    if (bus->lock_fd >= 0)
        (void)close(bus->lock_fd);
    free(bus);
    *pointer = NULL;
}

/* ---- asking ---- */

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

uint64_t bus_peer_epoch(const struct bus_peer *peer)
{
    return peer->epoch;
}

uint32_t bus_peer_queued(const struct bus_peer *peer)
{
    return peer->queued;
}

const char *bus_peer_address(const struct bus_peer *peer)
{
    return peer->address;
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

uint64_t bus_dropped(const struct bus *bus)
{
    return bus->dropped;
}
