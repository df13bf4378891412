/* Puts a request onto a reused easy handle, setting only what differs from its last one. */
#include "common/fetch/fetch_internal.h"

static void set_origin(struct fetch_transfer *r, struct fetch_origin *o)
{
    bool http2 = o->https && r->up->options.http2;
    r->origin = o;
    r->origin_serial = o->serial;
    (void)curl_easy_setopt(r->easy, CURLOPT_HTTP_VERSION,
                           (long)(http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    (void)curl_easy_setopt(r->easy, CURLOPT_PIPEWAIT, http2 ? 1L : 0L);
    /* "" = none: nothing is taken from the environment */
    (void)curl_easy_setopt(r->easy, CURLOPT_PROXY, o->proxy ? o->proxy : "");
    (void)curl_easy_setopt(r->easy, CURLOPT_NOPROXY, "");
    (void)curl_easy_setopt(r->easy, CURLOPT_CAINFO, o->ca_file ? o->ca_file : r->up->default_ca);
}

/* Parsed here, once, since libcurl parses what it is given as text for every request anew. The text
 * is set first: it is what libcurl reports, and it would not take a newer one from the parsed URL.
 */
static enum err parse_url(struct fetch_transfer *r)
{
    (void)curl_easy_setopt(r->easy, CURLOPT_CURLU, NULL);
    if (curl_easy_setopt(r->easy, CURLOPT_URL, r->url.data) != CURLE_OK)
        return ERR_INVALID;
    if (!r->parsed)
        r->parsed = curl_url();
    if (!r->parsed)
        return ERR_NOMEM;
    if (curl_url_set(r->parsed, CURLUPART_URL, r->url.data, 0) != CURLUE_OK)
        return ERR_INVALID;
    return curl_easy_setopt(r->easy, CURLOPT_CURLU, r->parsed) == CURLE_OK ? OK : ERR_INVALID;
}

static enum err set_url(struct fetch_transfer *r, const struct fetch_spec *spec)
{
    struct buf *url = &r->url;
    struct span base = spec->url.len ? spec->url : spec->origin->base_url;
    struct span path = spec->url.len ? SPAN_NONE : spec->path;
    bool same = url->len == base.len + path.len + 1 &&
                memcmp(url->data, base.data, base.len) == 0 &&
                (path.len == 0 || memcmp(url->data + base.len, path.data, path.len) == 0);
    if (same)
        return OK;
    buf_clear(url);
    buf_append(url, base);
    buf_append(url, path);
    buf_append_char(url, '\0');
    if (buf_check(url) != OK)
        return ERR_TOO_BIG;
    if (memchr(url->data, '\0', url->len - 1))
        return ERR_INVALID;
    return parse_url(r);
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

static bool add_node(struct fetch_transfer *r, size_t *count, char *line)
{
    if (*count == MAX_LINES)
        return false;
    r->nodes[*count].data = line;
    r->nodes[*count].next = &r->nodes[*count + 1]; /* set_headers ends the list */
    (*count)++;
    return true;
}

/* The request's own fields, then the origin's defaults it does not carry, then the origin's shared
 * list. */
static enum err set_headers(struct fetch_transfer *r, const struct fetch_spec *spec)
{
    static char json_type[] = "Content-Type: application/json";
    static char stream[] = "Accept: text/event-stream", json[] = "Accept: application/json";
    struct fetch_origin *o = spec->origin;
    size_t n = 0;
    bool fits = add_node(r, &n, spec->accept_stream ? stream : json);
    if (spec->body.len && !carries(spec->headers, json_type))
        fits = add_node(r, &n, json_type) && fits;
    buf_clear(&r->lines);
    buf_append(&r->lines, spec->headers);
    buf_append_char(&r->lines, '\n');
    if (buf_check(&r->lines) != OK)
        return ERR_TOO_BIG;
    for (char *at = r->lines.data, *end = at + r->lines.len; at < end;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        *newline = '\0';
        if (*at)
            fits = add_node(r, &n, at) && fits;
        at = newline + 1;
    }
    for (size_t i = 0; i < o->default_count; i++)
        if (!carries(spec->headers, o->defaults[i]))
            fits = add_node(r, &n, o->defaults[i]) && fits;
    bool keyed = !spec->url.len || origin_trusts_url(o, spec->url);
    r->nodes[n - 1].next = keyed ? o->with_key : o->common;
    (void)curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, &r->nodes[0]);
    return fits ? OK : ERR_TOO_BIG;
}

/* A small body leaves in one write with the head (4 µs cheaper than being asked for it). What keeps
 * it from being sent twice is on_before_request; for a large one, which libcurl reads from us,
 * on_seek too. */
static void set_body(struct fetch_transfer *r, struct span body)
{
    bool small = body.len <= SMALL_BODY_BYTES;
    (void)curl_easy_setopt(r->easy, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    (void)curl_easy_setopt(r->easy, CURLOPT_COPYPOSTFIELDS,
                           small && body.len ? body.data
                           : small           ? ""
                                             : NULL);
}

static void set_method(struct fetch_transfer *r, const struct fetch_spec *spec)
{
    bool post = strcmp(spec->method, "POST") == 0, get = strcmp(spec->method, "GET") == 0;
    if (post)
        set_body(r, spec->body);
    else
        (void)curl_easy_setopt(r->easy, CURLOPT_HTTPGET, 1L);
    (void)curl_easy_setopt(r->easy, CURLOPT_CUSTOMREQUEST, post || get ? NULL : spec->method);
}

/* A stream comes in small pieces and may stay open for minutes, many at once: it gets less memory.
 */
static void set_buffer(struct fetch_transfer *r, bool stream)
{
    long bytes = stream ? STREAM_RECEIVE_BYTES : RECEIVE_BYTES;
    if (r->buffer_bytes != bytes)
        (void)curl_easy_setopt(r->easy, CURLOPT_BUFFERSIZE, bytes);
    r->buffer_bytes = bytes;
}

static void reset_request(struct fetch_transfer *r, const struct fetch_spec *spec)
{
    r->spec = *spec;
    r->body_read = 0;
    r->tries = 0;
    r->received_bytes = 0;
    r->limit_bytes = r->up->options.max_response_bytes;
    r->started_ms = r->last_ms = loop_now_ms(r->up->loop);
    r->headed = r->paused = r->mute = false;
    r->verdict = ERROR_NONE;
    r->deferred = 0;
    r->next = NULL;
    r->error[0] = '\0';
}

enum err fetch_prepare(struct fetch_transfer *r, const struct fetch_spec *spec)
{
    reset_request(r, spec);
    if (!spec->origin->serial)
        spec->origin->serial = ++r->up->serials;
    r->origin = spec->origin;
    if (r->origin_serial != spec->origin->serial)
        set_origin(r, spec->origin);
    set_buffer(r, spec->accept_stream);
    set_method(r, spec);
    enum err err = set_url(r, spec);
    if (err == OK)
        err = set_headers(r, spec);
    if (err != OK)
        buf_clear(&r->url);
    return err;
}

void fetch_trim(struct fetch_transfer *r)
{
    if (r->spec.body.len > KEPT_BODY_BYTES)
        (void)curl_easy_setopt(r->easy, CURLOPT_POSTFIELDS, NULL);
    r->spec = (struct fetch_spec){0};
}
