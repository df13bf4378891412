#include "services/ctl/ask_metrics.h"

#include "common/runtime/bus/bus.h"
#include "services/ctl/knock.h"

struct asking {
    const char *what;
    struct buf *body;
    bool answered;
};

static void on_peer_up(void *ctx, struct bus_peer *peer)
{
    struct asking *a = ctx;
    struct query q = {.what = span_str(a->what)};
    if (bus_send(peer, (struct header){.id = request_id_new()}, MESSAGE_QUERY, &q))
        return; /* then it times out */
}

static void on_answer(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct asking *a = ctx;
    (void)from;
    if (a->answered)
        return;
    a->answered = true;
    buf_append(a->body, m->body->answer.body);
}

static enum err run_until_answered(struct loop *loop, const struct asking *a, unsigned timeout_ms)
{
    enum { STEP_MS = 20 };
    uint64_t due_us = clock_mono_us(&clock_real) + (uint64_t)timeout_ms * 1000;
    while (!a->answered) {
        enum err e = loop_turn(loop, STEP_MS);
        if (e)
            return e;
        if (clock_mono_us(&clock_real) > due_us)
            return ERR_TIMEOUT;
    }
    return buf_check(a->body);
}

enum err ask_metrics(const char *address, const char *what, unsigned timeout_ms,
                     struct buf *body_out)
{
    static const bus_handler handlers[MESSAGE_TYPES] = {[MESSAGE_ANSWER] = on_answer};
    struct asking a = {.what = what, .body = body_out};
    char name[KNOCK_NAME_BYTES];
    knock_name(name);
    struct bus_spec spec = {
        .role = "ctl", .name = name, .ctx = &a, .handlers = handlers, .on_peer_up = on_peer_up};
    struct loop *loop = NULL;
    struct bus *bus = NULL;
    struct bus_peer *metrics;
    enum err e = loop_create(&loop, &clock_real);
    if (!e)
        e = bus_create(&bus, loop, &spec);
    if (!e)
        e = bus_connect(bus, "metrics", address, &metrics);
    if (!e)
        e = run_until_answered(loop, &a, timeout_ms);
    bus_destroy(&bus);
    loop_destroy(&loop);
    return e;
}
