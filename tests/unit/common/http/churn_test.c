/* Clients that come, send pieces, half-close, reset and leave in any order, and handlers that
 * answer in any way at any time: whatever happens, each exchange ends once and nothing is left. The
 * order is pseudo-random from a fixed seed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "unit/common/http/test_server.h"

enum { CLIENTS = 24, STEPS = 6000, MAX_LIVE = 512 };

struct live {
    struct http_exchange *x;
    bool streaming, over;
};

struct churn {
    struct loop *loop;
    struct clock_fake clock;
    struct http_server *http;
    struct live live[MAX_LIVE];
    unsigned count, seen, done;
    uint64_t seed;
    int fds[CLIENTS];
};

static unsigned roll(struct churn *c, unsigned n)
{
    c->seed = c->seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(c->seed >> 33) % n;
}

static struct live *find(struct churn *c, struct http_exchange *x)
{
    for (unsigned i = 0; i < c->count; i++) {
        if (c->live[i].x == x)
            return &c->live[i];
    }
    return NULL;
}

static void see(struct churn *c, struct http_exchange *x)
{
    if (find(c, x))
        return;
    assert_true(c->count < MAX_LIVE);
    c->live[c->count++] = (struct live){.x = x};
    c->seen++;
}

static void act(struct churn *c, struct live *l)
{
    static char block[50000];
    switch (roll(c, 9)) {
    case 0:
    case 1:
        http_respond(l->x, 200, span_of(block, roll(c, sizeof block)));
        l->over = true;
        break;
    case 2:
        if (!l->streaming)
            http_stream_begin(l->x, 200);
        l->streaming = true;
        break;
    case 3:
    case 4:
        if (l->streaming)
            (void)!http_stream_write(l->x, span_of(block, roll(c, sizeof block)));
        break;
    case 5:
        http_stream_end(l->x);
        l->over |= l->streaming;
        break;
    case 6:
        http_body_release(l->x);
        break;
    case 7:
        if (roll(c, 4) == 0) {
            http_abort(l->x);
            l->over = true;
        }
        break;
    case 8:
        if (roll(c, 8) == 0) {
            http_reset(l->x);
            l->over = true;
        } else if (!l->streaming && roll(c, 8) == 0) {
            l->streaming = http_raw_begin(l->x);
        }
        break;
    }
}

static void on_head(void *ctx, struct http_exchange *x)
{
    struct churn *c = ctx;
    see(c, x);
    if (roll(c, 10) == 0)
        http_respond(x, 403, SPAN("no"));
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct churn *c = ctx;
    see(c, x);
    if (roll(c, 2))
        act(c, find(c, x));
}

static void on_refuse(void *ctx, struct http_exchange *x, const struct http_refusal *r)
{
    struct churn *c = ctx;
    see(c, x);
    if (roll(c, 2))
        http_respond(x, r->status, SPAN("refused"));
}

static void on_gone(void *ctx, struct http_exchange *x)
{
    struct churn *c = ctx;
    struct live *l = find(c, x);
    assert_non_null(l);
    if (roll(c, 2))
        act(c, l); /* too late, and harmless */
}

static void on_drain(void *ctx, struct http_exchange *x)
{
    struct churn *c = ctx;
    struct live *l = find(c, x);
    assert_non_null(l);
    if (roll(c, 3) == 0)
        act(c, l);
}

static void on_done(void *ctx, struct http_exchange *x, bool sent)
{
    struct churn *c = ctx;
    struct live *l = find(c, x);
    (void)sent;
    assert_non_null(l);
    *l = c->live[--c->count];
    c->done++;
}

static void client_step(struct churn *c, const struct test_server *view, unsigned i)
{
    static const char *const pieces[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "0\r\n\r\n",
        "HEAD / HTTP/1.0\r\n\r\n",
        "GET / HT",
        "TP/1.1\r\nHost: x\r\n\r\n",
        "nonsense\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n",
    };
    static char filler[10000];
    int *fd = &c->fds[i];
    char waste[65536];
    struct linger now = {.l_onoff = 1};
    if (*fd < 0) {
        *fd = client_open(view);
        return;
    }
    switch (roll(c, 12)) {
    case 0:
        setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(*fd);
        *fd = -1;
        break;
    case 1:
        close(*fd);
        *fd = -1;
        break;
    case 2:
        if (roll(c, 3) == 0)
            shutdown(*fd, SHUT_WR);
        break;
    case 3:
        (void)!send(*fd, filler, sizeof filler, MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case 4:
    case 5:
    case 6: {
        ssize_t n = recv(*fd, waste, sizeof waste, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            close(*fd);
            *fd = -1;
        }
        break;
    }
    default: {
        const char *piece = pieces[roll(c, sizeof pieces / sizeof pieces[0])];
        (void)!send(*fd, piece, strlen(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    }
    }
}

static void start(struct churn *c, uint64_t seed)
{
    struct http_config config = test_config();
    config.send_buffer_bytes = 8 << 10;
    config.max_body_bytes = 500000;
    config.max_connections_per_address = CLIENTS * 2;
    const struct http_handler handler = {.ctx = c,
                                         .on_request = on_request,
                                         .on_head = on_head,
                                         .on_refuse = on_refuse,
                                         .on_gone = on_gone,
                                         .on_drain = on_drain,
                                         .on_done = on_done};
    *c = (struct churn){.seed = seed};
    for (unsigned i = 0; i < CLIENTS; i++)
        c->fds[i] = -1;
    clock_fake_init(&c->clock, 1000000, 0);
    assert_int_equal(loop_create(&c->loop, &c->clock.clock), OK);
    assert_int_equal(http_server_create(&c->http, c->loop, &config, &handler), OK);
}

static void churn(uint64_t seed)
{
    struct churn c;
    start(&c, seed);
    struct test_server view = {.loop = c.loop, .http = c.http};
    for (unsigned step = 0; step < STEPS; step++) {
        client_step(&c, &view, roll(&c, CLIENTS));
        if (c.count && roll(&c, 2))
            act(&c, &c.live[roll(&c, c.count)]);
        if (roll(&c, 50) == 0)
            clock_fake_advance_ms(&c.clock, roll(&c, 12000));
        assert_int_equal(loop_turn(c.loop, 0), OK);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (c.fds[i] >= 0)
            close(c.fds[i]);
    }
    for (int i = 0; i < 300 && (c.count || http_server_stats(c.http).connections); i++) {
        clock_fake_advance_ms(&c.clock, 100);
        assert_int_equal(loop_turn(c.loop, 1), OK);
    }
    struct http_stats stats = http_server_stats(c.http);
    assert_int_equal(c.count, 0);
    assert_int_equal(c.seen, c.done);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.exchanges, 0);
    assert_int_equal(stats.body_bytes, 0);
    http_server_destroy(&c.http);
    loop_destroy(&c.loop);
}

static void every_exchange_ends_once_whatever_happens(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++)
        churn(seed);
}

static void stopping_in_the_middle_leaves_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 110; seed++) {
        struct churn c;
        start(&c, seed);
        struct test_server view = {.loop = c.loop, .http = c.http};
        for (unsigned step = 0; step < 500; step++) {
            client_step(&c, &view, roll(&c, CLIENTS));
            if (c.count && roll(&c, 2))
                act(&c, &c.live[roll(&c, c.count)]);
            assert_int_equal(loop_turn(c.loop, 0), OK);
        }
        http_server_destroy(&c.http);
        assert_int_equal(c.count, 0);
        assert_int_equal(c.seen, c.done);
        loop_destroy(&c.loop);
        for (unsigned i = 0; i < CLIENTS; i++) {
            if (c.fds[i] >= 0)
                close(c.fds[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_exchange_ends_once_whatever_happens),
        cmocka_unit_test(stopping_in_the_middle_leaves_nothing),
    };
    return RUN_BOTH_WAYS(tests);
}
