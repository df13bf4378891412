#include "common/fetch/origin.h"

#include <stdlib.h>

#include "common/base/crypto.h"
#include "common/base/url.h"

bool origin_allows_url(const struct fetch_origin *o, struct span url)
{
    return url_authority_length(url) != 0 && (span_starts(url, "https://") || o->private_network);
}

/* "https://api.replicate.com" → ".replicate.com"; empty when the host has fewer than three labels.
 */
static struct span parent_domain(struct span authority)
{
    struct span host = span_skip(authority, strlen("https://"));
    size_t dot = span_find(host, '.');
    struct span parent = span_skip(host, dot);
    return parent.len > 1 && span_find(span_skip(parent, 1), '.') < parent.len - 1 ? parent
                                                                                   : SPAN_NONE;
}

bool origin_trusts_url(const struct fetch_origin *o, struct span url)
{
    size_t n = url_authority_length(url);
    struct span own = span_first(o->base_url, o->authority_len), its = span_first(url, n);
    if (n == 0)
        return false;
    if (its.len == own.len && strncasecmp(its.data, own.data, own.len) == 0)
        return true;
    if (!o->https || !span_starts(url, "https://"))
        return false;
    struct span parent = parent_domain(own);
    if (parent.len == 0 || its.len <= parent.len + strlen("https://"))
        return false;
    return strncasecmp(its.data + its.len - parent.len, parent.data, parent.len) == 0;
}

bool origin_is_line(struct span line)
{
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool push(struct fetch_origin *o, struct curl_slist **head, char *line)
{
    struct curl_slist *node = ARENA_NEW(&o->arena, struct curl_slist);
    if (!node || !line)
        return false;
    node->data = line;
    node->next = *head;
    *head = node;
    return true;
}

static bool push_text(struct fetch_origin *o, const char *line)
{
    return push(o, &o->common, arena_strdup(&o->arena, span_str(line)));
}

/* Does a default have the name of this line? */
static bool carries(const struct fetch_origin *o, struct span line)
{
    size_t n = span_find(line, ':') + 1;
    for (size_t i = 0; i < o->default_count; i++)
        if (strlen(o->defaults[i]) >= n && strncasecmp(o->defaults[i], line.data, n) == 0)
            return true;
    return false;
}

static enum err add_headers(struct fetch_origin *o, const struct fetch_origin_spec *spec)
{
    if (spec->default_header_count > ORIGIN_MAX_DEFAULTS)
        return ERR_TOO_BIG;
    for (size_t i = 0; i < spec->default_header_count; i++) {
        if (!origin_is_line(spec->default_headers[i]))
            return ERR_INVALID;
        char *line = arena_strdup(&o->arena, spec->default_headers[i]);
        if (!line)
            return ERR_NOMEM;
        o->defaults[o->default_count++] = line;
    }
    o->own_agent = !carries(o, SPAN("User-Agent:"));
    /* "Expect:" without a value keeps curl from asking for 100-continue. */
    if (!push_text(o, "Expect:") || !push_text(o, "Accept-Encoding: identity") ||
        (o->own_agent && !push_text(o, "User-Agent: tollgate/" TOLLGATE_VERSION)))
        return ERR_NOMEM;
    o->with_key = o->common;
    if (!spec->key_header || carries(o, secret_reveal(spec->key_header)))
        return OK;
    o->key = spec->key_header;
    /* curl's list is not const, but only read: the secret stays where it is, not copied */
    union {
        const char *from;
        char *to;
    } key = {.from = secret_reveal(spec->key_header).data};
    return push(o, &o->with_key, key.to) ? OK : ERR_NOMEM;
}

static const char *keep(struct fetch_origin *o, const char *text)
{
    return text && *text ? arena_strdup(&o->arena, span_str(text)) : NULL;
}

static struct span describe_way(struct fetch_origin *o)
{
    return arena_printf(&o->arena, "\n%s\n%s\n%d", o->proxy ? o->proxy : "",
                        o->ca_file ? o->ca_file : "", o->private_network);
}

static bool is_query(struct span query)
{
    for (size_t i = 0; i < query.len; i++) {
        unsigned char c = (unsigned char)query.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '#')
            return false;
    }
    return query.len <= URL_MAX_BYTES;
}

void origin_put_query(const struct fetch_origin *o, struct span path, struct buf *out)
{
    if (!o->query.len)
        return;
    buf_append_char(out, span_find(path, '?') < path.len ? '&' : '?');
    buf_append(out, o->query);
}

enum err fetch_origin_create(const struct fetch_origin_spec *spec, struct fetch_origin **out)
{
    *out = NULL;
    struct span url = spec->base_url;
    while (span_ends(url, "/"))
        url.len--;
    size_t authority = url_authority_length(url);
    if (!authority || span_find(url, '?') < url.len || !is_query(spec->query))
        return ERR_INVALID;
    if (!span_starts(url, "https://") && !spec->private_network)
        return ERR_DENIED;
    struct fetch_origin *o = calloc(1, sizeof *o);
    if (!o)
        return ERR_NOMEM;
    arena_init(&o->arena, 1 << 20);
    o->base_url = arena_copy(&o->arena, url);
    o->query = arena_copy(&o->arena, spec->query);
    o->authority_len = authority;
    o->https = span_starts(url, "https://");
    o->private_network = spec->private_network;
    o->ca_file = keep(o, spec->ca_file);
    o->proxy = keep(o, spec->proxy);
    o->http2 = spec->http2;
    o->way = describe_way(o);
    enum err err = o->base_url.data && o->way.data && (o->query.data || !spec->query.len)
                       ? add_headers(o, spec)
                       : ERR_NOMEM;
    if (err == OK)
        *out = o;
    else
        fetch_origin_destroy(&o);
    return err;
}

void fetch_origin_destroy(struct fetch_origin **origin)
{
    if (!*origin)
        return;
    for (size_t i = 0; i < (*origin)->default_count; i++) /* configured ones may hold a secret */
        crypto_wipe((*origin)->defaults[i], strlen((*origin)->defaults[i]));
    arena_free(&(*origin)->arena);
    free(*origin);
    *origin = NULL;
}
