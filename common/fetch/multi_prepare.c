/* Puts a request onto a reused easy handle, setting only what differs from its last one. */
#include "common/fetch/multi_internal.h"
#include "common/fetch/sockets.h"

static void set_origin(struct multi_part *p, struct fetch_origin *o)
{
    bool http2 = o->https && o->http2;
    if (!o->serial)
        o->serial = ++p->up->serials;
    if (p->origin_serial == o->serial)
        return;
    p->origin_serial = o->serial;
    (void)curl_easy_setopt(p->easy, CURLOPT_HTTP_VERSION,
                           (long)(http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    (void)curl_easy_setopt(p->easy, CURLOPT_PIPEWAIT, http2 ? 1L : 0L);
    sockets_set_origin(p->easy, p->up, o);
}

/* Parsed here, once, since libcurl parses what it is given as text for every request anew. The text
 * is set first: it is what libcurl reports, and it would not take a newer one from the parsed URL.
 */
static enum err parse_url(struct multi_part *p)
{
    (void)curl_easy_setopt(p->easy, CURLOPT_CURLU, NULL);
    if (curl_easy_setopt(p->easy, CURLOPT_URL, p->url.data) != CURLE_OK)
        return ERR_INVALID;
    if (!p->parsed)
        p->parsed = curl_url();
    if (!p->parsed)
        return ERR_NOMEM;
    if (curl_url_set(p->parsed, CURLUPART_URL, p->url.data, CURLU_PATH_AS_IS) != CURLUE_OK)
        return ERR_INVALID;
    return curl_easy_setopt(p->easy, CURLOPT_CURLU, p->parsed) == CURLE_OK ? OK : ERR_INVALID;
}

static enum err set_url(struct multi_part *p, const struct fetch_spec *spec)
{
    struct buf *url = &p->url;
    struct span base = spec->url.len ? spec->url : spec->origin->base_url;
    struct span path = spec->url.len ? SPAN_NONE : spec->path;
    bool same = url->len == base.len + path.len + 1 && !spec->origin->query.len &&
                memcmp(url->data, base.data, base.len) == 0 &&
                (path.len == 0 || memcmp(url->data + base.len, path.data, path.len) == 0);
    if (same)
        return OK;
    buf_clear(url);
    buf_append(url, base);
    buf_append(url, path);
    if (!spec->url.len)
        origin_put_query(spec->origin, path, url);
    buf_append_char(url, '\0');
    if (buf_check(url) != OK)
        return ERR_TOO_BIG;
    if (memchr(url->data, '\0', url->len - 1))
        return ERR_INVALID;
    return parse_url(p);
}

static bool carries(struct span lines, const char *default_line)
{
    size_t name = strcspn(default_line, ":") + 1;
    while (lines.len) {
        struct span line = span_cut(&lines, '\n');
        if (line.len >= name && strncasecmp(line.data, default_line, name) == 0)
            return true;
    }
    return false;
}

static bool add_node(struct multi_part *p, size_t *count, char *line)
{
    if (*count == MAX_LINES)
        return false;
    p->nodes[*count].data = line;
    p->nodes[*count].next = &p->nodes[*count + 1]; /* set_headers ends the list */
    (*count)++;
    return true;
}

/* The request's own fields, then the origin's defaults it does not carry, then the origin's shared
 * list. */
static enum err set_headers(struct multi_part *p, const struct fetch_spec *spec)
{
    static char json_type[] = "Content-Type: application/json";
    static char stream[] = "Accept: text/event-stream", json[] = "Accept: application/json";
    struct fetch_origin *o = spec->origin;
    size_t n = 0;
    bool fits = add_node(p, &n, spec->accept_stream ? stream : json);
    if (spec->body.len && !carries(spec->headers, json_type))
        fits = add_node(p, &n, json_type) && fits;
    buf_clear(&p->lines);
    buf_append(&p->lines, spec->headers);
    buf_append_char(&p->lines, '\n');
    if (buf_check(&p->lines) != OK)
        return ERR_TOO_BIG;
    for (char *at = p->lines.data, *end = at + p->lines.len; at < end;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        *newline = '\0';
        if (*at)
            fits = add_node(p, &n, at) && fits;
        at = newline + 1;
    }
    for (size_t i = 0; i < o->default_count; i++)
        if (!carries(spec->headers, o->defaults[i]))
            fits = add_node(p, &n, o->defaults[i]) && fits;
    bool keyed = !spec->url.len || origin_trusts_url(o, spec->url);
    union {
        const char *from;
        char *to;
    } key = {.from = secret_reveal(spec->key).data}; /* read only, as in origin.c */
    if (keyed && spec->key)
        fits = add_node(p, &n, key.to) && fits;
    p->nodes[n - 1].next = keyed && !spec->key ? o->with_key : o->common;
    (void)curl_easy_setopt(p->easy, CURLOPT_HTTPHEADER, &p->nodes[0]);
    return fits ? OK : ERR_TOO_BIG;
}

/* A small body leaves in one write with the head (4 µs cheaper than being asked for it). What keeps
 * it from being sent twice is on_before_request; for a large one, which libcurl reads from us,
 * on_seek too. */
static void set_body(struct multi_part *p, struct span body)
{
    bool small = body.len <= SMALL_BODY_BYTES;
    (void)curl_easy_setopt(p->easy, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(p->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    (void)curl_easy_setopt(p->easy, CURLOPT_COPYPOSTFIELDS,
                           small && body.len ? body.data
                           : small           ? ""
                                             : NULL);
}

static void set_method(struct multi_part *p, const struct fetch_spec *spec)
{
    bool post = strcmp(spec->method, "POST") == 0, get = strcmp(spec->method, "GET") == 0;
    if (post)
        set_body(p, spec->body);
    else
        (void)curl_easy_setopt(p->easy, CURLOPT_HTTPGET, 1L);
    (void)curl_easy_setopt(p->easy, CURLOPT_CUSTOMREQUEST, post || get ? NULL : spec->method);
}

/* A stream comes in small pieces and may stay open for minutes, many at once: it gets less memory.
 */
static void set_buffer(struct multi_part *p, bool stream)
{
    long bytes = stream ? MULTI_STREAM_RECEIVE_BYTES : MULTI_RECEIVE_BYTES;
    if (p->buffer_bytes != bytes)
        (void)curl_easy_setopt(p->easy, CURLOPT_BUFFERSIZE, bytes);
    p->buffer_bytes = bytes;
}

enum err multi_prepare_part(struct multi_part *p)
{
    const struct fetch_spec *spec = &p->r->spec;
    p->body_read = 0;
    p->tries = 0;
    p->error[0] = '\0';
    set_origin(p, spec->origin);
    set_buffer(p, spec->accept_stream);
    set_method(p, spec);
    enum err err = set_url(p, spec);
    if (err == OK)
        err = set_headers(p, spec);
    if (err != OK)
        buf_clear(&p->url);
    return err;
}

void multi_trim(struct multi_part *p)
{
    if (p->r->spec.body.len > KEPT_BODY_BYTES)
        (void)curl_easy_setopt(p->easy, CURLOPT_POSTFIELDS, NULL);
}
