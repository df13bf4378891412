#include "services/ctl/suite.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- secrets ---- */

/* Calls fn for every NAME of ${NAME}. */
static enum err each_name(const char *text, enum err (*fn)(void *ctx, struct span name), void *ctx)
{
    struct span rest = span_str(text);
    for (;;) {
        size_t at = span_find_span(rest, SPAN("${"));
        if (at == rest.len)
            return OK;
        rest = span_skip(rest, at + 2);
        struct span name = span_cut(&rest, '}');
        enum err e = name.len ? fn(ctx, name) : OK;
        if (e)
            return e;
    }
}

static enum err each_list(const struct config_list *list, enum err (*fn)(void *, struct span),
                          void *ctx)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < list->count; i++)
        e = each_name(list->items[i], fn, ctx);
    return e;
}

static enum err each_secret(const struct config_provider *p, enum err (*fn)(void *, struct span),
                            void *ctx)
{
    enum err e = each_list(&p->api_keys, fn, ctx);
    if (!e)
        e = each_list(&p->api_key_files, fn, ctx);
    for (size_t i = 0; !e && i < p->header_count; i++)
        e = each_name(p->headers[i].value, fn, ctx);
    if (!e && p->proxy)
        e = each_name(p->proxy, fn, ctx);
    return e;
}

static enum err add_secret(void *ctx, struct span name)
{
    struct suite_secrets *s = ctx;
    for (size_t i = 0; i < s->count; i++) {
        if (span_is(name, s->names[i]))
            return OK;
    }
    if (s->count == SUITE_SECRETS_MAX)
        return ERR_TOO_BIG;
    s->names[s->count] = strndup(name.data, name.len);
    return s->names[s->count] ? (s->count++, OK) : ERR_NOMEM;
}

enum err suite_find_secrets(const struct config *config, struct suite_secrets *out)
{
    enum err e = OK;
    *out = (struct suite_secrets){0};
    for (size_t i = 0; !e && i < config->provider_count; i++)
        e = each_secret(&config->providers[i], add_secret, out);
    return e;
}

void suite_secrets_free(struct suite_secrets *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->names[i]);
    *s = (struct suite_secrets){0};
}

/* ---- children ---- */

struct suite {
    struct supervisor *supervisor;
    const struct suite_paths *paths;
    const struct suite_options *options;
};

static enum err add_option(struct child *c, const char *name, const char *value)
{
    enum err e = value ? child_add_arg(c, name) : OK;
    return e || !value ? e : child_add_arg(c, value);
}

static enum err add(const struct suite *s, const char *name, const char *program,
                    enum child_stage stage, struct child **out)
{
    struct child *c = supervisor_add(s->supervisor, name, program, stage);
    if (!c)
        return ERR_TOO_BIG;
    if (out)
        *out = c;
    enum err e = add_option(c, "--name", name);
    if (!e)
        e = add_option(c, "--config", s->paths->config_path);
    if (!e)
        e = add_option(c, "--run-dir", s->paths->run_dir);
    if (!e)
        e = add_option(c, "--state-dir", s->paths->state_dir);
    if (!e)
        e = add_option(c, "--log-level", s->options->log_level);
    if (!e)
        e = add_option(c, "--log-format", s->options->log_format);
    return e;
}

static enum err add_broker(const struct suite *s, const char *address, size_t number)
{
    char name[64];
    struct child *c = NULL;
    const char *base = strrchr(address, '/');
    if (strncmp(address, "ipc://", 6) == 0 && base && base[1])
        (void)snprintf(name, sizeof name, "%.60s", base + 1);
    else
        (void)snprintf(name, sizeof name, "broker-%zu", number);
    enum err e = add(s, name, "tollgate-broker", STAGE_BROKER, &c);
    return e ? e : add_option(c, "--bind", address);
}

static enum err keep_secret(void *ctx, struct span name)
{
    return child_keep_env(ctx, name);
}

static enum err add_worker(const struct suite *s, const struct config_provider *p)
{
    char name[64];
    struct child *c = NULL;
    (void)snprintf(name, sizeof name, "worker-%.50s", p->name);
    enum err e = add(s, name, "tollgate-worker", STAGE_WORKER, &c);
    if (!e)
        e = add_option(c, "--provider", p->name);
    return e ? e : each_secret(p, keep_secret, c);
}

enum err suite_add(struct supervisor *supervisor, const struct config *config,
                   const struct suite_paths *paths, const struct suite_options *options)
{
    const struct suite s = {supervisor, paths, options};
    const struct config_list *brokers = &config->options.bus_brokers;
    enum err e = add(&s, "metrics", "tollgate-metrics", STAGE_METRICS, NULL);
    if (!e)
        e = add(&s, "auth", "tollgate-auth", STAGE_AUTH, NULL);
    for (size_t i = 0; !e && i < brokers->count; i++)
        e = add_broker(&s, brokers->items[i], i + 1);
    for (size_t i = 0; !e && i < config->provider_count; i++)
        e = add_worker(&s, &config->providers[i]);
    if (!e)
        e = add(&s, "edge-1", "tollgate-edge", STAGE_EDGE, NULL);
    return e;
}

void suite_url(const struct config *config, struct buf *out)
{
    const struct config_options *o = &config->options;
    const char *host = o->edge_address;
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || !*host;
    buf_printf(out, "%s://", *o->edge_tls_cert ? "https" : "http");
    buf_printf(out, strchr(host, ':') && !any ? "[%s]" : "%s", any ? "127.0.0.1" : host);
    buf_printf(out, ":%u", o->edge_port);
}
