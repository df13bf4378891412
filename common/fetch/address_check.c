#include "common/fetch/address_check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct range4 {
    uint32_t net;
    unsigned bits;
};

#define NET4(a, b, c, d)                                                                           \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static const struct range4 closed4[] = {
    {NET4(0, 0, 0, 0), 8},       /* this network */
    {NET4(10, 0, 0, 0), 8},      /* private */
    {NET4(100, 64, 0, 0), 10},   /* shared by carriers; 100.100.100.200 is a metadata service */
    {NET4(127, 0, 0, 0), 8},     /* loopback */
    {NET4(169, 254, 0, 0), 16},  /* link-local; 169.254.169.254 is a metadata service */
    {NET4(172, 16, 0, 0), 12},   /* private */
    {NET4(192, 0, 0, 0), 24},    /* protocol assignments */
    {NET4(192, 0, 2, 0), 24},    /* documentation */
    {NET4(192, 88, 99, 0), 24},  /* 6to4 relays, gone */
    {NET4(192, 168, 0, 0), 16},  /* private */
    {NET4(198, 18, 0, 0), 15},   /* benchmarks */
    {NET4(198, 51, 100, 0), 24}, /* documentation */
    {NET4(203, 0, 113, 0), 24},  /* documentation */
    {NET4(224, 0, 0, 0), 4},     /* multicast */
    {NET4(240, 0, 0, 0), 4},     /* reserved, broadcast */
};

struct range6 {
    uint8_t net[16];
    unsigned bits;
};

static const struct range6 closed6[] = {
    {{0x01, 0x00}, 64},                   /* 100::/64: discard */
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48}, /* local translation */
    {{0x20, 0x01, 0x0d, 0xb8}, 32},       /* documentation */
    {{0x20, 0x01, 0x00, 0x00}, 23},       /* protocol assignments, Teredo */
    {{0x3f, 0xff}, 20},                   /* documentation */
    {{0x5f, 0x00}, 16},                   /* segment routing */
    {{0xfc, 0x00}, 7},                    /* unique local; fd00:ec2::254 is a metadata service */
    {{0xfe, 0x80}, 10},                   /* link-local */
    {{0xfe, 0xc0}, 10},                   /* site-local */
    {{0xff, 0x00}, 8},                    /* multicast */
};

static bool is_public4(uint32_t address)
{
    for (size_t i = 0; i < sizeof closed4 / sizeof closed4[0]; i++) {
        uint32_t mask = ~(uint32_t)0 << (32 - closed4[i].bits);
        if ((address & mask) == closed4[i].net)
            return false;
    }
    return true;
}

static bool begins_with(const uint8_t address[16], const uint8_t net[16], unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(address, net, whole) != 0)
        return false;
    if (rest == 0)
        return true;
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return (address[whole] & mask) == (net[whole] & mask);
}

static uint32_t read4(const uint8_t *at)
{
    return NET4(at[0], at[1], at[2], at[3]);
}

/* An IPv4 address that an IPv6 one stands for; false when it stands for none. */
static bool embedded4(const uint8_t a[16], uint32_t *out)
{
    static const uint8_t zero[16], mapped[16] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t nat64[16] = {0x00, 0x64, 0xff, 0x9b}, six_to_four[16] = {0x20, 0x02};
    if (begins_with(a, six_to_four, 16)) {
        *out = read4(a + 2);
        return true;
    }
    if (begins_with(a, mapped, 96) || begins_with(a, nat64, 96) || begins_with(a, zero, 96)) {
        *out = read4(a + 12); /* ::1 and :: read as 0.0.0.x, which is closed */
        return true;
    }
    return false;
}

static bool is_public6(const uint8_t a[16])
{
    uint32_t inner;
    if (embedded4(a, &inner))
        return is_public4(inner);
    for (size_t i = 0; i < sizeof closed6 / sizeof closed6[0]; i++)
        if (begins_with(a, closed6[i].net, closed6[i].bits))
            return false;
    return true;
}

bool address_is_public(const struct sockaddr *address, socklen_t len)
{
    if (address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return is_public4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return is_public6(in6.sin6_addr.s6_addr);
    }
    return false;
}
