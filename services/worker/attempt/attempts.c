#include "services/worker/attempt/attempts.h"

#include <stdlib.h>

enum { BUCKETS = 4096, MAX_PEERS = 16, MAX_CANCELLED = 1024, CANCEL_KEPT_MS = 30000 };

struct cancelled {
    struct request_id id;
    uint8_t attempt; /* 0 = all */
    uint64_t until_ms;
};

struct attempts {
    struct attempt_env env;
    enum err (*send)(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                     const void *message);
    void *send_ctx;
    /* By id. Not uthash's table: that one is allocated anew for the first request after every idle
     * moment, and a table that finds no memory would lose an attempt. */
    struct attempt *buckets[BUCKETS];
    struct attempt *list;
    uint32_t running;
    struct {
        const struct bus_peer *peer;
        uint32_t running;
    } peers[MAX_PEERS];
    /* a ring: the newest of `cancelled_count` stands before cancelled_next */
    struct cancelled cancelled[MAX_CANCELLED];
    uint32_t cancelled_next, cancelled_count;
};

static enum err pass_on(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                        const void *message)
{
    struct attempts *all = ctx;
    return all->send(all->send_ctx, to, h, type, message);
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

static uint32_t *running_at(struct attempts *all, const struct bus_peer *peer)
{
    for (unsigned i = 0; i < MAX_PEERS; i++) {
        if (!all->peers[i].peer)
            all->peers[i].peer = peer;
        if (all->peers[i].peer == peer)
            return &all->peers[i].running;
    }
    return &all->peers[MAX_PEERS - 1].running;
}

static void insert(struct attempts *all, struct attempt *attempt)
{
    struct attempt **bucket = bucket_of(all, attempt_id(attempt));
    struct attempt_links *links = attempt_links(attempt);
    *links = (struct attempt_links){.next_in_bucket = *bucket, .next = all->list};
    *bucket = attempt;
    if (all->list)
        attempt_links(all->list)->prev = attempt;
    all->list = attempt;
    all->running++;
    ++*running_at(all, attempt_peer(attempt));
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
    --*running_at(all, attempt_peer(attempt));
}

enum err attempts_create(struct attempts **out, const struct attempt_env *env)
{
    *out = NULL;
    struct attempts *all = calloc(1, sizeof *all);
    if (!all)
        return ERR_NOMEM;
    all->env = *env;
    all->send = env->send;
    all->send_ctx = env->ctx;
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

/* ---- cancellations that came first ---- */

static void remember_cancel(struct attempts *all, const struct header *h)
{
    uint64_t left =
        h->deadline_ms && h->deadline_ms < CANCEL_KEPT_MS ? h->deadline_ms : CANCEL_KEPT_MS;
    struct cancelled *c = &all->cancelled[all->cancelled_next];
    *c = (struct cancelled){h->id, h->attempt, loop_now_ms(all->env.loop) + left};
    all->cancelled_next = (all->cancelled_next + 1) % MAX_CANCELLED;
    if (all->cancelled_count < MAX_CANCELLED)
        all->cancelled_count++;
}

/* A CANCEL names the attempt it means: a late one must not end the attempt after it, whose end its
 * broker would wait for. */
static bool means(const struct request_id *id, uint8_t cancelled, uint8_t attempt,
                  const struct request_id *other)
{
    return (cancelled == 0 || attempt <= cancelled) && request_id_equals(id, other);
}

static bool was_cancelled(struct attempts *all, const struct header *h)
{
    uint64_t now = loop_now_ms(all->env.loop);
    /* the oldest ones that have expired go */
    while (all->cancelled_count) {
        uint32_t oldest =
            (all->cancelled_next + MAX_CANCELLED - all->cancelled_count) % MAX_CANCELLED;
        if (all->cancelled[oldest].until_ms > now)
            break;
        all->cancelled_count--;
    }
    for (uint32_t i = 1; i <= all->cancelled_count; i++) {
        const struct cancelled *c =
            &all->cancelled[(all->cancelled_next + MAX_CANCELLED - i) % MAX_CANCELLED];
        if (c->until_ms > now && means(&c->id, c->attempt, h->attempt, &h->id))
            return true;
    }
    return false;
}

/* ---- messages ---- */

void attempts_dispatch(struct attempts *all, struct setup *setup, struct bus_peer *from,
                       const struct bus_message *m, uint32_t limit)
{
    struct attempt *old = find(all, &m->header.id);
    if (old && attempt_number(old) >= m->header.attempt)
        return;
    if (old)
        attempt_cancel(old);
    if (was_cancelled(all, &m->header))
        return;
    if (all->running >= limit) {
        attempt_refuse(&all->env, from, m, ERROR_WORKER_REFUSED,
                       "The service is at capacity. Try again shortly.");
        return;
    }
    struct attempt *attempt = attempt_create(&all->env, setup, from, m);
    if (!attempt)
        return;
    insert(all, attempt);
    attempt_begin(attempt);
}

void attempts_cancel(struct attempts *all, const struct bus_message *m)
{
    struct attempt *attempt = find(all, &m->header.id);
    if (attempt &&
        means(attempt_id(attempt), m->header.attempt, attempt_number(attempt), &m->header.id))
        attempt_cancel(attempt);
    else if (!attempt)
        remember_cancel(all, &m->header);
}

void attempts_credit(struct attempts *all, const struct bus_message *m, uint32_t bytes)
{
    struct attempt *attempt = find(all, &m->header.id);
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

uint32_t attempts_running(const struct attempts *all)
{
    return all->running;
}

uint32_t attempts_running_of(const struct attempts *all, const struct bus_peer *peer)
{
    for (unsigned i = 0; i < MAX_PEERS; i++)
        if (all->peers[i].peer == peer)
            return all->peers[i].running;
    return 0;
}

bool attempts_quiet(const struct attempts *all)
{
    return all->env.all == NULL;
}
