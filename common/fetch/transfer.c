#include "common/fetch/transfer.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_IDLE = 1024, /* transfers kept for reuse */
    DETAIL_BYTES = 400,
    INFLATED_BYTES = 16 << 10 /* told at once */
};

/* ---- memory and lists ---- */

struct fetch_transfer *transfer_take(struct fetch *up)
{
    struct fetch_transfer *r = up->idle;
    if (r) {
        up->idle = r->next;
        up->idle_count--;
        return r;
    }
    r = calloc(1, sizeof *r);
    if (r)
        r->up = up;
    return r;
}

void transfer_begin(struct fetch_transfer *r, const struct fetch_spec *spec)
{
    struct fetch *up = r->up;
    uint64_t now = loop_now_ms(up->loop);
    *r = (struct fetch_transfer){.up = up,
                                 .spec = *spec,
                                 .limit_bytes = up->options.max_response_bytes,
                                 .started_ms = now,
                                 .last_ms = now};
}

void transfer_park(struct fetch_transfer *r)
{
    struct fetch *up = r->up;
    r->state = FETCH_IDLE;
    r->spec = (struct fetch_spec){0};
    if (up->idle_count >= MAX_IDLE) {
        free(r);
        return;
    }
    r->next = up->idle;
    up->idle = r;
    up->idle_count++;
}

void transfer_free_idle(struct fetch *up)
{
    while (up->idle) {
        struct fetch_transfer *r = up->idle;
        up->idle = r->next;
        free(r);
    }
}

/* ---- silence ---- */

/* Since when it has brought nothing. Bytes of a line that has no end yet count as far as they come
 * at the least rate. */
static uint64_t silent_since_ms(const struct fetch_transfer *r)
{
    if (!r->began)
        return r->started_ms;
    uint64_t line_ms = r->line_ms + r->line_bytes / FETCH_LEAST_BYTES_PER_MS;
    return r->line_bytes && line_ms < r->last_ms ? line_ms : r->last_ms;
}

/* How long it may; 0 = for ever. */
static uint64_t patience_ms(const struct fetch_transfer *r)
{
    uint64_t idle_ms = r->spec.idle_ms;
    if (!r->began)
        return r->spec.first_byte_ms;
    bool may_drip = r->spec.accept_stream && r->line_bytes;
    return may_drip && (!idle_ms || idle_ms > FETCH_DRIP_MS) ? FETCH_DRIP_MS : idle_ms;
}

/* The one timer of a transfer: moved on lazily, not at every read. */
static void on_silence(void *ctx)
{
    struct fetch_transfer *r = ctx;
    struct fetch *up = r->up; /* outlives r, which is gone once it has failed */
    uint64_t silence = loop_now_ms(up->loop) - silent_since_ms(r);
    uint64_t wait = patience_ms(r);
    if (r->state != FETCH_RUNNING || !wait)
        return;
    if (r->paused || silence < wait) {
        loop_timer_start(up->loop, &r->timer, r->paused ? wait : wait - silence, on_silence, r);
        return;
    }
    if (r->deferred & DEFER_START)
        return;
    transfer_fail(r,
                  fetch_failure_of(CURLE_OPERATION_TIMEDOUT, r->engine->sent(r), r->headed,
                                   (struct fetch_facts){.by_proxy = r->spec.origin->proxy != NULL}),
                  NULL);
    transfer_finish_deferred(up);
}

/* Its patience may be over earlier than the timer fires. */
static void watch(struct fetch_transfer *r)
{
    uint64_t now = loop_now_ms(r->up->loop);
    uint64_t wait = patience_ms(r);
    uint64_t due = silent_since_ms(r) + wait;
    if (wait && r->verdict == ERROR_NONE &&
        (!loop_timer_running(&r->timer) || loop_timer_due_us(&r->timer) > due * 1000))
        loop_timer_start(r->up->loop, &r->timer, due > now ? due - now : 0, on_silence, r);
}

void fetch_content_began(struct fetch_transfer *request)
{
    if (request->began || request->state != FETCH_RUNNING)
        return;
    request->began = true;
    watch(request);
}

static void note_line(struct fetch_transfer *r, struct span bytes)
{
    const char *end = bytes.len ? memrchr(bytes.data, '\n', bytes.len) : NULL;
    bool opens = end || !r->line_bytes;
    size_t open = end ? (size_t)(bytes.data + bytes.len - end - 1) : bytes.len;
    r->line_bytes = opens ? open : r->line_bytes + open;
    if (opens)
        r->line_ms = r->last_ms;
    if (opens && open && r->began && r->spec.accept_stream)
        watch(r);
}

void transfer_count_in(struct fetch_transfer *r)
{
    struct fetch *up = r->up;
    r->state = FETCH_RUNNING;
    up->running++;
    r->prev_running = NULL;
    r->next_running = up->running_list;
    if (up->running_list)
        up->running_list->prev_running = r;
    up->running_list = r;
    watch(r);
}

/* `next` is about to hold r in another list. */
static void forget_deferred(struct fetch_transfer *r)
{
    struct fetch_transfer **at = &r->up->deferred;
    while (*at && *at != r)
        at = &(*at)->next;
    if (*at)
        *at = r->next;
    r->deferred = 0;
}

void transfer_take_out(struct fetch_transfer *r)
{
    struct fetch *up = r->up;
    if (r->deferred)
        forget_deferred(r);
    r->engine->leave(r);
    inflate_destroy(&r->inflate);
    loop_timer_stop(up->loop, &r->timer);
    up->running--;
    r->state = FETCH_DEAD;
    if (r->next_running)
        r->next_running->prev_running = r->prev_running;
    if (r->prev_running)
        r->prev_running->next_running = r->next_running;
    else
        up->running_list = r->next_running;
}

/* ---- its end ---- */

void transfer_done(struct fetch_transfer *r)
{
    struct fetch_spec spec = r->spec;
    transfer_take_out(r);
    r->up->handler_called = true;
    spec.handler->on_end(spec.ctx);
    transfer_park(r);
}

void transfer_fail(struct fetch_transfer *r, struct fetch_failure failure, const char *detail)
{
    struct fetch_spec spec = r->spec;
    bool sent = r->engine->sent(r);
    char text[DETAIL_BYTES];
    int n = snprintf(text, sizeof text, "%s%s%s", detail ? detail : "",
                     detail && *detail && failure.os_errno ? ": " : "",
                     failure.os_errno ? strerror((int)failure.os_errno) : "");
    size_t bytes = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    transfer_take_out(r);
    r->up->handler_called = true;
    const struct fetch_ending ending = {.error_class = failure.error_class,
                                        .message = failure.message,
                                        .reason = failure.reason,
                                        .detail = span_of(text, bytes),
                                        .sent = sent};
    spec.handler->on_failure(spec.ctx, &ending);
    transfer_park(r);
}

static void on_fail_soon(void *ctx)
{
    struct fetch_transfer *r = ctx;
    struct fetch *up = r->up;
    if (r->state == FETCH_RUNNING)
        transfer_fail(r, transfer_verdict(r), NULL);
    transfer_finish_deferred(up);
}

void transfer_fail_soon(struct fetch_transfer *r, struct fetch_failure failure)
{
    transfer_give_up(r, failure.error_class, failure.message);
    r->verdict_reason = failure.reason;
    loop_timer_start(r->up->loop, &r->timer, 0, on_fail_soon, r);
}

void transfer_give_up(struct fetch_transfer *r, unsigned error_class, struct span message)
{
    r->verdict = error_class;
    r->verdict_message = message;
    r->verdict_reason = REASON_NONE;
}

struct fetch_failure transfer_verdict(const struct fetch_transfer *r)
{
    return (struct fetch_failure){r->verdict, r->verdict_message, r->verdict_reason, 0};
}

/* ---- its answer ---- */

static bool give_up_large(struct fetch_transfer *r)
{
    transfer_give_up(r, ERROR_UPSTREAM_PROTOCOL, SPAN("The upstream's answer is too large."));
    return false;
}

/* Nothing of an answer is gathered that says itself that it will not fit. */
static bool says_it_is_too_large(const struct fetch_transfer *r, unsigned status,
                                 const struct upstream_headers *headers)
{
    uint64_t length;
    return r->limit_bytes && status >= 200 && status < 300 &&
           span_to_u64(headers->get(headers->ctx, "content-length"), &length) &&
           length > r->limit_bytes;
}

/* Nobody asked for one, but some send it. false: it can't be taken off. */
static bool take_coding(struct fetch_transfer *r, struct span field)
{
    enum coding coding = coding_of(field);
    return coding == CODING_NONE || inflate_create(&r->inflate, coding) == OK;
}

bool transfer_take_head(struct fetch_transfer *r, unsigned status,
                        const struct upstream_headers *headers)
{
    r->well = status >= 200 && status < 300;
    if (!take_coding(r, headers->get(headers->ctx, "content-encoding"))) {
        if (r->well) {
            transfer_give_up(r, ERROR_UPSTREAM_PROTOCOL,
                             SPAN("The upstream's answer has an unknown Content-Encoding."));
            return false;
        }
        r->mute = true; /* its status is still of use */
    }
    struct span type = headers->get(headers->ctx, "content-type");
    if (type.len >= 17 && strncasecmp(type.data, "text/event-stream", 17) == 0)
        r->limit_bytes = 0;
    if (says_it_is_too_large(r, status, headers))
        return give_up_large(r);
    r->headed = true;
    if (!r->spec.accept_stream)
        fetch_content_began(r);
    r->up->handler_called = true;
    r->spec.handler->on_head(r->spec.ctx, status, headers);
    return r->state == FETCH_RUNNING;
}

static bool deliver(struct fetch_transfer *r, struct span bytes)
{
    r->received_bytes += bytes.len;
    note_line(r, bytes);
    if (r->limit_bytes && r->received_bytes > r->limit_bytes)
        return give_up_large(r);
    r->up->handler_called = true;
    if (!r->mute)
        r->spec.handler->on_bytes(r->spec.ctx, bytes);
    return r->state == FETCH_RUNNING;
}

/* Piece by piece: what one read brings may stand for much more. */
static bool deliver_inflated(struct fetch_transfer *r, struct span bytes)
{
    char piece[INFLATED_BYTES];
    size_t got = sizeof piece;
    while (got == sizeof piece) {
        enum err e = inflate_next(r->inflate, &bytes, piece, sizeof piece, &got);
        if (e && !r->well) {
            r->mute = true; /* its status is still of use */
            return true;
        }
        if (e == ERR_TOO_BIG)
            return give_up_large(r);
        if (e) {
            transfer_give_up(r, ERROR_UPSTREAM_PROTOCOL,
                             SPAN("The upstream's answer is not what its Content-Encoding says."));
            return false;
        }
        if (got && !deliver(r, span_of(piece, got)))
            return false;
    }
    return true;
}

bool transfer_take_bytes(struct fetch_transfer *r, struct span bytes)
{
    r->last_ms = loop_now_ms(r->up->loop);
    return r->inflate ? deliver_inflated(r, bytes) : deliver(r, bytes);
}

/* ---- what must wait ---- */

void transfer_defer(struct fetch_transfer *r, unsigned what)
{
    if (r->deferred == 0) {
        r->next = r->up->deferred;
        r->up->deferred = r;
    }
    r->deferred |= what;
}

void transfer_finish_deferred(struct fetch *up)
{
    while (up->inside == 0 && up->deferred) {
        struct fetch_transfer *r = up->deferred;
        unsigned what = r->deferred;
        up->deferred = r->next;
        r->deferred = 0;
        r->next = NULL;
        if (what & DEFER_CANCEL) {
            transfer_take_out(r);
            transfer_park(r);
        } else if (what & DEFER_START) {
            r->engine->start(r);
        } else if (r->state == FETCH_RUNNING) {
            r->engine->resume(r);
        }
    }
}
