#include "services/worker/pipeline/upstream_answer.h"

static const char *const kept_headers[] = {
    "content-type",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "date",
    "request-id",
    "x-request-id",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-reset",
    "anthropic-ratelimit-output-tokens-reset",
    "preference-applied",
};
_Static_assert(sizeof kept_headers / sizeof *kept_headers <= ANSWER_MAX_HEADERS, "room for all");

static enum answer_mode mode_of(unsigned status, const struct upstream_headers *headers)
{
    if (status < 200 || status > 299)
        return ANSWER_ERROR;
    struct span type = headers->get(headers->ctx, "content-type");
    type = span_trim(span_cut(&type, ';'));
    return span_is_nocase(type, "text/event-stream") ? ANSWER_EVENTS : ANSWER_WHOLE;
}

void upstream_answer_begin(struct upstream_answer *a, unsigned status,
                           const struct upstream_headers *headers, uint64_t max_body,
                           struct arena *arena)
{
    upstream_answer_reset(a);
    a->status = status;
    a->mode = mode_of(status, headers);
    buf_init(&a->body, a->mode == ANSWER_ERROR ? ANSWER_MAX_ERROR_BODY : (size_t)max_body);
    if (a->mode != ANSWER_ERROR)
        return;
    for (size_t i = 0; i < sizeof kept_headers / sizeof *kept_headers; i++) {
        struct span value = headers->get(headers->ctx, kept_headers[i]);
        if (value.len == 0)
            continue;
        a->headers[a->header_count].name = kept_headers[i];
        a->headers[a->header_count++].value = arena_copy(arena, value);
    }
}

enum err upstream_answer_gather(struct upstream_answer *a, struct span bytes)
{
    a->received_bytes += bytes.len;
    if (a->mode == ANSWER_ERROR)
        bytes = span_first(bytes, ANSWER_MAX_ERROR_BODY - a->body.len);
    buf_append(&a->body, bytes);
    return buf_check(&a->body);
}

static struct span get_header(const void *ctx, const char *name)
{
    const struct upstream_answer *a = ctx;
    for (size_t i = 0; i < a->header_count; i++) {
        if (strcasecmp(a->headers[i].name, name) == 0)
            return a->headers[i].value;
    }
    return SPAN_NONE;
}

struct upstream_headers upstream_answer_headers(const struct upstream_answer *a)
{
    return (struct upstream_headers){.get = get_header, .ctx = a};
}

size_t upstream_answer_bytes(const struct upstream_answer *a)
{
    return a->body.cap + a->sse.pending.cap + a->sse.data.cap;
}

void upstream_answer_reset(struct upstream_answer *a)
{
    buf_free(&a->body);
    sse_reader_free(&a->sse);
    *a = (struct upstream_answer){0};
}
