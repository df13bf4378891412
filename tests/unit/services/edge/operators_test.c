/* What operators alone may read, and what clients can't put there. */
#include "unit/services/edge/test_suite.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/log.h"

#define KEY "Authorization: Bearer sk-1\r\n"
#define ORIGIN "Origin: https://elsewhere\r\n"
#define CHAT "/v1/chat/completions"

static void scripts_of_other_sites_may_not_read_what_is_for_operators(void **state)
{
    struct suite *s = *state;
    static const char *const paths[] = {"/metrics", "/health"};
    struct suite_client c;
    for (size_t i = 0; i < 2; i++) {
        client_open(s, &c);
        edge_request(&c, "OPTIONS", paths[i], ORIGIN, NULL);
        SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 204"));
        edge_request(&c, "GET", paths[i], ORIGIN KEY, NULL);
        SUITE_UNTIL(s, s->metrics.seen[MESSAGE_QUERY].count == i + 1);
        struct answer answer = {.content_type = SPAN("text/plain"), .body = SPAN("{}")};
        suite_send(&s->metrics, MESSAGE_QUERY, (struct header){0}, MESSAGE_ANSWER, &answer);
        SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 200") && client_has(&c, "{"));
        assert_false(client_has(&c, "access-control"));
        client_close(&c);
    }
    client_open(s, &c);
    edge_request(&c, "GET", "/health/liveness", ORIGIN, NULL);
    SUITE_UNTIL(s, client_has(&c, "alive"));
    assert_true(client_has(&c, "access-control-allow-origin: *\r\n"));
    client_close(&c);
}

static void ask_of(struct suite *s, const char *body, const struct reply *reply)
{
    struct suite_client c;
    client_open(s, &c);
    edge_request(&c, "POST", CHAT, KEY, body);
    suite_send(suite_dispatched(s), MESSAGE_DISPATCH, (struct header){.attempt = 1}, MESSAGE_REPLY,
               reply);
    SUITE_UNTIL(s, client_has(&c, "HTTP/1.1 200"));
    client_close(&c);
    SUITE_UNTIL(s, s->edge.request_count == 0);
}

static const struct reply ok = {.status = 200, .provider = {"openai", 6}, .body = {"{}", 2}};

static void a_model_behind_a_wildcard_is_counted_by_its_name(void **state)
{
    struct suite *s = *state;
    assert_int_equal(metric_client_create(&s->d.metrics, s->loop, s->bus, s->d.metrics_peer), OK);
    ask_of(s, "{\"model\":\"wild-one\",\"messages\":[]}", &ok);
    suite_advance(s, 3000);
    assert_int_equal(strncmp(s->labels[METRIC_REQUESTS], "wild-one\x1f", 9), 0);
    assert_int_equal(strncmp(s->labels[METRIC_DURATION], "wild-one\x1f", 9), 0);
    metric_client_destroy(&s->d.metrics);
}

static void a_wildcards_models_are_counted_as_one_where_they_are_many(void **state)
{
    struct suite *s = *state;
    assert_int_equal(metric_client_create(&s->d.metrics, s->loop, s->bus, s->d.metrics_peer), OK);
    for (unsigned i = 0; i < MODEL_NAMES_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "other-%u", i);
        assert_true(model_names_take(&s->edge.model_names, span_str(name)));
    }
    ask_of(s, "{\"model\":\"wild-two\",\"messages\":[]}", &ok);
    ask_of(s, "{\"model\":\"wild-three\",\"messages\":[]}", &ok);
    suite_advance(s, 3000);
    assert_int_equal(s->counted[METRIC_REQUESTS], 2);
    assert_int_equal(strncmp(s->labels[METRIC_REQUESTS], "wild-*\x1f", 7), 0);
    assert_int_equal(strncmp(s->labels[METRIC_DURATION], "wild-*\x1f", 7), 0);
    metric_client_destroy(&s->d.metrics);
}

static unsigned lines_with(const char *path, const char *text)
{
    char line[1024];
    unsigned n = 0;
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        n += strstr(line, text) != NULL;
    (void)fclose(f);
    return n;
}

static void a_proxy_that_is_not_trusted_is_told_of_once(void **state)
{
    struct suite *s = *state;
    struct suite_client c;
    char path[96];
    (void)snprintf(path, sizeof path, "%s/log", s->dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    log_set_fd(fd);
    for (int i = 0; i < 3; i++) {
        client_open(s, &c);
        edge_request(&c, "GET", "/health/liveness", "X-Forwarded-For: 10.1.1.1\r\n", NULL);
        SUITE_UNTIL(s, client_has(&c, "alive"));
        client_close(&c);
    }
    log_set_fd(2);
    assert_int_equal(lines_with(path, "forwarded_for_ignored"), 1);
    assert_int_equal(lines_with(path, "client=127.0.0.1"), 1);
    (void)close(fd);
    (void)unlink(path);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, suite_setup, suite_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(scripts_of_other_sites_may_not_read_what_is_for_operators),
        TEST(a_model_behind_a_wildcard_is_counted_by_its_name),
        TEST(a_wildcards_models_are_counted_as_one_where_they_are_many),
        TEST(a_proxy_that_is_not_trusted_is_told_of_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
