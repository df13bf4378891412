#include "unit/services/broker/test_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/api.h"
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

static struct sent *record(struct world *w, struct bus_peer *to, struct header h, unsigned type)
{
    assert_true(w->sent_count < WORLD_MAX_FRAMES);
    struct sent *s = &w->sent[w->sent_count++];
    *s = (struct sent){.to = to, .h = h, .type = type};
    return s;
}

static void keep(char *out, size_t size, struct span s)
{
    (void)snprintf(out, size, "%.*s", SPAN_ARG(s));
}

static enum err on_send(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                        const void *message)
{
    struct world *w = ctx;
    if (to == w->unreachable)
        return w->unreachable_with;
    struct sent *s = record(w, to, h, type);
    if (type == MESSAGE_DISPATCH) {
        const struct dispatch *d = message;
        keep(s->target_model, sizeof s->target_model, d->target_model);
        keep(s->avoid, sizeof s->avoid, d->avoid);
        keep(s->route, sizeof s->route, d->route);
        keep(s->response_id, sizeof s->response_id, d->response_id);
        s->stored_endpoint = d->stored_endpoint;
        keep(s->body, sizeof s->body, d->body);
    } else if (type == MESSAGE_FAIL) {
        const struct fail *f = message;
        s->error_class = f->error_class;
        s->retry_after_ms = f->retry_after_ms;
        keep(s->message, sizeof s->message, f->message);
        keep(s->code, sizeof s->code, f->code);
    }
    return OK;
}

static enum err on_forward(void *ctx, struct bus_peer *to, struct header h,
                           const struct bus_message *m)
{
    struct world *w = ctx;
    if (to == w->unreachable)
        return w->unreachable_with;
    struct sent *s = record(w, to, h, m->header.type);
    s->forwarded = true;
    if (m->header.type == MESSAGE_FAIL)
        s->error_class = m->body->fail.error_class;
    return OK;
}

static uint32_t on_chance(void *ctx)
{
    return ((struct world *)ctx)->chance;
}

static void on_waited(void *ctx, uint64_t us)
{
    (void)ctx;
    (void)us;
}

static void on_retried(void *ctx, const char *provider, unsigned error_class)
{
    (void)provider;
    (void)error_class;
    ((struct world *)ctx)->retried++;
}

static const struct requests_ops ops = {on_send, on_forward, on_chance, on_waited, on_retried};

const struct sent *world_next(struct world *w)
{
    return w->read < w->sent_count ? &w->sent[w->read++] : NULL;
}

static struct request_id make_id(unsigned n)
{
    struct request_id id = {{0}};
    memcpy(id.bytes, &n, sizeof n);
    return id;
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

/* ---- the world ---- */

void world_open(struct world *w, const char *yaml)
{
    *w = (struct world){.chance = UINT32_MAX / 2, .unreachable_with = ERR_AGAIN};
    clock_fake_init(&w->clock, 1000000000, 0);
    w->config = test_config(yaml);
    struct requests_rules rules = rules_from(&w->config->options);
    assert_int_equal(workers_create(&w->workers), OK);
    assert_int_equal(router_create(&w->router, w->config, w->workers, NULL, world_now(w)), OK);
    assert_int_equal(requests_create(&w->requests, &ops, w, &rules, w->workers, w->router), OK);
}

void world_close(struct world *w)
{
    requests_destroy(&w->requests);
    router_unref(&w->router);
    workers_destroy(&w->workers);
    config_destroy(&w->config);
}

uint64_t world_now(const struct world *w)
{
    return w->clock.now_us;
}

void world_advance(struct world *w, uint64_t ms)
{
    requests_tick(w->requests, world_now(w));
    for (uint64_t i = 0; i < ms; i++) {
        clock_fake_advance_ms(&w->clock, 1);
        requests_tick(w->requests, world_now(w));
    }
}

struct bus_peer *world_peer(unsigned n)
{
    static char peers[64];
    assert_true(n < sizeof peers);
    return (struct bus_peer *)(void *)&peers[n];
}

struct broker_worker *world_worker(struct world *w, const char *provider, unsigned n,
                                   uint32_t slots)
{
    char name[32];
    (void)snprintf(name, sizeof name, "worker-%u", n);
    struct broker_worker *worker =
        workers_add(w->workers, world_peer(n), span_str(provider), span_str(name), world_now(w));
    assert_non_null(worker);
    requests_on_slots(w->requests, worker, slots, SPAN_NONE, world_now(w));
    return worker;
}

struct broker_edge *world_edge(struct world *w, unsigned n)
{
    struct broker_edge *e = requests_edge_up(w->requests, world_peer(n));
    assert_non_null(e);
    return e;
}

/* ---- what comes in: through the codec, as from the bus ---- */

struct frame {
    char *bytes;
    struct bus_message m;
    union message_body body;
};

static void make_frame(struct frame *f, struct header h, const void *message)
{
    size_t size = codec_size(h.type, message);
    f->bytes = malloc(size);
    assert_non_null(f->bytes);
    codec_encode(&h, message, f->bytes);
    f->m = (struct bus_message){.header = h, .body = &f->body, .frame = span_of(f->bytes, size)};
    assert_int_equal(codec_decode(h.type, span_skip(f->m.frame, HEADER_BYTES), &f->body), OK);
}

void world_request(struct world *w, struct broker_edge *e, unsigned id, const char *key,
                   const char *model, uint32_t deadline_ms)
{
    char body[64];
    struct frame f;
    (void)snprintf(body, sizeof body, "body of %u", id);
    struct request r = {.api = 1,
                        .model = span_str(model),
                        .key_id = span_str(key),
                        .method = SPAN("POST"),
                        .path = SPAN("/chat/completions"),
                        .body = span_str(body)};
    struct header h = {.type = MESSAGE_REQUEST, .id = make_id(id), .deadline_ms = deadline_ms};
    make_frame(&f, h, &r);
    requests_on_request(w->requests, e, &f.m, world_now(w));
    /* The frame ends here: whoever still looks at it is found out by the sanitizer. */
    free(f.bytes);
}

void world_from_edge(struct world *w, struct broker_edge *e, unsigned id, unsigned type,
                     uint32_t deadline_ms)
{
    union message_body nothing = {0};
    struct frame f;
    make_frame(
        &f, (struct header){.type = (uint8_t)type, .id = make_id(id), .deadline_ms = deadline_ms},
        &nothing);
    if (type == MESSAGE_CANCEL)
        requests_on_cancel(w->requests, e, &f.m, world_now(w));
    else
        requests_on_credit(w->requests, e, &f.m);
    free(f.bytes);
}

static void from_worker(struct world *w, struct broker_worker *from, struct frame *f)
{
    switch (f->m.header.type) {
    case MESSAGE_HEAD:
        requests_on_head(w->requests, from, &f->m, world_now(w));
        break;
    case MESSAGE_DATA:
        requests_on_data(w->requests, from, &f->m, world_now(w));
        break;
    case MESSAGE_FAIL:
        requests_on_fail(w->requests, from, &f->m, world_now(w));
        break;
    default:
        requests_on_end(w->requests, from, &f->m, world_now(w));
    }
    free(f->bytes);
}

void world_from_worker(struct world *w, struct broker_worker *from, unsigned id, unsigned attempt,
                       unsigned type, uint32_t seq)
{
    union message_body nothing = {0};
    struct frame f;
    struct header h = {
        .type = (uint8_t)type, .id = make_id(id), .attempt = (uint8_t)attempt, .seq = seq};
    make_frame(&f, h, &nothing);
    from_worker(w, from, &f);
}

void world_fail(struct world *w, struct broker_worker *from, unsigned id, unsigned attempt,
                struct fail fail)
{
    struct frame f;
    make_frame(
        &f, (struct header){.type = MESSAGE_FAIL, .id = make_id(id), .attempt = (uint8_t)attempt},
        &fail);
    from_worker(w, from, &f);
}

void world_ask_response(struct world *w, struct broker_edge *e, unsigned id, const char *key,
                        const char *model, const char *response_id)
{
    struct frame f;
    struct request r = {.api = API_OPENAI_RESPONSES,
                        .model = span_str(model),
                        .key_id = span_str(key),
                        .method = SPAN("GET"),
                        .path = SPAN("/responses/x"),
                        .response_id = span_str(response_id)};
    make_frame(&f, (struct header){.type = MESSAGE_REQUEST, .id = make_id(id)}, &r);
    requests_on_request(w->requests, e, &f.m, world_now(w));
    free(f.bytes);
}

void world_made_response(struct world *w, struct broker_worker *from, unsigned id, unsigned type,
                         const char *response_id, uint32_t endpoint)
{
    struct frame f;
    struct header h = {.type = (uint8_t)type, .id = make_id(id), .attempt = 1};
    struct head head = {.upstream_id = span_str(response_id), .endpoint = endpoint};
    struct reply reply = {.upstream_id = span_str(response_id), .endpoint = endpoint};
    make_frame(&f, h, type == MESSAGE_HEAD ? (void *)&head : (void *)&reply);
    from_worker(w, from, &f);
}
