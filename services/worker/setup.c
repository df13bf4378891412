#include "services/worker/setup.h"

#include <stdlib.h>

#include "common/base/log.h"

static enum err find_provider(struct setup *s, const char *name)
{
    s->host = config_find_provider(s->config, name);
    if (!s->host) {
        log_error("unknown_provider", LSTR("provider", name),
                  LSTR("why", "the configuration's providers have none of that name"));
        return ERR_NOT_FOUND;
    }
    s->provider = provider_find(s->host->type);
    if (s->provider)
        return OK;
    log_error("unknown_provider_type", LSTR("provider", name), LSTR("type", s->host->type));
    return ERR_UNSUPPORTED;
}

enum { MAX_HEADERS = 32 };

/* "Name: value" for each configured header and the organization; ${ENV} expanded. */
static enum err gather_headers(const struct setup *s, struct arena *arena, struct span *out,
                               size_t *count_out)
{
    struct span fixed = span_str(s->provider->fixed_headers);
    size_t n = 0;
    for (size_t i = 0; i < s->host->header_count && n < MAX_HEADERS; i++) {
        const struct config_header *h = &s->host->headers[i];
        struct buf value = {0};
        struct span missing = SPAN_NONE;
        enum err err = config_expand(h->value, &value, &missing);
        if (err == OK)
            out[n++] = arena_printf(arena, "%s: %.*s", h->name, SPAN_ARG(buf_span(&value)));
        buf_free(&value);
        if (err != OK) {
            log_error("header_not_expanded", LSTR("header", h->name), LSPAN("missing", missing));
            return ERR_INVALID;
        }
    }
    while (fixed.len && n < MAX_HEADERS) {
        struct span line = span_trim(span_cut(&fixed, '\n'));
        if (line.len)
            out[n++] = line;
    }
    if (s->host->organization && *s->host->organization && n < MAX_HEADERS)
        out[n++] = arena_printf(arena, "OpenAI-Organization: %s", s->host->organization);
    *count_out = n;
    return OK;
}

static enum err make_origins(struct setup *s)
{
    struct arena arena;
    struct span headers[MAX_HEADERS];
    size_t count = 0;
    arena_init(&arena, 0);
    enum err err = gather_headers(s, &arena, headers, &count);
    for (size_t i = 0; err == OK && i < endpoints_count(s->endpoints); i++) {
        struct lane *lane = endpoints_lane(s->endpoints, i);
        struct upstream_origin_spec spec = {.base_url = lane->base_url,
                                            .key_header = lane->key_header,
                                            .default_headers = headers,
                                            .default_header_count = count,
                                            .ca_file = s->host->ca_file,
                                            .proxy = s->host->proxy,
                                            .private_network = s->host->private_network};
        err = upstream_origin_create(&spec, &lane->origin);
        if (err != OK)
            log_error(
                "bad_endpoint", LSTR("provider", s->host->name), LSPAN("url", lane->base_url),
                LSTR("why", err == ERR_DENIED ? "http needs `private: true`" : "not a usable URL"));
    }
    arena_free(&arena);
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
    struct breaker_options breaker = {o->worker_breaker_failures ? o->worker_breaker_failures : 1,
                                      o->worker_breaker_open, o->worker_breaker_max};
    err = endpoints_create(&s->endpoints, s->host, s->provider, &breaker);
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
        upstream_origin_destroy(&endpoints_lane(s->endpoints, i)->origin);
    endpoints_destroy(&s->endpoints);
    affinity_free(&s->affinity);
    config_destroy(&s->config);
    free(s);
}
