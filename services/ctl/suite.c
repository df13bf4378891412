#include "services/ctl/suite.h"

#include <stdio.h>
#include <stdlib.h>

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
    c->name_arg = c->arg_count - 1;
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

void suite_worker_name(const struct config_provider *p, char out[SUITE_NAME_BYTES])
{
    (void)snprintf(out, SUITE_NAME_BYTES, "worker-%.50s", p->name);
}

enum err suite_add_worker(const struct suite *s, const struct config_provider *p)
{
    char name[SUITE_NAME_BYTES];
    struct child *c = NULL;
    suite_worker_name(p, name);
    enum err e = add(s, name, "tollgate-worker", STAGE_WORKER, &c);
    if (e)
        return e;
    c->overlaps = true;
    e = add_option(c, "--provider", p->name);
    return e ? e : config_each_variable(p, keep_secret, c);
}

struct sought {
    const struct child *child;
    bool all;
};

static enum err seek(void *ctx, struct span name)
{
    struct sought *s = ctx;
    bool kept = false;
    for (size_t i = 0; i < s->child->keep_count; i++)
        kept |= span_is(name, s->child->keep_env[i]);
    s->all &= kept;
    return OK;
}

enum err suite_update_worker(struct child *c, const struct config_provider *p, bool *changed_out)
{
    struct sought s = {.child = c, .all = true};
    enum err e = config_each_variable(p, seek, &s);
    *changed_out = !s.all;
    return e || s.all ? e : config_each_variable(p, keep_secret, c);
}

static enum err add_edge(const struct suite *s)
{
    struct child *c = NULL;
    enum err e = add(s, "edge-1", "tollgate-edge", STAGE_EDGE, &c);
    if (e)
        return e;
    c->overlaps = s->options->listen_fd > 0; /* else two can't listen */
    c->listen_fd = s->options->listen_fd;
    return OK;
}

enum err suite_add(const struct suite *s, const struct config *config)
{
    const struct config_list *brokers = &config->options.bus_brokers;
    enum err e = add(s, "metrics", "tollgate-metrics", STAGE_METRICS, NULL);
    if (!e)
        e = add(s, "auth", "tollgate-auth", STAGE_AUTH, NULL);
    for (size_t i = 0; !e && i < brokers->count; i++)
        e = add_broker(s, brokers->items[i], i + 1);
    for (size_t i = 0; !e && i < config->provider_count; i++)
        e = suite_add_worker(s, &config->providers[i]);
    return e ? e : add_edge(s);
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
