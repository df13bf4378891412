#include "common/fetch/fetch.h"

#include <stdlib.h>

#include "common/fetch/exchange.h"
#include "common/fetch/multi.h"
#include "common/fetch/pool.h"
#include "common/fetch/shard.h"
#include "common/fetch/transfer.h"

/* ---- transfers ---- */

/* Each line could stand in a head. */
static bool are_lines(struct span lines)
{
    while (lines.len)
        if (!origin_is_line(span_cut(&lines, '\n')))
            return false;
    return true;
}

static enum err choose_engine(struct fetch_transfer *r)
{
    if (exchange_suits(&r->spec)) {
        r->engine = &fetch_engine_exchange;
        return OK;
    }
    r->engine = &fetch_engine_multi;
    return multi_prepare(r);
}

enum err fetch_start(struct fetch *u, const struct fetch_spec *spec, struct fetch_transfer **out)
{
    *out = NULL;
    if (spec->url.len && !origin_allows_url(spec->origin, spec->url))
        return ERR_DENIED;
    if (!are_lines(spec->headers))
        return ERR_INVALID;
    struct fetch_transfer *r = transfer_take(u);
    if (!r)
        return ERR_NOMEM;
    transfer_begin(r, spec);
    enum err err = choose_engine(r);
    if (err != OK) {
        transfer_park(r);
        return err;
    }
    transfer_count_in(r);
    *out = r;
    if (u->inside)
        transfer_defer(r, DEFER_START);
    else
        r->engine->start(r);
    return OK;
}

void fetch_cancel(struct fetch_transfer **request)
{
    struct fetch_transfer *r = *request;
    *request = NULL;
    if (!r || r->state != FETCH_RUNNING)
        return;
    r->state = FETCH_DEAD;
    transfer_defer(r, DEFER_CANCEL);
    transfer_finish_deferred(r->up);
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
    request->last_ms = request->line_ms = loop_now_ms(request->up->loop);
    transfer_defer(request, DEFER_RESUME);
    transfer_finish_deferred(request->up);
}

bool fetch_sent(const struct fetch_transfer *request)
{
    return request->engine->sent(request);
}

/* ---- life ---- */

static void on_turn_end(void *ctx)
{
    struct fetch *up = ctx;
    if (!up->due)
        return;
    up->handler_called = false;
    shard_run_due(up);
    /* Handlers may have sent on the bus, whose own hook is over for this turn. */
    if (up->handler_called || up->due)
        loop_again(up->loop);
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

static enum err open_parts(struct fetch *up)
{
    enum err err = connector_create(up);
    if (err == OK)
        err = pool_create(up);
    up->share = curl_share_init();
    if (err != OK || !up->share)
        return ERR_NOMEM;
    (void)curl_share_setopt(up->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    (void)curl_share_setopt(up->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    up->default_ca = find_default_ca();
    return OK;
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
    up->kept_fd = -1;
    socket_table_init(&up->sockets, loop);
    up->hook = (struct loop_hook){.fn = on_turn_end, .ctx = up};
    loop_hook_turn_end(loop, &up->hook);
    enum err err = open_parts(up);
    if (err == OK)
        *out = up;
    else
        fetch_destroy(&up);
    return err;
}

void fetch_destroy(struct fetch **u)
{
    struct fetch *up = *u;
    if (!up)
        return;
    *u = NULL;
    loop_hook_remove(up->loop, &up->hook);
    while (up->running_list) {
        struct fetch_transfer *r = up->running_list;
        transfer_take_out(r);
        transfer_park(r);
    }
    transfer_free_idle(up);
    pool_destroy(up);
    connector_destroy(up);
    multi_free(up);
    (void)curl_share_cleanup(up->share);
    socket_table_free(&up->sockets);
    free(up->default_ca);
    free(up);
    curl_global_cleanup();
}

uint32_t fetch_running(const struct fetch *u)
{
    return u->running;
}
