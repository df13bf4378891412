#include "services/edge/http/cors.h"

#include "services/edge/http/pattern.h"

enum { HEADERS_MAX_BYTES = 1024 };

struct cors_answer cors_answer(const char *const *origins, size_t count, struct span origin)
{
    struct cors_answer answer = {.varies = count > 0};
    for (size_t i = 0; i < count; i++) {
        if (strcmp(origins[i], "*") == 0)
            return (struct cors_answer){.allow_origin = SPAN("*")};
        if (origin.len && pattern_matches(span_str(origins[i]), origin)) {
            answer.allow_origin = origin;
            answer.listed = true;
        }
    }
    return answer;
}

bool cors_headers_are_sane(struct span h)
{
    if (h.len == 0 || h.len > HEADERS_MAX_BYTES)
        return false;
    for (size_t i = 0; i < h.len; i++) {
        char c = h.data[i];
        bool fine = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                    c == '-' || c == '_' || c == ',' || c == ' ';
        if (!fine)
            return false;
    }
    return true;
}
