#include "services/auth/ledger/writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/log.h"

struct write_batch {
    struct store_op *ops;
    size_t count, cap;
    size_t durable;     /* operations of transactions that are on disk */
    struct arena arena; /* what the spans of the operations show */
};

struct writer {
    struct loop *loop;
    struct store *store;
    writer_result_fn fn;
    void *ctx;
    struct loop_hook hook;
    struct loop_watch *watch;
    int done_fd; /* an eventfd: the thread has finished a batch */
    struct write_batch batches[2];
    struct write_batch *filling; /* the loop's */
    struct write_batch *writing; /* the thread's while `busy` */
    bool busy;                   /* the loop's view */
    struct loop_timer gather;
    bool due; /* what is filling has waited long enough */
    pthread_t thread;
    bool thread_started;
    bool closed;          /* takes no more */
    pthread_mutex_t lock; /* guards the three below */
    pthread_cond_t wake;
    bool work, stop;
    enum err result; /* of what is behind `durable` */
};

/* A transaction that fails as a whole is not tried row by row: only the disk makes one fail. What
 * comes behind it is not tried either; what went before is durable, and must be said to be: sent
 * again it would be a repeat that changes nothing. */
static enum err write_batch(struct store *store, struct write_batch *b)
{
    for (b->durable = 0; b->durable < b->count;) {
        size_t left = b->count - b->durable;
        size_t n = left < WRITER_BATCH_MAX ? left : WRITER_BATCH_MAX;
        enum err e = store_apply(store, b->ops + b->durable, n);
        if (e)
            return e;
        b->durable += n;
    }
    return OK;
}

static void *run(void *arg)
{
    struct writer *w = arg;
    (void)pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->work && !w->stop)
            (void)pthread_cond_wait(&w->wake, &w->lock);
        if (!w->work)
            break;
        (void)pthread_mutex_unlock(&w->lock);
        enum err e = write_batch(w->store, w->writing);
        (void)pthread_mutex_lock(&w->lock);
        w->work = false;
        w->result = e;
        uint64_t one = 1;
        ssize_t n = write(w->done_fd, &one, sizeof one);
        (void)n;
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void hand_over(struct writer *w)
{
    if (w->busy || w->filling->count == 0)
        return;
    struct write_batch *full = w->filling;
    w->filling = w->writing;
    w->writing = full;
    w->busy = true;
    w->due = false;
    loop_timer_stop(w->loop, &w->gather);
    (void)pthread_mutex_lock(&w->lock);
    w->work = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
}

static void on_gathered(void *ctx)
{
    struct writer *w = ctx;
    w->due = true;
    hand_over(w);
}

static void on_turn_end(void *ctx)
{
    struct writer *w = ctx;
    if (w->due || w->filling->count >= WRITER_GATHER_OPS)
        hand_over(w);
    else if (w->filling->count && !loop_timer_running(&w->gather))
        loop_timer_start(w->loop, &w->gather, WRITER_GATHER_MS, on_gathered, w);
}

static void batch_clear(struct write_batch *b)
{
    b->count = b->durable = 0;
    arena_reset(&b->arena);
}

static void report_some(struct writer *w, struct write_batch *b, size_t from, size_t to,
                        bool settles, enum err result)
{
    for (size_t i = from; i < to; i++) {
        if ((b->ops[i].kind == STORE_SETTLE) == settles)
            w->fn(w->ctx, &b->ops[i], result);
    }
}

/* Each transaction in the order in which the store applied it. */
static void report(struct writer *w, struct write_batch *b, enum err result)
{
    for (size_t from = 0, to; from < b->count; from = to) {
        to = from + WRITER_BATCH_MAX < b->count ? from + WRITER_BATCH_MAX : b->count;
        enum err e = to <= b->durable ? OK : result;
        report_some(w, b, from, to, true, e);
        report_some(w, b, from, to, false, e);
    }
    batch_clear(b);
}

static void on_done(void *ctx, uint32_t events)
{
    struct writer *w = ctx;
    uint64_t n;
    (void)events;
    if (read(w->done_fd, &n, sizeof n) != (ssize_t)sizeof n || !w->busy)
        return;
    (void)pthread_mutex_lock(&w->lock);
    enum err result = w->result;
    (void)pthread_mutex_unlock(&w->lock);
    /* Still busy: what the results submit goes to the other batch. */
    report(w, w->writing, result);
    w->busy = false;
    on_turn_end(w);
}

enum err writer_create(struct writer **out, struct loop *loop, struct store *store,
                       writer_result_fn fn, void *ctx)
{
    struct writer *w = calloc(1, sizeof *w);
    if (!w)
        return ERR_NOMEM;
    *w = (struct writer){.loop = loop, .store = store, .fn = fn, .ctx = ctx};
    w->filling = &w->batches[0];
    w->writing = &w->batches[1];
    arena_init(&w->batches[0].arena, 0);
    arena_init(&w->batches[1].arena, 0);
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->wake, NULL);
    w->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    enum err e = w->done_fd < 0 ? ERR_IO : OK;
    if (!e)
        e = loop_watch_add(loop, w->done_fd, EPOLLIN, on_done, w, &w->watch);
    if (!e && pthread_create(&w->thread, NULL, run, w) != 0)
        e = ERR_NOMEM;
    if (e) {
        w->store = NULL; /* stays the caller's */
        writer_destroy(&w);
        return e;
    }
    w->thread_started = true;
    w->hook = (struct loop_hook){.fn = on_turn_end, .ctx = w};
    loop_hook_turn_end(loop, &w->hook);
    *out = w;
    return OK;
}

static void finish(struct writer *w)
{
    enum { WAIT_MS = 100, TAKES_MS = 500, LONGEST_MS = 10000 };
    /* by the clock: in a busy loop a turn takes no time */
    uint64_t began_ms = clock_mono_ms(&clock_real), now_ms = began_ms;
    for (; (w->busy || w->filling->count) && now_ms < began_ms + LONGEST_MS;
         now_ms = clock_mono_ms(&clock_real)) {
        w->closed = now_ms > began_ms + TAKES_MS; /* or it would never end */
        hand_over(w);
        if (loop_turn(w->loop, WAIT_MS))
            break;
    }
    w->closed = true;
    (void)pthread_mutex_lock(&w->lock);
    w->stop = true;
    (void)pthread_cond_signal(&w->wake);
    (void)pthread_mutex_unlock(&w->lock);
    (void)pthread_join(w->thread, NULL);
    /* A disk that was slower: what waits for an answer gets one. */
    if (w->busy)
        report(w, w->writing, w->result);
    report(w, w->filling, ERR_CLOSED);
}

void writer_destroy(struct writer **out)
{
    struct writer *w = *out;
    if (!w)
        return;
    if (w->thread_started)
        finish(w); /* what comes in meanwhile is still taken */
    *out = NULL;
    if (w->hook.fn)
        loop_hook_remove(w->loop, &w->hook);
    loop_timer_stop(w->loop, &w->gather);
    loop_watch_remove(&w->watch);
    if (w->done_fd >= 0)
        (void)close(w->done_fd);
    store_close(&w->store);
    for (size_t i = 0; i < 2; i++) {
        free(w->batches[i].ops);
        arena_free(&w->batches[i].arena);
    }
    (void)pthread_cond_destroy(&w->wake);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
}

static bool keep(struct arena *a, struct span *view)
{
    if (view->len == 0)
        return true;
    *view = arena_copy(a, *view);
    return view->data != NULL;
}

static bool keep_all(struct arena *a, struct store_op *op)
{
    struct span *views[] = {&op->usage.key_id,
                            &op->usage.key_name,
                            &op->usage.model,
                            &op->usage.provider,
                            &op->usage.upstream_model,
                            &op->usage.upstream_id,
                            &op->usage.end_user,
                            &op->usage.tags,
                            &op->key.id,
                            &op->key.name,
                            &op->key.hint,
                            &op->key.models,
                            &op->key.tags,
                            &op->key.model_limits,
                            &op->limit.name,
                            &op->limit.boot_id,
                            &op->slot.key_id,
                            &op->query.key_id,
                            &op->query.model,
                            &op->history,
                            &op->history_class};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        if (!keep(a, views[i]))
            return false;
    }
    return true;
}

/* Somebody sits before a terminal. */
static bool is_urgent(enum store_op_kind kind)
{
    return kind == STORE_KEY_ADD || kind == STORE_KEY_CHANGE || kind == STORE_KEY_DELETE ||
           kind == STORE_USAGE || kind == STORE_REQUEST;
}

enum err writer_submit(struct writer *w, const struct store_op *op)
{
    struct write_batch *b = w->filling;
    if (w->closed)
        return ERR_CLOSED;
    if (b->count == WRITER_QUEUE_MAX)
        return ERR_AGAIN;
    if (b->count == b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 64;
        struct store_op *grown = realloc(b->ops, cap * sizeof *grown);
        if (!grown)
            return ERR_NOMEM;
        b->ops = grown;
        b->cap = cap;
    }
    struct store_op copy = *op;
    if (!keep_all(&b->arena, &copy))
        return ERR_AGAIN;
    b->ops[b->count++] = copy;
    w->due |= is_urgent(op->kind);
    return OK;
}

size_t writer_waiting(const struct writer *w)
{
    return w->filling->count + (w->busy ? w->writing->count : 0);
}
