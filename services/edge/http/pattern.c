#include "services/edge/http/pattern.h"

bool pattern_matches(struct span pattern, struct span name)
{
    size_t star = span_find(pattern, '*');
    if (star == pattern.len)
        return span_equals(pattern, name);
    struct span tail = span_skip(pattern, star + 1);
    if (name.len < star + tail.len || memcmp(name.data, pattern.data, star) != 0)
        return false;
    return tail.len == 0 || memcmp(name.data + name.len - tail.len, tail.data, tail.len) == 0;
}

bool pattern_list_matches(struct span list, struct span name)
{
    if (span_trim(list).len == 0)
        return true;
    while (list.len > 0) {
        struct span pattern = span_trim(span_cut(&list, ','));
        if (pattern.len && pattern_matches(pattern, name))
            return true;
    }
    return false;
}
