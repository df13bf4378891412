#include "proto/provider_info.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void every_provider_is_whole_and_named_once(void **state)
{
    (void)state;
    for (size_t i = 0; provider_info_at(i); i++) {
        const struct provider_info *p = provider_info_at(i);
        assert_ptr_equal(provider_info_find(p->name), p);
        assert_true(p->protocol < PROTOCOL_COUNT);
        assert_int_equal(strncmp(p->base_url, "https://", 8), 0);
        assert_int_not_equal(p->base_url[strlen(p->base_url) - 1], '/');
        assert_true(strlen(p->key_variable) > 4);
        assert_int_equal(strspn(p->key_variable, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789"),
                         strlen(p->key_variable));
        assert_int_equal(p->compat >> COMPAT_COUNT, 0);
    }
    assert_non_null(provider_info_at(39)); /* so many at least are known */
    assert_null(provider_info_find("none"));
    assert_null(provider_info_find(NULL));
}

static void every_protocol_has_a_provider_of_its_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PROTOCOL_COUNT; i++) {
        enum protocol found = PROTOCOL_COUNT, wanted = (enum protocol)i;
        assert_true(protocol_find(protocol_info(wanted)->name, &found));
        assert_int_equal(found, wanted);
        assert_int_equal(provider_info_find(protocol_info(wanted)->name)->protocol, wanted);
        assert_non_null(provider_info("none", wanted));
    }
    enum protocol none;
    assert_false(protocol_find("groq", &none));
}

static void a_row_counts_only_with_its_own_protocol(void **state)
{
    (void)state;
    assert_string_equal(provider_info("groq", PROTOCOL_OPENAI)->name, "groq");
    assert_string_equal(provider_info("groq", PROTOCOL_ANTHROPIC)->name, "anthropic");
    assert_string_equal(provider_info("mine", PROTOCOL_OPENAI)->name, "openai");
}

static void marks_are_found_by_their_words(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COMPAT_COUNT; i++)
        assert_int_equal(compat_bit(compat_info((enum compat_mark)i)->word), 1u << i);
    assert_int_equal(compat_bit("max_token"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_provider_is_whole_and_named_once),
        cmocka_unit_test(every_protocol_has_a_provider_of_its_name),
        cmocka_unit_test(a_row_counts_only_with_its_own_protocol),
        cmocka_unit_test(marks_are_found_by_their_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
