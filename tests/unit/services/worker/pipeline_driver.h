/* Drives a pipeline as the worker does: starts what it asks for, feeds it what a script says,
 * collects what the client gets. Header-only, for the unit tests of the pipeline and for the
 * contract suite. */
#ifndef UNIT_SERVICES_WORKER_PIPELINE_DRIVER_H
#define UNIT_SERVICES_WORKER_PIPELINE_DRIVER_H

#include <stdlib.h>

#include "services/worker/pipeline/pipeline.h"

enum { DRIVER_MAX_SENT = 64 };

struct driver {
    struct pipeline_spec spec;
    struct pipeline *pipeline;
    struct arena arena;
    struct api_error fault; /* of pipeline_create */
    const struct transfer *sent[DRIVER_MAX_SENT];
    size_t sent_count;
    uint64_t wait_ms;
    struct buf body;   /* the request; the pipeline only borrows it */
    struct buf output; /* what the client has got */
    bool head_sent;
};

/* Defaults that a test then changes in d->spec. */
static inline void driver_init(struct driver *d, const struct provider *provider, enum api api,
                               const char *path)
{
    *d = (struct driver){0};
    arena_init(&d->arena, 0);
    d->spec = (struct pipeline_spec){.api = api,
                                     .method = SPAN("POST"),
                                     .path = span_str(path),
                                     .model = SPAN("m"),
                                     .target_model = SPAN("m"),
                                     .provider = provider,
                                     .base_url = SPAN("http://upstream.test/v1"),
                                     .now_s = 1700000000,
                                     .request_id = SPAN("req_test")};
}

static inline void driver_pump(struct driver *d)
{
    const struct transfer *x;
    while ((x = pipeline_next(d->pipeline)) != NULL && d->sent_count < DRIVER_MAX_SENT)
        d->sent[d->sent_count++] = x;
    uint64_t wait = pipeline_wait_ms(d->pipeline);
    if (wait)
        d->wait_ms = wait;
    /* as the worker: nothing leaves before the commit, a unary answer only whole */
    struct buf *out = pipeline_output(d->pipeline);
    if (pipeline_state(d->pipeline) == PIPELINE_DONE ||
        (pipeline_is_stream(d->pipeline) && pipeline_committed(d->pipeline))) {
        d->head_sent = true;
        buf_append(&d->output, buf_span(out));
        buf_clear(out);
    }
}

static inline enum err driver_start(struct driver *d, const char *body)
{
    buf_append_str(&d->body, body);
    d->spec.body = buf_span(&d->body);
    enum err e = pipeline_create(&d->pipeline, &d->spec, &d->arena, &d->fault);
    if (e == OK)
        driver_pump(d);
    return e;
}

/* Header lines "name: value\n". */
static inline struct span driver_get_header(const void *ctx, const char *name)
{
    struct span rest = span_str(ctx);
    while (rest.len) {
        struct span line = span_cut(&rest, '\n');
        struct span key = span_cut(&line, ':');
        if (span_is_nocase(span_trim(key), name))
            return span_trim(line);
    }
    return SPAN_NONE;
}

static inline void driver_head(struct driver *d, size_t sent, unsigned status, const char *lines)
{
    struct upstream_headers headers = {.get = driver_get_header, .ctx = lines};
    pipeline_on_head(d->pipeline, d->sent[sent], status, &headers);
    driver_pump(d);
}

/* The bytes live exactly as long as the call of on_bytes, so that a sanitizer sees who keeps them.
 */
static inline void driver_bytes(struct driver *d, size_t sent, struct span bytes)
{
    char *copy = malloc(bytes.len ? bytes.len : 1);
    if (!copy)
        abort();
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    pipeline_on_bytes(d->pipeline, d->sent[sent], span_of(copy, bytes.len));
    free(copy);
    driver_pump(d);
}

static inline void driver_text(struct driver *d, size_t sent, const char *text)
{
    driver_bytes(d, sent, span_str(text));
}

static inline void driver_end(struct driver *d, size_t sent)
{
    pipeline_on_end(d->pipeline, d->sent[sent]);
    driver_pump(d);
}

static inline void driver_fail(struct driver *d, size_t sent, unsigned error_class)
{
    pipeline_on_failure(d->pipeline, d->sent[sent], error_class, SPAN("the network failed"));
    driver_pump(d);
}

static inline void driver_timer(struct driver *d, uint64_t waited_ms)
{
    d->wait_ms = 0;
    pipeline_on_timer(d->pipeline, waited_ms);
    driver_pump(d);
}

/* Head, body and end of a plain answer. */
static inline void driver_answer(struct driver *d, size_t sent, unsigned status, const char *lines,
                                 const char *body)
{
    driver_head(d, sent, status, lines);
    driver_text(d, sent, body);
    driver_end(d, sent);
}

static inline void driver_stream_head(struct driver *d, size_t sent)
{
    driver_head(d, sent, 200, "content-type: text/event-stream; charset=utf-8\n");
}

static inline bool driver_output_is(const struct driver *d, const char *expected)
{
    return span_is(buf_span(&d->output), expected);
}

static inline bool driver_output_has(const struct driver *d, const char *needle)
{
    return span_find_span(buf_span(&d->output), span_str(needle)) < d->output.len;
}

static inline void driver_done(struct driver *d)
{
    pipeline_destroy(&d->pipeline);
    buf_free(&d->body);
    buf_free(&d->output);
    arena_free(&d->arena);
}

#endif
