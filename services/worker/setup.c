#include "services/worker/setup.h"

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

enum { MAX_HEADERS = 32 };

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

static enum err add_configured(struct header_list *list, const struct config_header *h)
{
    struct buf value = {0};
    struct span missing = SPAN_NONE;
    enum err err = config_expand(h->value, &value, &missing);
    if (err == OK)
        err = add_line(list, span_str(h->name), buf_span(&value));
    if (err != OK)
        log_error("bad_header", LSTR("header", h->name), LSTR("why", err_name(err)),
                  LSPAN("missing", missing));
    if (value.data)
        crypto_wipe(value.data, value.cap);
    buf_free(&value);
    return err;
}

/* What every request of this provider carries unless it says otherwise itself. */
static enum err gather_headers(const struct setup *s, struct header_list *list)
{
    struct span fixed = span_str(s->provider->fixed_headers);
    enum err err = OK;
    for (size_t i = 0; err == OK && i < s->provider_config->header_count; i++)
        err = add_configured(list, &s->provider_config->headers[i]);
    while (err == OK && fixed.len) {
        struct span line = span_trim(span_cut(&fixed, '\n'));
        struct span name = span_trim(span_cut(&line, ':'));
        if (name.len)
            err = add_line(list, name, span_trim(line));
    }
    if (err == OK && s->provider_config->organization && *s->provider_config->organization)
        err =
            add_line(list, SPAN("OpenAI-Organization"), span_str(s->provider_config->organization));
    if (err == ERR_TOO_BIG)
        log_error("too_many_headers", LSTR("provider", s->provider_config->name),
                  LU64("most", MAX_HEADERS));
    return err;
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

static enum err make_origins(struct setup *s)
{
    struct header_list headers = {0};
    enum err err = gather_headers(s, &headers);
    for (size_t i = 0; err == OK && i < endpoints_count(s->endpoints); i++) {
        struct endpoint *endpoint = endpoints_at(s->endpoints, i);
        struct fetch_origin_spec spec = {.base_url = endpoint->base_url,
                                         .key_header = endpoint->key_header,
                                         .default_headers = headers.lines,
                                         .default_header_count = headers.count,
                                         .ca_file = s->provider_config->ca_file,
                                         .proxy = s->provider_config->proxy,
                                         .private_network = s->provider_config->private_network,
                                         .http2 = offers_http2(s)};
        err = fetch_origin_create(&spec, &endpoint->origin);
        if (err != OK)
            log_error(
                "bad_endpoint", LSTR("provider", s->provider_config->name),
                LSPAN("url", endpoint->base_url),
                LSTR("why", err == ERR_DENIED ? "http needs `private: true`" : "not a usable URL"));
    }
    wipe_headers(&headers);
    return err == OK ? OK : ERR_INVALID;
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
    return err == OK ? make_origins(s) : err;
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
    for (size_t i = 0; s->endpoints && i < endpoints_count(s->endpoints); i++)
        fetch_origin_destroy(&endpoints_at(s->endpoints, i)->origin);
    endpoints_destroy(&s->endpoints);
    stored_responses_free(&s->responses);
    config_destroy(&s->config);
    free(s);
}
