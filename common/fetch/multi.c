#include "common/fetch/multi.h"

#include <stdlib.h>

#include "common/fetch/multi_internal.h"

static void free_part(struct multi_part *p)
{
    curl_easy_cleanup(p->easy);
    curl_url_cleanup(p->parsed);
    buf_free(&p->url);
    buf_free(&p->lines);
    free(p);
}

static struct multi_part *take_part(struct fetch *up)
{
    struct multi_part *p = up->idle_parts;
    if (p) {
        up->idle_parts = p->next_idle;
        up->idle_part_count--;
        return p;
    }
    p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->up = up;
    p->easy = curl_easy_init();
    if (!p->easy) {
        free(p);
        return NULL;
    }
    multi_set_callbacks(p);
    return p;
}

static void park_part(struct multi_part *p)
{
    struct fetch *up = p->up;
    multi_trim(p);
    p->r->multi = NULL;
    p->r = NULL;
    if (up->idle_part_count >= MAX_IDLE_PARTS) {
        free_part(p);
        return;
    }
    p->next_idle = up->idle_parts;
    up->idle_parts = p;
    up->idle_part_count++;
}

/* ---- its end ---- */

static void fail_as_given_up(struct fetch_transfer *r, const struct multi_part *p)
{
    transfer_fail(r, transfer_verdict(r), p->error);
}

/* Its head, when no byte of a body has brought it. false: the transfer is gone. */
static bool take_late_head(struct fetch_transfer *r, struct multi_part *p)
{
    r->up->inside++; /* so that a cancel by the handler waits */
    bool taken = multi_take_head(p);
    r->up->inside--;
    if (!taken && r->state == FETCH_RUNNING)
        fail_as_given_up(r, p);
    return taken;
}

static void on_done(struct shard *shard, CURL *easy, CURLcode code)
{
    char *private = NULL;
    (void)shard;
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    struct multi_part *p = (struct multi_part *)(void *)private;
    struct fetch_transfer *r = p->r;
    /* one that was cancelled within a callback is taken out by transfer_finish_deferred */
    if (r->state != FETCH_RUNNING)
        return;
    if (r->verdict != ERROR_NONE && code != CURLE_OK) {
        fail_as_given_up(r, p);
        return;
    }
    if (code == CURLE_OK) {
        if (r->headed || take_late_head(r, p))
            transfer_done(r);
        return;
    }
    struct fetch_facts facts = fetch_facts_of(easy, r->spec.origin->proxy != NULL);
    transfer_fail(r, fetch_failure_of(code, r->engine->sent(r), r->headed, facts), p->error);
}

/* ---- the engine ---- */

static enum err open_shards(struct fetch *up)
{
    if (!up->shards)
        up->shards = calloc(up->options.shards, sizeof *up->shards);
    return up->shards ? OK : ERR_NOMEM;
}

/* The first one with room: few connections, used often, rather than many used seldom. */
static struct shard *choose_shard(struct fetch *up)
{
    if (open_shards(up) != OK)
        return NULL;
    struct shard *least = &up->shards[0];
    for (uint32_t i = 0; i < up->options.shards; i++) {
        struct shard *shard = &up->shards[i];
        if (shard->running < least->running)
            least = shard;
        if (shard->running < SHARD_FILL) {
            least = shard;
            break;
        }
    }
    long keep = (long)(up->options.max_connections / up->options.shards);
    if (keep < 2 * SHARD_FILL)
        keep = 2 * SHARD_FILL;
    if (!least->multi && shard_open(least, up, keep, on_done) != OK)
        return NULL;
    return least;
}

enum err multi_prepare(struct fetch_transfer *r)
{
    struct multi_part *p = take_part(r->up);
    if (!p)
        return ERR_NOMEM;
    r->multi = p;
    p->r = r;
    enum err err = multi_prepare_part(p);
    if (err != OK)
        park_part(p);
    return err;
}

static void start(struct fetch_transfer *r)
{
    struct multi_part *p = r->multi;
    struct shard *shard = choose_shard(r->up);
    if (!shard || curl_multi_add_handle(shard->multi, p->easy) != CURLM_OK) {
        transfer_fail_soon(
            r, fetch_failure_of(CURLE_FAILED_INIT, false, false, (struct fetch_facts){0}));
        return;
    }
    p->shard = shard;
    shard->running++;
}

static void leave(struct fetch_transfer *r)
{
    struct multi_part *p = r->multi;
    if (p->shard) {
        (void)curl_multi_remove_handle(p->shard->multi, p->easy);
        p->shard->running--;
        p->shard = NULL;
    }
    park_part(p);
}

/* Delivers what is kept by calling on_write, from here. */
static void resume(struct fetch_transfer *r)
{
    struct multi_part *p = r->multi;
    if (!p->shard)
        return;
    r->up->inside++;
    CURLcode code = curl_easy_pause(p->easy, CURLPAUSE_CONT);
    r->up->inside--;
    if (code == CURLE_OK || r->state != FETCH_RUNNING)
        return;
    if (r->verdict)
        fail_as_given_up(r, p);
    else
        transfer_fail(r,
                      (struct fetch_failure){ERROR_UPSTREAM_CLOSED,
                                             SPAN("The upstream's answer could not be read on."),
                                             REASON_NONE, 0},
                      p->error);
}

static bool sent(const struct fetch_transfer *r)
{
    long bytes = 0;
    (void)curl_easy_getinfo(r->multi->easy, CURLINFO_REQUEST_SIZE, &bytes);
    return bytes > 0;
}

const struct fetch_engine fetch_engine_multi = {start, leave, resume, sent};

void multi_free(struct fetch *up)
{
    while (up->idle_parts) {
        struct multi_part *p = up->idle_parts;
        up->idle_parts = p->next_idle;
        free_part(p);
    }
    for (uint32_t i = 0; up->shards && i < up->options.shards; i++)
        shard_close(&up->shards[i]);
    free(up->shards);
    up->shards = NULL;
}
