#include <stdlib.h>

#include "services/simulator/sim.h"

enum { PENDING_MAX = 256 << 10, FLUSH_CHECK_MS = 5, RESET_AFTER_MS = 20 };

/* An answer on its way. Lives from play to on_done. */
struct play {
    struct sim *sim;
    struct http_exchange *x;
    struct reply reply; /* owned */
    struct sim_fault fault;
    struct usage_note note;
    struct loop_timer timer;
    uint32_t next_mark;
    size_t at;   /* bytes of the body written */
    size_t stop; /* nothing beyond this byte */
    uint64_t flood_left;
    bool raw; /* written past the HTTP server's own framing, so as to break it */
    bool begun, paced_out, finished, booked;
};

/* ---- heads ---- */

static void add_headers(const struct sim *sim, struct http_exchange *x, const struct reply *r)
{
    (void)sim;
    http_add_header(x, "Content-Type", span_str(r->content_type));
    http_add_header(x, "X-Simulated", SPAN("true"));
    struct span rest = buf_span(&r->headers);
    while (rest.len) {
        struct span name = span_cut(&rest, '\0');
        struct span value = span_cut(&rest, '\0');
        http_add_header(x, name.data, value);
    }
}

/* The same, written out: for answers that break off. */
static void write_raw_head(struct play *p)
{
    const struct reply *r = &p->reply;
    struct buf out = {0};
    buf_printf(&out, "HTTP/1.1 %u Simulated\r\nContent-Type: %s\r\nX-Simulated: true\r\n",
               r->status, r->content_type);
    struct span rest = buf_span(&r->headers);
    while (rest.len) {
        struct span name = span_cut(&rest, '\0');
        struct span value = span_cut(&rest, '\0');
        buf_printf(&out, "%.*s: %.*s\r\n", SPAN_ARG(name), SPAN_ARG(value));
    }
    if (r->streamed)
        buf_append_str(&out, "Transfer-Encoding: chunked\r\n\r\n");
    else
        buf_printf(&out, "Content-Length: %zu\r\n\r\n", r->body.len);
    (void)!http_stream_write(p->x, buf_span(&out));
    buf_free(&out);
}

/* ---- bodies ---- */

static enum err write_piece(struct play *p, struct span bytes)
{
    if (!p->raw || !p->reply.streamed)
        return http_stream_write(p->x, bytes);
    struct buf out = {0};
    buf_printf(&out, "%zx\r\n", bytes.len);
    buf_append(&out, bytes);
    buf_append_str(&out, "\r\n");
    enum err e = http_stream_write(p->x, buf_span(&out));
    buf_free(&out);
    return e;
}

static void on_tick(void *ctx);

static void wait_ms(struct play *p, uint32_t ms)
{
    loop_timer_start(p->sim->loop, &p->timer, ms, on_tick, p);
}

static void reset_now(void *ctx)
{
    struct play *p = ctx;
    http_reset(p->x);
}

static void finish(struct play *p)
{
    p->finished = true;
    if (p->stop < p->reply.body.len) {
        if (p->fault.stall_at >= 0 && p->stop == (size_t)p->fault.stall_at)
            return; /* until the client leaves */
        if (p->fault.reset_at >= 0 && p->stop == (size_t)p->fault.reset_at) {
            /* what was written should get there first */
            loop_timer_start(p->sim->loop, &p->timer, RESET_AFTER_MS, reset_now, p);
            return;
        }
        http_stream_end(p->x);
        return;
    }
    if (!p->booked)
        stats_book(p->sim->stats, &p->note);
    p->booked = true;
    if (p->raw && p->reply.streamed)
        (void)!http_stream_write(p->x, SPAN("0\r\n\r\n"));
    http_stream_end(p->x);
}

static void flood(struct play *p)
{
    static char filler[16 << 10];
    if (!filler[0])
        memset(filler, 'x', sizeof filler);
    while (p->flood_left && http_stream_pending(p->x) < PENDING_MAX) {
        size_t n = p->flood_left < sizeof filler ? (size_t)p->flood_left : sizeof filler;
        if (write_piece(p, span_of(filler, n)))
            return;
        p->flood_left -= n;
    }
    if (!p->flood_left)
        finish(p);
}

/* Where the next piece ends. */
static size_t next_end(struct play *p)
{
    if (p->fault.drip_ms)
        return p->at + 1;
    if (!p->reply.streamed || !p->fault.pace_ms) {
        size_t block = p->at + PENDING_MAX;
        return block < p->reply.body.len ? block : p->reply.body.len;
    }
    while (p->next_mark < p->reply.mark_count && p->reply.marks[p->next_mark] <= p->at)
        p->next_mark++;
    return p->next_mark < p->reply.mark_count ? p->reply.marks[p->next_mark] : p->reply.body.len;
}

static void pump(struct play *p)
{
    uint32_t pace = p->fault.drip_ms ? p->fault.drip_ms : p->reply.streamed ? p->fault.pace_ms : 0;
    if (p->finished)
        return;
    if (p->fault.flood) {
        flood(p);
        return;
    }
    while (p->at < p->stop) {
        if (http_stream_pending(p->x) >= PENDING_MAX)
            return; /* on_drain goes on */
        size_t end = next_end(p);
        if (end > p->stop)
            end = p->stop;
        if (write_piece(p, span_of(p->reply.body.data + p->at, end - p->at)))
            return;
        p->at = end;
        if (pace && p->at < p->stop) {
            wait_ms(p, pace);
            return;
        }
    }
    finish(p);
}

static void begin(struct play *p)
{
    const struct sim_fault *f = &p->fault;
    p->begun = true;
    if (f->stall_head)
        return;
    if (f->reset_head) {
        http_reset(p->x);
        return;
    }
    if (f->close_head) {
        http_abort(p->x);
        return;
    }
    if (!p->reply.streamed && !p->raw && !f->drip_ms && !f->flood) {
        add_headers(p->sim, p->x, &p->reply);
        stats_book(p->sim->stats, &p->note);
        p->booked = p->finished = true;
        http_respond(p->x, p->reply.status, buf_span(&p->reply.body));
        return;
    }
    if (p->raw && http_raw_begin(p->x)) {
        write_raw_head(p);
    } else {
        p->raw = false;
        add_headers(p->sim, p->x, &p->reply);
        http_stream_begin(p->x, p->reply.status);
    }
    if (f->ttft_ms)
        wait_ms(p, f->ttft_ms);
    else
        pump(p);
}

static void on_tick(void *ctx)
{
    struct play *p = ctx;
    if (!p->begun)
        begin(p);
    else
        pump(p);
}

/* ---- choosing ---- */

static size_t least(size_t a, int64_t b)
{
    return b >= 0 && (size_t)b < a ? (size_t)b : a;
}

static bool is_plain(const struct ask *ask, uint32_t delay_ms)
{
    const struct sim_fault *f = &ask->fault;
    return !ask->reply->streamed && !delay_ms && !f->drip_ms && !f->flood && !f->stall_head &&
           !f->reset_head && !f->close_head && f->cut_at < 0 && f->stall_at < 0 && f->reset_at < 0;
}

static void send_script(struct ask *ask, struct span bytes)
{
    if (!http_raw_begin(ask->x))
        return;
    (void)!http_stream_write(ask->x, bytes);
    http_stream_end(ask->x);
}

static void make_garbage(struct reply *r)
{
    buf_clear(&r->body);
    buf_append_str(&r->body, r->streamed ? "data: {\"choi\n\ndata: \xff\xfe<html>\n\n"
                                         : "<html><body>simulated garbage</body></html>");
    r->mark_count = 0;
    r->status = 200;
    r->reports_usage = false;
}

void play(struct ask *ask)
{
    struct sim *sim = ask->sim;
    struct sim_fault *f = &ask->fault;
    struct reply *r = ask->reply;
    if (f->script[0]) {
        struct span bytes = scripts_raw(sim->scripts, f->script);
        (void)stats_note(sim->stats, ask);
        if (bytes.data)
            send_script(ask, bytes);
        else
            http_respond(ask->x, 500, SPAN("simulator: no such script\n"));
        return;
    }
    if (f->garbage)
        make_garbage(r);
    if (f->gzip)
        reply_header(r, "Content-Encoding", "gzip");
    uint32_t delay_ms = f->delay_ms + sim->options.latency_ms + (r->streamed ? 0 : f->ttft_ms);
    struct usage_note note = stats_note(sim->stats, ask);
    if (is_plain(ask, delay_ms)) {
        add_headers(sim, ask->x, r);
        stats_book(sim->stats, &note);
        http_respond(ask->x, r->status, buf_span(&r->body));
        return;
    }
    struct play *p = calloc(1, sizeof *p);
    if (!p) {
        http_abort(ask->x);
        return;
    }
    *p = (struct play){
        .sim = sim, .x = ask->x, .reply = *r, .fault = *f, .note = note, .flood_left = f->flood};
    *r = (struct reply){0}; /* its memory is the play's now */
    p->stop = least(least(least(p->reply.body.len, f->cut_at), f->stall_at), f->reset_at);
    p->raw = p->stop < p->reply.body.len;
    http_set_user(ask->x, p);
    if (delay_ms)
        wait_ms(p, delay_ms);
    else
        begin(p);
}

void play_on_drain(void *ctx, struct http_exchange *x)
{
    struct play *p = http_user(x);
    (void)ctx;
    if (p && p->begun && !loop_timer_running(&p->timer))
        pump(p);
}

void play_on_gone(void *ctx, struct http_exchange *x)
{
    struct sim *sim = ctx;
    (void)x;
    stats_departed(sim->stats);
}

void play_on_done(void *ctx, struct http_exchange *x, bool sent)
{
    struct play *p = http_user(x);
    (void)ctx;
    (void)sent;
    if (!p)
        return;
    loop_timer_stop(p->sim->loop, &p->timer);
    reply_free(&p->reply);
    free(p);
}
