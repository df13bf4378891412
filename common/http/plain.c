/* A plain connection, without libmicrohttpd: HTTP/1.x over TCP, bodies with a Content-Length or
 * none. A head's bytes are looked at (MSG_PEEK) until it is complete, and taken only when the
 * request is one of these: a chunked upload goes to libmicrohttpd with its connection, its bytes
 * untouched, and never comes back. */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/http/internal.h"
#include "common/http/plain_parse.h"

enum {
    FIRST_LOOK_BYTES = 4 << 10, /* most requests whole; of a bigger body little is copied twice */
    FREE_LOOKS = 16,            /* at an incomplete head; each copies it once more … */
    LOOK_PAUSE_MS = 50,         /* … so later ones are rare, however it drips */
    BODY_PIECE_BYTES = 64 << 10,
    SMALL_PIECE_BYTES = 1 << 10, /* of a small body, when no more is there */
    READS_PER_TURN = 16,
};

static void flush(struct http_exchange *x);
static void read_held(struct http_exchange *x);

static const struct exchange_way way_plain = {.respond = direct_respond,
                                              .stream_begin = direct_stream_begin,
                                              .wake = exchange_mark,
                                              .read_body = read_held,
                                              .flush = flush,
                                              .takes_raw = true};

static bool has_unread(const struct http_conn *c)
{
    int bytes = 0;
    return c->readable && !c->gone && ioctl(c->fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

void plain_close(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct http_exchange *x = c->x;
    bool cut = x && x->state == X_CUT;
    int fd = c->fd;
    uint64_t drop_bytes = c->drop_bytes;
    bool linger = !cut && !s->stopping && (c->linger || has_unread(c));
    c->x = NULL;
    if (x)
        exchange_end(x, false);
    conn_free(c);
    if (linger)
        linger_start(s, fd, drop_bytes);
    else
        (void)close(fd);
}

/* ---- refusing ---- */

/* Views of the bytes that were looked at become views of the exchange's copy. */
static struct span moved(const struct http_exchange *x, struct span from, const char *base)
{
    return from.len ? span_of(x->text + (from.data - base), from.len) : SPAN_NONE;
}

static struct http_exchange *open_exchange(struct http_conn *c, const struct plain_head *head)
{
    const char *base = head->method.data;
    const struct span last = head->fields.len ? head->fields : head->target;
    struct span text = span_of(base, base ? (size_t)(last.data + last.len - base) : 0);
    struct http_exchange *x = exchange_create(c->server, c, &way_plain, text);
    if (!x)
        return NULL;
    x->framing = head->framing;
    x->method = moved(x, head->method, base);
    x->is_head = span_is(x->method, "HEAD");
    x->lines = moved(x, head->fields, base);
    if (head->target.len)
        exchange_set_target(x, moved(x, head->target, base));
    x->started_us = c->head_us;
    c->x = x;
    return x;
}

/* Of a body, whatever comes of it yet. */
static void refuse_rest(struct http_exchange *x, unsigned status, const char *reason)
{
    exchange_drop_body(x);
    x->body_left = 0;
    x->close_after = true;
    exchange_linger(x);
    refuse(x, status, reason);
}

/* A head that is not taken. */
static void refuse_head(struct http_conn *c, const struct plain_head *head, unsigned status,
                        const char *reason)
{
    struct http_exchange *x = open_exchange(c, head);
    if (x)
        refuse_rest(x, status, reason);
    else
        plain_close(c);
}

/* ---- reading ---- */

/* The request is complete. */
static void serve(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    request_call_handler(x);
    if (c->gone)
        exchange_gone(x);
}

/* Room for so much more of it; NULL, or why there is none. */
static const char *grow(struct http_exchange *x, size_t piece)
{
    return request_grow_body(x,
                             x->body_len + (x->body_left < piece ? (size_t)x->body_left : piece));
}

/* More of a body that did not come at once; when it was answered already, to be dropped. False when
 * c is gone. */
static bool read_body(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    bool wanted = x->state == X_READING;
    if (wanted && x->body_len == x->body_cap) {
        bool small = x->framing.length <= HTTP_SMALL_BODY_BYTES;
        size_t least = x->body_len > SMALL_PIECE_BYTES ? x->body_len : SMALL_PIECE_BYTES;
        const char *why = grow(x, small ? least : BODY_PIECE_BYTES);
        if (why) {
            refuse_rest(x, 503, why);
            return true;
        }
    }
    size_t room = wanted ? x->body_cap - x->body_len : http_look_bytes(c->server);
    if (room > x->body_left)
        room = (size_t)x->body_left;
    ssize_t n = recv(c->fd, wanted ? x->body + x->body_len : c->server->look, room, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        c->readable = false;
        return true;
    }
    if (n <= 0) {
        x->state = X_CUT;
        plain_close(c);
        return false;
    }
    conn_body_came(c, (size_t)n);
    c->server->turn_bytes += (size_t)n;
    x->body_left -= (size_t)n;
    if (wanted)
        x->body_len += (size_t)n;
    if ((size_t)n < room)
        c->readable = c->gone;
    if (x->body_left)
        return true;
    if (wanted)
        serve(c);
    else
        exchange_mark(x); /* only this was awaited */
    return true;
}

/* False when c is gone. Senders that are as fast as we are must not hold the turn, be it one or
 * many. */
static bool read_rest(struct http_conn *c)
{
    for (int i = 0; c->readable && c->x && c->x->body_left && !c->x->held && c->x->state != X_CUT;
         i++) {
        if (i == READS_PER_TURN || c->server->turn_bytes >= HTTP_TURN_BYTES) {
            exchange_mark(c->x); /* flush goes on */
            return true;
        }
        if (!read_body(c))
            return false;
    }
    return true;
}

/* Takes the head's bytes, and of the body what is there and has room. `seen` bytes were looked at,
 * and were all there were when `drained`. */
static void take(struct http_conn *c, size_t head_bytes, size_t seen, bool drained)
{
    struct http_exchange *x = c->x;
    const size_t room = x->body_cap;
    struct iovec to[] = {{c->server->look, head_bytes}, {x->body, room}};
    struct msghdr message = {.msg_iov = to, .msg_iovlen = room ? 2 : 1};
    ssize_t n;
    do
        n = recvmsg(c->fd, &message, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 || (size_t)n < head_bytes) {
        exchange_cut(x);
        return;
    }
    x->body_len = (size_t)n - head_bytes;
    x->body_left -= x->body_left ? x->body_len : 0;
    bool emptied = (size_t)n < head_bytes + room || (drained && (size_t)n == seen);
    c->readable = c->gone || !emptied;
}

static void await_body(struct http_exchange *x)
{
    request_await_body(x);
    if (x->awaits_continue && !x->body_len && x->state == X_READING)
        direct_continue(x);
    x->awaits_continue = false;
}

/* A sound head of our own kind. */
static void begin(struct http_conn *c, const struct plain_head *head, size_t seen, bool drained)
{
    struct http_exchange *x = open_exchange(c, head);
    if (!x) {
        plain_close(c);
        return;
    }
    x->body_left = x->framing.length;
    x->awaits_continue = x->framing.expects_continue && x->framing.http11;
    c->head_us = 0;
    c->scanned = c->looks = 0;
    request_take_head(x, false);
    if (x->state == X_READING && x->body_left && !x->held) {
        size_t there = seen - head->bytes;
        size_t least = there > SMALL_PIECE_BYTES ? there : SMALL_PIECE_BYTES;
        bool small = x->framing.length <= HTTP_SMALL_BODY_BYTES;
        const char *why = grow(x, small && drained ? least : BODY_PIECE_BYTES);
        if (why)
            refuse_rest(x, 503, why);
    }
    take(c, head->bytes, seen, drained);
    if (x->held) {
        conn_phase(c, CONN_WORK);
    } else if (x->state == X_READING && !x->body_left) {
        serve(c);
    } else if (x->body_left) {
        await_body(x);
        (void)read_rest(c);
    }
}

static void read_held(struct http_exchange *x)
{
    await_body(x);
    exchange_mark(x); /* flush reads */
}

static ssize_t peek(struct http_conn *c, size_t room)
{
    ssize_t n;
    do
        n = recv(c->fd, c->server->look, room, MSG_PEEK | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n;
}

static enum plain_verdict look(struct http_conn *c, struct plain_head *head, size_t *seen,
                               bool *drained)
{
    const struct http_server *s = c->server;
    size_t most = http_look_bytes(s);
    size_t room =
        FIRST_LOOK_BYTES < most && c->scanned < FIRST_LOOK_BYTES ? FIRST_LOOK_BYTES : most;
    for (;; room = most) {
        ssize_t n = peek(c, room);
        if (n <= 0) {
            *seen = 0;
            *drained = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
            return PLAIN_MORE;
        }
        *seen = (size_t)n;
        *drained = *seen < room;
        enum plain_verdict v = plain_parse(span_of(s->look, *seen),
                                           (size_t)s->config.max_header_bytes, &c->scanned, head);
        if (v != PLAIN_MORE || *drained || room == most)
            return v;
    }
}

/* No whole head yet: `seen` bytes of it, and no more for now unless the connection has ended. */
static void wait_for_head(struct http_conn *c, size_t seen, bool drained)
{
    if (!drained || c->gone) {
        plain_close(c);
        return;
    }
    c->readable = false;
    if (!seen)
        return;
    c->looks++;
    if (!c->head_us)
        c->head_us = loop_now_us(c->server->loop);
    if (c->phase != CONN_HEAD)
        conn_phase(c, CONN_HEAD);
}

static void read_head(struct http_conn *c)
{
    struct plain_head head;
    size_t seen;
    bool drained;
    enum plain_verdict v = look(c, &head, &seen, &drained);
    if (v != PLAIN_MORE && !c->head_us)
        c->head_us = loop_now_us(c->server->loop);
    switch (v) {
    case PLAIN_MORE:
        wait_for_head(c, seen, drained);
        return;
    case PLAIN_FAULTY:
        c->server->stats.refused_framing++;
        refuse_head(c, &head, 400, head.framing.fault);
        return;
    case PLAIN_TOO_BIG:
        refuse_head(c, &head, 431, "The request headers are too large.");
        return;
    case PLAIN_SOUND:
        loop_timer_stop(c->server->loop, &c->look_timer);
        if (head.framing.chunked)
            shard_take(c);
        else
            begin(c, &head, seen, drained);
        return;
    }
}

/* Whatever has come and is to be read now. c may be gone when this returns. */
static void proceed(struct http_conn *c)
{
    if (read_rest(c) && c->readable && !c->x)
        read_head(c);
}

static void on_look_timer(void *ctx)
{
    proceed(ctx);
}

/* ---- answering ---- */

static void finish(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    bool over = x->close_after;
    c->x = NULL;
    exchange_end(x, true);
    if (over) {
        plain_close(c);
        return;
    }
    conn_phase(c, CONN_IDLE);
    proceed(c);
}

static void flush(struct http_exchange *x)
{
    struct http_conn *c = x->conn;
    if (x->state != X_CUT && !direct_send(x)) {
        c->gone = true;
        exchange_gone(x);
        x->state = X_CUT;
    }
    if (x->state == X_CUT) {
        plain_close(c);
        return;
    }
    bool all = !answer_pending(x);
    if (x->ended && all && !x->body_left) {
        finish(c);
        return;
    }
    if (all && c->phase == CONN_SEND)
        conn_phase(c, x->body_left ? CONN_BODY : CONN_WORK);
    else if (!all && c->phase != CONN_SEND)
        conn_phase(c, CONN_SEND);
    if (x->state == X_STREAM)
        stream_report_room(x);
    (void)read_rest(c);
}

/* ---- events and deadlines ---- */

static void on_event(struct http_conn *c, uint32_t events)
{
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        c->gone = true;
        if (c->x)
            exchange_gone(c->x);
    }
    if ((events & EPOLLOUT) && c->x && answer_pending(c->x))
        exchange_mark(c->x);
    if (c->gone || (events & EPOLLIN))
        c->readable = true;
    if (c->x || c->looks < FREE_LOOKS || c->gone)
        proceed(c);
    else if (!loop_timer_running(&c->look_timer))
        loop_timer_start(c->server->loop, &c->look_timer, LOOK_PAUSE_MS, on_look_timer, c);
}

static void head_is_late(struct http_conn *c)
{
    struct plain_head head;
    size_t scanned = 0;
    ssize_t n = peek(c, http_look_bytes(c->server));
    if (n <= 0) { /* nothing has come */
        plain_close(c);
        return;
    }
    /* who asks, as far as it is known */
    (void)!plain_parse(span_of(c->server->look, (size_t)n), 0, &scanned, &head);
    refuse_head(c, &head, 408, "The request headers took too long to arrive.");
}

static void on_deadline(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    switch (c->phase) {
    case CONN_HEAD:
        if (!x)
            head_is_late(c);
        return;
    case CONN_BODY:
        if (x && x->state == X_READING)
            refuse_rest(x, 408, "The request body took too long to arrive.");
        else
            plain_close(c);
        return;
    case CONN_SEND:
        log_debug("http_slow_reader", LSTR("client", c->address));
        c->gone = true;
        if (x) {
            exchange_gone(x);
            x->state = X_CUT;
        }
        plain_close(c);
        return;
    case CONN_IDLE:
        plain_close(c);
        return;
    case CONN_WORK:
    case CONN_LINGER:
        return;
    }
}

const struct conn_watcher plain_watcher = {
    .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP, .on_event = on_event, .on_deadline = on_deadline};
