#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "common/fetch/address_check.h"

static bool is_public(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(443)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1)
        return address_is_public((const struct sockaddr *)&in, sizeof in);
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    return address_is_public((const struct sockaddr *)&in6, sizeof in6);
}

static void public_addresses_are_fine(void **state)
{
    static const char *const texts[] = {
        "1.1.1.1",         "8.8.8.8",          "9.255.255.255",     "11.0.0.0",
        "100.63.255.255",  "100.128.0.0",      "126.255.255.255",   "128.0.0.1",
        "169.253.255.255", "169.255.0.0",      "172.15.255.255",    "172.32.0.0",
        "192.167.255.255", "192.169.0.0",      "198.17.255.255",    "198.20.0.0",
        "223.255.255.255", "2606:4700::1111",  "2a00:1450:4001::1", "2001:4860:4860::8888",
        "::ffff:8.8.8.8",  "64:ff9b::8.8.8.8", "2002:808:808::1"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (!is_public(texts[i]))
            fail_msg("%s was refused", texts[i]);
}

static void private_and_metadata_addresses_are_not(void **state)
{
    static const char *const texts[] = {"0.0.0.0",
                                        "10.0.0.1",
                                        "10.255.255.255",
                                        "100.64.0.1",
                                        "100.100.100.200",
                                        "127.0.0.1",
                                        "127.255.255.255",
                                        "169.254.169.254",
                                        "172.16.0.1",
                                        "172.31.255.255",
                                        "192.0.0.192",
                                        "192.0.2.1",
                                        "192.168.0.1",
                                        "198.18.0.1",
                                        "198.19.255.255",
                                        "198.51.100.1",
                                        "203.0.113.9",
                                        "224.0.0.1",
                                        "239.1.2.3",
                                        "240.0.0.1",
                                        "255.255.255.255",
                                        "::",
                                        "::1",
                                        "::127.0.0.1",
                                        "::ffff:127.0.0.1",
                                        "::ffff:169.254.169.254",
                                        "64:ff9b::10.0.0.1",
                                        "64:ff9b:1::1",
                                        "100::1",
                                        "2001::1",
                                        "2001:db8::1",
                                        "2002:7f00:1::",
                                        "2002:a9fe:a9fe::",
                                        "fc00::1",
                                        "fd00:ec2::254",
                                        "fe80::1",
                                        "febf::1",
                                        "fec0::1",
                                        "ff02::1",
                                        "3fff::1",
                                        "5f00::1"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (is_public(texts[i]))
            fail_msg("%s was let through", texts[i]);
}

static void other_families_and_short_addresses_are_not(void **state)
{
    (void)state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x08080808)};
    assert_false(address_is_public((const struct sockaddr *)&un, sizeof un));
    assert_false(address_is_public((const struct sockaddr *)&in, sizeof in - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_addresses_are_fine),
        cmocka_unit_test(private_and_metadata_addresses_are_not),
        cmocka_unit_test(other_families_and_short_addresses_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
