/* What of a provider's header fields operators and clients may see. */
#include "services/worker/pipeline/pipeline_internal.h"

enum { VALUE_MAX_BYTES = 128 };

static const char *const id_names[] = {"x-request-id", "request-id", "cf-ray"};

/* Passed on with x-upstream- in front, without an x- of their own. */
static const char *const limit_names[] = {
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-remaining",
    "anthropic-ratelimit-output-tokens-remaining",
    "ratelimit-remaining",
    "ratelimit-reset",
};

/* Printable, and short enough for a log. */
static bool is_sane(struct span value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < 0x20 || value.data[i] > 0x7e)
            return false;
    }
    return value.len > 0 && value.len <= VALUE_MAX_BYTES;
}

static void add_line(struct pipeline *c, const char *name, struct span value)
{
    struct buf *out = &c->upstream_headers;
    if (!is_sane(value))
        return;
    buf_append_str(out, "x-upstream-");
    buf_append_str(out, strncmp(name, "x-", 2) == 0 ? name + 2 : name);
    buf_append_str(out, ": ");
    buf_append(out, value);
    buf_append_char(out, '\n');
}

void pipeline_note_head(struct pipeline *c, const struct upstream_headers *headers)
{
    struct span id = SPAN_NONE;
    for (size_t i = 0; !is_sane(id) && i < sizeof id_names / sizeof id_names[0]; i++)
        id = headers->get(headers->ctx, id_names[i]);
    if (!is_sane(id))
        return;
    c->provider_request_id = arena_copy(&c->arena, id);
    buf_clear(&c->upstream_headers);
    add_line(c, "request-id", id);
    for (size_t i = 0; c->spec.tells_limits && i < sizeof limit_names / sizeof limit_names[0]; i++)
        add_line(c, limit_names[i], headers->get(headers->ctx, limit_names[i]));
}
