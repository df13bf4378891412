#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/runtime/line_server.h"

enum { LARGE = 4 << 20 };

struct fixture {
    char folder[64], path[96];
    struct clock_fake clock;
    struct loop *loop;
    struct line_server *server;
    struct line_client *waiting; /* "later" */
    struct buf heard;
};

/* "large" is answered at length, "later" when the test says so, anything else by itself. */
static void on_line(void *ctx, struct line_client *from, struct span line)
{
    struct fixture *f = ctx;
    buf_append(&f->heard, line);
    buf_append_char(&f->heard, ' ');
    if (span_is(line, "later")) {
        f->waiting = from;
    } else if (span_is(line, "large")) {
        char *text = calloc(1, LARGE);
        memset(text, 'x', LARGE);
        line_server_answer(from, span_of(text, LARGE));
        free(text);
    } else {
        line_server_answer(from, line);
    }
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.waiting = NULL};
    (void)snprintf(f.folder, sizeof f.folder, "/tmp/line-server-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    (void)snprintf(f.path, sizeof f.path, "%s/socket", f.folder);
    clock_fake_init(&f.clock, 1000000, 1700000000000);
    assert_int_equal(loop_create(&f.loop, &f.clock.clock), OK);
    const struct line_server_spec spec = {.path = f.path,
                                          .clients = 4,
                                          .line_bytes = 4096,
                                          .idle_ms = 1000,
                                          .ctx = &f,
                                          .on_line = on_line};
    assert_int_equal(line_server_create(&f.server, f.loop, &spec), OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    line_server_destroy(&f->server);
    loop_destroy(&f->loop);
    buf_free(&f->heard);
    return rmdir(f->folder);
}

static int client(const struct fixture *f)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(at.sun_path, f->path, strlen(f->path));
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void say(struct fixture *f, int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    for (int i = 0; i < 20; i++)
        assert_int_equal(loop_turn(f->loop, 0), OK);
}

static void assert_hears(struct fixture *f, int fd, const char *expected)
{
    char text[256];
    for (int i = 0; i < 20; i++)
        assert_int_equal(loop_turn(f->loop, 0), OK);
    ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    assert_string_equal(text, expected);
}

static void an_answer_larger_than_the_socket_takes_arrives_whole(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    static char piece[65536];
    size_t got = 0;
    say(f, fd, "large\nnext\n");
    assert_true(span_is(buf_span(&f->heard), "large ")); /* the next one waits */
    while (got < LARGE + sizeof "\nnext\n" - 1) {
        assert_int_equal(loop_turn(f->loop, 0), OK);
        ssize_t n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
        assert_true(n != 0);
    }
    assert_true(span_is(buf_span(&f->heard), "large next "));
    (void)close(fd);
}

static void an_answer_may_come_later_and_lines_behind_it_wait(void **state)
{
    struct fixture *f = *state;
    int one = client(f), two = client(f);
    say(f, one, "later\nthen\n");
    say(f, two, "other\n");
    assert_hears(f, two, "other\n");
    assert_hears(f, one, "");
    line_server_answer(f->waiting, SPAN("at last"));
    assert_hears(f, one, "at last\nthen\n");
    (void)close(one);
    (void)close(two);
}

static void who_left_before_his_answer_is_forgotten_with_it(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    say(f, fd, "later\nnever\n");
    (void)close(fd);
    for (int i = 0; i < 20; i++)
        assert_int_equal(loop_turn(f->loop, 0), OK);
    line_server_answer(f->waiting, SPAN("to nobody"));
    assert_true(span_is(buf_span(&f->heard), "later "));
    fd = client(f); /* one that waits when the server ends is hung up on */
    say(f, fd, "later\n");
    line_server_destroy(&f->server);
    assert_hears(f, fd, "");
    (void)close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_answer_larger_than_the_socket_takes_arrives_whole),
        TEST(an_answer_may_come_later_and_lines_behind_it_wait),
        TEST(who_left_before_his_answer_is_forgotten_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
