/* A provider's endpoint: what is written of it in the file, and the base URL that is asked. */
#include "common/base/url.h"
#include "common/runtime/config/config.h"
#include "proto/api.h"

static struct span without_slash(struct span url)
{
    while (span_ends(url, "/"))
        url.len--;
    return url;
}

/* "v1", "v1beta", "v4" */
static bool is_version(struct span segment)
{
    return segment.len >= 2 && segment.data[0] == 'v' && segment.data[1] >= '0' &&
           segment.data[1] <= '9';
}

/* A path that says itself what stands before the routes: one with a version in it, or of Azure's
 * deployments. */
static bool is_whole(struct span path)
{
    while (path.len) {
        struct span segment = span_cut(&path, '/');
        if (is_version(segment) || span_is(segment, "deployments"))
            return true;
    }
    return false;
}

/* Bytes at the end of the URL that are a route's own: somebody has written all of it. */
static size_t route_bytes(struct span url)
{
    enum { BEFORE = 3 }; /* "/v1" */
    size_t most = 0;
    for (unsigned o = 1; o < OPERATION_COUNT; o++) {
        const struct api_route *route = api_route(o);
        if (!route || route->body == API_BODY_NONE)
            continue;
        size_t n = strlen(route->path + BEFORE);
        if (n > most && span_ends(url, route->path + BEFORE))
            most = n;
    }
    return most;
}

/* The base URL of a known provider of this protocol that begins with this one; NULL. */
static const char *known_base(enum protocol protocol, struct span url)
{
    const struct provider_info *row;
    for (size_t i = 0; (row = provider_info_at(i)); i++) {
        struct span base = span_str(row->base_url);
        if (row->protocol != protocol || base.len < url.len ||
            memcmp(base.data, url.data, url.len) != 0)
            continue;
        if (base.len == url.len || base.data[url.len] == '/')
            return row->base_url;
    }
    return NULL;
}

enum err config_endpoint(enum protocol protocol, struct span text, struct buf *out)
{
    struct span query = text;
    struct span url = without_slash(span_cut(&query, '?'));
    size_t authority = url_authority_length(url), route = route_bytes(url);
    struct span path = span_skip(url, authority + 1);
    if (!authority || (query.len && !url_authority_length(text)))
        return ERR_INVALID;
    const char *known = query.len ? NULL : known_base(protocol, url);
    if (known)
        buf_append_str(out, known);
    else
        buf_append(out, without_slash(span_first(url, url.len - route)));
    if (!known && !route && !is_whole(path) && (!query.len || !path.len))
        buf_append_str(out, "/v1");
    if (query.len)
        buf_printf(out, "?%.*s", SPAN_ARG(query));
    return buf_check(out);
}

const char *config_endpoint_fault(const struct config_provider *p, struct span url)
{
    size_t authority = url_authority_length(url);
    struct span host = span_skip(url, span_find(url, ':') + 3);
    if (!authority || host.len == 0 || host.data[0] == '/')
        return "an endpoint is a URL: https://host/v1";
    if (span_starts(url, "http://") && !p->private_network)
        return "plain http is only for hosts of your own: add `private: true`, or use https";
    if (span_starts(url, "http://") && config_takes_client_auth(p))
        return "auth: client needs https: a client's credential goes there";
    return NULL;
}
