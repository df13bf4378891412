/* Address ranges ("10.0.0.0/8", "fc00::/7", "192.168.1.7") and whether an address lies in one.
 * Pure. */
#ifndef SERVICES_EDGE_HTTP_CIDR_H
#define SERVICES_EDGE_HTTP_CIDR_H

#include "common/base/err.h"
#include "common/base/span.h"

/* IPv4 is kept as its IPv6-mapped form, so that "::ffff:10.0.0.1" and "10.0.0.1" are the same. */
struct cidr {
    uint8_t bytes[16];
    unsigned prefix_bits; /* of 128 */
};

struct cidr_list {
    struct cidr *ranges; /* owned */
    size_t count;
};

/* ERR_INVALID when the text is no address or its prefix is out of range. */
enum err cidr_parse(const char *text, struct cidr *out) NODISCARD;
bool cidr_contains(const struct cidr *range, const uint8_t address[16]);
/* false when the text is no address ("10.0.0.7", "[::1]", "fe80::1%eth0" are). */
bool cidr_address(struct span text, uint8_t out[16]);

/* Parses every item. ERR_INVALID names the first bad one in *bad_out; the others are in the list
 * all the same. */
enum err cidr_list_parse(struct cidr_list *list, const char *const *items, size_t count,
                         const char **bad_out) NODISCARD;
void cidr_list_free(struct cidr_list *list);
/* false for a text that is no address. */
bool cidr_list_matches(const struct cidr_list *list, struct span address);

#endif
