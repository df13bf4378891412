#include "unit/common/http/test_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

bool test_library_only;

static void echo_field(void *ctx, struct span name, struct span value)
{
    buf_printf(ctx, "%.*s=%.*s\n", SPAN_ARG(name), SPAN_ARG(value));
}

static void echo(struct test_server *t, struct http_exchange *x)
{
    buf_printf(&t->echo, "%.*s %.*s ? %.*s\n", SPAN_ARG(http_method(x)), SPAN_ARG(http_path(x)),
               SPAN_ARG(http_query(x)));
    http_each_header(x, echo_field, &t->echo);
    buf_append(&t->echo, http_body(x));
    buf_append_char(&t->echo, '\n');
    http_respond(x, 200, SPAN("echoed"));
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct test_server *t = ctx;
    t->requests++;
    if (t->mode == ANSWER_NOW || t->mode == HOLD_HEAD) {
        char text[256];
        int n = snprintf(text, sizeof text, "%.*s %.*s %zu", SPAN_ARG(http_method(x)),
                         SPAN_ARG(http_path(x)), http_body(x).len);
        http_add_header(x, "X-Test", SPAN("yes"));
        http_respond(x, 200, span_of(text, (size_t)n));
        return;
    }
    if (t->mode == ECHO_NOW) {
        echo(t, x);
        return;
    }
    if (t->mode == STREAM_NOW) {
        http_add_header(x, "Content-Type", SPAN("text/event-stream"));
        http_stream_begin(x, 200);
    }
    assert_true(t->kept_count < 256);
    t->kept[t->kept_count++] = x;
}

static void on_head(void *ctx, struct http_exchange *x)
{
    struct test_server *t = ctx;
    if (t->mode == REFUSE_HEAD)
        http_respond(x, 401, SPAN("who are you"));
    if (t->owner)
        http_set_owner(x, (const uint8_t[HTTP_OWNER_BYTES]){t->owner});
    if (t->mode == HOLD_HEAD) {
        http_hold(x);
        assert_true(t->held_count < 256);
        t->held[t->held_count++] = x;
    }
}

static void on_refuse(void *ctx, struct http_exchange *x, const struct http_refusal *r)
{
    struct test_server *t = ctx;
    t->refusals++;
    t->refused_status = r->status;
    t->refused_reason = r->reason;
    http_add_header(x, "Content-Type", SPAN("application/json"));
    http_respond(x, r->status, SPAN("{\"refused\":true}"));
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    struct test_server *t = ctx;
    (void)x;
    t->gone++;
}

static void on_drain(void *ctx, struct http_exchange *x)
{
    struct test_server *t = ctx;
    (void)x;
    t->drains++;
}

static void on_done(void *ctx, struct http_exchange *x, bool sent)
{
    struct test_server *t = ctx;
    t->done++;
    t->done_sent += sent;
    for (unsigned i = 0; i < t->kept_count; i++) {
        if (t->kept[i] == x)
            t->kept[i] = NULL;
    }
    for (unsigned i = 0; i < t->held_count; i++) {
        if (t->held[i] == x)
            t->held[i] = NULL;
    }
}

struct http_config test_config(void)
{
    return (struct http_config){
        .address = "127.0.0.1",
        .shards = 2,
        .max_connections = 100,
        .max_connections_per_address = 100,
        .max_header_bytes = 32 << 10,
        .max_body_bytes = 8 << 20,
        .max_body_memory_bytes = 64 << 20,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 10000,
        .idle_timeout_ms = 10000,
        .send_timeout_ms = 10000,
        .library_only = test_library_only,
    };
}

void test_server_start(struct test_server *t, const struct http_config *config)
{
    enum test_mode mode = t->mode;
    *t = (struct test_server){.mode = mode};
    const struct http_handler handler = {
        .ctx = t,
        .on_request = on_request,
        .on_head = on_head,
        .on_refuse = on_refuse,
        .on_gone = on_gone,
        .on_drain = on_drain,
        .on_done = on_done,
    };
    clock_fake_init(&t->clock, 1000000, 1700000000000);
    assert_int_equal(loop_create(&t->loop, &t->clock.clock), OK);
    assert_int_equal(http_server_create(&t->http, t->loop, config, &handler), OK);
}

void test_server_stop(struct test_server *t)
{
    http_server_destroy(&t->http);
    loop_destroy(&t->loop);
    buf_free(&t->echo);
}

void test_turns(struct test_server *t, int n)
{
    while (n--)
        assert_int_equal(loop_turn(t->loop, 1), OK);
}

void test_pass(struct test_server *t, uint64_t ms)
{
    clock_fake_advance_ms(&t->clock, ms);
    test_turns(t, 3);
}

int client_open_from(const struct test_server *t, const char *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    const int on = 1; /* what is sent in pieces arrives in pieces, at once */
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    struct sockaddr_in at = {.sin_family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, address, &at.sin_addr), 1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &at.sin_addr), 1);
    at.sin_port = htons(http_server_port(t->http));
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

int client_open(const struct test_server *t)
{
    return client_open_from(t, "127.0.0.1");
}

void client_send(struct test_server *t, int fd, struct span bytes)
{
    for (int idle = 0; bytes.len && idle < 3000;) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            bytes = span_skip(bytes, (size_t)n);
            idle = 0;
            continue;
        }
        if (n < 0 && errno != EAGAIN)
            return; /* refused: the answer tells */
        idle++;
        test_turns(t, 1);
    }
    assert_int_equal(bytes.len, 0);
}

void client_send_str(struct test_server *t, int fd, const char *text)
{
    client_send(t, fd, span_str(text));
}

bool client_read(int fd, struct buf *into)
{
    for (;;) {
        char *to = buf_reserve(into, 64 << 10);
        assert_non_null(to);
        ssize_t n = recv(fd, to, 64 << 10, MSG_DONTWAIT);
        if (n < 0)
            return errno != EAGAIN;
        if (n == 0)
            return true;
        into->len += (size_t)n;
    }
}

size_t count_of(const struct buf *in, const char *text)
{
    size_t count = 0;
    struct span rest = buf_span(in);
    for (;;) {
        size_t at = span_find_span(rest, span_str(text));
        if (at == rest.len)
            return count;
        count++;
        rest = span_skip(rest, at + strlen(text));
    }
}

void client_expect(struct test_server *t, int fd, struct buf *into, const char *text)
{
    for (int i = 0; i < 3000 && !count_of(into, text); i++) {
        test_turns(t, 1);
        if (client_read(fd, into))
            break;
    }
    if (!count_of(into, text))
        fail_msg("expected '%s' in '%.*s'", text, SPAN_ARG(buf_span(into)));
}

void client_expect_close(struct test_server *t, int fd, struct buf *into)
{
    for (int i = 0; i < 5000; i++) {
        test_turns(t, 1);
        if (client_read(fd, into))
            return;
    }
    fail_msg("the server did not close; got '%.*s'", SPAN_ARG(buf_span(into)));
}
