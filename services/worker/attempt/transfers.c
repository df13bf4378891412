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

static void works_on(const struct attempt *attempt)
{
    loop_works_on(attempt->env->loop, attempt->head.id.bytes);
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
    struct pipeline *pipeline = f->attempt->pipeline;
    works_on(f->attempt);
    f->attempt->received_bytes += bytes.len;
    pipeline_on_bytes(pipeline, f->x, bytes);
    if (pipeline_committed(pipeline) || !pipeline_is_stream(pipeline))
        fetch_content_began(f->request);
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
    works_on(attempt);
    if (attempt_end_beside(attempt, x))
        return;
    pipeline_on_end(attempt->pipeline, x);
    attempt->on_progress(attempt);
}

static void on_failure(void *ctx, const struct fetch_ending *ending)
{
    struct attempt_transfer *f = ctx;
    struct attempt *attempt = f->attempt;
    const struct transfer *x = f->x;
    if (landed(f))
        return;
    attempt->sent = attempt->sent || ending->sent;
    attempt->detail = arena_copy(&attempt->arena, ending->detail);
    attempt->reason = ending->reason;
    pipeline_on_failure(attempt->pipeline, x, ending->error_class, ending->message);
    attempt->on_progress(attempt);
}

/* ---- what of the client's header fields travels on, whatever the pipeline ---- */

static struct span name_of(struct span line)
{
    return span_trim(span_first(line, span_find(line, ':')));
}

static bool has_name(struct span lines, struct span name)
{
    while (lines.len) {
        struct span other = name_of(span_cut(&lines, '\n'));
        if (other.len == name.len && strncasecmp(other.data, name.data, name.len) == 0)
            return true;
    }
    return false;
}

/* A trace goes on; what the operator lets through does too, unless a field of that name is
 * configured. */
static bool travels(const struct config_provider *p, struct span name)
{
    if (span_is_nocase(name, "traceparent") || span_is_nocase(name, "tracestate"))
        return true;
    for (size_t i = 0; i < p->header_count; i++) {
        if (span_is_nocase(name, p->headers[i].name))
            return false;
    }
    return config_forwards(&p->forward_headers, name);
}

static struct span with_forwarded(struct attempt *attempt, const struct transfer *x)
{
    struct buf lines = {0};
    for (struct span rest = attempt->d.headers; rest.len && !x->url.len && !x->detached;) {
        struct span line = span_cut(&rest, '\n'), name = name_of(line);
        if (!travels(attempt->setup->provider_config, name) || has_name(x->headers, name))
            continue;
        buf_append(&lines, line);
        buf_append_char(&lines, '\n');
    }
    struct span all = x->headers;
    if (lines.len)
        all = arena_printf(&attempt->arena, "%.*s%s%.*s", SPAN_ARG(x->headers),
                           x->headers.len && !span_ends(x->headers, "\n") ? "\n" : "",
                           SPAN_ARG(buf_span(&lines)));
    buf_free(&lines);
    return all.data ? all : x->headers;
}

static const struct fetch_handler transfer_handler = {on_head, on_bytes, on_end, on_failure};

/* Where the model gives no timeout, an answer in one piece has its request's deadline alone; a
 * stream has the options' times, and what is asked again and again the usual one. */
static void set_limits(const struct attempt *attempt, const struct transfer *x,
                       struct fetch_spec *spec)
{
    uint64_t given = attempt->d.timeout_ms;
    bool streams = x->expects_stream && pipeline_is_stream(attempt->pipeline);
    bool repeats = strcmp(x->method, "GET") == 0;
    const struct config_options *options = &attempt->setup->config->options;
    spec->first_byte_ms = repeats ? DEFAULT_TIMEOUT_MS : 0;
    if (streams) {
        spec->first_byte_ms = options->worker_first_content_timeout;
        spec->idle_ms = options->worker_idle_timeout;
    }
    if (given)
        spec->first_byte_ms = spec->idle_ms = given;
    if (x->detached)
        spec->first_byte_ms = DETACHED_MS;
}

void attempt_launch(struct attempt *attempt, const struct transfer *x,
                    void (*on_progress)(struct attempt *attempt))
{
    struct fetch_spec spec = {.origin = attempt->endpoint->origin,
                              .key = attempt->credential,
                              .method = x->method,
                              .path = x->path,
                              .url = x->url,
                              .headers = with_forwarded(attempt, x),
                              .body = x->body,
                              .accept_stream = x->expects_stream,
                              .handler = &transfer_handler};
    attempt->on_progress = on_progress;
    set_limits(attempt, x, &spec);
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
