/* The path of a call whose client and upstream speak different protocols: reader → neutral →
 * provider → neutral events → writer. */
#include "services/worker/pipeline/translation.h"

#include <assert.h>

#include "services/worker/neutral/fault.h"

enum { REPEAT_AFTER_MS = 1000 };

static struct translation *state_of(struct pipeline *c)
{
    return c->kind_state;
}

/* ---- what a part asks for ---- */

static void set_wait(struct prompt_part *l, uint64_t ms)
{
    struct pipeline *c = l->owner->pipeline;
    l->wait_ms = ms;
    if (c->poll_ms == 0 || ms < c->poll_ms)
        pipeline_poll_after(c, ms);
}

/* After every function of the provider. */
static void take_wishes(struct prompt_part *l)
{
    struct transfer *next = l->pc.next;
    uint64_t wait = l->pc.wait_ms;
    l->pc.next = NULL;
    l->pc.wait_ms = 0;
    struct pipeline *c = l->owner->pipeline;
    if (next && (next->detached || !l->ended)) {
        if (!next->detached) {
            l->current = next;
            l->repeats = 0;
        }
        pipeline_send(c, next);
    }
    if (wait && !l->ended && c->state == PIPELINE_RUNNING)
        set_wait(l, wait);
}

static void check_parsed(struct prompt_part *l, enum err e)
{
    struct pipeline *c = l->owner->pipeline;
    if (e == ERR_NOMEM)
        pipeline_fail_class(c, ERROR_INTERNAL, "out of memory");
    else if (e)
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL,
                            "the upstream's answer is not what its protocol says");
    take_wishes(l);
}

static enum err start_part(struct prompt_part *l, struct fault *fault_out)
{
    enum err e = l->pc.provider->build_request(&l->pc, fault_out);
    if (e)
        return e;
    if (l->owner->pipeline->request == NULL)
        l->owner->pipeline->request = &l->request; /* names what was dropped */
    take_wishes(l);
    return OK;
}

enum err translation_start_parts(struct translation *t, struct fault *fault_out)
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
static enum answer_mode mode_of(const struct prompt_part *l)
{
    return l->answered == l->current ? l->answer.mode : ANSWER_NONE;
}

/* A part that has ended makes room for one that waits. */
static void go_on(struct pipeline *c)
{
    struct fault fault = {0};
    if (c->state == PIPELINE_RUNNING && translation_start_parts(state_of(c), &fault))
        pipeline_fail(c, &fault);
}

static void on_head(struct pipeline *c, const struct transfer *x, unsigned status,
                    const struct upstream_headers *headers)
{
    struct prompt_part *l = find_part(c, x);
    if (!l)
        return;
    l->answered = x;
    upstream_answer_begin(&l->answer, status, headers, c->spec.max_response, &c->arena);
    if (l->answer.mode == ANSWER_ENCODED)
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is compressed");
    else if (l->answer.mode == ANSWER_EVENTS)
        pipeline_expect_content(c);
}

static enum err on_event(void *ctx, const struct sse_event *e)
{
    struct prompt_part *l = ctx;
    if (l->ended || l->owner->pipeline->state != PIPELINE_RUNNING || mode_of(l) != ANSWER_EVENTS)
        return OK;
    struct sse_event mended = *e;
    if (!utf8_valid(e->data)) {
        buf_clear(&l->mended);
        l->mended.max = (size_t)SSE_MAX_EVENT * 3;
        utf8_repair(&l->mended, e->data);
        mended.data = buf_span(&l->mended);
    }
    if (buf_check(&l->mended)) {
        pipeline_fail_class(l->owner->pipeline, ERROR_INTERNAL, "out of memory");
        return OK;
    }
    check_parsed(l, l->pc.provider->parse_event(&l->pc, l->current, &mended));
    return OK;
}

static void on_bytes(struct pipeline *c, const struct transfer *x, struct span bytes)
{
    struct prompt_part *l = find_part(c, x);
    if (!l || l->ended || mode_of(l) == ANSWER_NONE)
        return;
    enum err e;
    if (l->answer.mode == ANSWER_EVENTS) {
        l->answer.received_bytes += bytes.len;
        e = sse_feed(&l->answer.sse, bytes, on_event, l);
        /* a client that gets it whole has it gathered here: events are mostly their wrapping */
        if (!c->stream && l->answer.received_bytes / 16 > c->spec.max_response)
            e = ERR_TOO_BIG;
    } else {
        e = upstream_answer_gather(&l->answer, bytes);
    }
    if (e)
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
    go_on(c);
}

/* A GET that only looks may be asked again. */
static bool repeat(struct prompt_part *l, unsigned error_class)
{
    const struct transfer *x = l->current;
    enum retry retry = error_info(error_class)->retry;
    if (!x->repeatable || x->expects_stream || l->repeats >= TRANSLATION_MAX_REPEATS ||
        retry == RETRY_NEVER)
        return false;
    l->again = ARENA_NEW(&l->owner->pipeline->arena, struct transfer);
    if (!l->again)
        return false;
    *l->again = *x;
    l->repeats++;
    set_wait(l, REPEAT_AFTER_MS);
    return true;
}

static void end_error(struct prompt_part *l)
{
    struct pipeline *c = l->owner->pipeline;
    struct upstream_headers headers = upstream_answer_headers(&l->answer);
    struct fault fault = {0};
    l->pc.provider->map_error(&l->pc, l->answer.status, &headers, buf_span(&l->answer.body),
                              &fault);
    fault.upstream_status = l->answer.status;
    if (!repeat(l, fault.error_class))
        pipeline_fail(c, &fault);
}

static void end_whole(struct prompt_part *l)
{
    struct span body = buf_span(&l->answer.body);
    if (!utf8_valid(body)) {
        buf_clear(&l->mended);
        l->mended.max = body.len * 3 + 1;
        utf8_repair(&l->mended, body);
        body = buf_span(&l->mended);
    }
    check_parsed(l, l->pc.provider->parse_response(&l->pc, l->current, body));
}

static void end_events(struct prompt_part *l)
{
    struct pipeline *c = l->owner->pipeline;
    const struct transfer *x = l->current;
    if (sse_finish(&l->answer.sse, on_event, l))
        pipeline_fail_class(c, ERROR_UPSTREAM_PROTOCOL, "the upstream's answer is too large");
    /* an event may have ended the part, or asked for another transfer */
    if (c->state == PIPELINE_RUNNING && !l->ended && l->current == x)
        check_parsed(l, l->pc.provider->parse_end(&l->pc, x));
}

/* The transfer is over and asked for nothing more: then the part must have come to its end. */
static void check_settled(struct prompt_part *l, const struct transfer *x)
{
    struct pipeline *c = l->owner->pipeline;
    if (c->state != PIPELINE_RUNNING || l->ended || l->current != x)
        return;
    if (l->wait_ms == 0)
        pipeline_fail_class(c, ERROR_UPSTREAM_CLOSED, "upstream closed the stream");
    l->current = NULL;
}

static void on_end(struct pipeline *c, const struct transfer *x)
{
    struct prompt_part *l = find_part(c, x);
    if (!l || l->ended)
        return;
    switch (mode_of(l)) {
    case ANSWER_ERROR:
        end_error(l);
        break;
    case ANSWER_WHOLE:
        end_whole(l);
        break;
    case ANSWER_EVENTS:
        end_events(l);
        break;
    case ANSWER_NONE:
    case ANSWER_ENCODED:
        break;
    }
    check_settled(l, x);
    go_on(c);
}

/* A connection lost behind the stop reason has cost nothing; a stream that can be read again
 * elsewhere (Replicate's) is the provider's to finish. What is left of a cut event is no event. */
static void on_failure(struct pipeline *c, const struct transfer *x, const struct fault *fault)
{
    struct prompt_part *l = find_part(c, x);
    if (!l || l->ended)
        return;
    bool may_be_whole = l->stopped || x->repeatable || fault->error_class == ERROR_UPSTREAM_CLOSED;
    if (mode_of(l) == ANSWER_EVENTS && may_be_whole) {
        check_parsed(l, l->pc.provider->parse_end(&l->pc, x));
        check_settled(l, x);
        go_on(c);
    } else if (!repeat(l, fault->error_class)) {
        pipeline_fail(c, fault);
    }
}

static void fire(struct prompt_part *l)
{
    struct transfer *again = l->again;
    l->again = NULL;
    if (again) {
        l->current = again;
        pipeline_send(l->owner->pipeline, again);
    } else if (l->pc.provider->on_timer) {
        check_parsed(l, l->pc.provider->on_timer(&l->pc));
    }
}

static void on_timer(struct pipeline *c, uint64_t elapsed_ms, uint64_t waited_ms)
{
    struct translation *t = state_of(c);
    for (size_t i = 0; i < t->started_count && c->state == PIPELINE_RUNNING; i++) {
        struct prompt_part *l = &t->prompt_parts[i];
        l->pc.waited_ms = waited_ms;
        if (l->wait_ms == 0)
            continue;
        bool due = l->wait_ms <= elapsed_ms;
        l->wait_ms = due ? 0 : l->wait_ms - elapsed_ms;
        if (due)
            fire(l);
        else
            set_wait(l, l->wait_ms);
    }
    go_on(c);
}

static void cancel(struct pipeline *c)
{
    struct translation *t = state_of(c);
    for (size_t i = 0; i < t->started_count; i++) {
        struct prompt_part *l = &t->prompt_parts[i];
        if (l->ended || !l->pc.provider->cancel)
            continue;
        l->pc.provider->cancel(&l->pc);
        take_wishes(l);
    }
}

static void destroy(struct pipeline *c)
{
    struct translation *t = state_of(c);
    for (size_t i = 0; i < t->part_count; i++) {
        struct prompt_part *l = &t->prompt_parts[i];
        upstream_answer_reset(&l->answer);
        json_doc_free(&l->doc);
        buf_free(&l->mended);
    }
}

static const struct pipeline_kind path = {.on_head = on_head,
                                          .on_bytes = on_bytes,
                                          .on_end = on_end,
                                          .on_failure = on_failure,
                                          .on_timer = on_timer,
                                          .cancel = cancel,
                                          .destroy = destroy};

/* An Anthropic client's max_tokens 0 only warms a cache, which has no twin elsewhere. */
static bool is_cache_warming(const struct neutral_request *r)
{
    return r->api == API_ANTHROPIC_MESSAGES && r->has_max_out && r->max_out == 0;
}

enum err translation_start(struct pipeline *c, struct json body, struct fault *fault_out)
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
    c->kind = &path;
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
    return e ? e : translation_start_parts(t, fault_out);
}
