#include "common/fetch/exchange.h"

#include <stdlib.h>

#include "common/base/crypto.h"
#include "common/fetch/pool.h"
#include "common/fetch/request_head.h"
#include "common/fetch/sockets.h"
#include "common/fetch/transfer.h"

enum {
    COPIED_BODY_BYTES = 16384, /* under TLS: one record with the head */
    KEPT_OUT_BYTES = 4096,     /* an idle connection keeps no more */
    PUSH_BYTES = 1 << 20,
    READS_PER_TURN = 8
};

enum step {
    STEP_GOING,
    STEP_OVER,    /* the response is whole */
    STEP_BROKEN,  /* or will never be */
    STEP_REFUSED, /* by us: verdict set */
    STEP_GONE     /* cancelled: taken out later */
};

/* Of STEP_BROKEN. */
struct breakage {
    CURLcode code;
    const char *detail;
};

static const struct fetch_facts no_facts = {0};

static void start(struct fetch_transfer *r);
static void conclude(struct fetch_connection *c, enum step step, struct breakage why);

bool exchange_suits(const struct fetch_spec *spec)
{
    const struct fetch_origin *o = spec->origin;
    struct request_target target;
    if (!request_target_of(spec, &target))
        return false;
    bool https = span_starts(target.authority, "https:");
    return https ? !o->http2 : !o->proxy;
}

static bool has_body(const struct fetch_spec *spec)
{
    return strcmp(spec->method, "POST") == 0;
}

static struct span body_of(const struct fetch_spec *spec)
{
    return has_body(spec) ? spec->body : SPAN_NONE;
}

static void detach(struct fetch_connection *c)
{
    if (c->r)
        c->r->connection = NULL;
    c->r = NULL;
}

/* ---- sending ---- */

static bool all_sent(const struct fetch_connection *c)
{
    return c->out_sent == c->out.len && c->body_sent == body_of(&c->r->spec).len;
}

/* What the connection is to hear of. */
static void want(struct fetch_connection *c, bool blocked)
{
    uint32_t events = c->r->paused ? 0 : (uint32_t)EPOLLIN;
    if (blocked)
        events |= EPOLLOUT;
    if (connection_want(c, events) != OK)
        transfer_fail_soon(
            c->r, fetch_failure_of(CURLE_OUT_OF_MEMORY, c->r->sent, c->r->headed, no_facts));
}

/* It held the key, and may be larger than an idle connection should be. A stream may be open for
 * minutes, and sends nothing more. */
static void trim_out(struct fetch_connection *c, bool wholly)
{
    if (c->out.data && (wholly || c->out.cap > KEPT_OUT_BYTES)) {
        crypto_wipe(c->out.data, c->out.cap);
        buf_free(&c->out);
    }
    buf_clear(&c->out);
    c->out_sent = 0;
}

static void note_sent(struct fetch_connection *c, size_t n)
{
    size_t of_out = c->out.len - c->out_sent;
    c->r->sent = true;
    c->out_sent += n < of_out ? n : of_out;
    c->body_sent += n < of_out ? 0 : n - of_out;
}

/* Sends until it would block, or it is another one's turn. A failure is told by reading: an answer
 * may have come before it. */
static void push(struct fetch_connection *c)
{
    struct fetch_transfer *r = c->r;
    bool blocked = false;
    size_t pushed = 0;
    while (!c->broken && !blocked && !all_sent(c)) {
        size_t n = 0;
        switch (connection_send(c, span_skip(buf_span(&c->out), c->out_sent),
                                span_skip(body_of(&r->spec), c->body_sent), &n)) {
        case CONNECTION_DONE:
            note_sent(c, n);
            pushed += n;
            blocked = pushed >= PUSH_BYTES && !all_sent(c);
            break;
        case CONNECTION_AGAIN:
            blocked = true;
            break;
        case CONNECTION_ENDED:
        case CONNECTION_BROKEN:
            c->broken = true;
            break;
        }
    }
    if (!c->broken && !blocked)
        trim_out(c, r->spec.accept_stream);
    want(c, blocked);
}

static enum err write_request(struct fetch_connection *c)
{
    const struct fetch_spec *spec = &c->r->spec;
    struct request_target target;
    bool goes = request_target_of(spec, &target);
    buf_clear(&c->out);
    c->out_sent = c->body_sent = 0;
    if (goes)
        request_head_write(&c->out, spec, &target);
    if (c->tls && body_of(spec).len <= COPIED_BODY_BYTES) {
        buf_append(&c->out, body_of(spec));
        c->body_sent = body_of(spec).len;
    }
    return goes && buf_check(&c->out) == OK ? OK : ERR_NOMEM;
}

/* Puts its request onto a connection. */
static void begin(struct fetch_connection *c)
{
    struct fetch_transfer *r = c->r;
    c->state = CONNECTION_BUSY;
    c->broken = false;
    fetch_response_begin(&c->response, strcmp(r->spec.method, "HEAD") == 0);
    if (write_request(c) != OK) {
        transfer_fail_soon(r, fetch_failure_of(CURLE_OUT_OF_MEMORY, false, false, no_facts));
        return;
    }
    push(c);
    if (c->broken && !r->sent)
        conclude(c, STEP_BROKEN, (struct breakage){CURLE_SEND_ERROR, "nothing could be sent"});
}

/* ---- receiving ---- */

static struct span get_field(const void *ctx, const char *name)
{
    return fetch_head_get(ctx, name);
}

static bool take_head(struct fetch_connection *c)
{
    const struct fetch_head *head = &c->up->head;
    struct upstream_headers headers = {get_field, head};
    bool taken = transfer_take_head(c->r, head->status, &headers);
    fetch_response_drop_head(&c->response);
    return taken;
}

static enum step refused(const struct fetch_transfer *r)
{
    return r->state == FETCH_RUNNING ? STEP_REFUSED : STEP_GONE;
}

/* Gives the handler what one read brought. The head is told with the first byte of the body or the
 * end: until then there is no answer. */
static enum step feed(struct fetch_connection *c, struct span in, struct breakage *why)
{
    struct fetch_transfer *r = c->r;
    struct fetch_head *head = &c->up->head;
    bool fresh = false; /* *head is this response's */
    for (;;) {
        struct span body = SPAN_NONE;
        enum response_event event = fetch_response_next(&c->response, &in, head, &body);
        bool bears = event == RESPONSE_BODY || event == RESPONSE_END;
        if (bears && !r->headed) {
            if (!fresh)
                fetch_response_kept_head(&c->response, head);
            if (!take_head(c))
                return refused(r);
        }
        switch (event) {
        case RESPONSE_HEAD:
            fresh = true;
            break;
        case RESPONSE_BODY:
            if (!transfer_take_bytes(r, body))
                return refused(r);
            break;
        case RESPONSE_MORE:
            if (!fresh || r->headed || fetch_response_keep_head(&c->response, head) == OK)
                return STEP_GOING;
            *why = (struct breakage){CURLE_OUT_OF_MEMORY, "no memory for the head"};
            return STEP_BROKEN;
        case RESPONSE_END:
            c->response.closes = c->response.closes || in.len; /* bytes nobody asked for */
            return STEP_OVER;
        case RESPONSE_FAULT:
            *why = (struct breakage){CURLE_WEIRD_SERVER_REPLY, c->response.fault};
            return STEP_BROKEN;
        }
    }
}

/* The connection is at its end. */
static enum step end_input(struct fetch_connection *c, enum connection_io io, struct breakage *why)
{
    struct fetch_transfer *r = c->r;
    *why = (struct breakage){io == CONNECTION_BROKEN ? CURLE_RECV_ERROR
                             : c->response.started   ? CURLE_PARTIAL_FILE
                                                     : CURLE_GOT_NOTHING,
                             "the connection ended"};
    if (io == CONNECTION_BROKEN || !fetch_response_may_end(&c->response))
        return STEP_BROKEN;
    if (r->headed)
        return STEP_OVER;
    fetch_response_kept_head(&c->response, &c->up->head);
    return take_head(c) ? STEP_OVER : refused(r);
}

static void on_again(void *ctx)
{
    struct fetch_connection *c = ctx;
    c->owner.on_ready(&c->owner, c->fd, EPOLLIN);
}

/* Reads until it would block, or the others have waited long enough. */
static enum step pull(struct fetch_connection *c, struct breakage *why)
{
    struct fetch_transfer *r = c->r;
    size_t size = r->spec.accept_stream ? STREAM_RECEIVE_BYTES : RECEIVE_BYTES;
    for (int reads = 0; reads < READS_PER_TURN; reads++) {
        size_t got = 0;
        if (r->paused) {
            want(c, !c->broken && !all_sent(c));
            return STEP_GOING;
        }
        enum connection_io io = connection_receive(c, c->up->received, size, &got);
        if (io == CONNECTION_AGAIN)
            return STEP_GOING;
        if (io != CONNECTION_DONE)
            return end_input(c, io, why);
        enum step step = feed(c, span_of(c->up->received, got), why);
        if (step != STEP_GOING || (!c->tls && got < size))
            return step;
    }
    if (c->tls) /* what is decrypted already raises no event */
        loop_timer_start(c->up->loop, &c->again, 0, on_again, c);
    return STEP_GOING;
}

/* ---- the end ---- */

static void finish(struct fetch_connection *c)
{
    struct fetch_transfer *r = c->r;
    bool keeps = !c->response.closes && !c->broken && all_sent(c);
    detach(c);
    if (keeps) {
        trim_out(c, false);
        pool_put(c);
    } else {
        pool_close(&c);
    }
    transfer_done(r);
}

/* A pooled connection that was dead all along. */
static bool may_move(const struct fetch_connection *c, const struct fetch_transfer *r)
{
    bool repeatable = strcmp(r->spec.method, "GET") == 0;
    return c->reused && !c->response.started && !r->repeated && (!r->sent || repeatable);
}

static void break_off(struct fetch_connection *c, struct breakage why)
{
    struct fetch_transfer *r = c->r;
    bool moves = may_move(c, r);
    struct fetch_failure failure = fetch_failure_of(why.code, r->sent, r->headed, no_facts);
    detach(c);
    if (c->reused && !c->response.started)
        pool_close_idle_of(c->site);
    pool_close(&c);
    if (moves) {
        r->repeated = true;
        start(r);
    } else {
        transfer_fail(r, failure, why.detail);
    }
}

static void conclude(struct fetch_connection *c, enum step step, struct breakage why)
{
    struct fetch_transfer *r = c->r;
    switch (step) {
    case STEP_GOING:
    case STEP_GONE:
        break;
    case STEP_OVER:
        finish(c);
        break;
    case STEP_BROKEN:
        break_off(c, why);
        break;
    case STEP_REFUSED:
        transfer_fail(r, transfer_verdict(r), NULL);
        break;
    }
}

static void on_ready(struct socket_owner *owner, int fd, uint32_t events)
{
    struct fetch_connection *c = (struct fetch_connection *)(void *)owner;
    struct fetch *up = c->up;
    struct breakage why = {CURLE_OK, NULL};
    enum step step = STEP_GOING;
    (void)fd;
    if (c->state == CONNECTION_IDLE) {
        pool_on_event(c);
        return;
    }
    if (c->r->state != FETCH_RUNNING || c->r->verdict != ERROR_NONE)
        return;   /* ends soon */
    up->inside++; /* so that a cancel by a handler waits */
    if (events & EPOLLOUT)
        push(c);
    if (events & (EPOLLIN | EPOLLERR))
        step = pull(c, &why);
    up->inside--;
    conclude(c, step, why);
    transfer_finish_deferred(up);
}

/* ---- the engine ---- */

static void on_connected(struct fetch_connection *c, CURLcode code, struct fetch_facts facts)
{
    struct fetch_transfer *r = c->r;
    if (code == CURLE_OK) {
        c->owner.on_ready = on_ready;
        begin(c);
        return;
    }
    struct fetch_failure failure = fetch_failure_of(code, false, false, facts);
    if (c->refused)
        failure = (struct fetch_failure){ERROR_UPSTREAM_UNREACHABLE, SOCKETS_REFUSED,
                                         REASON_PRIVATE_ADDRESS, 0};
    char *detail = c->error; /* outlives the connection */
    c->error = NULL;
    transfer_fail(r, failure, detail);
    free(detail);
}

static void connect_afresh(struct fetch_transfer *r, struct span authority)
{
    struct fetch_connection *c = NULL;
    enum err err = connection_open(r, authority, on_connected, &c);
    if (err == OK && pool_enter(c, authority, r->spec.origin) != OK) {
        pool_close(&c);
        err = ERR_NOMEM;
    }
    r->connection = c;
    if (err != OK)
        transfer_fail_soon(r, fetch_failure_of(CURLE_OUT_OF_MEMORY, false, false, no_facts));
}

static void start(struct fetch_transfer *r)
{
    struct request_target target;
    if (!request_target_of(&r->spec, &target))
        return; /* exchange_suits has asked */
    struct fetch_connection *c =
        r->repeated ? NULL : pool_take(r->up, target.authority, r->spec.origin);
    if (!c) {
        connect_afresh(r, target.authority);
        return;
    }
    c->r = r;
    r->connection = c;
    begin(c);
}

static void leave(struct fetch_transfer *r)
{
    struct fetch_connection *c = r->connection;
    if (!c)
        return;
    detach(c);
    pool_close(&c);
}

static void resume(struct fetch_transfer *r)
{
    struct fetch_connection *c = r->connection;
    if (!c || c->state != CONNECTION_BUSY)
        return;
    want(c, !c->broken && !all_sent(c));
    if (c->tls) /* what is decrypted already raises no event */
        on_ready(&c->owner, c->fd, EPOLLIN);
}

static bool sent(const struct fetch_transfer *r)
{
    return r->sent;
}

const struct fetch_engine fetch_engine_exchange = {start, leave, resume, sent};
