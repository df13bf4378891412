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

enum err config_expand(const char *text, struct buf *out, struct span *missing_out)
{
    while (*text) {
        const char *open = strstr(text, "${");
        const char *close = open ? strchr(open, '}') : NULL;
        if (!close) {
            buf_append_str(out, text);
            break;
        }
        buf_append(out, span_of(text, (size_t)(open - text)));
        char name[128];
        size_t len = (size_t)(close - open) - 2;
        *missing_out = span_of(open + 2, len);
        if (len == 0 || len >= sizeof name)
            return ERR_NOT_FOUND;
        memcpy(name, open + 2, len);
        name[len] = '\0';
        const char *value = getenv(name);
        if (!value || !*value)
            return ERR_NOT_FOUND;
        buf_append_str(out, value);
        text = close + 1;
    }
    return buf_check(out);
}
