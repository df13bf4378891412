/* Streams and shards with something to do at the end of the turn. */
#include "common/http/internal.h"

void stream_mark(struct http_exchange *x)
{
    if (x->dirty)
        return;
    x->dirty = true;
    TAILQ_INSERT_TAIL(&x->server->dirty, x, next_dirty);
}

void shard_mark(struct http_shard *shard)
{
    if (shard->dirty)
        return;
    shard->dirty = true;
    STAILQ_INSERT_TAIL(&shard->server->dirty_shards, shard, next_dirty);
}
