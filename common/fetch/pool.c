#include "common/fetch/pool.h"

#include <stdlib.h>

/* A site that finds no memory is a request that fails. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

enum {
    SWEEP_MS = 5000,
    LONG_MS = 100 /* a plain connection idle for less is believed: its events are heard */
};

/* Lives as long as it has connections. */
struct fetch_site {
    UT_hash_handle hh;
    struct fetch *up;
    uint32_t connections;          /* busy ones too */
    struct fetch_connection *idle; /* the latest first */
    unsigned key_len;
    char key[];
};

struct fetch_pool {
    struct fetch_site *sites;
    struct fetch_connection *idle; /* the oldest first */
    uint32_t idle_count;
    struct loop_timer sweep;
    struct buf key; /* of who is looked for */
};

enum err pool_create(struct fetch *up)
{
    up->pool = calloc(1, sizeof *up->pool);
    return up->pool ? OK : ERR_NOMEM;
}

void pool_destroy(struct fetch *up)
{
    struct fetch_pool *pool = up->pool;
    if (!pool)
        return;
    while (pool->idle) {
        struct fetch_connection *c = pool->idle;
        pool_close(&c);
    }
    loop_timer_stop(up->loop, &pool->sweep);
    buf_free(&pool->key);
    free(pool);
    up->pool = NULL;
}

/* ---- sites ---- */

static struct fetch_site *find_site(struct fetch_pool *pool, struct span authority,
                                    const struct fetch_origin *origin)
{
    struct fetch_site *site = NULL;
    buf_clear(&pool->key);
    buf_append(&pool->key, authority);
    buf_append(&pool->key, origin->way);
    if (buf_check(&pool->key) == OK)
        HASH_FIND(hh, pool->sites, pool->key.data, pool->key.len, site);
    return site;
}

/* Of the key that was just looked for. */
static struct fetch_site *make_site(struct fetch *up)
{
    struct fetch_pool *pool = up->pool;
    struct span key = buf_span(&pool->key);
    struct fetch_site *site = key.len ? calloc(1, sizeof *site + key.len) : NULL;
    if (!site)
        return NULL;
    site->up = up;
    site->key_len = (unsigned)key.len;
    memcpy(site->key, key.data, key.len);
    HASH_ADD(hh, pool->sites, key, site->key_len, site);
    if (site->hh.tbl)
        return site;
    free(site);
    return NULL;
}

enum err pool_enter(struct fetch_connection *c, struct span authority,
                    const struct fetch_origin *origin)
{
    struct fetch_site *site = find_site(c->up->pool, authority, origin);
    if (!site)
        site = make_site(c->up);
    if (!site)
        return ERR_NOMEM;
    c->site = site;
    site->connections++;
    return OK;
}

static void leave_site(struct fetch_connection *c)
{
    struct fetch_site *site = c->site;
    c->site = NULL;
    if (!site || --site->connections > 0)
        return;
    HASH_DEL(site->up->pool->sites, site);
    free(site);
}

/* ---- idle ones ---- */

static void make_busy(struct fetch_connection *c)
{
    struct fetch_pool *pool = c->up->pool;
    DL_DELETE(c->site->idle, c);
    DL_DELETE2(pool->idle, c, older, newer);
    pool->idle_count--;
    c->state = CONNECTION_BUSY;
}

void pool_close(struct fetch_connection **connection)
{
    struct fetch_connection *c = *connection;
    if (!c)
        return;
    if (c->state == CONNECTION_IDLE)
        make_busy(c);
    leave_site(c);
    connection_close(connection);
}

static void close_oldest(struct fetch_pool *pool)
{
    struct fetch_connection *c = pool->idle;
    pool_close(&c);
}

static uint64_t idle_ms(const struct fetch_connection *c)
{
    return loop_now_ms(c->up->loop) - c->idle_since_ms;
}

static bool is_old(const struct fetch_connection *c)
{
    return idle_ms(c) > KEEP_IDLE_S * 1000;
}

static void on_sweep(void *ctx)
{
    struct fetch *up = ctx;
    struct fetch_pool *pool = up->pool;
    while (pool->idle && is_old(pool->idle))
        close_oldest(pool);
    if (pool->idle)
        loop_timer_start(up->loop, &pool->sweep, SWEEP_MS, on_sweep, up);
}

void pool_put(struct fetch_connection *c)
{
    struct fetch *up = c->up;
    struct fetch_pool *pool = up->pool;
    if (connection_want(c, EPOLLIN) != OK) {
        pool_close(&c);
        return;
    }
    c->state = CONNECTION_IDLE;
    c->reused = true;
    c->idle_since_ms = loop_now_ms(up->loop);
    DL_PREPEND(c->site->idle, c);
    DL_APPEND2(pool->idle, c, older, newer);
    pool->idle_count++;
    if (pool->idle_count > up->options.max_connections)
        close_oldest(pool);
    if (!loop_timer_running(&pool->sweep))
        loop_timer_start(up->loop, &pool->sweep, SWEEP_MS, on_sweep, up);
}

/* Nothing has come. TLS has messages of its own, which are no reason to part, and may keep bytes
 * that the socket does not show. */
static bool is_silent(struct fetch_connection *c)
{
    char byte;
    size_t got;
    return connection_receive(c, &byte, 1, &got) == CONNECTION_AGAIN;
}

struct fetch_connection *pool_take(struct fetch *up, struct span authority,
                                   const struct fetch_origin *origin)
{
    struct fetch_connection *c = NULL;
    do { /* the site goes with its last connection */
        struct fetch_site *site = find_site(up->pool, authority, origin);
        c = site ? site->idle : NULL;
        if (!c)
            return NULL;
        bool believed = !c->tls && idle_ms(c) < LONG_MS;
        if (is_old(c) || (!believed && !is_silent(c)))
            pool_close(&c);
    } while (!c);
    make_busy(c);
    return c;
}

void pool_on_event(struct fetch_connection *c)
{
    if (!c->tls || !is_silent(c))
        pool_close(&c);
}

void pool_close_idle_of(struct fetch_site *site)
{
    struct fetch_connection *c, *next;
    DL_FOREACH_SAFE(site->idle, c, next)
    {
        pool_close(&c);
    }
}
