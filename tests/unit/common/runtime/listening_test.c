#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/runtime/holder.h"
#include "common/runtime/listening.h"

static void announce(const char *fds, const char *names, bool ours)
{
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid() + (ours ? 0 : 1));
    assert_int_equal(setenv("LISTEN_PID", pid, 1), 0);
    assert_int_equal(setenv("LISTEN_FDS", fds, 1), 0);
    if (names)
        assert_int_equal(setenv("LISTEN_FDNAMES", names, 1), 0);
    else
        assert_int_equal(unsetenv("LISTEN_FDNAMES"), 0);
}

/* A check in a process of its own, whose descriptors from 3 on are the ones given: what it is
 * handed. The check returns 0 when all is well. */
static void in_a_child(const int *fds, int count, int (*check)(void))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int high[4];
        for (int i = 0; i < count; i++)
            high[i] = fcntl(fds[i], F_DUPFD, 20);
        for (int i = 0; i < count; i++)
            (void)dup2(high[i], LISTENING_FIRST_FD + i);
        _exit(check());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_port_is_opened_and_told(void **state)
{
    (void)state;
    int fd, second;
    assert_int_equal(listening_open("127.0.0.1", 0, &fd), OK);
    uint16_t port = listening_port(fd);
    assert_true(port > 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(listening_open("127.0.0.1", port, &second), ERR_EXISTS);
    assert_int_equal(listening_open("no address", 0, &second), ERR_INVALID);
    assert_int_equal(second, LISTENING_NONE);
    (void)close(fd);
}

static void who_has_a_port_or_a_lock_is_named(void **state)
{
    (void)state;
    char why[LISTENING_FAULT_BYTES], holder[HOLDER_BYTES], me[32], path[] = "/tmp/lock_XXXXXX";
    int fd, lock = mkstemp(path);
    (void)snprintf(me, sizeof me, "(pid %d)", (int)getpid());
    assert_int_equal(listening_open("127.0.0.1", 0, &fd), OK);
    uint16_t port = listening_port(fd);
    const char *fault = listening_fault(ERR_EXISTS, port, why);
    assert_true(strncmp(fault, "address in use by ", 18) == 0 && strstr(fault, me));
    (void)close(fd);
    assert_string_equal(listening_fault(ERR_EXISTS, port, why), "address in use");
    assert_non_null(strstr(listening_fault(ERR_DENIED, port, why), "permission"));
    assert_false(holder_of_lock(path, holder));
    assert_int_equal(flock(lock, LOCK_EX), 0);
    assert_true(holder_of_lock(path, holder) && strstr(holder, me));
    (void)close(lock);
    (void)unlink(path);
    assert_false(holder_of_lock(path, holder));
}

static void nothing_is_handed_to_who_is_not_named(void **state)
{
    (void)state;
    int fd = 0;
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    assert_int_equal(listening_handed("http", &fd), OK);
    assert_int_equal(fd, LISTENING_NONE);
    announce("1", NULL, false);
    assert_int_equal(listening_handed("http", &fd), OK);
    assert_int_equal(fd, LISTENING_NONE);
    assert_null(getenv("LISTEN_FDS")); /* our children are not meant either */
    announce("many", NULL, true);
    assert_int_equal(listening_handed("http", &fd), OK);
    assert_int_equal(fd, LISTENING_NONE);
}

static int takes_the_only_one(void)
{
    int fd;
    announce("1", "whatever", true);
    if (listening_handed("http", &fd) || fd != LISTENING_FIRST_FD || !listening_port(fd))
        return 1;
    if (!(fcntl(fd, F_GETFD) & FD_CLOEXEC) || !(fcntl(fd, F_GETFL) & O_NONBLOCK))
        return 2;
    return getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES") ? 3 : 0;
}

static int takes_the_named_one(void)
{
    int fd;
    announce("2", "other:http", true);
    if (listening_handed("http", &fd) || fd != LISTENING_FIRST_FD + 1)
        return 1;
    return fcntl(LISTENING_FIRST_FD, F_GETFD) < 0 && errno == EBADF ? 0 : 2;
}

static int takes_none_of_several_unnamed(void)
{
    int fd;
    announce("2", "other:more", true);
    return listening_handed("http", &fd) == ERR_INVALID && fd == LISTENING_NONE ? 0 : 1;
}

static int takes_nothing_else(void)
{
    int fd;
    announce("1", "http", true);
    return listening_handed("http", &fd) == ERR_INVALID && fd == LISTENING_NONE ? 0 : 1;
}

static void the_socket_meant_is_taken(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(listening_open("127.0.0.1", 0, &fds[0]), OK);
    assert_int_equal(listening_open("127.0.0.1", 0, &fds[1]), OK);
    in_a_child(fds, 1, takes_the_only_one);
    in_a_child(fds, 2, takes_the_named_one);
    in_a_child(fds, 2, takes_none_of_several_unnamed);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void what_does_not_listen_on_tcp_is_refused(void **state)
{
    (void)state;
    int file = open("/dev/null", O_RDONLY), quiet = socket(AF_INET, SOCK_STREAM, 0);
    int datagrams = socket(AF_INET, SOCK_DGRAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
    in_a_child(&file, 1, takes_nothing_else);
    in_a_child(&quiet, 1, takes_nothing_else);
    in_a_child(&datagrams, 1, takes_nothing_else);
    in_a_child(&local, 1, takes_nothing_else);
    (void)close(file);
    (void)close(quiet);
    (void)close(datagrams);
    (void)close(local);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_is_opened_and_told),
        cmocka_unit_test(who_has_a_port_or_a_lock_is_named),
        cmocka_unit_test(nothing_is_handed_to_who_is_not_named),
        cmocka_unit_test(the_socket_meant_is_taken),
        cmocka_unit_test(what_does_not_listen_on_tcp_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
