#include "services/worker/setup.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/crypto.h"
#include "common/base/log.h"

static enum err find_provider(struct setup *s, const char *name)
{
    s->provider_config = config_find_provider(s->config, name);
    if (!s->provider_config) {
        log_error("unknown_provider", LSTR("provider", name),
                  LSTR("why", "the configuration's providers have none of that name"));
        return ERR_NOT_FOUND;
    }
    s->provider = provider_all[s->provider_config->protocol];
    return OK;
}

enum { MAX_HEADERS = 32, WHY_BYTES = 160 };

/* All of them in one arena, which is wiped after use: configured ones may carry a secret. */
struct header_list {
    struct arena arena;
    struct span lines[MAX_HEADERS];
    size_t count;
};

static enum err add_line(struct header_list *list, struct span name, struct span value)
{
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)value.data[i] < 0x20 || value.data[i] == 0x7f)
            return ERR_INVALID;
    if (list->count == MAX_HEADERS)
        return ERR_TOO_BIG;
    struct span line = arena_printf(&list->arena, "%.*s: %.*s", SPAN_ARG(name), SPAN_ARG(value));
    if (!line.data)
        return ERR_NOMEM;
    list->lines[list->count++] = line;
    return OK;
}

/* NULL, or what is wrong with it, in `why`. */
static const char *add_configured(struct header_list *list, const char *name, const char *text,
                                  char why[WHY_BYTES])
{
    struct buf value = {0};
    struct span missing = SPAN_NONE;
    buf_init(&value, SECRET_MAX_BYTES);
    (void)buf_reserve(&value, SECRET_MAX_BYTES); /* once grown, never moved: see endpoints.c */
    enum err err = config_expand(text, &value, &missing);
    if (err == OK)
        err = add_line(list, span_str(name), span_trim(buf_span(&value)));
    if (missing.len)
        (void)snprintf(why, WHY_BYTES, "header %.40s: %.*s is not set", name,
                       SPAN_ARG(span_first(missing, 80)));
    else
        (void)snprintf(why, WHY_BYTES, "header %.40s: its value is not usable (%s)", name,
                       err_name(err));
    if (value.data)
        crypto_wipe(value.data, value.cap);
    buf_free(&value);
    return err == OK ? NULL : why;
}

/* What every request of this provider carries unless it says otherwise itself. NULL, or why it
 * cannot be had. */
static const char *gather_headers(const struct setup *s, struct header_list *list,
                                  char why[WHY_BYTES])
{
    const struct config_provider *p = s->provider_config;
    struct span fixed = span_str(s->provider->fixed_headers);
    const char *fault = NULL;
    for (size_t i = 0; !fault && i < p->header_count; i++)
        fault = add_configured(list, p->headers[i].name, p->headers[i].value, why);
    while (!fault && fixed.len) {
        struct span line = span_trim(span_cut(&fixed, '\n'));
        struct span name = span_trim(span_cut(&line, ':'));
        if (name.len && add_line(list, name, span_trim(line)) != OK)
            fault = "out of memory";
    }
    if (!fault && p->organization && *p->organization)
        fault = add_configured(list, "OpenAI-Organization", p->organization, why);
    return fault;
}

static void wipe_headers(struct header_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        union {
            const char *from;
            char *to;
        } text = {.from = list->lines[i].data};
        crypto_wipe(text.to, list->lines[i].len);
    }
    arena_free(&list->arena);
}

static bool offers_http2(const struct setup *s)
{
    const char *own = s->provider_config->http2;
    return own && *own ? strcmp(own, "true") == 0 : s->config->options.worker_http2;
}

static void drop_origins(struct setup *s)
{
    for (size_t i = 0; i < endpoints_count(s->endpoints); i++)
        fetch_origin_destroy(&endpoints_at(s->endpoints, i)->origin);
}

/* NULL, or why the proxy cannot be used; it may carry a password. */
static const char *expand_proxy(const struct setup *s, struct buf *out, char why[WHY_BYTES])
{
    struct span missing = SPAN_NONE;
    const char *text = s->provider_config->proxy;
    if (text && config_expand(text, out, &missing) != OK) {
        (void)snprintf(why, WHY_BYTES, "proxy: %.*s is not set", SPAN_ARG(span_first(missing, 80)));
        return why;
    }
    buf_append_char(out, '\0');
    return buf_check(out) == OK ? NULL : "out of memory";
}

static const char *check_ca_file(const struct setup *s, char why[WHY_BYTES])
{
    const char *path = s->provider_config->ca_file;
    const char *fault = path && *path ? crypto_certificates_fault(path) : NULL;
    if (!fault)
        return NULL;
    (void)snprintf(why, WHY_BYTES, "ca_file %.100s: %s", path, fault);
    return why;
}

/* NULL, or why there is none. */
static const char *make_origin(const struct setup *s, struct endpoint *endpoint,
                               const struct header_list *headers, const char *proxy)
{
    struct fetch_origin_spec spec = {.base_url = endpoint->base_url,
                                     .query = endpoint->query,
                                     .key_header = endpoint->key_header,
                                     .default_headers = headers->lines,
                                     .default_header_count = headers->count,
                                     .ca_file = s->provider_config->ca_file,
                                     .proxy = proxy,
                                     .private_network = s->provider_config->private_network,
                                     .http2 = offers_http2(s)};
    enum err err = fetch_origin_create(&spec, &endpoint->origin);
    return err == OK ? NULL : err == ERR_NOMEM ? "out of memory" : "its base URL is not usable";
}

/* What lies outside the file (a variable, a file) is no reason not to start: the worker says what
 * is missing, and offers nothing. */
static void make_origins(struct setup *s)
{
    struct header_list headers = {0};
    struct buf proxy = {0};
    char why[WHY_BYTES];
    const char *fault = check_ca_file(s, why);
    if (!fault)
        fault = expand_proxy(s, &proxy, why);
    if (!fault)
        fault = gather_headers(s, &headers, why);
    for (size_t i = 0; !fault && i < endpoints_count(s->endpoints); i++)
        fault = make_origin(s, endpoints_at(s->endpoints, i), &headers, proxy.data);
    if (fault) {
        drop_origins(s);
        endpoints_withhold(s->endpoints, fault);
    }
    wipe_headers(&headers);
    if (proxy.data)
        crypto_wipe(proxy.data, proxy.cap);
    buf_free(&proxy);
}

static enum err fill(struct setup *s, const char *path, const struct config_paths *paths,
                     const char *name)
{
    struct buf errors = {0};
    enum err err = config_load(path, paths, &s->config, &errors);
    if (err != OK)
        log_error("bad_configuration", LSPAN("problem", span_first(buf_span(&errors), 400)));
    buf_free(&errors);
    if (err == OK)
        err = find_provider(s, name);
    if (err != OK)
        return err;
    const struct config_options *o = &s->config->options;
    struct breaker_rules breaker = {o->worker_breaker_failures, o->worker_breaker_open * 1000,
                                    o->worker_breaker_max * 1000};
    err = endpoints_create(&s->endpoints, s->provider_config, s->provider, &breaker);
    if (err == OK && !endpoints_why(s->endpoints))
        make_origins(s);
    return err;
}

enum err setup_create(struct setup **out, const char *path, const struct config_paths *paths,
                      const char *provider_name)
{
    *out = NULL;
    struct setup *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->refs = 1;
    enum err err = fill(s, path, paths, provider_name);
    if (err == OK)
        *out = s;
    else
        setup_unref(&s);
    return err;
}

struct setup *setup_ref(struct setup *s)
{
    s->refs++;
    return s;
}

void setup_unref(struct setup **setup)
{
    struct setup *s = *setup;
    *setup = NULL;
    if (!s || --s->refs > 0)
        return;
    if (s->endpoints)
        drop_origins(s);
    endpoints_destroy(&s->endpoints);
    stored_responses_free(&s->responses);
    config_destroy(&s->config);
    free(s);
}
