#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/fetch/socket_table.h"

struct world {
    struct socket_owner owner; /* first */
    struct clock_fake clock;
    struct loop *loop;
    struct socket_table table;
    int ours, theirs; /* two ends of one connection */
    unsigned ready;
    uint32_t events;
};

static void on_ready(struct socket_owner *owner, int fd, uint32_t events)
{
    struct world *w = (struct world *)(void *)owner;
    assert_int_equal(fd, w->ours);
    w->ready++;
    w->events = events;
}

static void turns(struct world *w)
{
    for (int i = 0; i < 3; i++)
        assert_int_equal(loop_turn(w->loop, 0), OK);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    int fds[2];
    clock_fake_init(&w->clock, 1000, 1000);
    assert_int_equal(loop_create(&w->loop, &w->clock.clock), OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    w->ours = fds[0];
    w->theirs = fds[1];
    w->owner.on_ready = on_ready;
    socket_table_init(&w->table, w->loop);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    socket_table_free(&w->table);
    (void)close(w->ours);
    (void)close(w->theirs);
    loop_destroy(&w->loop);
    free(w);
    return 0;
}

static void its_owner_hears_what_it_waits_for(void **state)
{
    struct world *w = *state;
    assert_int_equal(socket_table_opened(&w->table, w->ours), OK);
    assert_int_equal(socket_table_want(&w->table, w->ours, EPOLLOUT, &w->owner), OK);
    turns(w);
    assert_int_equal(w->events, EPOLLOUT);
    assert_int_equal(socket_table_want(&w->table, w->ours, EPOLLIN, &w->owner), OK);
    w->ready = 0;
    turns(w);
    assert_int_equal(w->ready, 0);
    assert_int_equal(write(w->theirs, "x", 1), 1);
    turns(w);
    assert_true(w->ready > 0);
    assert_int_equal(w->events, EPOLLIN);
}

static void an_unwanted_event_is_heard_by_nobody_and_does_not_spin(void **state)
{
    struct world *w = *state;
    assert_int_equal(socket_table_opened(&w->table, w->ours), OK);
    assert_int_equal(socket_table_want(&w->table, w->ours, EPOLLIN, &w->owner), OK);
    assert_int_equal(socket_table_want(&w->table, w->ours, 0, &w->owner), OK);
    assert_int_equal(write(w->theirs, "x", 1), 1);
    turns(w);
    assert_int_equal(w->ready, 0);
    /* wanted again, what is still there is heard of */
    assert_int_equal(socket_table_want(&w->table, w->ours, EPOLLIN, &w->owner), OK);
    turns(w);
    assert_true(w->ready > 0);
}

static void a_hang_up_is_input_and_an_error(void **state)
{
    struct world *w = *state;
    assert_int_equal(socket_table_opened(&w->table, w->ours), OK);
    assert_int_equal(socket_table_want(&w->table, w->ours, EPOLLIN, &w->owner), OK);
    assert_int_equal(shutdown(w->theirs, SHUT_RDWR), 0);
    turns(w);
    assert_true(w->ready > 0);
    assert_true(w->events & EPOLLERR);
    assert_true(w->events & EPOLLIN);
}

static void a_foreign_socket_is_let_go_when_unwanted(void **state)
{
    struct world *w = *state;
    /* libcurl's resolver closes its own pair without telling: it must not stay registered */
    assert_int_equal(socket_table_want(&w->table, w->ours, EPOLLIN, &w->owner), OK);
    assert_int_equal(socket_table_want(&w->table, w->ours, 0, &w->owner), OK);
    (void)close(w->ours);
    int again = dup(w->theirs); /* the number may come back as another socket */
    if (again != w->ours) {
        (void)dup2(again, w->ours);
        (void)close(again);
    }
    assert_int_equal(socket_table_want(&w->table, w->ours, EPOLLOUT, &w->owner), OK);
    turns(w);
    assert_true(w->ready > 0);
}

static void a_closed_descriptor_may_come_back_as_another_socket(void **state)
{
    struct world *w = *state;
    assert_int_equal(socket_table_opened(&w->table, w->ours), OK);
    assert_int_equal(socket_table_want(&w->table, w->ours, EPOLLIN, &w->owner), OK);
    socket_table_closed(&w->table, w->ours);
    assert_int_equal(write(w->theirs, "x", 1), 1);
    turns(w);
    assert_int_equal(w->ready, 0);
    assert_int_equal(socket_table_opened(&w->table, w->ours), OK);
    assert_int_equal(socket_table_want(&w->table, w->ours, EPOLLIN, &w->owner), OK);
    turns(w);
    assert_true(w->ready > 0);
}

static void impossible_descriptors_are_refused(void **state)
{
    struct world *w = *state;
    assert_int_equal(socket_table_opened(&w->table, -1), ERR_NOMEM);
    assert_int_equal(socket_table_want(&w->table, 1 << 20, EPOLLIN, &w->owner), ERR_NOMEM);
    socket_table_closed(&w->table, -1);
    socket_table_closed(&w->table, 100000);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(its_owner_hears_what_it_waits_for),
        CASE(an_unwanted_event_is_heard_by_nobody_and_does_not_spin),
        CASE(a_hang_up_is_input_and_an_error),
        CASE(a_foreign_socket_is_let_go_when_unwanted),
        CASE(a_closed_descriptor_may_come_back_as_another_socket),
        CASE(impossible_descriptors_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
