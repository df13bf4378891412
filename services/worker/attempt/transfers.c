/* An attempt's transfers on the network: launched as its pipeline asks, reported to it as they go.
 */
#include "services/worker/attempt/attempt_internal.h"

#include "common/base/log.h"

static struct attempt_transfer *transfer_of(struct attempt *attempt)
{
    for (struct attempt_transfer *f = attempt->transfers; f; f = f->next)
        if (!f->request)
            return f;
    struct attempt_transfer *f =
        attempt->transfers ? ARENA_NEW(&attempt->arena, struct attempt_transfer) : &attempt->first;
    if (!f)
        return NULL;
    f->attempt = attempt;
    f->next = attempt->transfers;
    attempt->transfers = f;
    return f;
}

static void on_head(void *ctx, unsigned status, const struct upstream_headers *headers)
{
    struct attempt_transfer *f = ctx;
    if (f->attempt->state == ATTEMPT_OVER)
        return;
    f->attempt->sent = true;
    pipeline_on_head(f->attempt->pipeline, f->x, status, headers);
}

static void on_bytes(void *ctx, struct span bytes)
{
    struct attempt_transfer *f = ctx;
    if (f->attempt->state == ATTEMPT_OVER)
        return;
    pipeline_on_bytes(f->attempt->pipeline, f->x, bytes);
    f->attempt->on_progress(f->attempt);
}

/* Over, and the last one to land? */
static bool landed(struct attempt_transfer *f)
{
    struct attempt *attempt = f->attempt;
    f->request = NULL;
    attempt->transfers_running--;
    if (attempt->state != ATTEMPT_OVER)
        return false;
    if (attempt->transfers_running == 0)
        attempt_release(attempt);
    return true;
}

static void on_end(void *ctx)
{
    struct attempt_transfer *f = ctx;
    struct attempt *attempt = f->attempt;
    const struct transfer *x = f->x;
    if (landed(f))
        return;
    attempt->sent = true;
    pipeline_on_end(attempt->pipeline, x);
    attempt->on_progress(attempt);
}

static void on_failure(void *ctx, unsigned error_class, struct span message, struct span detail,
                       bool sent)
{
    struct attempt_transfer *f = ctx;
    struct attempt *attempt = f->attempt;
    const struct transfer *x = f->x;
    if (landed(f))
        return;
    attempt->sent = attempt->sent || sent;
    attempt->detail = arena_copy(&attempt->arena, detail);
    pipeline_on_failure(attempt->pipeline, x, error_class, message);
    attempt->on_progress(attempt);
}

static const struct fetch_handler transfer_handler = {on_head, on_bytes, on_end, on_failure};

void attempt_launch(struct attempt *attempt, const struct transfer *x,
                    void (*on_progress)(struct attempt *attempt))
{
    const struct config_options *o = &attempt->setup->config->options;
    uint64_t timeout = attempt->d.timeout_ms ? attempt->d.timeout_ms : DEFAULT_TIMEOUT_MS;
    struct fetch_spec spec = {.origin = attempt->endpoint->origin,
                              .method = x->method,
                              .path = x->path,
                              .url = x->url,
                              .headers = x->headers,
                              .body = x->body,
                              .accept_stream = x->expects_stream,
                              .first_byte_ms = x->detached ? DETACHED_MS : timeout,
                              .idle_ms = o->worker_idle_timeout > timeout ? o->worker_idle_timeout
                                                                          : timeout,
                              .handler = &transfer_handler};
    attempt->on_progress = on_progress;
    struct attempt_transfer *f = transfer_of(attempt);
    enum err err = f ? OK : ERR_NOMEM;
    if (err == OK) {
        f->x = x;
        spec.ctx = f;
        err = fetch_start(attempt->env->fetch, &spec, &f->request);
    }
    if (err != OK) {
        log_warn("upstream_not_started", LSTR("why", err_name(err)));
        if (!x->detached)
            pipeline_on_failure(attempt->pipeline, x, ERROR_UPSTREAM_UNREACHABLE,
                                SPAN("The service could not make the request to the provider."));
        return;
    }
    attempt->transfers_running++;
    if (!attempt->sent_us)
        attempt->sent_us = loop_now_us(attempt->env->loop);
    if (attempt->stopped)
        fetch_pause(f->request);
}

void attempt_cancel_transfers(struct attempt *attempt, bool detached_too)
{
    for (struct attempt_transfer *f = attempt->transfers; f; f = f->next) {
        if (!f->request || (f->x->detached && !detached_too))
            continue;
        fetch_cancel(&f->request);
        attempt->transfers_running--;
    }
}

void attempt_look_whether_sent(struct attempt *attempt)
{
    for (struct attempt_transfer *f = attempt->transfers; f && !attempt->sent; f = f->next)
        attempt->sent = f->request && fetch_sent(f->request);
}
