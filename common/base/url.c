#include "common/base/url.h"

size_t url_authority_length(struct span url)
{
    size_t scheme = span_starts(url, "https://") ? 8 : span_starts(url, "http://") ? 7 : 0;
    if (!scheme || url.len > URL_MAX_BYTES)
        return 0;
    for (size_t i = 0; i < url.len; i++) {
        unsigned char c = (unsigned char)url.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '#' || c == '\\')
            return 0;
    }
    struct span rest = span_skip(url, scheme);
    size_t host = 0;
    while (host < rest.len && rest.data[host] != '/' && rest.data[host] != '?')
        host++;
    struct span authority = span_first(rest, host);
    if (host == 0 || span_find(authority, '@') < host)
        return 0;
    return scheme + host;
}
