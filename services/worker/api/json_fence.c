#include "services/worker/api/json_fence.h"

/* Length of the white space, escaped or not, at the start; 0 when there is none. */
static size_t blank_at_start(struct span s)
{
    if (s.len && s.data[0] == ' ')
        return 1;
    bool escaped = s.len >= 2 && s.data[0] == '\\' &&
                   (s.data[1] == 'n' || s.data[1] == 'r' || s.data[1] == 't');
    return escaped ? 2 : 0;
}

/* The same at the end: "\n" is no line end when its backslash is the second half of "\\". */
static size_t blank_at_end(struct span s)
{
    if (s.len && s.data[s.len - 1] == ' ')
        return 1;
    char last = s.len >= 2 ? s.data[s.len - 1] : 'x';
    if (last != 'n' && last != 'r' && last != 't')
        return 0;
    size_t slashes = 0;
    while (slashes < s.len - 1 && s.data[s.len - 2 - slashes] == '\\')
        slashes++;
    return slashes % 2 ? 2 : 0;
}

static struct span trim_text(struct span s)
{
    for (size_t n; (n = blank_at_start(s)) > 0;)
        s = span_skip(s, n);
    for (size_t n; (n = blank_at_end(s)) > 0;)
        s.len -= n;
    return s;
}

struct span json_fence_strip(struct span text)
{
    struct span s = trim_text(text);
    if (s.len < 6 || !span_starts(s, "```") || !span_ends(s, "```"))
        return text;
    s = span_first(span_skip(s, 3), s.len - 6);
    if (span_is_nocase(span_first(s, 4), "json"))
        s = span_skip(s, 4);
    s = trim_text(s);
    bool is_json = s.len && (s.data[0] == '{' || s.data[0] == '[');
    return is_json && span_find_span(s, SPAN("```")) == s.len ? s : text;
}
