#include "unit/services/broker/test_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/codec.h"
#include "services/broker/rules.h"

struct config *test_config(const char *yaml)
{
    char path[] = "/tmp/tollgate-test-XXXXXX";
    struct config_paths paths = {"/tmp", "/tmp"};
    struct config *config = NULL;
    struct buf errors = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, strlen(yaml)), strlen(yaml));
    assert_int_equal(close(fd), 0);
    enum err e = config_load(path, &paths, &config, &errors);
    (void)unlink(path);
    if (e)
        print_error("%.*s\n", SPAN_ARG(buf_span(&errors)));
    assert_int_equal(e, OK);
    buf_free(&errors);
    return config;
}

/* ---- what goes out ---- */

static void keep(char *out, size_t size, struct span s)
{
    (void)snprintf(out, size, "%.*s", SPAN_ARG(s));
}

static void keep_grant(struct sent *s, const struct grant *g)
{
    assert_int_equal(g->token.len, GRANT_TOKEN_BYTES);
    assert_int_equal(g->trail.len, TRAIL_BYTES);
    memcpy(s->token, g->token.data, GRANT_TOKEN_BYTES);
    memcpy(s->trail, g->trail.data, TRAIL_BYTES);
    assert_int_equal(grant_token_read(g->token, &s->t), OK);
    s->number = g->number;
    s->standing = g->standing;
    s->slots = g->slots;
    s->valid_ms = g->valid_ms;
    s->timeout_ms = g->timeout_ms;
    s->stored_endpoint = g->stored_endpoint;
    s->worker_epoch = g->worker_epoch;
    keep(s->worker, sizeof s->worker, g->worker);
    keep(s->address, sizeof s->address, g->address);
    keep(s->provider, sizeof s->provider, g->provider);
    keep(s->model, sizeof s->model, g->model);
    keep(s->target_model, sizeof s->target_model, g->target_model);
    keep(s->route, sizeof s->route, g->route);
    keep(s->avoid, sizeof s->avoid, g->avoid);
}

static void keep_decline(struct sent *s, const struct decline *d)
{
    s->error_class = d->error_class;
    s->retry_after_ms = d->retry_after_ms;
    keep(s->message, sizeof s->message, d->message);
    keep(s->code, sizeof s->code, d->code);
    keep(s->param, sizeof s->param, d->param);
}

static void on_send(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                    const void *message)
{
    struct world *w = ctx;
    if (type == MESSAGE_REPORTED) {
        w->reported++;
        w->last_seq = h.seq;
        return;
    }
    assert_true(w->sent_count < WORLD_MAX_FRAMES);
    struct sent *s = &w->sent[w->sent_count++];
    *s = (struct sent){.to = to, .h = h, .type = type};
    if (type == MESSAGE_GRANT)
        keep_grant(s, message);
    else if (type == MESSAGE_DECLINE)
        keep_decline(s, message);
    else if (type == MESSAGE_REVOKE)
        s->number = ((const struct revoke *)message)->number;
}

static uint32_t on_chance(void *ctx)
{
    return ((struct world *)ctx)->chance;
}

static void on_waited(void *ctx, uint64_t us)
{
    ((struct world *)ctx)->waited_us = us;
}

static void on_retried(void *ctx, const char *provider, unsigned error_class)
{
    (void)provider;
    (void)error_class;
    ((struct world *)ctx)->retried++;
}

static const struct core_ops ops = {on_send, on_chance, on_waited, on_retried};

static struct request_id make_id(unsigned n)
{
    struct request_id id = {{0}};
    memcpy(id.bytes, &n, sizeof n);
    return id;
}

const struct sent *world_next(struct world *w)
{
    return w->read < w->sent_count ? &w->sent[w->read++] : NULL;
}

const struct sent *world_expect(struct world *w, unsigned type, unsigned peer, unsigned id)
{
    const struct sent *s = world_next(w);
    struct request_id wanted = make_id(id);
    assert_non_null(s);
    assert_int_equal(s->type, type);
    assert_ptr_equal(s->to, world_peer(peer));
    assert_true(request_id_equals(&s->h.id, &wanted));
    return s;
}

const struct sent *world_expect_grant(struct world *w, unsigned peer, unsigned id, unsigned n)
{
    const struct sent *s = world_expect(w, MESSAGE_GRANT, peer, id);
    assert_int_equal(s->worker_epoch, 1000 + n);
    return s;
}

const struct sent *world_expect_decline(struct world *w, unsigned peer, unsigned id,
                                        unsigned error_class)
{
    const struct sent *s = world_expect(w, MESSAGE_DECLINE, peer, id);
    assert_int_equal(s->error_class, error_class);
    return s;
}

void world_expect_revoke(struct world *w, unsigned peer, uint64_t number)
{
    assert_int_equal(world_expect(w, MESSAGE_REVOKE, peer, 0)->number, number);
}

void world_expect_idle(struct world *w)
{
    struct core_stats s = core_stats(w->core);
    assert_int_equal(s.asks, 0);
    assert_int_equal(s.queued, 0);
    assert_int_equal(s.grants, 0);
    for (const struct pool *p = workers_first_pool(w->workers); p; p = p->next) {
        assert_int_equal(p->in_flight, 0);
        assert_int_equal(p->queue.count, 0);
        for (const struct broker_worker *b = p->workers; b; b = b->next)
            assert_int_equal(b->in_flight, 0);
    }
    world_expect_nothing(w);
}

/* ---- the world ---- */

void world_open_with(struct world *w, struct config *config)
{
    memset(w, 0, offsetof(struct world, sent)); /* which is large */
    w->chance = UINT32_MAX / 2;
    clock_fake_init(&w->clock, 1000000000, 0);
    w->config = config;
    struct core_rules rules = rules_from(&w->config->options);
    assert_int_equal(workers_create(&w->workers), OK);
    assert_int_equal(router_create(&w->router, w->config, w->workers, NULL, world_now(w)), OK);
    assert_int_equal(core_create(&w->core, &ops, w, &rules, w->workers, w->router, WORLD_EPOCH),
                     OK);
}

void world_open(struct world *w, const char *yaml)
{
    world_open_with(w, test_config(yaml));
}

void world_close(struct world *w)
{
    core_destroy(&w->core);
    assert_null(w->core);
    router_unref(&w->router);
    workers_destroy(&w->workers);
    config_destroy(&w->config);
}

uint64_t world_now(const struct world *w)
{
    return w->clock.now_us;
}

static void step(struct world *w, struct core_event event)
{
    core_step(w->core, &event, world_now(w));
}

void world_advance(struct world *w, uint64_t ms)
{
    uint64_t until = world_now(w) + ms * 1000, due;
    unsigned ticks = 0;
    while ((due = core_next_due_us(w->core)) <= until) {
        /* Whoever sets itself again must move on: anything else is a loop at full speed. */
        assert_true(ticks++ < 100000);
        w->clock.now_us = due > world_now(w) ? due : world_now(w);
        step(w, (struct core_event){.kind = EVENT_TICK});
    }
    w->clock.now_us = until;
}

void world_rules(struct world *w, const struct core_rules *rules)
{
    struct core_rules own = rules_from(&w->config->options);
    core_reconfigure(w->core, rules ? rules : &own, w->router, world_now(w));
}

void world_reload(struct world *w, const char *yaml)
{
    struct config *config = test_config(yaml);
    assert_int_equal(router_renew(&w->router, config, w->workers, world_now(w)), OK);
    config_destroy(&w->config);
    w->config = config;
    world_rules(w, NULL);
}

/* ---- peers ---- */

struct bus_peer *world_peer(unsigned n)
{
    static char peers[64];
    assert_true(n < sizeof peers);
    return (struct bus_peer *)(void *)&peers[n];
}

static unsigned number_of(const struct bus_peer *peer)
{
    return (unsigned)((const char *)peer - (const char *)world_peer(0));
}

struct broker_edge *world_edge(struct world *w, unsigned n)
{
    struct broker_edge *e = core_edge_up(w->core, world_peer(n), n);
    assert_non_null(e);
    return e;
}

void world_edge_down(struct world *w, struct broker_edge **e)
{
    step(w, (struct core_event){.kind = EVENT_EDGE_DOWN, .edge = *e});
    *e = NULL;
}

void world_worker_key(unsigned n, uint8_t out[GRANT_KEY_BYTES])
{
    memset(out, (int)n, GRANT_KEY_BYTES);
}

struct broker_worker *world_worker(struct world *w, const char *provider, unsigned n,
                                   uint32_t slots)
{
    char name[32], address[64];
    (void)snprintf(name, sizeof name, "worker-%u", n);
    (void)snprintf(address, sizeof address, "tcp://10.0.0.%u:4000", n);
    struct broker_worker *worker =
        workers_add(w->workers, world_peer(n), span_str(provider), span_str(name),
                    span_str(address), 1000 + n, world_now(w));
    assert_non_null(worker);
    world_slots(w, worker, slots, 0);
    return worker;
}

void world_worker_down(struct world *w, struct broker_worker **worker)
{
    step(w, (struct core_event){.kind = EVENT_WORKER_DOWN, .worker = *worker});
    *worker = NULL;
}

/* ---- what comes in: through the codec, as from the bus ---- */

static void receive(struct world *w, struct core_event event, unsigned type, const void *message)
{
    union message_body body;
    size_t size = codec_size(type, message);
    char *bytes = malloc(size);
    assert_non_null(bytes);
    event.header.type = (uint8_t)type;
    codec_encode(&event.header, message, bytes);
    assert_int_equal(codec_decode(type, span_skip(span_of(bytes, size), HEADER_BYTES), &body), OK);
    event.body = &body;
    step(w, event);
    /* The frame ends here: whoever still looks at it is found out by the sanitizer. */
    free(bytes);
}

static void say_slots(struct world *w, struct broker_worker *worker, struct slots m)
{
    uint8_t key[GRANT_KEY_BYTES];
    unsigned n = number_of(worker->peer);
    world_worker_key(n, key);
    m.clock_ms = n * 1000u;
    m.grant_key = span_of((const char *)key, sizeof key);
    receive(w, (struct core_event){.kind = EVENT_SLOTS, .worker = worker}, MESSAGE_SLOTS, &m);
}

void world_slots(struct world *w, struct broker_worker *worker, uint32_t slots, uint32_t running)
{
    say_slots(w, worker, (struct slots){.offered = slots, .running = running, .free = slots});
}

void world_slots_free(struct world *w, struct broker_worker *worker, uint32_t slots,
                      uint32_t running, uint32_t free)
{
    say_slots(w, worker, (struct slots){.offered = slots, .running = running, .free = free});
}

void world_slots_why(struct world *w, struct broker_worker *worker, const char *why)
{
    say_slots(w, worker, (struct slots){.why = span_str(why)});
}

void world_ask_as(struct world *w, struct broker_edge *e, unsigned id, unsigned attempt,
                  const struct ask *m, uint32_t deadline_ms)
{
    struct core_event event = {
        .kind = EVENT_ASK,
        .edge = e,
        .header = {.id = make_id(id), .attempt = (uint8_t)attempt, .deadline_ms = deadline_ms}};
    receive(w, event, MESSAGE_ASK, m);
}

void world_ask(struct world *w, struct broker_edge *e, unsigned id, const char *key,
               const char *model, uint32_t deadline_ms)
{
    struct ask m = {.api = 1, .model = span_str(model), .key_id = span_str(key)};
    world_ask_as(w, e, id, 1, &m, deadline_ms);
}

void world_ask_wanted(struct world *w, struct broker_edge *e, unsigned id, const char *model,
                      uint32_t wanted)
{
    struct ask m = {.api = 1, .model = span_str(model), .key_id = SPAN("k"), .wanted = wanted};
    world_ask_as(w, e, id, 1, &m, 0);
}

void world_renew(struct world *w, struct broker_edge *e, const char *model, uint32_t wanted)
{
    struct ask m = {.model = span_str(model), .wanted = wanted};
    world_ask_as(w, e, 0, 0, &m, 0);
}

void world_cancel(struct world *w, struct broker_edge *e, unsigned id)
{
    struct core_event event = {.kind = EVENT_CANCEL, .edge = e, .header = {.id = make_id(id)}};
    receive(w, event, MESSAGE_CANCEL, &(struct cancel){0});
}

void world_report(struct world *w, struct broker_edge *e, const struct grant_report *entries,
                  size_t count)
{
    uint8_t bytes[16 * GRANT_REPORT_BYTES];
    unsigned before = w->reported;
    assert_true(count <= 16);
    for (size_t i = 0; i < count; i++)
        grant_report_write(&entries[i], bytes + i * GRANT_REPORT_BYTES);
    struct report m = {.entries = span_of((const char *)bytes, count * GRANT_REPORT_BYTES)};
    struct core_event event = {.kind = EVENT_REPORT, .edge = e, .header = {.seq = ++w->seq}};
    receive(w, event, MESSAGE_REPORT, &m);
    assert_int_equal(w->reported, before + 1);
    assert_int_equal(w->last_seq, w->seq);
}

void world_done(struct world *w, struct broker_edge *e, const struct sent *grant)
{
    struct grant_report r = {grant->number, 1, 1, 1, 0, 0, true};
    world_report(w, e, &r, 1);
}

void world_return(struct world *w, struct broker_edge *e, const struct sent *grant)
{
    struct grant_report r = {.number = grant->number, .closed = true};
    world_report(w, e, &r, 1);
}

static unsigned id_of(const struct sent *s)
{
    unsigned n;
    memcpy(&n, s->h.id.bytes, sizeof n);
    return n;
}

void world_fail(struct world *w, struct broker_edge *e, const struct sent *grant, struct ask failed)
{
    struct grant_report r = {.number = grant->number, .started = 1, .failed = 1, .closed = true};
    world_report(w, e, &r, 1);
    failed.trail = span_of((const char *)grant->trail, sizeof grant->trail);
    failed.failed_worker = span_str(grant->worker);
    if (!failed.model.len && !failed.response_id.len)
        failed.model = span_str(grant->model);
    if (!failed.key_id.len)
        failed.key_id = SPAN("k");
    world_ask_as(w, e, id_of(grant), grant->h.attempt + 1u, &failed, 0);
}

void world_busy(struct world *w, struct broker_edge *e, const struct sent *grant, struct ask again,
                unsigned times, uint32_t free_slots)
{
    struct grant_report r = {.number = grant->number, .started = 1, .canceled = 1, .closed = true};
    world_report(w, e, &r, 1);
    again.failed_worker = span_str(grant->worker);
    again.busy = times;
    again.free = free_slots;
    if (!again.model.len && !again.response_id.len)
        again.model = span_str(grant->model);
    if (!again.key_id.len)
        again.key_id = SPAN("k");
    world_ask_as(w, e, id_of(grant), grant->h.attempt, &again, 0);
}

void world_stored(struct world *w, struct broker_edge *e, const char *response_id, const char *key,
                  const char *provider, uint32_t endpoint)
{
    struct stored m = {.response_id = span_str(response_id),
                       .key_id = span_str(key),
                       .provider = span_str(provider),
                       .endpoint = endpoint};
    receive(w, (struct core_event){.kind = EVENT_STORED, .edge = e}, MESSAGE_STORED, &m);
}
