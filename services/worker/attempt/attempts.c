#include "services/worker/attempt/attempts.h"

#include <stdlib.h>

enum { BUCKETS = 4096, MAX_PEERS = 16, MAX_CANCELLED = 1024, CANCEL_KEPT_MS = 30000 };

struct cancelled {
    struct request_id id;
    uint8_t attempt; /* 0 = all */
    uint64_t until_ms;
};

struct jobs {
    struct job_env env;
    enum err (*send)(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                     const void *message);
    void *send_ctx;
    struct job *buckets[BUCKETS];
    struct job *list;
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
    struct jobs *j = ctx;
    return j->send(j->send_ctx, to, h, type, message);
}

static struct job **bucket_of(struct jobs *j, const struct request_id *id)
{
    return &j->buckets[request_id_hash(id) % BUCKETS];
}

static struct job *find(struct jobs *j, const struct request_id *id)
{
    struct job *job = *bucket_of(j, id);
    while (job && !request_id_equals(job_id(job), id))
        job = job_links(job)->next_in_bucket;
    return job;
}

static uint32_t *running_at(struct jobs *j, const struct bus_peer *peer)
{
    for (unsigned i = 0; i < MAX_PEERS; i++) {
        if (!j->peers[i].peer)
            j->peers[i].peer = peer;
        if (j->peers[i].peer == peer)
            return &j->peers[i].running;
    }
    return &j->peers[MAX_PEERS - 1].running;
}

static void insert(struct jobs *j, struct job *job)
{
    struct job **bucket = bucket_of(j, job_id(job));
    struct job_links *links = job_links(job);
    *links = (struct job_links){.next_in_bucket = *bucket, .next = j->list};
    *bucket = job;
    if (j->list)
        job_links(j->list)->prev = job;
    j->list = job;
    j->running++;
    ++*running_at(j, job_peer(job));
}

static void on_over(void *ctx, struct job *job)
{
    struct jobs *j = ctx;
    struct job_links *links = job_links(job);
    struct job **at = bucket_of(j, job_id(job));
    while (*at != job)
        at = &job_links(*at)->next_in_bucket;
    *at = links->next_in_bucket;
    if (links->prev)
        job_links(links->prev)->next = links->next;
    else
        j->list = links->next;
    if (links->next)
        job_links(links->next)->prev = links->prev;
    j->running--;
    --*running_at(j, job_peer(job));
}

enum err jobs_create(struct jobs **out, const struct job_env *env)
{
    *out = NULL;
    struct jobs *j = calloc(1, sizeof *j);
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

void jobs_destroy(struct jobs **jobs)
{
    if (!*jobs)
        return;
    job_env_free(&(*jobs)->env);
    free(*jobs);
    *jobs = NULL;
}

/* ---- cancellations that came first ---- */

static void remember_cancel(struct jobs *j, const struct header *h)
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

static bool was_cancelled(struct jobs *j, const struct header *h)
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

void jobs_dispatch(struct jobs *j, struct setup *setup, struct bus_peer *from,
                   const struct bus_message *m, uint32_t limit)
{
    struct job *old = find(j, &m->header.id);
    if (old && job_attempt(old) >= m->header.attempt)
        return;
    if (old)
        job_cancel(old);
    if (was_cancelled(j, &m->header))
        return;
    if (j->running >= limit) {
        job_refuse(&j->env, from, m, ERROR_WORKER_REFUSED,
                   "The worker takes no more requests now.");
        return;
    }
    struct job *job = job_create(&j->env, setup, from, m);
    if (!job)
        return;
    insert(j, job);
    job_begin(job);
}

void jobs_cancel(struct jobs *j, const struct bus_message *m)
{
    struct job *job = find(j, &m->header.id);
    if (job && means(job_id(job), m->header.attempt, job_attempt(job), &m->header.id))
        job_cancel(job);
    else if (!job)
        remember_cancel(j, &m->header);
}

void jobs_credit(struct jobs *j, const struct bus_message *m, uint32_t bytes)
{
    struct job *job = find(j, &m->header.id);
    if (job)
        job_credit(job, bytes);
}

void jobs_cancel_peer(struct jobs *j, const struct bus_peer *peer)
{
    struct job *next;
    for (struct job *job = j->list; job; job = next) {
        next = job_links(job)->next; /* ending one job ends no other */
        if (job_peer(job) == peer)
            job_cancel(job);
    }
}

uint32_t jobs_running(const struct jobs *j)
{
    return j->running;
}

uint32_t jobs_running_of(const struct jobs *j, const struct bus_peer *peer)
{
    for (unsigned i = 0; i < MAX_PEERS; i++)
        if (j->peers[i].peer == peer)
            return j->peers[i].running;
    return 0;
}

bool jobs_quiet(const struct jobs *j)
{
    return j->env.all == NULL;
}
