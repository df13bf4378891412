/* The server's life, and its part of a turn's end. */
#include <stdlib.h>
#include <unistd.h>

#include "common/http/internal.h"

enum { HOOK_ROUNDS = 8 };

static void end_retired(struct http_shard *shard)
{
    if (shard->retired && !shard->connections)
        shard_destroy(shard);
}

/* Those marked meanwhile are for the next round: one client's pipeline must not hold the turn. */
static void flush_exchanges(struct http_server *s)
{
    const struct http_exchange *last = s->dirty ? s->dirty->dirty_prev : NULL;
    for (bool more = last != NULL; more && s->dirty;) {
        struct http_exchange *x = s->dirty;
        more = x != last;
        DL_DELETE2(s->dirty, x, dirty_prev, dirty_next);
        x->dirty = false;
        x->way->flush(x);
    }
}

static void run_shards(struct http_server *s)
{
    struct http_shard *shard, *now = s->dirty_shards;
    s->dirty_shards = NULL;
    while ((shard = now) != NULL) {
        DL_DELETE2(now, shard, dirty_prev, dirty_next);
        shard->dirty = false;
        shard_run(shard);
        end_retired(shard);
    }
}

/* The end of a turn: what handlers wrote goes out, connections they answered go on. */
static void on_turn_end(void *ctx)
{
    struct http_server *s = ctx;
    s->worked = false;
    s->turn_bytes = 0; /* those that had to wait come first now */
    for (int i = 0; i < HOOK_ROUNDS && (s->dirty || s->dirty_shards); i++) {
        flush_exchanges(s);
        run_shards(s);
    }
    s->turn_bytes = 0;
    /* Hooks before this one may have to send what its handlers made. */
    if (s->worked || s->dirty || s->dirty_shards)
        loop_again(s->loop);
}

static char *copy_of(const char *s)
{
    return s && *s ? strdup(s) : NULL;
}

enum err http_server_create(struct http_server **out, struct loop *loop,
                            const struct http_config *config, const struct http_handler *handler)
{
    *out = NULL;
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->loop = loop;
    s->config = *config;
    s->handler = *handler;
    s->address = copy_of(config->address);
    s->tls_cert = copy_of(config->tls_cert);
    s->tls_key = copy_of(config->tls_key);
    s->listen_fd = s->reserve_fd = -1;
    s->shard_count = config->shards < 1                 ? 1
                     : config->shards > HTTP_MAX_SHARDS ? HTTP_MAX_SHARDS
                                                        : config->shards;
    s->hook = (struct loop_hook){.fn = on_turn_end, .ctx = s};
    loop_hook_turn_end(loop, &s->hook);
    s->look = malloc(http_look_bytes(s));
    enum err e = !s->look ? ERR_NOMEM : !s->tls_cert != !s->tls_key ? ERR_INVALID : OK;
    if (!e)
        e = shards_create(s);
    if (!e)
        e = accept_start(s);
    if (e) {
        http_server_destroy(&s);
        return e;
    }
    *out = s;
    return OK;
}

static void cut_all(struct http_server *s)
{
    struct http_conn *c, *next;
    DL_FOREACH_SAFE(s->conns, c, next)
    {
        if (!c->shard)
            plain_close(c);
        else if (c->x) /* libmicrohttpd refuses to stop while a connection is suspended */
            exchange_cut(c->x);
    }
    struct http_shard *shard;
    DL_FOREACH(s->all_shards, shard)
    shard_run(shard);
}

void http_server_destroy(struct http_server **server)
{
    struct http_server *s = *server;
    if (!s)
        return;
    *server = NULL;
    s->stopping = true;
    accept_stop(s);
    cut_all(s);
    while (s->all_shards)
        shard_destroy(s->all_shards);
    while (s->starting)
        conn_free(s->starting);
    while (s->lingers)
        linger_end(s->lingers);
    loop_hook_remove(s->loop, &s->hook);
    if (s->reserve_fd >= 0)
        (void)close(s->reserve_fd);
    free(s->look);
    free(s->address);
    free(s->tls_cert);
    free(s->tls_key);
    free(s);
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

enum err http_server_reload_tls(struct http_server *server)
{
    return server->tls_cert ? shards_create(server) : OK;
}

void http_server_retire(struct http_server *server)
{
    server->retiring = true;
}

void http_server_drain(struct http_server *server)
{
    struct http_conn *c;
    server->retiring = server->draining = true;
    accept_stop(server);
    DL_FOREACH(server->conns, c)
    conn_hurry(c);
    DL_FOREACH(server->starting, c)
    conn_hurry(c);
}

struct http_stats http_server_stats(const struct http_server *server)
{
    return server->stats;
}
