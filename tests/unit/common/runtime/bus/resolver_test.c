#include "common/runtime/bus/resolver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct answer {
    unsigned count;
    enum err e;
    char address[RESOLVER_ADDRESS_BYTES];
};

static void on_answer(void *ctx, enum err e, const char *address)
{
    struct answer *answer = ctx;
    answer->count++;
    answer->e = e;
    (void)snprintf(answer->address, sizeof answer->address, "%s", address ? address : "");
}

static enum err lookup(const char *host, char *out, size_t size)
{
    if (strcmp(host, "none.test") == 0)
        return ERR_NOT_FOUND;
    (void)snprintf(out, size, "%s", strcmp(host, "six.test") == 0 ? "2001:db8::1" : "192.0.2.1");
    return OK;
}

static void names_and_numbers_are_told_apart(void **state)
{
    static const struct {
        const char *address;
        bool name, number;
    } cases[] = {
        {"tcp://broker-1:5570", true, false},
        {"tcp://localhost:1", true, false},
        {"tcp://a.b.example:65535", true, false},
        {"tcp://1.2.3:5570", true, false},
        {"tcp://127.0.0.1:5570", false, true},
        {"tcp://[::1]:5570", false, true},
        {"tcp://[fe80::1%eth0]:5570", true, false},
        {"tcp://*:5570", true, false},
        {"tcp://*:*", false, false},
        {"tcp://127.0.0.1:0", false, false},
        {"tcp://127.0.0.1:65536", false, false},
        {"tcp://127.0.0.1:000080", false, false},
        {"tcp://127.0.0.1", false, false},
        {"tcp://:5570", false, false},
        {"tcp://", false, false},
        {"ipc:///run/broker-1", false, false},
        {"", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(resolver_is_needed(cases[i].address), cases[i].name);
        assert_int_equal(resolver_is_numeric(cases[i].address), cases[i].number);
    }
}

static void await_answer(struct loop *loop, const struct answer *answer)
{
    uint64_t until = clock_mono_ms(&clock_real) + 20000;
    while (!answer->count && clock_mono_ms(&clock_real) < until)
        assert_int_equal(loop_turn(loop, 20), OK);
    assert_int_equal(answer->count, 1);
}

static void names_become_numbers(void **state)
{
    static const struct {
        const char *name;
        enum err e;
        const char *address;
    } cases[] = {{"tcp://four.test:5570", OK, "tcp://192.0.2.1:5570"},
                 {"tcp://six.test:5570", OK, "tcp://[2001:db8::1]:5570"},
                 {"tcp://none.test:5570", ERR_NOT_FOUND, ""}};
    struct loop *loop;
    struct resolver *resolver;
    struct resolver_query *query;
    (void)state;
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(resolver_create(&resolver, loop, lookup), OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct answer answer = {0};
        assert_int_equal(resolver_ask(resolver, cases[i].name, on_answer, &answer, &query), OK);
        await_answer(loop, &answer);
        assert_int_equal(answer.e, cases[i].e);
        assert_string_equal(answer.address, cases[i].address);
    }
    resolver_destroy(&resolver);
    assert_null(resolver);
    loop_destroy(&loop);
}

static void the_systems_names_are_known(void **state)
{
    struct loop *loop;
    struct resolver *resolver;
    struct resolver_query *query;
    struct answer answer = {0};
    (void)state;
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(resolver_create(&resolver, loop, NULL), OK);
    assert_int_equal(resolver_ask(resolver, "tcp://localhost:80", on_answer, &answer, &query), OK);
    await_answer(loop, &answer);
    assert_int_equal(answer.e, OK);
    assert_true(resolver_is_numeric(answer.address));
    resolver_destroy(&resolver);
    loop_destroy(&loop);
}

static void a_forgotten_query_is_not_answered_and_too_many_are_refused(void **state)
{
    enum { MANY = 100000 };
    struct loop *loop;
    struct resolver *resolver;
    struct resolver_query *query;
    struct answer none = {0}, last = {0};
    enum err e = OK;
    (void)state;
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(resolver_create(&resolver, loop, lookup), OK);
    unsigned n = 0;
    for (; !e && n < MANY; n++) {
        e = resolver_ask(resolver, "tcp://four.test:1", on_answer, &none, &query);
        resolver_forget(&query);
        assert_null(query);
    }
    assert_int_equal(e, ERR_AGAIN);
    while (resolver_ask(resolver, "tcp://four.test:2", on_answer, &last, &query) != OK)
        assert_int_equal(loop_turn(loop, 5), OK);
    await_answer(loop, &last);
    assert_int_equal(none.count, 0);
    assert_int_equal(resolver_ask(resolver, "ipc:///x", on_answer, &last, &query), ERR_INVALID);
    assert_int_equal(resolver_ask(resolver, "tcp://four.test:3", on_answer, &last, &query), OK);
    resolver_destroy(&resolver); /* unanswered */
    loop_destroy(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers_are_told_apart),
        cmocka_unit_test(names_become_numbers),
        cmocka_unit_test(the_systems_names_are_known),
        cmocka_unit_test(a_forgotten_query_is_not_answered_and_too_many_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
