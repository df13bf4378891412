/* Finding things in a configuration that has been read. */
#include <stdio.h>
#include <stdlib.h>

#include "common/runtime/config/config.h"

const struct config_provider *config_find_provider(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->provider_count; i++) {
        if (strcmp(c->providers[i].name, name) == 0)
            return &c->providers[i];
    }
    return NULL;
}

size_t config_key_count(const struct config_provider *p)
{
    return p->api_keys.count + p->api_key_files.count + (p->api_key_exec.count > 0);
}

bool config_takes_client_auth(const struct config_provider *p)
{
    return p->auth && strcmp(p->auth, "client") == 0;
}

static bool wildcard_fits(const char *pattern, struct span name)
{
    const char *star = strchr(pattern, '*');
    if (!star)
        return false;
    size_t before = (size_t)(star - pattern), after = strlen(star + 1);
    return name.len >= before + after && memcmp(name.data, pattern, before) == 0 &&
           span_ends(name, star + 1);
}

const struct config_model *config_find_model(const struct config *c, struct span name)
{
    const struct config_model *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; i < c->model_count; i++) {
        const struct config_model *m = &c->models[i];
        if (span_is(name, m->name))
            return m;
        size_t len = strlen(m->name);
        if (wildcard_fits(m->name, name) && (!best || len > best_len)) {
            best = m;
            best_len = len;
        }
    }
    return best;
}

struct span config_upstream_model(const char *entry, const char *model, struct span asked,
                                  char *out, size_t size)
{
    const char *star = model ? strchr(model, '*') : NULL;
    const char *wildcard = strchr(entry, '*');
    if (!model)
        return asked;
    if (!star || !wildcard)
        return span_str(model);
    size_t before = (size_t)(wildcard - entry), after = strlen(wildcard + 1);
    struct span matched = asked.len >= before + after
                              ? span_of(asked.data + before, asked.len - before - after)
                              : SPAN_NONE;
    int n =
        snprintf(out, size, "%.*s%.*s%s", (int)(star - model), model, SPAN_ARG(matched), star + 1);
    return span_of(out, (size_t)n < size ? (size_t)n : size - 1);
}

static enum err put_variable(struct span name, struct buf *out, struct span *missing_out)
{
    char text[128];
    const char *value = NULL;
    if (name.len > 0 && name.len < sizeof text) {
        memcpy(text, name.data, name.len);
        text[name.len] = '\0';
        value = getenv(text);
    }
    if (!value || !*value) {
        *missing_out = name;
        return ERR_NOT_FOUND;
    }
    buf_append_str(out, value);
    return OK;
}

/* As another gateway's files have it; always the whole value. */
static const char other_form[] = "os.environ/";

enum err config_expand(const char *text, struct buf *out, struct span *missing_out)
{
    enum err err = OK;
    if (span_starts(span_str(text), other_form))
        return put_variable(span_str(text + strlen(other_form)), out, missing_out);
    while (*text && err == OK) {
        const char *open = strstr(text, "${");
        const char *close = open ? strchr(open, '}') : NULL;
        if (!close) {
            buf_append_str(out, text);
            break;
        }
        buf_append(out, span_of(text, (size_t)(open - text)));
        err = put_variable(span_of(open + 2, (size_t)(close - open) - 2), out, missing_out);
        text = close + 1;
    }
    return err == OK ? buf_check(out) : err;
}

/* Calls fn with every name that config_expand would look up, until it fails. */
static enum err each_name(const char *text, enum err (*fn)(void *ctx, struct span name), void *ctx)
{
    enum err e = OK;
    struct span rest = span_str(text ? text : "");
    if (span_starts(rest, other_form))
        return fn(ctx, span_skip(rest, strlen(other_form)));
    for (size_t at; !e && (at = span_find_span(rest, SPAN("${"))) < rest.len;) {
        rest = span_skip(rest, at + 2);
        size_t end = span_find(rest, '}');
        if (end == rest.len)
            return OK;
        e = fn(ctx, span_cut(&rest, '}'));
    }
    return e;
}

static enum err found(void *ctx, struct span name)
{
    (void)ctx, (void)name;
    return ERR_EXISTS;
}

bool config_has_variable(const char *text)
{
    return each_name(text, found, NULL) != OK;
}

enum err config_each_variable(const struct config_provider *p,
                              enum err (*fn)(void *ctx, struct span name), void *ctx)
{
    enum err e = OK;
    for (size_t i = 0; !e && i < p->api_keys.count; i++)
        e = each_name(p->api_keys.items[i], fn, ctx);
    for (size_t i = 0; !e && i < p->endpoints.count; i++)
        e = each_name(p->endpoints.items[i], fn, ctx);
    for (size_t i = 0; !e && i < p->header_count; i++)
        e = each_name(p->headers[i].value, fn, ctx);
    if (!e)
        e = each_name(p->organization, fn, ctx);
    return e ? e : each_name(p->proxy, fn, ctx);
}
