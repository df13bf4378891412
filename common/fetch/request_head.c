#include "common/fetch/request_head.h"

#include "common/base/url.h"

/* Nothing that libcurl would change or refuse. */
static bool is_plain(struct span s)
{
    if (!span_is_graphic(s) || span_find(s, '#') < s.len || span_find(s, '\\') < s.len)
        return false;
    /* most have no dot at all, which is found sooner */
    return span_find(s, '.') == s.len || span_find_span(s, SPAN("/.")) == s.len;
}

bool request_target_of(const struct fetch_spec *spec, struct request_target *target)
{
    const struct fetch_origin *o = spec->origin;
    struct span whole = spec->url.len ? spec->url : o->base_url;
    size_t n = spec->url.len ? url_authority_length(whole) : o->authority_len;
    *target = (struct request_target){.authority = span_first(whole, n),
                                      .base = span_skip(whole, n),
                                      .path = spec->url.len ? SPAN_NONE : spec->path,
                                      .keyed = !spec->url.len || origin_trusts_url(o, whole)};
    return n && span_find(target->authority, '%') == n && is_plain(target->base) &&
           is_plain(target->path);
}

/* "https://host:443" → "host" */
static struct span host_of(struct span authority)
{
    bool https = span_starts(authority, "https://");
    struct span host = span_skip(authority, https ? 8 : 7);
    const char *needless = https ? ":443" : ":80";
    if (span_ends(host, needless))
        host.len -= strlen(needless);
    else if (span_ends(host, ":"))
        host.len--;
    return host;
}

static void add_line(struct buf *out, struct span line)
{
    buf_append(out, line);
    buf_append(out, SPAN("\r\n"));
}

static void add_field(struct buf *out, struct span name, struct span value)
{
    buf_append(out, name);
    buf_append(out, SPAN(": "));
    add_line(out, value);
}

static struct span name_of(struct span line)
{
    return span_first(line, span_find(line, ':'));
}

static struct span value_of(struct span line)
{
    return span_trim(span_skip(line, span_find(line, ':') + 1));
}

static bool same_name(struct span a, struct span b)
{
    return a.len == b.len && strncasecmp(a.data, b.data, a.len) == 0;
}

/* The request's own line of that name; empty when it has none. */
static struct span own_line(struct span lines, struct span name)
{
    while (lines.len) {
        struct span line = span_cut(&lines, '\n');
        if (line.len > name.len && same_name(name_of(line), name))
            return line;
    }
    return SPAN_NONE;
}

static bool is_ours(struct span name)
{
    static const char *const names[] = {"host", "content-length", "transfer-encoding", "connection",
                                        "expect"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_is_nocase(name, names[i]))
            return true;
    return false;
}

static void add_given(struct buf *out, struct span line)
{
    if (value_of(line).len && !is_ours(name_of(line)))
        add_line(out, line);
}

static void add_host(struct buf *out, const struct fetch_spec *spec,
                     const struct request_target *target)
{
    const struct fetch_origin *o = spec->origin;
    struct span host = value_of(own_line(spec->headers, SPAN("host")));
    for (size_t i = 0; !host.len && i < o->default_count; i++)
        if (same_name(name_of(span_str(o->defaults[i])), SPAN("host")))
            host = value_of(span_str(o->defaults[i]));
    add_field(out, SPAN("Host"), host.len ? host : host_of(target->authority));
}

static void add_given_lines(struct buf *out, const struct fetch_spec *spec)
{
    const struct fetch_origin *o = spec->origin;
    for (struct span lines = spec->headers; lines.len;)
        add_given(out, span_cut(&lines, '\n'));
    for (size_t i = 0; i < o->default_count; i++) {
        struct span line = span_str(o->defaults[i]);
        if (!own_line(spec->headers, name_of(line)).len)
            add_given(out, line);
    }
}

void request_head_write(struct buf *out, const struct fetch_spec *spec,
                        const struct request_target *target)
{
    bool post = strcmp(spec->method, "POST") == 0;
    buf_append_str(out, spec->method);
    buf_append_char(out, ' ');
    if (!span_starts(target->base.len ? target->base : target->path, "/"))
        buf_append_char(out, '/');
    buf_append(out, target->base);
    buf_append(out, target->path);
    if (!spec->url.len)
        origin_put_query(spec->origin, target->path, out);
    buf_append(out, SPAN(" HTTP/1.1\r\n"));
    add_host(out, spec, target);
    add_line(out, spec->accept_stream ? SPAN("Accept: text/event-stream")
                                      : SPAN("Accept: application/json"));
    if (spec->body.len && !own_line(spec->headers, SPAN("content-type")).len)
        add_line(out, SPAN("Content-Type: application/json"));
    add_given_lines(out, spec);
    const struct secret *key = spec->key ? spec->key : spec->origin->key;
    if (target->keyed && key)
        add_line(out, secret_reveal(key));
    if (spec->origin->own_agent)
        add_line(out, SPAN("User-Agent: tollgate/" TOLLGATE_VERSION));
    add_line(out, SPAN("Accept-Encoding: identity"));
    if (post) {
        buf_append(out, SPAN("Content-Length: "));
        buf_append_u64(out, spec->body.len);
        add_line(out, SPAN_NONE);
    }
    add_line(out, SPAN_NONE);
}
