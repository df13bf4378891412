#include "common/runtime/catalog.h"

#include <stdlib.h>

static struct catalog_entry *find(const struct catalog *c, struct span provider)
{
    struct catalog_entry *e = c->first;
    while (e && !span_is(provider, e->provider))
        e = e->next;
    return e;
}

static struct catalog_entry *add(struct catalog *c, struct span provider)
{
    struct catalog_entry *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->provider = strndup(provider.data, provider.len);
    if (!e->provider) {
        free(e);
        return NULL;
    }
    e->next = c->first;
    c->first = e;
    c->count++;
    return e;
}

enum err catalog_put(struct catalog *c, struct span provider, struct span names)
{
    struct catalog_entry *e = find(c, provider);
    if (names.len > CATALOG_MAX_BYTES || !provider.len || (!e && c->count == CATALOG_MAX_PROVIDERS))
        return ERR_TOO_BIG;
    char *copy = malloc(names.len + 1);
    if (copy && !e)
        e = add(c, provider);
    if (!copy || !e) {
        free(copy);
        return ERR_NOMEM;
    }
    if (names.len)
        memcpy(copy, names.data, names.len);
    copy[names.len] = '\0';
    free(e->names);
    e->names = copy;
    return OK;
}

struct span catalog_names(const struct catalog *c, const char *provider)
{
    const struct catalog_entry *e = find(c, span_str(provider));
    return e && e->names ? span_str(e->names) : SPAN_NONE;
}

void catalog_free(struct catalog *c)
{
    while (c->first) {
        struct catalog_entry *e = c->first;
        c->first = e->next;
        free(e->provider);
        free(e->names);
        free(e);
    }
    c->count = 0;
}
