/* What Replicate is asked: paths, polls, cancels, and whether a URL that it names may be asked. */
#include "services/worker/providers/replicate/replicate.h"

/* Percent-encodes one segment of a path. */
static void append_segment(struct buf *out, struct span segment)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < segment.len; i++) {
        unsigned char c = (unsigned char)segment.data[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     c == '-' || c == '_' || c == '~' || (c == '.' && segment.len > 2);
        if (plain) {
            buf_append_char(out, (char)c);
        } else {
            buf_append_char(out, '%');
            buf_append_char(out, hex[c >> 4]);
            buf_append_char(out, hex[c & 15]);
        }
    }
}

struct span replicate_path(struct conversion *pc, const char *start, const struct span *segments,
                           size_t count, const char *end)
{
    struct buf b = {0};
    buf_append_str(&b, start);
    for (size_t i = 0; i < count; i++) {
        buf_append_char(&b, '/');
        append_segment(&b, segments[i]);
    }
    buf_append_str(&b, end);
    struct span out = arena_copy(pc->arena, buf_span(&b));
    buf_free(&b);
    return out;
}

static struct span origin_of(struct span url)
{
    size_t at = span_find_span(url, SPAN("://"));
    if (at == url.len)
        return SPAN_NONE;
    struct span rest = span_skip(url, at + 3);
    size_t n = 0;
    while (n < rest.len && rest.data[n] != '/' && rest.data[n] != '?' && rest.data[n] != '#')
        n++;
    return span_first(url, at + 3 + n);
}

static bool is_host(struct span host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.data[i];
        bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '.' || c == '-';
        if (!ok)
            return false;
    }
    return host.len > 0;
}

static bool is_clean(struct span url)
{
    for (size_t i = 0; i < url.len; i++) {
        if ((unsigned char)url.data[i] <= ' ' || url.data[i] == 0x7f || url.data[i] == '\\')
            return false;
    }
    return url.len < 4096;
}

bool replicate_stream_is_safe(const struct conversion *pc, struct span url)
{
    struct span origin = origin_of(url);
    if (!is_clean(url) || !origin.len)
        return false;
    if (pc->compat.private_network && span_equals(origin, origin_of(pc->compat.base_url)))
        return true;
    if (!span_starts(origin, "https://"))
        return false;
    struct span host = span_skip(origin, strlen("https://"));
    /* a user name, a port or anything else that is no plain name is refused with it */
    return is_host(host) &&
           (span_ends(host, ".replicate.com") || span_ends(host, ".replicate.net"));
}

struct transfer *replicate_ask(struct conversion *pc, const char *method, struct span at)
{
    struct transfer *x = ARENA_NEW(pc->arena, struct transfer);
    if (!x || !at.data)
        return NULL;
    *x = (struct transfer){.method = method, .path = at, .repeatable = strcmp(method, "GET") == 0};
    pc->next = x;
    return x;
}

enum err replicate_ask_prediction(struct conversion *pc, struct replicate_state *s)
{
    return replicate_ask(pc, "GET", replicate_path(pc, "/predictions", &s->id, 1, "")) ? OK
                                                                                       : ERR_NOMEM;
}

void replicate_ask_cancel(struct conversion *pc, struct replicate_state *s)
{
    if (!s->id.len || s->over || s->cancelled)
        return;
    struct transfer *x =
        replicate_ask(pc, "POST", replicate_path(pc, "/predictions", &s->id, 1, "/cancel"));
    s->cancelled = true;
    if (x)
        x->detached = true;
}
