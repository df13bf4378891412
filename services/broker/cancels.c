#include "services/broker/cancels.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct cancel_entry {
    struct request_id id;
    uint64_t until_us;
    UT_hash_handle hh;
};

struct cancels {
    struct cancel_entry *by_id; /* the table's own order is the order of arrival */
    uint32_t max;
};

enum err cancels_create(struct cancels **out, uint32_t max)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->max = max;
    return OK;
}

static void drop(struct cancels *c, struct cancel_entry *e)
{
    HASH_DELETE(hh, c->by_id, e);
    free(e);
}

void cancels_destroy(struct cancels **cancels)
{
    struct cancels *c = *cancels;
    if (!c)
        return;
    while (c->by_id)
        drop(c, c->by_id);
    free(c);
    *cancels = NULL;
}

void cancels_add(struct cancels *c, const struct request_id *id, uint64_t until_us, uint64_t now_us)
{
    (void)cancels_take(c, id, now_us);
    while (c->by_id && (c->by_id->until_us <= now_us || HASH_COUNT(c->by_id) >= c->max))
        drop(c, c->by_id);
    struct cancel_entry *e = calloc(1, sizeof *e);
    if (!e)
        return;
    e->id = *id;
    e->until_us = until_us;
    HASH_ADD(hh, c->by_id, id, sizeof e->id, e);
    if (!e->hh.tbl)
        free(e);
}

bool cancels_take(struct cancels *c, const struct request_id *id, uint64_t now_us)
{
    struct cancel_entry *e = NULL;
    if (c->by_id)
        HASH_FIND(hh, c->by_id, id, sizeof *id, e);
    if (!e)
        return false;
    bool in_force = e->until_us > now_us;
    drop(c, e);
    return in_force;
}

uint32_t cancels_count(const struct cancels *c)
{
    return HASH_COUNT(c->by_id);
}
