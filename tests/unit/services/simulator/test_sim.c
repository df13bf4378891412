#include "unit/services/simulator/test_sim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { QUIET_TURNS = 400, MAX_TURNS = 20000 };

struct sim_options test_options(void)
{
    return (struct sim_options){
        .address = "127.0.0.1", .keep = 10, .max_connections = 100, .quiet = true};
}

void test_sim_start(struct test_sim *t, const struct sim_options *options)
{
    *t = (struct test_sim){0};
    clock_fake_init(&t->clock, 1000000, 1700000000000);
    arena_init(&t->arena, 0);
    assert_int_equal(loop_create(&t->loop, &t->clock.clock), OK);
    assert_int_equal(sim_create(&t->sim, t->loop, options), OK);
}

void test_sim_stop(struct test_sim *t)
{
    sim_destroy(&t->sim);
    loop_destroy(&t->loop);
    json_doc_free(&t->doc);
    arena_free(&t->arena);
    buf_free(&t->got);
}

static int connect_to(const struct test_sim *t)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_server_port(t->sim->http))};
    assert_int_equal(inet_pton(AF_INET, "127.0.0.1", &to.sin_addr), 1);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* true once the answer is whole. */
static bool is_whole(const struct test_sim *t)
{
    struct span all = buf_span(&t->got);
    size_t head = span_find_span(all, SPAN("\r\n\r\n"));
    if (head == all.len)
        return false;
    size_t at = span_find_span(span_first(all, head), SPAN("Content-Length: "));
    if (at < head) {
        uint64_t n = 0;
        struct span rest = span_skip(all, at + 16);
        return span_to_u64(span_first(rest, span_find(rest, '\r')), &n) && all.len >= head + 4 + n;
    }
    return span_ends(all, "\r\n0\r\n\r\n");
}

unsigned ask_sim(struct test_sim *t, const char *method, const char *path, const char *headers,
                 const char *body)
{
    struct buf out = {0};
    uint64_t status = 0;
    int fd = connect_to(t);
    buf_clear(&t->got);
    t->closed = false;
    buf_printf(&out, "%s %s HTTP/1.1\r\nHost: sim\r\n%sContent-Length: %zu\r\n\r\n%s", method, path,
               headers, strlen(body), body);
    assert_int_equal(send(fd, out.data, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
    buf_free(&out);
    for (int turn = 0, quiet = 0; turn < MAX_TURNS && quiet < QUIET_TURNS && !is_whole(t);
         turn++, quiet++) {
        clock_fake_advance_ms(&t->clock, 1);
        assert_int_equal(loop_turn(t->loop, 0), OK);
        char *to = buf_reserve(&t->got, 65536);
        ssize_t n = recv(fd, to, 65536, MSG_DONTWAIT);
        if (n > 0) {
            t->got.len += (size_t)n;
            quiet = 0;
        } else if (n == 0 || errno != EAGAIN) {
            t->closed = true;
            break;
        }
    }
    close(fd);
    for (int i = 0; i < 5; i++)
        assert_int_equal(loop_turn(t->loop, 0), OK);
    struct span first = span_skip(buf_span(&t->got), strlen("HTTP/1.1 "));
    return span_to_u64(span_first(first, 3), &status) ? (unsigned)status : 0;
}

#define KEYS                                                                                       \
    "Authorization: Bearer sk-x\r\nAnthropic-Version: 2023-06-01\r\nContent-Type: "                \
    "application/json\r\n"

unsigned post(struct test_sim *t, const char *path, const char *body)
{
    return ask_sim(t, "POST", path, KEYS, body);
}

unsigned get(struct test_sim *t, const char *path)
{
    return ask_sim(t, "GET", path, KEYS, "");
}

struct span body_of(struct test_sim *t)
{
    struct span all = buf_span(&t->got);
    size_t head = span_find_span(all, SPAN("\r\n\r\n"));
    struct span body = span_skip(all, head + 4), fields = span_first(all, head);
    if (span_find_span(fields, SPAN("chunked")) == fields.len)
        return body;
    char *joined = arena_alloc(&t->arena, body.len + 1);
    size_t n = 0;
    while (body.len) {
        char size[20] = {0};
        struct span line = span_cut(&body, '\n');
        memcpy(size, line.data, line.len < 19 ? line.len : 19);
        size_t want = strtoul(size, NULL, 16);
        struct span chunk = span_first(body, want);
        memcpy(joined + n, chunk.data, chunk.len);
        n += chunk.len;
        body = span_skip(body, want + 2);
    }
    return span_of(joined, n);
}

struct json json_of(struct test_sim *t)
{
    struct span body = body_of(t);
    enum err e = json_parse(&t->doc, body, JSON_DEPTH_UPSTREAM);
    if (e)
        fail_msg("not JSON: %.*s", SPAN_ARG(body));
    return json_root(&t->doc);
}

size_t times_in_body(struct test_sim *t, const char *text)
{
    struct span rest = body_of(t);
    size_t count = 0;
    for (;;) {
        size_t found = span_find_span(rest, span_str(text));
        if (found == rest.len)
            return count;
        count++;
        rest = span_skip(rest, found + strlen(text));
    }
}

bool has(struct test_sim *t, const char *text)
{
    struct span all = buf_span(&t->got);
    return span_find_span(all, span_str(text)) < all.len;
}

struct json at(struct json v, const char *path)
{
    struct span rest = span_str(path);
    while (rest.len) {
        struct span name = span_cut(&rest, '.');
        char key[64];
        uint64_t index = 0;
        assert_true(name.len < sizeof key);
        memcpy(key, name.data, name.len);
        key[name.len] = '\0';
        v = span_to_u64(name, &index) ? json_at(v, (size_t)index) : json_get(v, key);
    }
    return v;
}

uint64_t number_at(struct json v, const char *path)
{
    int64_t n = -1;
    if (!json_i64(at(v, path), &n))
        fail_msg("no number at %s", path);
    return (uint64_t)n;
}
