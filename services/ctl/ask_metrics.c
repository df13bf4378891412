#include "services/ctl/ask_metrics.h"

#include "services/ctl/ctl_bus.h"

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

enum err ask_metrics(const char *address, const char *certs, const char *what, unsigned timeout_ms,
                     struct buf *body_out)
{
    static const bus_handler handlers[MESSAGE_TYPES] = {[MESSAGE_ANSWER] = on_answer};
    struct asking a = {.what = what, .body = body_out};
    const struct bus_spec spec = {.ctx = &a, .handlers = handlers, .on_peer_up = on_peer_up};
    struct ctl_bus b;
    enum err e = ctl_bus_open(&b, certs, spec, "metrics", address);
    if (!e)
        e = ctl_bus_wait(&b, &a.answered, timeout_ms);
    ctl_bus_close(&b);
    return e ? e : buf_check(body_out);
}
