#include "common/fetch/shard.h"

#include "common/fetch/transfer.h"

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    struct shard *shard = ctx;
    (void)easy, (void)unused;
    uint32_t events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    enum err err = socket_table_want(&shard->up->sockets, fd, events, &shard->owner);
    return err == OK ? 0 : -1;
}

void shard_mark_due(struct shard *shard)
{
    if (shard->due)
        return;
    shard->due = true;
    shard->next_due = shard->up->due;
    shard->up->due = shard;
}

static void reap(struct shard *shard)
{
    int left = 0;
    shard->reaping = true;
    for (CURLMsg *m; (m = curl_multi_info_read(shard->multi, &left));) {
        CURLcode code = m->data.result;
        if (m->msg == CURLMSG_DONE)
            shard->on_done(shard, m->easy_handle, code);
    }
    shard->reaping = false;
}

static void run(struct shard *shard, curl_socket_t fd, int events)
{
    int running = 0;
    struct fetch *up = shard->up;
    up->inside++;
    (void)curl_multi_socket_action(shard->multi, fd, events, &running);
    up->inside--;
    reap(shard);
    transfer_finish_deferred(up);
}

static void on_ready(struct socket_owner *owner, int fd, uint32_t events)
{
    int bits = 0;
    if (events & EPOLLIN)
        bits |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        bits |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        bits |= CURL_CSELECT_ERR;
    run((struct shard *)(void *)owner, fd, bits);
}

static void on_shard_timer(void *ctx)
{
    shard_mark_due(ctx);
}

static int on_multi_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct shard *shard = ctx;
    (void)multi;
    if (timeout_ms < 0)
        loop_timer_stop(shard->up->loop, &shard->timer);
    else if (timeout_ms == 0)
        shard_mark_due(shard); /* once per turn for all requests of the turn */
    else
        loop_timer_start(shard->up->loop, &shard->timer, (uint64_t)timeout_ms, on_shard_timer,
                         shard);
    return 0;
}

void shard_run_due(struct fetch *up)
{
    up->due_now = up->due;
    up->due = NULL;
    while (up->due_now) {
        struct shard *shard = up->due_now;
        up->due_now = shard->next_due;
        shard->due = false;
        run(shard, CURL_SOCKET_TIMEOUT, 0);
    }
}

enum err shard_open(struct shard *shard, struct fetch *up, long keep,
                    void (*on_done)(struct shard *shard, CURL *easy, CURLcode code))
{
    *shard = (struct shard){.owner = {on_ready}, .up = up, .on_done = on_done};
    shard->multi = curl_multi_init();
    if (!shard->multi)
        return ERR_NOMEM;
    (void)curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_multi_timer);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, keep);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    return OK;
}

static void forget_due(struct shard **list, const struct shard *shard)
{
    while (*list && *list != shard)
        list = &(*list)->next_due;
    if (*list)
        *list = shard->next_due;
}

void shard_close(struct shard *shard)
{
    if (!shard->multi)
        return;
    if (shard->due) {
        forget_due(&shard->up->due, shard);
        forget_due(&shard->up->due_now, shard);
    }
    shard->due = true; /* libcurl may ask for a timer while it ends */
    (void)curl_multi_cleanup(shard->multi);
    loop_timer_stop(shard->up->loop, &shard->timer);
    shard->multi = NULL;
}
