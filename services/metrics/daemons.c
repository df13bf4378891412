#include "services/metrics/daemons.h"

#include <stdlib.h>
#include <utlist.h>

struct daemons {
    struct daemon_seen *list;
    uint32_t count;
};

enum err daemons_create(struct daemons **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? OK : ERR_NOMEM;
}

static void drop(struct daemons *d, struct daemon_seen *one)
{
    DL_DELETE(d->list, one);
    d->count--;
    free(one);
}

void daemons_destroy(struct daemons **daemons)
{
    struct daemons *d = *daemons;
    if (!d)
        return;
    while (d->list)
        drop(d, d->list);
    free(d);
    *daemons = NULL;
}

static struct daemon_seen *find(const struct daemons *d, struct span name)
{
    struct daemon_seen *one;
    DL_FOREACH(d->list, one)
    if (span_is(name, one->name))
        return one;
    return NULL;
}

enum err daemons_up(struct daemons *d, const struct daemon_seen *who, bool *same_out)
{
    struct daemon_seen *one = find(d, span_str(who->name));
    *same_out = one && one->epoch == who->epoch;
    if (*same_out) {
        one->gone_ms = 0;
        return OK;
    }
    if (!one) {
        if (d->count >= DAEMONS_MAX)
            return ERR_TOO_BIG;
        one = calloc(1, sizeof *one);
        if (!one)
            return ERR_NOMEM;
        DL_APPEND(d->list, one);
        d->count++;
    }
    struct daemon_seen *prev = one->prev, *next = one->next;
    *one = *who;
    one->prev = prev;
    one->next = next;
    one->gone_ms = 0;
    return OK;
}

void daemons_down(struct daemons *d, struct span name, uint64_t now_ms)
{
    struct daemon_seen *one = find(d, name);
    if (one)
        one->gone_ms = now_ms ? now_ms : 1;
}

void daemons_purge(struct daemons *d, uint64_t before_ms)
{
    struct daemon_seen *one, *next;
    DL_FOREACH_SAFE(d->list, one, next)
    if (one->gone_ms && one->gone_ms < before_ms)
        drop(d, one);
}

const struct daemon_seen *daemons_first(const struct daemons *d)
{
    return d->list;
}
