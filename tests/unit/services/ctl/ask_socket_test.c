#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "services/ctl/ask_socket.h"

enum { OTHER_USER = 12345, THIRD_USER = 12346, WAIT_MS = 5000 };

struct place {
    char folder[64], path[96];
};

static int setup(void **state)
{
    static struct place p;
    (void)snprintf(p.folder, sizeof p.folder, "/tmp/tollgate-ask-XXXXXX");
    assert_non_null(mkdtemp(p.folder));
    assert_int_equal(chmod(p.folder, 0777), 0);
    (void)snprintf(p.path, sizeof p.path, "%s/sock", p.folder);
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    const struct place *p = *state;
    (void)unlink(p->path);
    return rmdir(p->folder);
}

/* A process of this user that answers one question; 0: ours. It listens when this returns. */
static pid_t serve(const struct place *p, uid_t user, const char *answer)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        memcpy(at.sun_path, p->path, strlen(p->path));
        if ((user && setuid(user)) || bind(fd, (const struct sockaddr *)&at, sizeof at) ||
            chmod(p->path, 0666) || listen(fd, 4))
            _exit(1);
        (void)!write(ready[1], "", 1);
        int client = accept(fd, NULL, NULL);
        while (read(client, &byte, 1) == 1 && byte != '\n')
            ;
        (void)!write(client, answer, strlen(answer));
        _exit(0);
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    return pid;
}

static void end(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_question_gets_its_answer(void **state)
{
    const struct place *p = *state;
    struct answer a;
    pid_t server = serve(p, 0, "{\"ok\":true}\n");
    bool ok = false;
    assert_int_equal(ask_socket(p->path, SPAN("{}"), WAIT_MS, &a), OK);
    assert_true(json_bool(json_get(a.root, "ok"), &ok) && ok);
    answer_free(&a);
    end(server);
}

static void where_nobody_listens_is_told(void **state)
{
    const struct place *p = *state;
    struct answer a;
    assert_int_equal(ask_socket(p->path, SPAN("{}"), WAIT_MS, &a), ERR_NOT_FOUND);
}

/* In a process of that user. */
static int ask_as(const struct place *p, uid_t user)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        struct answer a;
        _exit(setuid(user) ? 99 : (int)ask_socket(p->path, SPAN("{}"), WAIT_MS, &a));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Whoever got hold of the path first. */
static void another_user_s_server_is_not_talked_to(void **state)
{
    const struct place *p = *state;
    if (geteuid() != 0)
        skip();
    pid_t server = serve(p, OTHER_USER, "{\"ok\":true}\n");
    assert_int_equal(ask_as(p, THIRD_USER), ERR_DENIED);
    end(server);
    (void)unlink(p->path);
    server = serve(p, OTHER_USER, "{\"ok\":true}\n");
    assert_int_equal(ask_as(p, OTHER_USER), OK);
    end(server);
    (void)unlink(p->path);
    server = serve(p, OTHER_USER, "{\"ok\":true}\n"); /* a service of its own user, asked by root */
    assert_int_equal(ask_as(p, 0), OK);
    end(server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_question_gets_its_answer),
        TEST(where_nobody_listens_is_told),
        TEST(another_user_s_server_is_not_talked_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
