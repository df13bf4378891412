/* Neutral events → Anthropic answers: a stream's events as they come, or one message. */
#include "services/worker/api/anthropic.h"
#include "services/worker/api/anthropic_answer.h"

struct answer_writer *anthropic_messages_writer_create(const struct answer_options *options)
{
    struct anthropic_writer *w = ARENA_NEW(options->arena, struct anthropic_writer);
    if (!w)
        return NULL;
    writer_init(&w->base, options);
    return &w->base;
}

static void ensure_started(struct anthropic_writer *w)
{
    static const char *const prefixes[] = {"msg_", NULL};
    if (w->base.started)
        return;
    writer_settle_id(&w->base, prefixes);
    w->base.started = true;
    if (w->base.stream)
        anthropic_stream_start(w);
}

void anthropic_messages_write(struct answer_writer *base, const struct neutral_event *e)
{
    struct anthropic_writer *w = (struct anthropic_writer *)base;
    if (base->done)
        return;
    writer_take(base, e);
    if (e->kind == EVENT_ERROR) {
        writer_error(base, &e->fault);
        return;
    }
    if (e->kind != EVENT_PING && e->kind != EVENT_USAGE)
        ensure_started(w);
    if (e->kind == EVENT_REFUSAL)
        w->refused = true;
    if (base->stream)
        anthropic_stream_event(w, e);
    else
        anthropic_unary_event(w, e);
}
