#include "common/fetch/fetch.h"

#include <stdlib.h>

#include "common/base/log.h"
#include "common/fetch/failure.h"
#include "common/fetch/fetch_internal.h"

static void finish_deferred(struct fetch *up);
static void on_silence(void *ctx);

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    struct shard *shard = ctx;
    (void)easy, (void)unused;
    uint32_t events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    enum err err = socket_table_want(&shard->up->sockets, fd, events, shard);
    return err == OK ? 0 : -1;
}

/* ---- running the multis ---- */

static void mark_due(struct shard *shard)
{
    if (shard->due)
        return;
    shard->due = true;
    shard->next_due = shard->up->due;
    shard->up->due = shard;
}

static void free_request(struct fetch_transfer *r)
{
    curl_easy_cleanup(r->easy);
    curl_url_cleanup(r->parsed);
    buf_free(&r->url);
    buf_free(&r->lines);
    free(r);
}

static void park(struct fetch_transfer *r)
{
    struct fetch *up = r->up;
    r->state = FETCH_IDLE;
    fetch_trim(r);
    if (up->idle_count >= MAX_IDLE) {
        free_request(r);
        return;
    }
    r->next = up->idle;
    up->idle = r;
    up->idle_count++;
}

static void count_in(struct fetch_transfer *r, struct shard *shard)
{
    struct fetch *up = r->up;
    r->shard = shard;
    r->state = FETCH_RUNNING;
    shard->running++;
    up->running++;
    r->prev_running = NULL;
    r->next_running = up->running_list;
    if (up->running_list)
        up->running_list->prev_running = r;
    up->running_list = r;
}

/* `next` is about to hold r in another list. */
static void forget_deferred(struct fetch_transfer *r)
{
    struct fetch_transfer **at = &r->up->deferred;
    while (*at && *at != r)
        at = &(*at)->next;
    if (*at)
        *at = r->next;
    r->deferred = 0;
}

/* Out of libcurl; not from within its callbacks. */
static void take_out(struct fetch_transfer *r)
{
    struct fetch *up = r->up;
    if (r->deferred)
        forget_deferred(r);
    (void)curl_multi_remove_handle(r->shard->multi, r->easy);
    loop_timer_stop(up->loop, &r->timer);
    r->shard->running--;
    up->running--;
    r->state = FETCH_DEAD;
    if (r->next_running)
        r->next_running->prev_running = r->prev_running;
    if (r->prev_running)
        r->prev_running->next_running = r->next_running;
    else
        up->running_list = r->next_running;
}

static void fail(struct fetch_transfer *r, unsigned error_class, struct span message)
{
    struct fetch_spec spec = r->spec;
    bool sent = fetch_sent(r);
    take_out(r);
    r->up->handler_called = true;
    if (error_class != ERROR_UPSTREAM_CLOSED)
        log_debug("upstream_failed", LSTR("class", error_info(error_class)->name),
                  LSTR("detail", r->error));
    spec.handler->on_failure(spec.ctx, error_class, message, sent);
    park(r);
}

static void on_finished(struct fetch_transfer *r, CURLcode code)
{
    if (r->verdict != ERROR_NONE && code != CURLE_OK) {
        fail(r, r->verdict, r->verdict_message);
        return;
    }
    if (code == CURLE_OK && !r->headed) {
        r->up->inside++; /* so that a cancel by the handler waits */
        bool taken = fetch_take_head(r);
        r->up->inside--;
        if (r->state != FETCH_RUNNING)
            return;
        if (!taken) {
            fail(r, r->verdict, r->verdict_message);
            return;
        }
    }
    if (code == CURLE_OK) {
        struct fetch_spec spec = r->spec;
        take_out(r);
        r->up->handler_called = true;
        spec.handler->on_end(spec.ctx);
        park(r);
        return;
    }
    long os_errno = 0;
    (void)curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &os_errno);
    struct fetch_failure f = fetch_failure_of(code, fetch_sent(r), r->headed, os_errno);
    fail(r, f.error_class, f.message);
}

static void reap(struct shard *shard)
{
    int left = 0;
    for (CURLMsg *m; (m = curl_multi_info_read(shard->multi, &left));) {
        char *private = NULL;
        CURLcode code = m->data.result;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        struct fetch_transfer *r = (struct fetch_transfer *)(void *)private;
        /* one that was cancelled within a callback is taken out by finish_deferred */
        if (m->msg == CURLMSG_DONE && r->state == FETCH_RUNNING)
            on_finished(r, code);
    }
}

static void run_shard(struct shard *shard, curl_socket_t fd, int events)
{
    int running = 0;
    shard->up->inside++;
    (void)curl_multi_socket_action(shard->multi, fd, events, &running);
    shard->up->inside--;
    reap(shard);
    finish_deferred(shard->up);
}

static void on_ready(void *owner, int fd, uint32_t events)
{
    int bits = 0;
    if (events & EPOLLIN)
        bits |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        bits |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        bits |= CURL_CSELECT_ERR;
    run_shard(owner, fd, bits);
}

static void on_shard_timer(void *ctx)
{
    mark_due(ctx);
}

static int on_multi_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct shard *shard = ctx;
    (void)multi;
    if (timeout_ms < 0)
        loop_timer_stop(shard->up->loop, &shard->timer);
    else if (timeout_ms == 0)
        mark_due(shard); /* once per turn for all requests of the turn */
    else
        loop_timer_start(shard->up->loop, &shard->timer, (uint64_t)timeout_ms, on_shard_timer,
                         shard);
    return 0;
}

static void on_turn_end(void *ctx)
{
    struct fetch *up = ctx;
    if (!up->due)
        return;
    struct shard *list = up->due;
    up->due = NULL;
    up->handler_called = false;
    while (list) {
        struct shard *shard = list;
        list = shard->next_due;
        shard->due = false;
        run_shard(shard, CURL_SOCKET_TIMEOUT, 0);
    }
    /* Handlers may have sent on the bus, whose own hook is over for this turn. */
    if (up->handler_called || up->due)
        loop_again(up->loop);
}

/* ---- deferred work ---- */

static void defer(struct fetch_transfer *r, unsigned what)
{
    if (r->deferred == 0) {
        r->next = r->up->deferred;
        r->up->deferred = r;
    }
    r->deferred |= what;
}

static void add_to_multi(struct fetch_transfer *r)
{
    if (curl_multi_add_handle(r->shard->multi, r->easy) == CURLM_OK)
        return;
    fail(r, ERROR_UPSTREAM_UNREACHABLE,
         SPAN("The service could not make the request to the provider."));
}

static void resume_now(struct fetch_transfer *r)
{
    /* Delivers what is kept by calling on_write, from here. */
    r->up->inside++;
    CURLcode code = curl_easy_pause(r->easy, CURLPAUSE_CONT);
    r->up->inside--;
    if (code != CURLE_OK && r->state == FETCH_RUNNING)
        fail(r, r->verdict ? r->verdict : (unsigned)ERROR_UPSTREAM_CLOSED,
             r->verdict ? r->verdict_message : SPAN("The upstream's answer could not be read on."));
}

static void finish_deferred(struct fetch *up)
{
    while (up->inside == 0 && up->deferred) {
        struct fetch_transfer *r = up->deferred;
        unsigned what = r->deferred;
        up->deferred = r->next;
        r->deferred = 0;
        r->next = NULL;
        if (what & DEFER_CANCEL) {
            take_out(r);
            park(r);
        } else if (what & DEFER_START) {
            add_to_multi(r);
        } else if (r->state == FETCH_RUNNING) {
            resume_now(r);
        }
    }
}

/* ---- requests ---- */

static struct fetch_transfer *take_request(struct fetch *up)
{
    struct fetch_transfer *r = up->idle;
    if (r) {
        up->idle = r->next;
        up->idle_count--;
        return r;
    }
    r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->up = up;
    r->easy = curl_easy_init();
    if (!r->easy) {
        free(r);
        return NULL;
    }
    fetch_set_callbacks(r);
    return r;
}

/* The first one with room: few connections, used often, rather than many used seldom. */
static struct shard *choose_shard(struct fetch *up)
{
    struct shard *least = &up->shards[0];
    for (uint32_t i = 0; i < up->options.shards; i++) {
        struct shard *shard = &up->shards[i];
        if (shard->running < SHARD_FILL)
            return shard;
        if (shard->running < least->running)
            least = shard;
    }
    return least;
}

enum err fetch_start(struct fetch *u, const struct fetch_spec *spec, struct fetch_transfer **out)
{
    *out = NULL;
    if (spec->url.len && !origin_allows_url(spec->origin, spec->url))
        return ERR_DENIED;
    struct fetch_transfer *r = take_request(u);
    if (!r)
        return ERR_NOMEM;
    enum err err = fetch_prepare(r, spec);
    if (err != OK) {
        park(r);
        return err;
    }
    count_in(r, choose_shard(u));
    loop_timer_start(u->loop, &r->timer, spec->first_byte_ms, on_silence, r);
    *out = r;
    if (u->inside || curl_multi_add_handle(r->shard->multi, r->easy) != CURLM_OK) {
        defer(r, DEFER_START); /* the second case is tried once more, then fails aloud */
        mark_due(r->shard);
    }
    return OK;
}

/* The one timer of a request: moved on lazily, not at every read. */
static void on_silence(void *ctx)
{
    struct fetch_transfer *r = ctx;
    struct fetch *up = r->up; /* outlives r, which is gone once it has failed */
    uint64_t now = loop_now_ms(up->loop);
    uint64_t since = r->headed ? r->last_ms : r->started_ms;
    uint64_t wait = r->headed ? r->spec.idle_ms : r->spec.first_byte_ms;
    if (r->state != FETCH_RUNNING)
        return;
    if (r->paused || now - since < wait) {
        loop_timer_start(up->loop, &r->timer, r->paused ? wait : wait - (now - since), on_silence,
                         r);
        return;
    }
    if (r->deferred & DEFER_START)
        return;
    bool sent = fetch_sent(r);
    fail(r, sent ? ERROR_UPSTREAM_TIMEOUT : ERROR_UPSTREAM_CONNECT_TIMEOUT,
         sent ? SPAN("The upstream did not answer in time.")
              : SPAN("No connection to the upstream in time."));
    finish_deferred(up);
}

void fetch_cancel(struct fetch_transfer **request)
{
    struct fetch_transfer *r = *request;
    *request = NULL;
    if (!r || r->state != FETCH_RUNNING)
        return;
    r->state = FETCH_DEAD;
    defer(r, DEFER_CANCEL);
    finish_deferred(r->up);
}

void fetch_pause(struct fetch_transfer *request)
{
    request->paused = true;
}

void fetch_resume(struct fetch_transfer *request)
{
    if (!request->paused || request->state != FETCH_RUNNING)
        return;
    request->paused = false;
    request->last_ms = loop_now_ms(request->up->loop);
    defer(request, DEFER_RESUME);
    finish_deferred(request->up);
}

bool fetch_sent(const struct fetch_transfer *request)
{
    long bytes = 0;
    (void)curl_easy_getinfo(request->easy, CURLINFO_REQUEST_SIZE, &bytes);
    return bytes > 0;
}

/* ---- life ---- */

static enum err open_shard(struct fetch *up, struct shard *shard)
{
    shard->up = up;
    shard->multi = curl_multi_init();
    if (!shard->multi)
        return ERR_NOMEM;
    long keep = (long)(up->options.max_connections / up->options.shards);
    if (keep < 2 * SHARD_FILL)
        keep = 2 * SHARD_FILL;
    (void)curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_multi_timer);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, keep);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    return OK;
}

/* libcurl forgets its own once another has been set. */
static char *find_default_ca(void)
{
    char *name = NULL, *copy = NULL;
    CURL *easy = curl_easy_init();
    if (easy && curl_easy_getinfo(easy, CURLINFO_CAINFO, &name) == CURLE_OK && name)
        copy = strdup(name);
    curl_easy_cleanup(easy);
    return copy;
}

enum err fetch_create(struct fetch **out, struct loop *loop, const struct fetch_options *options)
{
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return ERR_IO;
    struct fetch *up = calloc(1, sizeof *up);
    if (!up)
        return ERR_NOMEM;
    up->loop = loop;
    up->options = *options;
    if (up->options.shards == 0)
        up->options.shards = 1;
    socket_table_init(&up->sockets, loop, on_ready);
    up->shards = calloc(up->options.shards, sizeof *up->shards);
    up->share = curl_share_init();
    enum err err = up->shards && up->share ? OK : ERR_NOMEM;
    for (uint32_t i = 0; err == OK && i < up->options.shards; i++)
        err = open_shard(up, &up->shards[i]);
    up->hook = (struct loop_hook){.fn = on_turn_end, .ctx = up};
    loop_hook_turn_end(loop, &up->hook);
    if (err != OK) {
        fetch_destroy(&up);
        return err;
    }
    up->default_ca = find_default_ca();
    (void)curl_share_setopt(up->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    (void)curl_share_setopt(up->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    *out = up;
    return OK;
}

void fetch_destroy(struct fetch **u)
{
    struct fetch *up = *u;
    if (!up)
        return;
    *u = NULL;
    loop_hook_remove(up->loop, &up->hook);
    for (struct fetch_transfer *r = up->running_list, *next; r; r = next) {
        next = r->next_running;
        take_out(r);
        free_request(r);
    }
    while (up->idle) {
        struct fetch_transfer *r = up->idle;
        up->idle = r->next;
        free_request(r);
    }
    for (uint32_t i = 0; up->shards && i < up->options.shards; i++) {
        loop_timer_stop(up->loop, &up->shards[i].timer);
        (void)curl_multi_cleanup(up->shards[i].multi);
    }
    (void)curl_share_cleanup(up->share);
    socket_table_free(&up->sockets);
    free(up->shards);
    free(up->default_ca);
    free(up);
    curl_global_cleanup();
}

uint32_t fetch_running(const struct fetch *u)
{
    return u->running;
}
