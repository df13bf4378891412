#include "services/broker/queue.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

/* Exists only while somebody waits in it. */
struct queue_lane {
    UT_hash_handle hh;
    struct queue_entry *entries;
    struct queue_lane *prev, *next; /* ring of lanes */
    size_t key_bytes;
    char key[];
};

static struct queue_lane *lane_of(struct queue *q, struct span key)
{
    struct queue_lane *lane = NULL;
    const char *at = key.len ? key.data : "";
    HASH_FIND(hh, q->by_key, at, key.len, lane);
    if (lane)
        return lane;
    lane = calloc(1, sizeof *lane + key.len);
    if (!lane)
        return NULL;
    memcpy(lane->key, at, key.len);
    lane->key_bytes = key.len;
    HASH_ADD_KEYPTR(hh, q->by_key, lane->key, lane->key_bytes, lane);
    if (!lane->hh.tbl) {
        free(lane);
        return NULL;
    }
    /* Before the lane whose turn it is: at the end of the round. */
    if (q->turn)
        CDL_PREPEND_ELEM(q->turn, q->turn, lane);
    else
        CDL_PREPEND(q->turn, lane);
    return lane;
}

static void lane_close(struct queue *q, struct queue_lane *lane)
{
    HASH_DELETE(hh, q->by_key, lane);
    CDL_DELETE(q->turn, lane);
    free(lane);
}

enum err queue_push(struct queue *q, struct queue_entry *e, struct span key_id, void *owner,
                    bool first)
{
    /* CDL_PREPEND_ELEM moves the head to the new element: remember whose turn it was. */
    struct queue_lane *turn = q->turn;
    struct queue_lane *lane = lane_of(q, key_id);
    if (!lane)
        return ERR_NOMEM;
    if (turn)
        q->turn = turn;
    e->owner = owner;
    e->queue = q;
    e->lane = lane;
    if (first)
        DL_PREPEND(lane->entries, e);
    else
        DL_APPEND(lane->entries, e);
    q->count++;
    return OK;
}

void queue_remove(struct queue_entry *e)
{
    struct queue *q = e->queue;
    struct queue_lane *lane = e->lane;
    if (!q)
        return;
    DL_DELETE(lane->entries, e);
    *e = (struct queue_entry){0};
    q->count--;
    if (!lane->entries)
        lane_close(q, lane);
}

void *queue_pop(struct queue *q)
{
    struct queue_lane *lane = q->turn;
    if (!lane)
        return NULL;
    q->turn = lane->next;
    struct queue_entry *e = lane->entries;
    void *owner = e->owner;
    queue_remove(e);
    return owner;
}

void queue_free(struct queue *q)
{
    while (queue_pop(q))
        ;
}
