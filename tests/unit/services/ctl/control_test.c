#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "services/ctl/control.h"

struct fixture {
    char folder[64], path[96];
    struct clock_fake clock;
    struct loop *loop;
    struct control *control;
    unsigned asked;
};

static void on_request(void *ctx, struct json request, struct json_writer *answer)
{
    struct fixture *f = ctx;
    f->asked++;
    jw_key(answer, "you_said");
    jw_value(answer, json_get(request, "word"));
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.asked = 0};
    (void)snprintf(f.folder, sizeof f.folder, "/tmp/tollgate-ctl-XXXXXX");
    assert_non_null(mkdtemp(f.folder));
    (void)snprintf(f.path, sizeof f.path, "%s/up.sock", f.folder);
    clock_fake_init(&f.clock, 1000000, 1700000000000);
    assert_int_equal(loop_create(&f.loop, &f.clock.clock), OK);
    assert_int_equal(control_create(&f.control, f.loop, f.path, on_request, &f), OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    control_destroy(&f->control);
    loop_destroy(&f->loop);
    return rmdir(f->folder); /* nothing is left there */
}

static int client(const struct fixture *f)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(at.sun_path, f->path, strlen(f->path));
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void turn(struct fixture *f)
{
    for (int i = 0; i < 20; i++)
        assert_int_equal(loop_turn(f->loop, 0), OK);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* All that has come; the other side has closed. */
static void assert_heard(int fd, const char *expected)
{
    char text[256];
    size_t n = 0;
    ssize_t got;
    while ((got = recv(fd, text + n, sizeof text - 1 - n, MSG_DONTWAIT)) > 0)
        n += (size_t)got;
    assert_int_equal(got, 0);
    text[n] = '\0';
    assert_string_equal(text, expected);
    (void)close(fd);
}

static void a_line_gets_an_answer_and_the_end(void **state)
{
    struct fixture *f = *state;
    struct stat s;
    assert_int_equal(stat(f->path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    int fd = client(f);
    say(fd, "{\"word\":");
    turn(f);
    assert_int_equal(f->asked, 0);
    say(fd, "\"x\"}\n");
    turn(f);
    assert_heard(fd, "{\"you_said\":\"x\"}\n");
}

static void nonsense_is_told_so(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    say(fd, "restart everything\n");
    turn(f);
    assert_heard(fd, "{\"error\":\"that is no JSON\"}\n");
    assert_int_equal(f->asked, 0);
}

static void who_says_too_much_or_nothing_is_hung_up_on(void **state)
{
    struct fixture *f = *state;
    char much[CONTROL_LINE_MAX + 1];
    memset(much, 'x', sizeof much - 1);
    much[sizeof much - 1] = '\0';
    int loud = client(f), silent = client(f);
    say(loud, much);
    turn(f);
    assert_heard(loud, "");
    clock_fake_advance_ms(&f->clock, CONTROL_IDLE_MS + 1);
    turn(f);
    assert_heard(silent, "");
}

static void clients_are_bounded(void **state)
{
    struct fixture *f = *state;
    int fds[CONTROL_CLIENTS_MAX + 1];
    for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
        fds[i] = client(f);
    turn(f);
    fds[CONTROL_CLIENTS_MAX] = client(f);
    turn(f);
    assert_heard(fds[CONTROL_CLIENTS_MAX], "");
    say(fds[0], "{\"word\":1}\n");
    turn(f);
    assert_heard(fds[0], "{\"you_said\":1}\n");
    for (size_t i = 1; i < CONTROL_CLIENTS_MAX; i++)
        (void)close(fds[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_line_gets_an_answer_and_the_end),
        TEST(nonsense_is_told_so),
        TEST(who_says_too_much_or_nothing_is_hung_up_on),
        TEST(clients_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
