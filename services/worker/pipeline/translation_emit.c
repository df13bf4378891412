/* Neutral events of the parts on their way to the one writer: commit, indexes, usage summed
 * and completed. */
#include "services/worker/neutral/estimate.h"
#include "services/worker/pipeline/translation.h"

static void write_event(struct translation *t, const struct neutral_event *e)
{
    t->api->write(t->writer, e);
}

/* The edge's estimate where it made one. */
static uint64_t guess_input(const struct pipeline *c)
{
    return c->spec.input_tokens ? c->spec.input_tokens : estimate_tokens(c->spec.body.len);
}

struct answer_writer *translation_make_writer(struct translation *t)
{
    struct pipeline *c = t->pipeline;
    struct answer_options options = {.arena = &c->arena,
                                     .out = &c->out,
                                     .request = &t->request,
                                     .created_s = c->spec.now_s,
                                     .input_tokens = guess_input(c),
                                     .request_id = c->spec.request_id,
                                     .model = c->spec.target_model};
    return t->api->writer_create(&options);
}

/* Known counts are added up; a count no part knows stays unknown. */
static void add_count(uint64_t *into, uint64_t from)
{
    if (from != USAGE_UNKNOWN)
        *into = *into == USAGE_UNKNOWN ? from : *into + from;
}

static void sum_bill(struct usage *into, const struct usage *from)
{
    add_count(&into->cache_write_1h, from->cache_write_1h);
    for (size_t i = 0; i < TARIFF_FEES; i++)
        into->calls[i] += from->calls[i];
    into->stated |= from->stated;
    into->stated_nano += from->stated_nano;
    if (from->tier != TIER_STANDARD)
        into->tier = from->tier;
}

static void sum_usage(struct translation *t)
{
    struct pipeline *c = t->pipeline;
    c->usage = USAGE_NONE;
    c->text_bytes = 0;
    for (size_t i = 0; i < t->part_count; i++) {
        const struct prompt_part *part = &t->prompt_parts[i];
        add_count(&c->usage.input, part->usage.input);
        add_count(&c->usage.cached, part->usage.cached);
        add_count(&c->usage.cache_write, part->usage.cache_write);
        add_count(&c->usage.output, part->usage.output);
        add_count(&c->usage.reasoning, part->usage.reasoning);
        sum_bill(&c->usage, &part->usage);
        if (part->usage.service_tier_text.len)
            c->usage.service_tier_text = part->usage.service_tier_text;
        c->text_bytes += part->text_bytes;
    }
}

static void merge_usage(struct prompt_part *part, const struct usage *from)
{
    struct span old = part->usage.service_tier_text;
    usage_merge(&part->usage, from);
    struct span tier = part->usage.service_tier_text;
    /* the event's text lives only as long as the event */
    part->usage.service_tier_text =
        span_equals(old, tier) ? old : arena_copy(&part->owner->pipeline->arena, tier);
    sum_usage(part->owner);
}

static void note_answer(struct pipeline *c, const struct neutral_event *e)
{
    struct buf text = {.max = 4096};
    if (c->upstream_id.len == 0 && e->id_text.len) {
        json_text_decode(e->id_text, &text);
        c->upstream_id = arena_copy(&c->arena, buf_span(&text));
    }
    buf_clear(&text);
    if (c->upstream_model.len == 0 && e->model_text.len) {
        json_text_decode(e->model_text, &text);
        c->upstream_model = arena_copy(&c->arena, buf_span(&text));
    }
    buf_free(&text);
}

static void on_start(struct prompt_part *part, const struct neutral_event *e)
{
    struct translation *t = part->owner;
    note_answer(t->pipeline, e);
    merge_usage(part, &e->usage);
    if (t->begun)
        return;
    t->begun = true;
    write_event(t, e);
}

/* All parts are through: one usage, complete, then the end. */
static void end_answer(struct translation *t)
{
    struct pipeline *c = t->pipeline;
    sum_usage(t);
    struct neutral_event usage = {.kind = EVENT_USAGE, .usage = c->usage};
    usage.usage.estimated =
        usage_complete(&usage.usage, guess_input(c), estimate_tokens(c->text_bytes));
    (void)pipeline_bound_usage(c, &usage.usage);
    write_event(t, &usage);
    write_event(t, &(struct neutral_event){.kind = EVENT_END, .usage = USAGE_NONE});
    pipeline_finish(c);
}

static void end_part(struct prompt_part *part)
{
    struct translation *t = part->owner;
    part->ended = true;
    part->wait_ms = 0;
    if (++t->ended_count == t->part_count)
        end_answer(t);
}

static void on_text(struct prompt_part *part, const struct neutral_event *e)
{
    struct translation *t = part->owner;
    if (e->text.len == 0)
        return;
    struct neutral_event shown = *e;
    shown.slot = t->part_count > 1 ? part->index : e->slot;
    part->text_bytes += e->text.len;
    pipeline_commit(t->pipeline);
    write_event(t, &shown);
}

static void on_content(struct prompt_part *part, const struct neutral_event *e)
{
    part->text_bytes += e->text.len + e->name_text.len;
    pipeline_commit(part->owner->pipeline);
    write_event(part->owner, e);
}

static void on_stop(struct prompt_part *part, const struct neutral_event *e)
{
    part->stopped = true;
    struct neutral_event stop = *e;
    if (part->owner->part_count > 1)
        stop.slot = part->index;
    pipeline_commit(part->owner->pipeline);
    write_event(part->owner, &stop);
}

void translation_emit(void *ctx, const struct neutral_event *e)
{
    struct prompt_part *part = ctx;
    if (part->ended || part->owner->pipeline->state != PIPELINE_RUNNING)
        return;
    switch (e->kind) {
    case EVENT_START:
        on_start(part, e);
        break;
    case EVENT_TEXT:
        on_text(part, e);
        break;
    case EVENT_REFUSAL:
    case EVENT_THINK:
    case EVENT_THINK_SIGNATURE:
    case EVENT_REDACTED:
    case EVENT_TOOL_BEGIN:
    case EVENT_TOOL_ARGS:
    case EVENT_TOOL_END:
        on_content(part, e);
        break;
    case EVENT_USAGE:
        merge_usage(part, &e->usage);
        break;
    case EVENT_STOP:
        on_stop(part, e);
        break;
    case EVENT_PING:
        if (part->owner->begun)
            write_event(part->owner, e);
        break;
    case EVENT_END:
        end_part(part);
        break;
    case EVENT_ERROR:
        pipeline_fail(part->owner->pipeline, &e->fault);
        break;
    }
}

void translation_answer_empty(struct translation *t)
{
    struct pipeline *c = t->pipeline;
    struct usage usage = USAGE_NONE;
    (void)usage_complete(&usage, guess_input(c), 0);
    const struct neutral_event events[] = {
        {.kind = EVENT_START, .usage = usage},
        {.kind = EVENT_USAGE, .usage = usage},
        {.kind = EVENT_STOP, .stop = STOP_LENGTH, .usage = USAGE_NONE},
        {.kind = EVENT_END, .usage = USAGE_NONE},
    };
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        write_event(t, &events[i]);
    /* nothing was used upstream: the ledger gets zeros, the client its estimate */
    c->usage = (struct usage){0};
    c->estimated = true;
    pipeline_finish(c);
}
