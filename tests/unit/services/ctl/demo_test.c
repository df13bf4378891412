#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/runtime/config/config.h"
#include "services/ctl/demo.h"

static const struct demo_ports ports = {4000, 9464, 4010};

static char *nothing(const char *name)
{
    (void)name;
    return NULL;
}

static char *only_openai(const char *name)
{
    static char key[] = "sk-real";
    return strcmp(name, "OPENAI_API_KEY") == 0 ? key : NULL;
}

static struct config *load(const struct buf *text)
{
    char path[] = "/tmp/tollgate-demo-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text->data, text->len), text->len);
    (void)close(fd);
    struct config *config = NULL;
    struct buf errors = {0};
    const struct config_paths paths = {"/run", "/state"};
    enum err e = config_load(path, &paths, &config, &errors);
    if (e)
        print_message("%.*s\n", (int)errors.len, errors.data);
    assert_int_equal(e, OK);
    buf_free(&errors);
    (void)unlink(path);
    return config;
}

static void without_keys_every_provider_is_simulated(void **state)
{
    (void)state;
    struct buf text = {0};
    assert_int_equal(demo_config(&ports, nothing, &text), 3);
    struct config *c = load(&text);
    for (size_t i = 0; i < c->provider_count; i++) {
        assert_int_equal(c->providers[i].endpoints.count, 1);
        assert_non_null(strstr(c->providers[i].endpoints.items[0], "http://127.0.0.1:4010/"));
        assert_true(c->providers[i].private_network);
    }
    assert_int_equal(c->options.edge_port, 4000);
    assert_string_equal(c->options.edge_address, "127.0.0.1");
    static const char *const names[] = {
        "gpt-4o-mini", "claude-haiku-4-5", "meta/meta-llama-3-8b-instruct", "gpt-4", "claude-3",
        "llama-2",     "gpt-anything"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_non_null(config_find_model(c, span_str(names[i])));
    config_destroy(&c);
    buf_free(&text);
}

static void a_provider_with_a_key_is_the_real_one_and_its_key_is_not_written_down(void **state)
{
    (void)state;
    struct buf text = {0};
    assert_int_equal(demo_config(&ports, only_openai, &text), 2);
    assert_int_equal(span_find_span(buf_span(&text), SPAN("sk-real")), text.len);
    struct config *c = load(&text);
    const struct config_provider *p = config_find_provider(c, "openai");
    assert_int_equal(p->endpoints.count, 0);
    assert_string_equal(p->api_keys.items[0], "${OPENAI_API_KEY}");
    config_destroy(&c);
    buf_free(&text);
}

static void a_free_port_is_one_that_can_be_bound(void **state)
{
    (void)state;
    unsigned port = demo_free_port(0);
    assert_in_range(port, 1, 65535);
    assert_int_equal(demo_free_port(70000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_keys_every_provider_is_simulated),
        cmocka_unit_test(a_provider_with_a_key_is_the_real_one_and_its_key_is_not_written_down),
        cmocka_unit_test(a_free_port_is_one_that_can_be_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
