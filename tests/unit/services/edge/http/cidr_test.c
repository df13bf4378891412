#include "services/edge/http/cidr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void addresses_are_matched_by_their_prefix(void **state)
{
    static const struct {
        const char *range, *address;
        bool inside;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"172.16.0.0/12", "172.31.255.255", true},
        {"172.16.0.0/12", "172.32.0.0", false},
        {"192.168.1.7", "192.168.1.7", true},
        {"192.168.1.7", "192.168.1.8", false},
        {"192.168.1.6/31", "192.168.1.7", true},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "8.8.8.8", true},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"::1/128", "::1", true},
        {"::1", "[::1]", true},
        {"fc00::/7", "fd12::1", true},
        {"fc00::/7", "fe00::1", false},
        {"fe80::/10", "fe80::1%eth0", true},
        {"10.0.0.0/8", "not an address", false},
        {"10.0.0.0/8", "", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct cidr range;
        uint8_t address[16];
        assert_int_equal(cidr_parse(cases[i].range, &range), OK);
        bool inside =
            cidr_address(span_str(cases[i].address), address) && cidr_contains(&range, address);
        assert_int_equal(inside, cases[i].inside);
    }
}

static void what_is_no_range_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/x",
        "10.0.0/8",
        "::/129",
        "localhost",
        "10.0.0.0/8/8",
        "1.2.3.4.5",
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cidr range;
        assert_int_equal(cidr_parse(bad[i], &range), ERR_INVALID);
    }
}

static void a_list_names_its_bad_item_and_keeps_the_rest(void **state)
{
    static const char *const items[] = {"127.0.0.0/8", "nonsense", "::1/128"};
    struct cidr_list list;
    const char *bad;
    (void)state;
    assert_int_equal(cidr_list_parse(&list, items, 3, &bad), ERR_INVALID);
    assert_string_equal(bad, "nonsense");
    assert_true(cidr_list_matches(&list, SPAN("127.0.0.1")));
    assert_true(cidr_list_matches(&list, SPAN("::1")));
    assert_false(cidr_list_matches(&list, SPAN("8.8.8.8")));
    cidr_list_free(&list);
    assert_int_equal(cidr_list_parse(&list, items, 0, &bad), OK);
    assert_false(cidr_list_matches(&list, SPAN("127.0.0.1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_matched_by_their_prefix),
        cmocka_unit_test(what_is_no_range_is_refused),
        cmocka_unit_test(a_list_names_its_bad_item_and_keeps_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
