/* A compatible provider is one row of providers.def and no code: this program is built with a row
 * more (see tests/CMakeLists.txt), and serves a request with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/worker/setup.h"
#include "unit/services/worker/pipeline_driver.h"

static struct setup *set_up_provider(const char *name, const char *providers)
{
    char path[] = "/tmp/made_up_test.XXXXXX";
    struct config_paths paths = {"/tmp", "/tmp"};
    struct setup *setup = NULL;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    (void)dprintf(fd, "providers: { %s }\nmodels: { m: { targets: [{ provider: %s }] } }\n",
                  providers, name);
    (void)close(fd);
    assert_int_equal(setup_create(&setup, path, &paths, name), OK);
    (void)unlink(path);
    return setup;
}

static void its_name_alone_configures_it(void **state)
{
    (void)state;
    assert_int_equal(setenv("ACME_API_KEY", "sk-acme", 1), 0);
    struct setup *setup = set_up_provider("acme", "acme: {}");
    const struct endpoint *endpoint = endpoints_at(setup->endpoints, 0);
    assert_non_null(endpoint);
    assert_int_equal(setup->provider->protocol, PROTOCOL_OPENAI);
    assert_true(span_is(endpoint->base_url, "https://api.acme.example/v2"));
    assert_true(span_is(secret_reveal(endpoint->key_header), "Authorization: Bearer sk-acme"));
    setup_unref(&setup);
    (void)unsetenv("ACME_API_KEY");
}

static void its_key_goes_to_no_other_endpoint(void **state)
{
    (void)state;
    assert_int_equal(setenv("ACME_API_KEY", "sk-acme", 1), 0);
    struct setup *setup =
        set_up_provider("acme", "acme: { endpoints: [\"https://elsewhere.example/v1\"] }");
    const struct endpoint *endpoint = endpoints_at(setup->endpoints, 0);
    assert_non_null(endpoint);
    assert_null(endpoint->key_header);
    setup_unref(&setup);
    (void)unsetenv("ACME_API_KEY");
}

static void it_serves_a_request(void **state)
{
    static const char answer[] =
        "{\"id\":\"c1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"acme-1\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},"
        "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,"
        "\"total_tokens\":2}}";
    (void)state;
    assert_int_equal(setenv("ACME_API_KEY", "sk-acme", 1), 0);
    struct setup *setup = set_up_provider("acme", "acme: {}");
    struct driver d;
    driver_init(&d, setup->provider, API_OPENAI_CHAT, "/chat/completions");
    d.spec.provider_config = setup->provider_config;
    d.spec.base_url = endpoints_at(setup->endpoints, 0)->base_url;
    assert_int_equal(driver_start(&d, "{\"model\":\"m\",\"max_completion_tokens\":9,"
                                      "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"),
                     OK);
    assert_int_equal(d.sent_count, 1);
    assert_true(span_is(d.sent[0]->path, "/chat/completions"));
    assert_true(span_is(d.sent[0]->body, "{\"model\":\"m\",\"max_tokens\":9,"
                                         "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"));
    driver_head(&d, 0, 200, "content-type: application/json\n");
    driver_text(&d, 0, answer);
    driver_end(&d, 0);
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_DONE);
    assert_true(span_is(buf_span(&d.output), answer));
    driver_done(&d);
    setup_unref(&setup);
    (void)unsetenv("ACME_API_KEY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_name_alone_configures_it),
        cmocka_unit_test(its_key_goes_to_no_other_endpoint),
        cmocka_unit_test(it_serves_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
