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
    struct attempts *j = ctx;
    return j->send(j->send_ctx, to, h, type, message);
}

static struct attempt **bucket_of(struct attempts *j, const struct request_id *id)
{
    return &j->buckets[request_id_hash(id) % BUCKETS];
}

static struct attempt *find(struct attempts *j, const struct request_id *id)
{
    struct attempt *attempt = *bucket_of(j, id);
    while (attempt && !request_id_equals(attempt_id(attempt), id))
        attempt = attempt_links(attempt)->next_in_bucket;
    return attempt;
}

static uint32_t *running_at(struct attempts *j, const struct bus_peer *peer)
{
    for (unsigned i = 0; i < MAX_PEERS; i++) {
        if (!j->peers[i].peer)
            j->peers[i].peer = peer;
        if (j->peers[i].peer == peer)
            return &j->peers[i].running;
    }
    return &j->peers[MAX_PEERS - 1].running;
}

static void insert(struct attempts *j, struct attempt *attempt)
{
    struct attempt **bucket = bucket_of(j, attempt_id(attempt));
    struct attempt_links *links = attempt_links(attempt);
    *links = (struct attempt_links){.next_in_bucket = *bucket, .next = j->list};
    *bucket = attempt;
    if (j->list)
        attempt_links(j->list)->prev = attempt;
    j->list = attempt;
    j->running++;
    ++*running_at(j, attempt_peer(attempt));
}

static void on_over(void *ctx, struct attempt *attempt)
{
    struct attempts *j = ctx;
    struct attempt_links *links = attempt_links(attempt);
    struct attempt **at = bucket_of(j, attempt_id(attempt));
    while (*at != attempt)
        at = &attempt_links(*at)->next_in_bucket;
    *at = links->next_in_bucket;
    if (links->prev)
        attempt_links(links->prev)->next = links->next;
    else
        j->list = links->next;
    if (links->next)
        attempt_links(links->next)->prev = links->prev;
    j->running--;
    --*running_at(j, attempt_peer(attempt));
}

enum err attempts_create(struct attempts **out, const struct attempt_env *env)
{
    *out = NULL;
    struct attempts *j = calloc(1, sizeof *j);
    if (!j)
        return ERR_NOMEM;
    j->env = *env;
    j->send = env->send;
    j->send_ctx = env->ctx;
    j->env.send = pass_on;
    j->env.on_over = on_over;
    j->env.ctx = j;
    *out = j;
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

static void remember_cancel(struct attempts *j, const struct header *h)
{
    uint64_t left =
        h->deadline_ms && h->deadline_ms < CANCEL_KEPT_MS ? h->deadline_ms : CANCEL_KEPT_MS;
    struct cancelled *c = &j->cancelled[j->cancelled_next];
    *c = (struct cancelled){h->id, h->attempt, loop_now_ms(j->env.loop) + left};
    j->cancelled_next = (j->cancelled_next + 1) % MAX_CANCELLED;
    if (j->cancelled_count < MAX_CANCELLED)
        j->cancelled_count++;
}

/* A CANCEL says which attempt it means: a late one must not end the attempt after it, whose end its
 * broker would wait for. */
static bool means(const struct request_id *id, uint8_t cancelled, uint8_t attempt,
                  const struct request_id *other)
{
    return (cancelled == 0 || attempt <= cancelled) && request_id_equals(id, other);
}

static bool was_cancelled(struct attempts *j, const struct header *h)
{
    uint64_t now = loop_now_ms(j->env.loop);
    /* the oldest ones that have expired go */
    while (j->cancelled_count) {
        uint32_t oldest = (j->cancelled_next + MAX_CANCELLED - j->cancelled_count) % MAX_CANCELLED;
        if (j->cancelled[oldest].until_ms > now)
            break;
        j->cancelled_count--;
    }
    for (uint32_t i = 1; i <= j->cancelled_count; i++) {
        const struct cancelled *c =
            &j->cancelled[(j->cancelled_next + MAX_CANCELLED - i) % MAX_CANCELLED];
        if (c->until_ms > now && means(&c->id, c->attempt, h->attempt, &h->id))
            return true;
    }
    return false;
}

/* ---- messages ---- */

void attempts_dispatch(struct attempts *j, struct setup *setup, struct bus_peer *from,
                       const struct bus_message *m, uint32_t limit)
{
    struct attempt *old = find(j, &m->header.id);
    if (old && attempt_number(old) >= m->header.attempt)
        return;
    if (old)
        attempt_cancel(old);
    if (was_cancelled(j, &m->header))
        return;
    if (j->running >= limit) {
        attempt_refuse(&j->env, from, m, ERROR_WORKER_REFUSED,
                       "The worker takes no more requests now.");
        return;
    }
    struct attempt *attempt = attempt_create(&j->env, setup, from, m);
    if (!attempt)
        return;
    insert(j, attempt);
    attempt_begin(attempt);
}

void attempts_cancel(struct attempts *j, const struct bus_message *m)
{
    struct attempt *attempt = find(j, &m->header.id);
    if (attempt &&
        means(attempt_id(attempt), m->header.attempt, attempt_number(attempt), &m->header.id))
        attempt_cancel(attempt);
    else if (!attempt)
        remember_cancel(j, &m->header);
}

void attempts_credit(struct attempts *j, const struct bus_message *m, uint32_t bytes)
{
    struct attempt *attempt = find(j, &m->header.id);
    if (attempt)
        attempt_credit(attempt, bytes);
}

void attempts_cancel_peer(struct attempts *j, const struct bus_peer *peer)
{
    struct attempt *next;
    for (struct attempt *attempt = j->list; attempt; attempt = next) {
        next = attempt_links(attempt)->next; /* ending one attempt ends no other */
        if (attempt_peer(attempt) == peer)
            attempt_cancel(attempt);
    }
}

uint32_t attempts_running(const struct attempts *j)
{
    return j->running;
}

uint32_t attempts_running_of(const struct attempts *j, const struct bus_peer *peer)
{
    for (unsigned i = 0; i < MAX_PEERS; i++)
        if (j->peers[i].peer == peer)
            return j->peers[i].running;
    return 0;
}

bool attempts_quiet(const struct attempts *j)
{
    return j->env.all == NULL;
}
