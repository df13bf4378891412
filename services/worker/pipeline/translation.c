/* The pipeline whose client and upstream speak different protocols: reader → neutral →
 * provider → neutral events → writer. */
#include "services/worker/pipeline/translation.h"

#include <assert.h>

enum { REPEAT_AFTER_MS = 1000 };

static struct translation *state_of(struct pipeline *c)
{
    return c->kind_state;
}

/* ---- what a part asks for ---- */

static void set_wait(struct prompt_part *part, uint64_t ms)
{
    struct pipeline *c = part->owner->pipeline;
    part->wait_ms = ms;
    if (c->poll_ms == 0 || ms < c->poll_ms)
        pipeline_poll_after(c, ms);
}

/* After every function of the provider. */
static void take_wishes(struct prompt_part *part)
{
    struct transfer *next = part->pc.next;
    uint64_t wait = part->pc.wait_ms;
    part->pc.next = NULL;
    part->pc.wait_ms = 0;
    struct pipeline *c = part->owner->pipeline;
    if (next && (next->detached || !part->ended)) {
        if (!next->detached) {
            part->current = next;
            part->repeats = 0;
        }
        pipeline_send(c, next);
    }
    if (wait && !part->ended && c->state == PIPELINE_RUNNING)
        set_wait(part, wait);
}

static void check_parsed(struct prompt_part *part, enum err e)
{
    struct pipeline *c = part->owner->pipeline;
    if (e == ERR_NOMEM)
        pipeline_fail_class(c, ERROR_INTERNAL, "out of memory");
    else if (e)
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL,
                            "the upstream's answer is not what its protocol says");
    take_wishes(part);
}

static enum err start_part(struct prompt_part *part, struct api_error *fault_out)
{
    enum err e = part->pc.provider->build_request(&part->pc, fault_out);
    if (e)
        return e;
    if (part->owner->pipeline->request == NULL)
        part->owner->pipeline->request = &part->request; /* names what was dropped */
    take_wishes(part);
    return OK;
}

/* Lets parts begin, a few at a time. */
static enum err start_parts(struct translation *t, struct api_error *fault_out)
{
    while (t->started_count < t->part_count &&
           t->started_count - t->ended_count < TRANSLATION_MAX_PARALLEL) {
        enum err e = start_part(&t->prompt_parts[t->started_count++], fault_out);
        if (e)
            return e;
    }
    return OK;
}

/* ---- what the network did ---- */

static struct prompt_part *find_part(struct pipeline *c, const struct transfer *x)
{
    struct translation *t = state_of(c);
    for (size_t i = 0; i < t->started_count; i++) {
        if (t->prompt_parts[i].current == x)
            return &t->prompt_parts[i];
    }
    return NULL;
}

/* A provider may ask for its next transfer in the middle of an answer: that answer is then over for
 * us. */
static enum answer_mode mode_of(const struct prompt_part *part)
{
    return part->answered == part->current ? part->answer.mode : ANSWER_NONE;
}

/* A part that has ended makes room for one that waits. */
static void go_on(struct pipeline *c)
{
    struct api_error fault = {0};
    if (c->state == PIPELINE_RUNNING && start_parts(state_of(c), &fault))
        pipeline_fail(c, &fault);
}

static void on_head(struct pipeline *c, const struct transfer *x, unsigned status,
                    const struct upstream_headers *headers)
{
    struct prompt_part *part = find_part(c, x);
    if (!part)
        return;
    part->answered = x;
    upstream_answer_begin(&part->answer, status, headers, c->spec.max_response, &c->arena);
    pipeline_note_head(c, headers);
    if (part->answer.mode == ANSWER_EVENTS)
        pipeline_expect_content(c);
}

static enum err on_event(void *ctx, const struct sse_event *e)
{
    struct prompt_part *part = ctx;
    if (part->ended || part->owner->pipeline->state != PIPELINE_RUNNING ||
        mode_of(part) != ANSWER_EVENTS)
        return OK;
    struct sse_event mended = *e;
    if (!utf8_valid(e->data)) {
        buf_clear(&part->mended);
        part->mended.max = (size_t)SSE_MAX_EVENT * 3;
        utf8_repair(&part->mended, e->data);
        mended.data = buf_span(&part->mended);
    }
    if (buf_check(&part->mended)) {
        pipeline_fail_class(part->owner->pipeline, ERROR_INTERNAL, "out of memory");
        return OK;
    }
    part->pc.doc->most = JSON_MAX_EVENT_VALUES;
    check_parsed(part, part->pc.provider->parse_event(&part->pc, part->current, &mended));
    part->pc.doc->most = 0;
    return OK;
}

static void on_bytes(struct pipeline *c, const struct transfer *x, struct span bytes)
{
    struct prompt_part *part = find_part(c, x);
    if (!part || part->ended || mode_of(part) == ANSWER_NONE)
        return;
    enum err e;
    if (part->answer.mode == ANSWER_EVENTS) {
        part->answer.received_bytes += bytes.len;
        e = sse_feed(&part->answer.sse, bytes, on_event, part);
        /* a client that gets it whole has it gathered here: events are mostly their wrapping */
        if (!c->stream && part->answer.received_bytes / 16 > c->spec.max_response)
            e = ERR_TOO_BIG;
    } else {
        e = upstream_answer_gather(&part->answer, bytes);
    }
    if (e)
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
    go_on(c);
}

/* A GET that only looks may be asked again. */
static bool repeat(struct prompt_part *part, unsigned error_class)
{
    const struct transfer *x = part->current;
    if (!x->repeatable || x->expects_stream || part->repeats >= TRANSLATION_MAX_REPEATS ||
        !error_should_retry(error_class))
        return false;
    part->again = ARENA_NEW(&part->owner->pipeline->arena, struct transfer);
    if (!part->again)
        return false;
    *part->again = *x;
    part->repeats++;
    set_wait(part, REPEAT_AFTER_MS);
    return true;
}

/* As the pass-through does: the usage that we asked for was refused. */
static bool go_without_stream_options(struct prompt_part *part)
{
    struct pipeline *c = part->owner->pipeline;
    struct api_error fault = {0};
    if (!c->stream ||
        !pipeline_learns_stream_options(c, part->answer.status, buf_span(&part->answer.body)))
        return false;
    part->pc.compat.no_stream_options = true;
    if (part->pc.provider->build_request(&part->pc, &fault))
        pipeline_fail(c, &fault);
    else
        take_wishes(part);
    return true;
}

static void end_error(struct prompt_part *part)
{
    struct pipeline *c = part->owner->pipeline;
    if (go_without_stream_options(part))
        return;
    struct upstream_headers headers = upstream_answer_headers(&part->answer);
    struct api_error fault = {0};
    part->pc.provider->map_error(&part->pc, part->answer.status, &headers,
                                 buf_span(&part->answer.body), &fault);
    fault.upstream_status = part->answer.status;
    if (!repeat(part, fault.error_class))
        pipeline_fail(c, &fault);
}

static void end_whole(struct prompt_part *part)
{
    struct span body = buf_span(&part->answer.body);
    if (!utf8_valid(body)) {
        buf_clear(&part->mended);
        part->mended.max = body.len * 3 + 1;
        utf8_repair(&part->mended, body);
        body = buf_span(&part->mended);
    }
    check_parsed(part, part->pc.provider->parse_response(&part->pc, part->current, body));
}

static void end_events(struct prompt_part *part)
{
    struct pipeline *c = part->owner->pipeline;
    const struct transfer *x = part->current;
    if (sse_finish(&part->answer.sse, on_event, part))
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
    /* an event may have ended the part, or asked for another transfer */
    if (c->state == PIPELINE_RUNNING && !part->ended && part->current == x)
        check_parsed(part, part->pc.provider->parse_end(&part->pc, x));
}

/* The transfer is over and asked for nothing more: then the part must have come to its end. */
static void check_settled(struct prompt_part *part, const struct transfer *x)
{
    struct pipeline *c = part->owner->pipeline;
    if (c->state != PIPELINE_RUNNING || part->ended || part->current != x)
        return;
    if (part->wait_ms == 0)
        pipeline_fail_class(c, ERROR_UPSTREAM_CLOSED, "upstream closed the stream");
    part->current = NULL;
}

static void on_end(struct pipeline *c, const struct transfer *x)
{
    struct prompt_part *part = find_part(c, x);
    if (!part || part->ended)
        return;
    switch (mode_of(part)) {
    case ANSWER_ERROR:
        end_error(part);
        break;
    case ANSWER_WHOLE:
        end_whole(part);
        break;
    case ANSWER_EVENTS:
        end_events(part);
        break;
    case ANSWER_NONE:
        break;
    }
    check_settled(part, x);
    go_on(c);
}

/* A connection lost behind the stop reason has cost nothing; a stream that can be read again
 * elsewhere (Replicate's) is the provider's to finish. What is left of a cut event is no event. */
static void on_failure(struct pipeline *c, const struct transfer *x, const struct api_error *fault)
{
    struct prompt_part *part = find_part(c, x);
    if (!part || part->ended)
        return;
    bool may_be_whole =
        part->stopped || x->repeatable || fault->error_class == ERROR_UPSTREAM_CLOSED;
    if (mode_of(part) == ANSWER_EVENTS && may_be_whole) {
        check_parsed(part, part->pc.provider->parse_end(&part->pc, x));
        check_settled(part, x);
        go_on(c);
    } else if (!repeat(part, fault->error_class)) {
        pipeline_fail(c, fault);
    }
}

static void fire(struct prompt_part *part)
{
    struct transfer *again = part->again;
    part->again = NULL;
    if (again) {
        part->current = again;
        pipeline_send(part->owner->pipeline, again);
    } else if (part->pc.provider->on_timer) {
        check_parsed(part, part->pc.provider->on_timer(&part->pc));
    }
}

static void on_timer(struct pipeline *c, uint64_t elapsed_ms, uint64_t waited_ms)
{
    struct translation *t = state_of(c);
    for (size_t i = 0; i < t->started_count && c->state == PIPELINE_RUNNING; i++) {
        struct prompt_part *part = &t->prompt_parts[i];
        part->pc.waited_ms = waited_ms;
        if (part->wait_ms == 0)
            continue;
        bool due = part->wait_ms <= elapsed_ms;
        part->wait_ms = due ? 0 : part->wait_ms - elapsed_ms;
        if (due)
            fire(part);
        else
            set_wait(part, part->wait_ms);
    }
    go_on(c);
}

static void cancel(struct pipeline *c)
{
    struct translation *t = state_of(c);
    for (size_t i = 0; i < t->started_count; i++) {
        struct prompt_part *part = &t->prompt_parts[i];
        if (part->ended || !part->pc.provider->cancel)
            continue;
        part->pc.provider->cancel(&part->pc);
        take_wishes(part);
    }
}

static void destroy(struct pipeline *c)
{
    struct translation *t = state_of(c);
    for (size_t i = 0; i < t->part_count; i++) {
        struct prompt_part *part = &t->prompt_parts[i];
        upstream_answer_reset(&part->answer);
        json_doc_free(&part->doc);
        buf_free(&part->mended);
    }
}

static size_t answer_bytes(const struct pipeline *c)
{
    const struct translation *t = c->kind_state;
    size_t bytes = 0;
    for (size_t i = 0; i < t->started_count; i++)
        bytes += upstream_answer_bytes(&t->prompt_parts[i].answer) + t->prompt_parts[i].mended.cap;
    return bytes;
}

static const struct pipeline_kind kind = {.on_head = on_head,
                                          .on_bytes = on_bytes,
                                          .on_end = on_end,
                                          .on_failure = on_failure,
                                          .on_timer = on_timer,
                                          .cancel = cancel,
                                          .answer_bytes = answer_bytes,
                                          .destroy = destroy};

/* An Anthropic client's max_tokens 0 only warms a cache, which has no twin elsewhere. */
static bool is_cache_warming(const struct neutral_request *r)
{
    return r->api == API_ANTHROPIC_MESSAGES && r->has_max_out && r->max_out == 0;
}

enum err translation_start(struct pipeline *c, struct json body, struct api_error *fault_out)
{
    struct translation *t = ARENA_NEW(&c->arena, struct translation);
    if (!t)
        return ERR_NOMEM;
    t->pipeline = c;
    t->api = api_find(c->spec.api);
    assert(t->api); /* pipeline.c starts no other */
    enum err e = translation_read(t, body, fault_out);
    if (e)
        return e;
    c->kind = &kind;
    c->kind_state = t;
    c->stream = t->request.stream;
    c->request = is_cache_warming(&t->request) ? &t->request : NULL;
    if (!is_cache_warming(&t->request))
        translation_apply_caps(t);
    t->writer = translation_make_writer(t);
    if (!t->writer)
        return ERR_NOMEM;
    if (is_cache_warming(&t->request)) {
        translation_answer_empty(t);
        return OK;
    }
    e = translation_make_parts(t, fault_out);
    return e ? e : start_parts(t, fault_out);
}
