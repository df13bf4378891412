#include "services/worker/attempt/attempts.h"

#include <stdlib.h>

enum { BUCKETS = 4096 };

struct attempts {
    struct attempt_env env;
    struct attempt_env owner; /* whose functions are called through this table's own */
    /* By id. Not uthash's table: that one is allocated anew for the first request after every idle
     * moment, and a table that finds no memory would lose an attempt. */
    struct attempt *buckets[BUCKETS];
    struct attempt *list;
    uint32_t running;
};

static enum err pass_on(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                        const void *message)
{
    struct attempts *all = ctx;
    return all->owner.send(all->owner.ctx, to, h, type, message);
}

static struct attempt **bucket_of(struct attempts *all, const struct request_id *id)
{
    return &all->buckets[request_id_hash(id) % BUCKETS];
}

static struct attempt *find(struct attempts *all, const struct request_id *id)
{
    struct attempt *attempt = *bucket_of(all, id);
    while (attempt && !request_id_equals(attempt_id(attempt), id))
        attempt = attempt_links(attempt)->next_in_bucket;
    return attempt;
}

static struct attempt *find_of(struct attempts *all, const struct bus_peer *edge,
                               const struct request_id *id)
{
    struct attempt *attempt = find(all, id);
    return attempt && attempt_peer(attempt) == edge ? attempt : NULL;
}

static void insert(struct attempts *all, struct attempt *attempt, struct gate_grant *grant)
{
    struct attempt **bucket = bucket_of(all, attempt_id(attempt));
    struct attempt_links *links = attempt_links(attempt);
    *links = (struct attempt_links){.next_in_bucket = *bucket, .next = all->list, .grant = grant};
    *bucket = attempt;
    if (all->list)
        attempt_links(all->list)->prev = attempt;
    all->list = attempt;
    all->running++;
}

static void on_over(void *ctx, struct attempt *attempt)
{
    struct attempts *all = ctx;
    struct attempt_links *links = attempt_links(attempt);
    struct attempt **at = bucket_of(all, attempt_id(attempt));
    while (*at != attempt)
        at = &attempt_links(*at)->next_in_bucket;
    *at = links->next_in_bucket;
    if (links->prev)
        attempt_links(links->prev)->next = links->next;
    else
        all->list = links->next;
    if (links->next)
        attempt_links(links->next)->prev = links->prev;
    all->running--;
    if (all->owner.on_over)
        all->owner.on_over(all->owner.ctx, attempt);
}

enum err attempts_create(struct attempts **out, const struct attempt_env *env)
{
    *out = NULL;
    struct attempts *all = calloc(1, sizeof *all);
    if (!all)
        return ERR_NOMEM;
    all->env = *env;
    all->owner = *env;
    all->env.send = pass_on;
    all->env.on_over = on_over;
    all->env.ctx = all;
    *out = all;
    return OK;
}

void attempts_destroy(struct attempts **attempts)
{
    if (!*attempts)
        return;
    attempt_env_free(&(*attempts)->env);
    free(*attempts);
    *attempts = NULL;
}

/* ---- messages ---- */

bool attempts_has(struct attempts *all, const struct header *h)
{
    const struct attempt *attempt = find(all, &h->id);
    return attempt && attempt_number(attempt) >= h->attempt;
}

bool attempts_dispatch(struct attempts *all, struct setup *setup, struct bus_peer *from,
                       const struct bus_message *m, struct gate_grant *grant)
{
    struct attempt *old = find(all, &m->header.id);
    if (old)
        attempt_cancel(old);
    struct attempt *attempt = attempt_create(&all->env, setup, from, m);
    if (!attempt)
        return false;
    insert(all, attempt, grant);
    attempt_begin(attempt);
    return true;
}

void attempts_refuse(const struct attempts *all, struct bus_peer *to, const struct bus_message *m,
                     struct span why, uint32_t free_slots)
{
    struct api_error fault = {.error_class = ERROR_WORKER_REFUSED, .message = why};
    attempt_refuse(&all->owner, to, m, &fault, free_slots);
}

/* A CANCEL names the attempt it means (0 = all): a late one must not end the attempt after it,
 * whose end its edge would wait for. */
void attempts_cancel(struct attempts *all, const struct bus_peer *from, const struct bus_message *m)
{
    struct attempt *attempt = find_of(all, from, &m->header.id);
    uint8_t last = m->header.attempt;
    if (attempt && (last == 0 || attempt_number(attempt) <= last))
        attempt_cancel(attempt);
}

void attempts_credit(struct attempts *all, const struct bus_peer *from, const struct bus_message *m,
                     uint32_t bytes)
{
    struct attempt *attempt = find_of(all, from, &m->header.id);
    if (attempt)
        attempt_credit(attempt, bytes);
}

void attempts_cancel_peer(struct attempts *all, const struct bus_peer *peer)
{
    struct attempt *next;
    for (struct attempt *attempt = all->list; attempt; attempt = next) {
        next = attempt_links(attempt)->next; /* ending one attempt ends no other */
        if (attempt_peer(attempt) == peer)
            attempt_cancel(attempt);
    }
}

void attempts_stop(struct attempts *all)
{
    helper_finish(all->env.helper); /* there is no later */
    while (all->list)
        attempt_abandon(all->list);
}

uint64_t attempts_answer_bytes(const struct attempts *all)
{
    return all->env.room.bytes;
}

uint32_t attempts_running(const struct attempts *all)
{
    return all->running;
}

bool attempts_quiet(const struct attempts *all)
{
    return all->env.all == NULL;
}
