/* Exchanges and shards with something to do at the end of the turn. */
#include "common/http/internal.h"

void exchange_mark(struct http_exchange *x)
{
    if (x->dirty)
        return;
    x->dirty = true;
    DL_APPEND2(x->server->dirty, x, dirty_prev, dirty_next);
}

void shard_mark(struct http_shard *shard)
{
    if (shard->dirty)
        return;
    shard->dirty = true;
    DL_APPEND2(shard->server->dirty_shards, shard, dirty_prev, dirty_next);
}
