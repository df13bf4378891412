/* Who gets past the handshake of our binding: ZeroMQ asks here (ZAP, rfc.zeromq.org/spec/27) about
 * every key it is shown, and tells of those that have shown none. Answers come from the loop; no
 * thread of its own. */
#include "common/runtime/bus/bus_internal.h"

#include <stdio.h>

#include "common/base/log.h"

enum {
    ZAP_ID_BYTES = 256,
    ZAP_ADDRESS_BYTES = 64,
    EVENT_BYTES = 6,
    FAILED_EVENTS = ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
};

/* Frames of a request, in order. */
enum zap_frame {
    ZAP_VERSION,
    ZAP_ID,
    ZAP_DOMAIN_NAME,
    ZAP_ADDRESS,
    ZAP_IDENTITY,
    ZAP_MECHANISM,
    ZAP_CREDENTIALS,
    ZAP_FRAMES
};

struct zap_request {
    char id[ZAP_ID_BYTES];
    size_t id_len;
    char address[ZAP_ADDRESS_BYTES];
    bool curve;
    char key[KEY_TEXT]; /* "" = none came */
};

static void take_frame(struct zap_request *r, unsigned frame, struct span bytes)
{
    switch (frame) {
    case ZAP_ID:
        r->id_len = bytes.len < sizeof r->id ? bytes.len : sizeof r->id;
        memcpy(r->id, bytes.data, r->id_len);
        break;
    case ZAP_ADDRESS:
        bus_copy_name(r->address, sizeof r->address, bytes);
        break;
    case ZAP_MECHANISM:
        r->curve = span_is(bytes, "CURVE");
        break;
    case ZAP_CREDENTIALS:
        if (bytes.len == KEY_BINARY)
            (void)zmq_z85_encode(r->key, (const uint8_t *)bytes.data, KEY_BINARY);
        break;
    default:
        break;
    }
}

/* false when there is none. */
static bool receive(void *socket, struct zap_request *r)
{
    bool more = true;
    *r = (struct zap_request){0};
    for (unsigned frame = 0; more; frame++) {
        zmq_msg_t msg;
        (void)zmq_msg_init(&msg);
        bool got = zmq_msg_recv(&msg, socket, ZMQ_DONTWAIT) >= 0;
        if (got)
            take_frame(r, frame, span_of(zmq_msg_data(&msg), zmq_msg_size(&msg)));
        more = got && zmq_msg_more(&msg);
        (void)zmq_msg_close(&msg);
        if (!got)
            return false;
    }
    return true;
}

static bool send_frame(void *socket, struct span bytes, bool more)
{
    return zmq_send(socket, bytes.data ? bytes.data : "", bytes.len,
                    ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0)) >= 0;
}

static void answer(void *socket, const struct zap_request *r, bool known)
{
    const struct span frames[] = {SPAN("1.0"),
                                  span_of(r->id, r->id_len),
                                  known ? SPAN("200") : SPAN("400"),
                                  known ? SPAN("OK") : SPAN("This key is not listed."),
                                  known ? span_str(r->key) : SPAN_NONE, /* the user's id */
                                  SPAN_NONE};
    enum { FRAMES = sizeof frames / sizeof frames[0] };
    for (unsigned i = 0; i < FRAMES; i++)
        if (!send_frame(socket, frames[i], i + 1 < FRAMES))
            return; /* whoever waits for it gives up by itself */
}

static void on_zap(void *ctx, uint32_t events)
{
    struct bus *bus = ctx;
    struct zap_request r;
    (void)events;
    while (receive(bus->zap, &r)) {
        bool known = r.curve && r.key[0] && key_list_find(&bus->spec.keys->list, span_str(r.key));
        if (!known && bus_note_refusal(bus, BUS_REFUSED_KEY))
            log_warn("peer_refused", LSTR("from", r.address), LSTR("key", r.key),
                     LSTR("why", "its key is not listed"),
                     LU64("refused", bus->refused[BUS_REFUSED_KEY]));
        answer(bus->zap, &r, known);
    }
}

/* ---- those who never got as far as a key ---- */

static void on_event(struct bus *bus, unsigned event)
{
    if (event & FAILED_EVENTS && bus_note_refusal(bus, BUS_REFUSED_STRANGER))
        log_warn("stranger_refused", LSTR("address", bus->address),
                 LSTR("why", "it does not speak CURVE with our key"),
                 LU64("refused", bus->refused[BUS_REFUSED_STRANGER]));
}

static void on_monitor(void *ctx, uint32_t events)
{
    struct bus *bus = ctx;
    bool first = true;
    (void)events;
    for (;;) {
        zmq_msg_t msg;
        uint16_t event = 0;
        (void)zmq_msg_init(&msg);
        bool got = zmq_msg_recv(&msg, bus->monitor, ZMQ_DONTWAIT) >= 0;
        bool more = got && zmq_msg_more(&msg);
        if (got && first && zmq_msg_size(&msg) == EVENT_BYTES)
            memcpy(&event, zmq_msg_data(&msg), sizeof event);
        (void)zmq_msg_close(&msg);
        if (!got)
            return;
        on_event(bus, event);
        first = !more;
    }
}

/* ---- life ---- */

static void *open_socket(struct bus *bus, int type)
{
    void *handle = zmq_socket(bus->context, type);
    if (handle) {
        (void)bus_set_int(handle, ZMQ_LINGER, 0);
        (void)bus_set_int(handle, ZMQ_RCVHWM, 0); /* ZeroMQ's thread must never wait for us */
    }
    return handle;
}

/* Its descriptor tells nothing before it has been read empty once. */
static enum err watch(struct bus *bus, void *handle, loop_fd_fn fn, struct loop_watch **out)
{
    enum err e = loop_watch_add(bus->loop, bus_fd_of(handle), EPOLLIN, fn, bus, out);
    fn(bus, 0);
    return e;
}

enum err bus_open_guard(struct bus *bus)
{
    if (!bus->spec.keys)
        return OK;
    bus->zap = open_socket(bus, ZMQ_REP);
    if (!bus->zap || zmq_bind(bus->zap, "inproc://zeromq.zap.01") != 0)
        return ERR_IO;
    return watch(bus, bus->zap, on_zap, &bus->zap_watch);
}

enum err bus_watch_strangers(struct bus *bus)
{
    static const char address[] = "inproc://strangers";
    if (!bus->spec.keys)
        return OK;
    bus->monitor = open_socket(bus, ZMQ_PAIR);
    if (!bus->monitor || zmq_socket_monitor(bus->bound->handle, address, FAILED_EVENTS) != 0 ||
        zmq_connect(bus->monitor, address) != 0)
        return ERR_IO;
    return watch(bus, bus->monitor, on_monitor, &bus->monitor_watch);
}

void bus_close_guard(struct bus *bus)
{
    loop_watch_remove(&bus->zap_watch);
    loop_watch_remove(&bus->monitor_watch);
    if (bus->zap)
        (void)zmq_close(bus->zap);
    if (bus->monitor)
        (void)zmq_close(bus->monitor);
    bus->zap = bus->monitor = NULL;
}
