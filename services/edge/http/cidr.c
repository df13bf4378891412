#include "services/edge/http/cidr.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { ADDRESS_TEXT_MAX = 64, MAPPED_BITS = 96 };

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool parse_address(const char *text, uint8_t out[16], bool *is_v4_out)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        memcpy(out, mapped_prefix, sizeof mapped_prefix);
        memcpy(out + sizeof mapped_prefix, &v4, 4);
        *is_v4_out = true;
        return true;
    }
    *is_v4_out = false;
    return inet_pton(AF_INET6, text, out) == 1;
}

/* A copy with a NUL, without brackets and zone; false when too long. */
static bool plain_text(struct span text, char out[ADDRESS_TEXT_MAX])
{
    text = span_trim(text);
    if (text.len >= 2 && text.data[0] == '[' && text.data[text.len - 1] == ']')
        text = span_of(text.data + 1, text.len - 2);
    text = span_first(text, span_find(text, '%'));
    if (text.len == 0 || text.len >= ADDRESS_TEXT_MAX || memchr(text.data, 0, text.len))
        return false;
    memcpy(out, text.data, text.len);
    out[text.len] = 0;
    return true;
}

bool cidr_address(struct span text, uint8_t out[16])
{
    char plain[ADDRESS_TEXT_MAX];
    bool is_v4;
    return plain_text(text, plain) && parse_address(plain, out, &is_v4);
}

enum err cidr_parse(const char *text, struct cidr *out)
{
    struct span rest = span_trim(span_str(text));
    size_t slash = span_find(rest, '/');
    char plain[ADDRESS_TEXT_MAX];
    bool is_v4;
    if (!plain_text(span_first(rest, slash), plain) || !parse_address(plain, out->bytes, &is_v4))
        return ERR_INVALID;
    uint64_t bits = is_v4 ? 32 : 128;
    if (slash < rest.len) {
        uint64_t most = bits;
        if (!span_to_u64(span_skip(rest, slash + 1), &bits) || bits > most)
            return ERR_INVALID;
    }
    out->prefix_bits = (unsigned)bits + (is_v4 ? MAPPED_BITS : 0);
    return OK;
}

bool cidr_contains(const struct cidr *range, const uint8_t address[16])
{
    size_t whole = range->prefix_bits / 8;
    unsigned rest = range->prefix_bits % 8;
    if (memcmp(range->bytes, address, whole) != 0)
        return false;
    if (rest == 0)
        return true;
    unsigned mask = (0xffu << (8 - rest)) & 0xffu;
    return ((range->bytes[whole] ^ address[whole]) & mask) == 0;
}

enum err cidr_list_parse(struct cidr_list *list, const char *const *items, size_t count,
                         const char **bad_out)
{
    *list = (struct cidr_list){0};
    *bad_out = NULL;
    if (count == 0)
        return OK;
    list->ranges = calloc(count, sizeof *list->ranges);
    if (!list->ranges)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        if (cidr_parse(items[i], &list->ranges[list->count]) == OK)
            list->count++;
        else if (!*bad_out)
            *bad_out = items[i];
    }
    return *bad_out ? ERR_INVALID : OK;
}

void cidr_list_free(struct cidr_list *list)
{
    free(list->ranges);
    *list = (struct cidr_list){0};
}

bool cidr_list_matches(const struct cidr_list *list, struct span address)
{
    uint8_t bytes[16];
    if (!cidr_address(address, bytes))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (cidr_contains(&list->ranges[i], bytes))
            return true;
    return false;
}
