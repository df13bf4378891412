#include "common/runtime/helper.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct job_list {
    struct helper_job *first, **end;
};

/* Each owner's first job; his others are behind it. */
struct job_lines {
    struct helper_job *first, *last;
};

struct helper {
    struct loop *loop;
    struct loop_watch *watch;
    int event_fd; /* tells the loop */
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of the rest */
    pthread_cond_t changed;
    struct job_lines waiting;
    struct job_list ended;
    unsigned running;
    bool stopping;
};

static void put(struct job_list *q, struct helper_job *job)
{
    job->next = NULL;
    *q->end = job;
    q->end = &job->next;
}

static struct helper_job *take(struct job_list *q)
{
    struct helper_job *job = q->first;
    if (!job)
        return NULL;
    q->first = job->next;
    if (!q->first)
        q->end = &q->first;
    return job;
}

static void append_line(struct job_lines *lines, struct helper_job *job)
{
    job->next = NULL;
    if (lines->last)
        lines->last->next = job;
    else
        lines->first = job;
    lines->last = job;
}

/* There are as many lines as keys with large bodies at once, of which memory has few. */
static void join_line(struct job_lines *lines, struct helper_job *job)
{
    struct helper_job *at = lines->first;
    job->behind = NULL;
    while (at && at->owner != job->owner)
        at = at->next;
    if (!at) {
        append_line(lines, job);
        return;
    }
    while (at->behind)
        at = at->behind;
    at->behind = job;
}

/* The first of the first line, whose next one is the last now. */
static struct helper_job *take_turn(struct job_lines *lines)
{
    struct helper_job *job = lines->first;
    lines->first = job->next;
    if (!lines->first)
        lines->last = NULL;
    if (job->behind)
        append_line(lines, job->behind);
    return job;
}

/* The lock is held, before and after. */
static void run_one(struct helper *h)
{
    const uint64_t one = 1;
    struct helper_job *job = take_turn(&h->waiting);
    h->running++;
    (void)pthread_mutex_unlock(&h->lock);
    job->run(job);
    (void)pthread_mutex_lock(&h->lock);
    h->running--;
    put(&h->ended, job);
    (void)pthread_cond_broadcast(&h->changed);
    ssize_t n = write(h->event_fd, &one, sizeof one);
    (void)n; /* it is readable already */
}

static void *work(void *ctx)
{
    struct helper *h = ctx;
    (void)pthread_mutex_lock(&h->lock);
    for (;;) {
        while (!h->waiting.first && !h->stopping)
            (void)pthread_cond_wait(&h->changed, &h->lock);
        if (!h->waiting.first)
            break;
        run_one(h);
    }
    (void)pthread_mutex_unlock(&h->lock);
    return NULL;
}

static struct helper_job *take_ended(struct helper *h)
{
    (void)pthread_mutex_lock(&h->lock);
    struct helper_job *job = take(&h->ended);
    (void)pthread_mutex_unlock(&h->lock);
    return job;
}

/* One in a turn: what follows it (a large body that is sent on) takes time, too. */
static void on_event(void *ctx, uint32_t events)
{
    struct helper *h = ctx;
    uint64_t count = 0;
    (void)events;
    ssize_t n = read(h->event_fd, &count, sizeof count);
    if (n == (ssize_t)sizeof count && --count)
        n = write(h->event_fd, &count, sizeof count);
    struct helper_job *job = take_ended(h);
    if (job)
        job->done(job);
}

enum err helper_create(struct helper **out, struct loop *loop)
{
    *out = NULL;
    struct helper *h = calloc(1, sizeof *h);
    if (!h)
        return ERR_NOMEM;
    h->loop = loop;
    h->ended.end = &h->ended.first;
    h->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->event_fd < 0 || loop_watch_add(loop, h->event_fd, EPOLLIN, on_event, h, &h->watch)) {
        if (h->event_fd >= 0)
            (void)close(h->event_fd);
        free(h);
        return ERR_IO;
    }
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)pthread_cond_init(&h->changed, NULL);
    *out = h;
    return OK;
}

/* Signals are the loop's. */
static bool start(struct helper *h)
{
    sigset_t all, old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    h->started = pthread_create(&h->thread, NULL, work, h) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return h->started;
}

enum err helper_do(struct helper *h, struct helper_job *job)
{
    if (!h || (!h->started && !start(h)))
        return ERR_IO;
    (void)pthread_mutex_lock(&h->lock);
    join_line(&h->waiting, job);
    (void)pthread_cond_broadcast(&h->changed);
    (void)pthread_mutex_unlock(&h->lock);
    return OK;
}

void helper_finish(struct helper *h)
{
    if (!h)
        return;
    for (bool all = false; !all;) {
        (void)pthread_mutex_lock(&h->lock);
        while (h->waiting.first || h->running)
            (void)pthread_cond_wait(&h->changed, &h->lock);
        struct helper_job *job = take(&h->ended);
        (void)pthread_mutex_unlock(&h->lock);
        all = !job;
        if (job)
            job->done(job);
    }
}

void helper_destroy(struct helper **helper)
{
    struct helper *h = *helper;
    if (!h)
        return;
    helper_finish(h);
    (void)pthread_mutex_lock(&h->lock);
    h->stopping = true;
    (void)pthread_cond_broadcast(&h->changed);
    (void)pthread_mutex_unlock(&h->lock);
    if (h->started)
        (void)pthread_join(h->thread, NULL);
    *helper = NULL;
    loop_watch_remove(&h->watch);
    (void)close(h->event_fd);
    (void)pthread_cond_destroy(&h->changed);
    (void)pthread_mutex_destroy(&h->lock);
    free(h);
}
