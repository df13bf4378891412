#include "common/runtime/trust.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/log.h"

static const struct {
    const char *address;
    bool local;
} cases[] = {
    {"ipc:///run/tollgate/auth", true},
    {"tcp://127.0.0.1:5571", true},
    {"tcp://127.0.0.1:*", true},
    {"tcp://127.9.8.7:1", true},
    {"tcp://[::1]:5571", true},
    {"tcp://localhost:5571", true},
    {"tcp://127.0.0.1.example.com:1", false},
    {"tcp://localhost.example.com:1", false},
    {"tcp://0.0.0.0:5571", false},
    {"tcp://*:*", false},
    {"tcp://*:5571", false},
    {"tcp://10.0.0.7:5571", false},
    {"tcp://broker-1:5571", false},
    {"tcp://[::]:5571", false},
    {"tcp://[fe80::1%25eth0]:1", false},
    {"tcp://eth0:5571", false},
};

static void a_plain_bus_stays_on_its_machine_unless_told_otherwise(void **state)
{
    (void)state;
    const struct config_options strict = {.bus_certs = ""};
    const struct config_options told = {.bus_certs = "", .bus_plaintext = true};
    struct trust plain = {0}, keyed = {.keyed = true};
    log_set_fd(-1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *address = cases[i].address;
        if (trust_is_local(address) != cases[i].local)
            fail_msg("%s", address);
        assert_int_equal(trust_check(&plain, &strict, address), cases[i].local ? OK : ERR_DENIED);
        assert_int_equal(trust_check(&plain, &told, address), OK);
        assert_int_equal(trust_check(&keyed, &strict, address), OK);
    }
    log_set_fd(2);
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct trust t;
    const struct config_options none = {.bus_certs = ""}, lost = {.bus_certs = "/nowhere"};
    assert_int_equal(trust_open(&t, &none, "edge", NULL), OK);
    assert_null(trust_keys(&t));
    trust_close(&t);
    log_set_fd(-1);
    assert_int_equal(trust_open(&t, &lost, "worker", "openai"), ERR_NOT_FOUND);
    assert_int_equal(trust_open_command(&t, "/nowhere"), ERR_NOT_FOUND);
    log_set_fd(2);
    trust_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_bus_stays_on_its_machine_unless_told_otherwise),
        cmocka_unit_test(a_folder_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
