#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "services/ctl/suite.h"

static struct config *load(const char *yaml)
{
    char path[] = "/tmp/tollgate-suite-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, strlen(yaml)), strlen(yaml));
    (void)close(fd);
    struct config *config = NULL;
    struct buf errors = {0};
    const struct config_paths paths = {"/run/t", "/state"};
    enum err e = config_load(path, &paths, &config, &errors);
    if (e)
        print_message("%.*s\n", (int)errors.len, errors.data);
    assert_int_equal(e, OK);
    buf_free(&errors);
    (void)unlink(path);
    return config;
}

static const char two_of_each[] =
    "providers:\n"
    "  openai: { api_keys: [\"${KEY_A}\", \"${KEY_B}\"] }\n"
    "  vllm: { type: openai, endpoints: [\"http://10.0.0.7:8000/v1\"], private: true,\n"
    "          headers: { x-secret: \"${KEY_C}\" } }\n"
    "models:\n  m: { targets: [{provider: openai}, {provider: vllm}] }\n"
    "bus: { brokers: [\"ipc://{run}/broker-1\", \"tcp://127.0.0.1:5571\"] }\n";

static void on_ready(void *ctx)
{
    (void)ctx;
}

static bool has_args(const struct child *c, const char *first, const char *second)
{
    for (size_t i = 1; i + 1 < c->arg_count; i++) {
        if (strcmp(c->args[i], first) == 0 && strcmp(c->args[i + 1], second) == 0)
            return true;
    }
    return false;
}

static void every_daemon_is_there_with_its_arguments(void **state)
{
    (void)state;
    static const struct {
        const char *name, *program, *option, *value;
    } expected[] = {{"metrics", "tollgate-metrics", "--config", "c.yaml"},
                    {"auth", "tollgate-auth", "--state-dir", "/state"},
                    {"broker-1", "tollgate-broker", "--bind", "ipc:///run/t/broker-1"},
                    {"broker-2", "tollgate-broker", "--bind", "tcp://127.0.0.1:5571"},
                    {"worker-openai", "tollgate-worker", "--provider", "openai"},
                    {"worker-vllm", "tollgate-worker", "--provider", "vllm"},
                    {"edge-1", "tollgate-edge", "--log-level", "debug"}};
    char folder[] = "/tmp/tollgate-suite-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct config *c = load(two_of_each);
    struct supervisor *s = NULL;
    const struct supervisor_spec spec = {.run_dir = folder, .on_ready = on_ready};
    struct suite_paths paths = {
        .config_path = "c.yaml", .run_dir = "/run/t", .state_dir = "/state"};
    const struct suite_options options = {.log_level = "debug", .listen_fd = 7};
    assert_int_equal(supervisor_create(&s, &spec), OK);
    const struct suite suite = {s, &paths, &options};
    assert_int_equal(suite_add(&suite, c), OK);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const struct child *child = supervisor_child(s, i);
        assert_non_null(child);
        assert_string_equal(child->name, expected[i].name);
        assert_string_equal(child->program, expected[i].program);
        assert_true(has_args(child, expected[i].option, expected[i].value));
        assert_true(has_args(child, "--name", expected[i].name));
    }
    assert_null(supervisor_child(s, sizeof expected / sizeof expected[0]));
    assert_int_equal(supervisor_child(s, 4)->keep_count,
                     2); /* openai's worker sees its own two secrets */
    assert_string_equal(supervisor_child(s, 5)->keep_env[0], "KEY_C");
    assert_int_equal(supervisor_child(s, 6)->keep_count, 0);
    assert_int_equal(supervisor_child(s, 6)->listen_fd, 7);
    assert_true(supervisor_child(s, 6)->overlaps); /* two may serve one socket */
    assert_true(supervisor_child(s, 4)->overlaps);
    assert_false(supervisor_child(s, 1)->overlaps);
    supervisor_destroy(&s);
    config_destroy(&c);
    (void)rmdir(folder);
}

static void a_worker_is_told_when_its_provider_names_further_variables(void **state)
{
    (void)state;
    char folder[] = "/tmp/tollgate-suite-XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct config *c = load(two_of_each),
                  *more = load("providers:\n  vllm: { type: openai, private: true, "
                               "endpoints: [\"http://h/v1\"], api_keys: [\"${KEY_D}\"] }\n");
    struct supervisor *s = NULL;
    bool changed = true;
    const struct supervisor_spec spec = {.run_dir = folder, .on_ready = on_ready};
    struct suite_paths paths = {
        .config_path = "c.yaml", .run_dir = "/run/t", .state_dir = "/state"};
    const struct suite_options options = {.log_level = "debug"};
    assert_int_equal(supervisor_create(&s, &spec), OK);
    const struct suite suite = {s, &paths, &options};
    assert_int_equal(suite_add(&suite, c), OK);
    struct child *worker = supervisor_find(s, SPAN("worker-vllm"));
    assert_non_null(worker);
    assert_int_equal(suite_update_worker(worker, &c->providers[1], &changed), OK);
    assert_false(changed);
    assert_int_equal(suite_update_worker(worker, &more->providers[0], &changed), OK);
    assert_true(changed);
    assert_true(child_keeps_env(worker, "KEY_D"));
    assert_false(supervisor_find(s, SPAN("edge-1"))->overlaps); /* it listens by itself */
    supervisor_destroy(&s);
    config_destroy(&c);
    config_destroy(&more);
    (void)rmdir(folder);
}

static void the_address_to_try_is_one_that_answers_here(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *url;
    } cases[] = {{"edge: { port: 4001 }\n", "http://127.0.0.1:4001"},
                 {"edge: { address: 10.1.2.3 }\n", "http://10.1.2.3:4000"},
                 {"edge: { address: \"::\" }\n", "http://127.0.0.1:4000"},
                 {"edge: { address: \"::1\" }\n", "http://[::1]:4000"},
                 {"edge: { tls_cert: /c, tls_key: /k }\n", "https://127.0.0.1:4000"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf url = {0};
        struct config *c = load(cases[i].yaml);
        suite_url(c, &url);
        assert_true(span_is(buf_span(&url), cases[i].url));
        buf_free(&url);
        config_destroy(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_daemon_is_there_with_its_arguments),
        cmocka_unit_test(a_worker_is_told_when_its_provider_names_further_variables),
        cmocka_unit_test(the_address_to_try_is_one_that_answers_here),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
