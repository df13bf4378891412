#include "unit/services/edge/test_suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/edge/request/authorize.h"
#include "services/edge/request/dispatch.h"
#include "services/edge/request/key_check.h"
#include "services/edge/request/relay.h"
#include "services/edge/status/status.h"

static const char yaml[] =
    "default_model: gpt-4\n"
    "edge:\n"
    "  address: 127.0.0.1\n  port: 1\n  shards: 2\n  hold_timeout: 1s\n  keepalive_interval: 2s\n  "
    "deadline: 20s\n"
    "  stream_window: 64KiB\n  metrics_allow: [127.0.0.0/8]\n"
    "providers:\n  openai: { api_keys: [\"k\"] }\n"
    "models:\n"
    "  gpt-4: { targets: [{provider: openai}], defaults: {max_tokens: 77}, deadline: 5s }\n"
    "  claude-3: { targets: [{provider: openai}], deadline: 8s }\n"
    "  \"wild-*\": { targets: [{provider: openai}] }\n"
    "  hasty: { targets: [{provider: openai}], total_timeout: 2s, deadline: 20s }\n";

/* ---- fake daemons ---- */

static void keep(struct suite_seen *seen, unsigned at, struct span text)
{
    (void)snprintf(seen->text[at], sizeof seen->text[at], "%.*s", SPAN_ARG(text));
}

static struct suite_seen *note(struct suite_peer *p, struct bus_peer *from,
                               const struct bus_message *m)
{
    struct suite_seen *seen = &p->seen[m->header.type];
    p->edge = from;
    seen->count++;
    seen->header = m->header;
    return seen;
}

static struct suite *suite_of(void *ctx)
{
    return ctx;
}

static void reply(struct bus_peer *to, const struct bus_message *m, enum message_type type,
                  const void *message)
{
    struct header h = {.id = m->header.id, .attempt = m->header.attempt};
    assert_int_equal(bus_send(to, h, type, message), OK);
}

static void on_authorize(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct suite *s = suite_of(ctx);
    const struct authorize *a = &m->body->authorize;
    struct suite_seen *seen = note(&s->auth, from, m);
    assert_int_equal(a->key_digest.len, SHA256_BYTES);
    keep(seen, 0, a->model);
    crypto_hex(a->key_digest.data, SHA256_BYTES, seen->text[1]);
    seen->number[0] = a->input_tokens;
    seen->number[1] = a->output_tokens;
    seen->number[2] = a->lease_ended;
    seen->number[3] = a->lease_used;
    seen->number[4] = a->has_slot;
    seen->number[5] = a->slots_returned;
    keep(seen, 2, a->answers_for);
    if (a->answers_for.len)
        return;
    if (s->auth_does == AUTH_ALLOWS && s->allow.slots_key.len && !a->has_slot)
        s->allow.slots_given++;
    if (s->auth_does == AUTH_ALLOWS)
        reply(from, m, MESSAGE_ALLOW, &s->allow);
    else if (s->auth_does == AUTH_DENIES)
        reply(from, m, MESSAGE_DENY, &s->deny);
}

static void on_slots_held(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct suite *s = suite_of(ctx);
    struct suite_seen *seen = note(&s->auth, from, m);
    seen->number[0] = m->body->slots_held.given;
    seen->number[1] = m->body->slots_held.returned;
}

static void on_release(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct suite *s = suite_of(ctx);
    const struct release *r = &m->body->release;
    struct suite_seen *seen = note(&s->auth, from, m);
    struct released released = {0};
    keep(seen, 0, r->model);
    keep(seen, 1, r->provider);
    keep(seen, 2, r->key_id);
    keep(seen, 3, r->workers);
    keep(seen, 4, r->answered);
    (void)snprintf(s->history, sizeof s->history, "%.*s", SPAN_ARG(r->history));
    seen->number[0] = r->status;
    seen->number[1] = m->header.attempt;
    seen->number[2] = r->settles;
    seen->number[3] = r->output_tokens;
    if (s->auth_acks)
        reply(from, m, MESSAGE_RELEASED, &released);
}

static bool is_peer_of(const struct suite_peer *p, const struct bus_peer *from)
{
    for (struct bus_peer *at = p->bus ? bus_next_peer(p->bus, NULL) : NULL; at;
         at = bus_next_peer(p->bus, at))
        if (at == from)
            return true;
    return false;
}

/* The fake broker or worker that has got it. */
static struct suite_peer *taker_of(struct suite *s, const struct bus_peer *from)
{
    for (unsigned i = 0; i < SUITE_BROKERS; i++) {
        if (is_peer_of(&s->broker[i], from))
            return &s->broker[i];
        if (is_peer_of(&s->worker[i], from))
            return &s->worker[i];
    }
    fail_msg("a message from nowhere");
    return NULL;
}

struct grant suite_grant_of(struct suite *s, const struct suite_peer *broker)
{
    static const char token[GRANT_TOKEN_BYTES] = {0};
    const struct suite_peer *worker = &s->worker[broker - s->broker];
    return (struct grant){.number = ++s->grants,
                          .token = span_of(token, sizeof token),
                          .standing = s->standing,
                          .slots = s->standing ? 4 : 1,
                          .valid_ms = s->standing ? 900 : 1900,
                          .worker = span_str(worker == s->worker ? "worker-1" : "worker-2"),
                          .worker_epoch = worker->bus ? bus_epoch(worker->bus) : 1,
                          .address = span_str(worker->bus ? bus_address(worker->bus) : "ipc:///n"),
                          .provider = SPAN("openai"),
                          .model = span_str(broker->seen[MESSAGE_ASK].text[0]),
                          .target_model = SPAN("upstream-model"),
                          .route = span_str(s->route ? s->route : ""),
                          .trail = SPAN("trail")};
}

void suite_grant(struct suite *s, struct suite_peer *broker)
{
    struct header h = {.attempt = broker->seen[MESSAGE_ASK].header.attempt};
    struct grant grant = suite_grant_of(s, broker);
    suite_send(broker, MESSAGE_ASK, h, MESSAGE_GRANT, &grant);
}

void suite_decline(struct suite_peer *broker, const struct decline *d)
{
    struct header h = {.attempt = broker->seen[MESSAGE_ASK].header.attempt};
    suite_send(broker, MESSAGE_ASK, h, MESSAGE_DECLINE, d);
}

static void on_ask(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct suite *s = suite_of(ctx);
    const struct ask *a = &m->body->ask;
    struct suite_peer *broker = taker_of(s, from);
    struct suite_seen *seen = note(broker, from, m);
    keep(seen, 0, a->model);
    keep(seen, 1, a->key_id);
    keep(seen, 2, a->trail);
    keep(seen, 3, a->failed_worker);
    keep(seen, 4, a->barred);
    seen->number[0] = a->wanted;
    seen->number[1] = a->failed_class;
    seen->number[2] = a->busy;
    seen->number[3] = a->free;
    seen->number[4] = a->failed_sent;
    seen->number[5] = broker->seen[MESSAGE_REPORT].count;
    seen->number[6] = a->failed_final;
    bool again = m->header.attempt > 1;
    if (s->broker_does == BROKER_GRANTS_ALL || (s->broker_does == BROKER_GRANTS_ONE && !again))
        suite_grant(s, broker);
    else if (s->broker_does == BROKER_GRANTS_ONE)
        suite_decline(broker, &(struct decline){0});
}

static void on_report(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct suite *s = suite_of(ctx);
    struct suite_seen *seen = note(taker_of(s, from), from, m);
    struct span entries = m->body->report.entries;
    struct grant_report r;
    struct header h = {.seq = m->header.seq};
    while (entries.len) {
        assert_int_equal(grant_report_next(&entries, &r), OK);
        seen->number[0] = r.number;
        seen->number[1] = r.started;
        seen->number[2] = r.ok;
        seen->number[3] = r.failed;
        seen->number[4] = r.canceled;
        seen->number[5] = r.closed;
    }
    if (!s->broker_hears_nothing)
        assert_int_equal(bus_send(from, h, MESSAGE_REPORTED, &(struct reported){0}), OK);
}

static void on_dispatch(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    const struct dispatch *r = &m->body->dispatch;
    struct suite_seen *seen = note(taker_of(suite_of(ctx), from), from, m);
    keep(seen, 0, r->model);
    keep(seen, 1, r->query);
    keep(seen, 2, r->headers);
    keep(seen, 3, r->body);
    keep(seen, 5, r->key_name);
    suite_of(ctx)->dispatched = taker_of(suite_of(ctx), from);
    suite_of(ctx)->dispatches++;
    assert_int_equal(r->grant.len, GRANT_TOKEN_BYTES);
    assert_true(span_is(r->target_model, "upstream-model"));
    seen->number[0] = r->api;
    seen->number[1] = r->credit;
    seen->number[2] = r->operation;
}

static void on_noted(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    (void)note(taker_of(suite_of(ctx), from), from, m);
}

static void on_stored(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct suite *s = suite_of(ctx);
    const struct stored *stored = &m->body->stored;
    struct suite_peer *taker = is_peer_of(&s->auth, from) ? &s->auth : taker_of(s, from);
    struct suite_seen *seen = note(taker, from, m);
    keep(seen, 0, stored->response_id);
    keep(seen, 1, stored->key_id);
    keep(seen, 2, stored->provider);
    seen->number[0] = stored->endpoint;
}

static void on_credit(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct suite_seen *seen = note(taker_of(suite_of(ctx), from), from, m);
    seen->number[0] += m->body->credit.bytes;
}

static void on_query(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct suite *s = suite_of(ctx);
    keep(note(&s->metrics, from, m), 0, m->body->query.what);
}

static void on_metric(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    struct suite *s = suite_of(ctx);
    (void)from;
    assert_true(m->body->metric.id < METRIC_ID_COUNT);
    s->counted[m->body->metric.id] = m->body->metric.value;
    (void)snprintf(s->labels[m->body->metric.id], sizeof s->labels[0], "%.*s",
                   SPAN_ARG(m->body->metric.labels));
}

static const bus_handler fake_handlers[MESSAGE_TYPES] = {
    [MESSAGE_AUTHORIZE] = on_authorize, [MESSAGE_SLOTS_HELD] = on_slots_held,
    [MESSAGE_RELEASE] = on_release,     [MESSAGE_ASK] = on_ask,
    [MESSAGE_REPORT] = on_report,       [MESSAGE_DISPATCH] = on_dispatch,
    [MESSAGE_CANCEL] = on_noted,        [MESSAGE_STORED] = on_stored,
    [MESSAGE_CREDIT] = on_credit,       [MESSAGE_QUERY] = on_query,
    [MESSAGE_METRIC] = on_metric,
};

static void nothing(void *ctx, struct bus_peer *peer)
{
    (void)ctx;
    (void)peer;
}

/* Of the broker whose edge this is. */
static uint32_t queued(void *ctx, const struct bus_peer *peer)
{
    struct suite *s = suite_of(ctx);
    return s->queued[taker_of(s, peer) - s->broker];
}

static void start_peer(struct suite *s, struct suite_peer *p, const char *role, const char *name)
{
    bool apart = s->workers_apart && (p == &s->worker[0] || p == &s->worker[1]);
    char address[128];
    struct bus_spec spec = {.role = role,
                            .name = name,
                            .ctx = s,
                            .handlers = fake_handlers,
                            .on_peer_up = nothing,
                            .on_peer_down = nothing,
                            .queued = p == &s->broker[0] || p == &s->broker[1] ? queued : NULL};
    (void)snprintf(address, sizeof address, "ipc://%s/%s", s->dir, name);
    assert_int_equal(bus_create(&p->bus, apart ? s->workers_loop : s->loop, &spec), OK);
    assert_int_equal(bus_bind(p->bus, address), OK);
}

void suite_stop_peer(struct suite *s, struct suite_peer *p)
{
    (void)s;
    bus_destroy(&p->bus);
    p->edge = NULL;
}

void suite_start_auth(struct suite *s)
{
    start_peer(s, &s->auth, "auth", "auth");
    SUITE_UNTIL(s, bus_peer_up(s->d.auth));
}

void suite_start_broker(struct suite *s, unsigned index)
{
    start_peer(s, &s->broker[index], "broker", index ? "broker-2" : "broker-1");
    SUITE_UNTIL(s, bus_peer_up(s->brokers[index]));
}

void suite_start_worker(struct suite *s, unsigned index)
{
    start_peer(s, &s->worker[index], "worker", index ? "worker-2" : "worker-1");
}

void suite_part_workers(struct suite *s)
{
    suite_stop_peer(s, &s->worker[0]);
    suite_stop_peer(s, &s->worker[1]);
    s->workers_apart = true;
    suite_start_worker(s, 0);
    suite_start_worker(s, 1);
}

struct suite_peer *suite_dispatched(struct suite *s)
{
    SUITE_UNTIL(s, s->dispatches > 0);
    s->dispatches--;
    return s->dispatched;
}

void suite_send(struct suite_peer *p, enum message_type about, struct header h,
                enum message_type type, const void *message)
{
    h.id = p->seen[about].header.id;
    assert_int_equal(bus_send(p->edge, h, type, message), OK);
}

/* ---- the edge ---- */

static void edge_on_allow(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    authorize_on_allow(&suite_of(ctx)->edge, m);
    key_check_on_allow(&suite_of(ctx)->edge, m);
}

static void edge_on_deny(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    authorize_on_deny(&suite_of(ctx)->edge, m);
    key_check_on_deny(&suite_of(ctx)->edge, m);
}

static void edge_on_revoked(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    authorize_on_revoked(&suite_of(ctx)->edge, m);
}

static void edge_on_slots_back(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    authorize_on_slots_back(&suite_of(ctx)->edge, m);
}

static void edge_on_released(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    releases_ack(suite_of(ctx)->edge.releases, &m->header.id, m->header.attempt);
}

static void edge_on_answer(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    (void)from;
    status_on_answer(&suite_of(ctx)->edge, m);
}

#define RELAY(name)                                                                                \
    static void edge_on_##name(void *ctx, struct bus_peer *from, const struct bus_message *m)      \
    {                                                                                              \
        relay_on_##name(&suite_of(ctx)->edge, from, m);                                            \
    }
RELAY(head)
RELAY(data)
RELAY(end)
RELAY(reply)
RELAY(fail)

#define DISPATCH(name)                                                                             \
    static void edge_on_##name(void *ctx, struct bus_peer *from, const struct bus_message *m)      \
    {                                                                                              \
        dispatch_on_##name(&suite_of(ctx)->edge, from, m);                                         \
    }
DISPATCH(grant)
DISPATCH(decline)
DISPATCH(revoke)
DISPATCH(reported)

static void edge_drains(void *ctx, struct bus_peer *from, const struct bus_message *m)
{
    (void)m;
    edge_on_drain(&suite_of(ctx)->edge, from);
}

static const bus_handler edge_handlers[MESSAGE_TYPES] = {
    [MESSAGE_ALLOW] = edge_on_allow,       [MESSAGE_DENY] = edge_on_deny,
    [MESSAGE_REVOKED] = edge_on_revoked,   [MESSAGE_RELEASED] = edge_on_released,
    [MESSAGE_HEAD] = edge_on_head,         [MESSAGE_DATA] = edge_on_data,
    [MESSAGE_END] = edge_on_end,           [MESSAGE_REPLY] = edge_on_reply,
    [MESSAGE_FAIL] = edge_on_fail,         [MESSAGE_ANSWER] = edge_on_answer,
    [MESSAGE_DRAIN] = edge_drains,         [MESSAGE_GRANT] = edge_on_grant,
    [MESSAGE_DECLINE] = edge_on_decline,   [MESSAGE_REVOKE] = edge_on_revoke,
    [MESSAGE_REPORTED] = edge_on_reported, [MESSAGE_SLOTS_BACK] = edge_on_slots_back,
};

static void edge_up(void *ctx, struct bus_peer *peer)
{
    edge_on_peer_up(&suite_of(ctx)->edge, peer);
}

static void edge_down(void *ctx, struct bus_peer *peer)
{
    edge_on_peer_down(&suite_of(ctx)->edge, peer);
}

static struct bus_peer *link_to(struct suite *s, const char *role, const char *name)
{
    char address[128];
    struct bus_peer *peer = NULL;
    (void)snprintf(address, sizeof address, "ipc://%s/%s", s->dir, name);
    assert_int_equal(bus_connect(s->bus, role, address, &peer), OK);
    return peer;
}

static void load_config(struct suite *s)
{
    struct config_paths paths = {s->dir, s->dir};
    struct buf errors = {0};
    char path[96];
    (void)snprintf(path, sizeof path, "%s/t.yaml", s->dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fwrite(yaml, 1, sizeof yaml - 1, f) == sizeof yaml - 1);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(config_load(path, &paths, &s->config, &errors), OK);
    s->config->options.edge_port = 0; /* any free one: the file can't say that */
    buf_free(&errors);
}

static void start_edge(struct suite *s)
{
    struct bus_spec spec = {.role = "edge",
                            .name = "edge-1",
                            .ctx = s,
                            .handlers = edge_handlers,
                            .on_peer_up = edge_up,
                            .on_peer_down = edge_down};
    assert_int_equal(bus_create(&s->bus, s->loop, &spec), OK);
    s->brokers[0] = link_to(s, "broker", "broker-1");
    s->brokers[1] = link_to(s, "broker", "broker-2");
    s->d = (struct daemon){
        .loop = s->loop,
        .bus = s->bus,
        .config = s->config,
        .name = "edge-1",
        .run_dir = s->dir,
        .state_dir = s->dir,
        .brokers = s->brokers,
        .broker_count = SUITE_BROKERS,
        .auth = link_to(s, "auth", "auth"),
        .metrics_peer = link_to(s, "metrics", "metrics"),
    };
    assert_int_equal(helper_create(&s->d.helper, s->loop), OK);
    assert_int_equal(edge_start(&s->edge, &s->d), OK);
}

int suite_setup(void **state)
{
    struct suite *s = calloc(1, sizeof *s);
    *state = s;
    (void)snprintf(s->dir, sizeof s->dir, "/tmp/edge_test.XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    clock_fake_init(&s->clock, 1000000000, 1700000000000);
    assert_int_equal(loop_create(&s->loop, &s->clock.clock), OK);
    assert_int_equal(loop_create(&s->workers_loop, &s->clock.clock), OK);
    load_config(s);
    s->auth_acks = true;
    s->allow =
        (struct allow){.key_id = SPAN("key_1"), .key_name = SPAN("team"), .known_ms = 300000};
    start_peer(s, &s->metrics, "metrics", "metrics");
    start_peer(s, &s->auth, "auth", "auth");
    start_peer(s, &s->broker[0], "broker", "broker-1");
    start_peer(s, &s->broker[1], "broker", "broker-2");
    suite_start_worker(s, 0);
    suite_start_worker(s, 1);
    start_edge(s);
    SUITE_UNTIL(s, bus_peer_up(s->d.auth) && bus_peer_up(s->d.metrics_peer));
    SUITE_UNTIL(s, bus_peer_up(s->brokers[0]) && bus_peer_up(s->brokers[1]));
    return 0;
}

int suite_teardown(void **state)
{
    struct suite *s = *state;
    char command[96];
    edge_stop(&s->edge);
    helper_destroy(&s->d.helper);
    bus_destroy(&s->bus);
    bus_destroy(&s->auth.bus);
    bus_destroy(&s->metrics.bus);
    for (unsigned i = 0; i < SUITE_BROKERS; i++) {
        bus_destroy(&s->broker[i].bus);
        bus_destroy(&s->worker[i].bus);
    }
    loop_destroy(&s->workers_loop);
    loop_destroy(&s->loop);
    config_destroy(&s->config);
    (void)snprintf(command, sizeof command, "rm -rf %s", s->dir);
    int removed = system(command);
    free(s);
    return removed;
}

/* ---- time ---- */

void suite_turn(struct suite *s)
{
    clock_fake_advance_ms(&s->clock, 1);
    assert_int_equal(loop_turn(s->loop, 1), OK);
    if (!s->workers_hang)
        assert_int_equal(loop_turn(s->workers_loop, 0), OK);
}

void suite_settle(struct suite *s)
{
    for (int i = 0; i < 20; i++)
        suite_turn(s);
}

void suite_advance(struct suite *s, uint64_t ms)
{
    for (uint64_t passed = 0; passed < ms; passed += 50) {
        clock_fake_advance_ms(&s->clock, 47);
        for (int i = 0; i < 3; i++)
            suite_turn(s);
    }
}

/* ---- the client ---- */

void client_open(struct suite *s, struct suite_client *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_server_port(s->edge.http))};
    *c = (struct suite_client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(c->fd >= 0);
    const int room = 1 << 20; /* what a test sends at once goes at once */
    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &to.sin_addr), 1);
    assert_int_equal(connect(c->fd, (const struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
}

void client_close(struct suite_client *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    buf_free(&c->got);
}

void edge_request(struct suite_client *c, const char *method, const char *path, const char *head,
                  const char *body)
{
    struct buf out = {0};
    buf_clear(&c->got);
    buf_printf(&out, "%s %s HTTP/1.1\r\nHost: x\r\n%s", method, path, head);
    if (body)
        buf_printf(&out, "Content-Length: %zu\r\n", strlen(body));
    buf_printf(&out, "\r\n%s", body ? body : "");
    assert_true(send(c->fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len);
    buf_free(&out);
}

void client_write(struct suite_client *c, const char *text)
{
    assert_true(send(c->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

bool client_has(struct suite_client *c, const char *text)
{
    for (;;) {
        char *to = buf_reserve(&c->got, 65536);
        ssize_t n = recv(c->fd, to, 65536, 0);
        if (n == 0)
            c->closed = true;
        if (n <= 0)
            break;
        c->got.len += (size_t)n;
    }
    return span_find_span(buf_span(&c->got), span_str(text)) < c->got.len;
}
