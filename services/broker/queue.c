#include "services/broker/queue.h"

#include <stdlib.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

/* Exists only while somebody waits in it. */
struct key_line {
    UT_hash_handle hh;
    struct queue_entry *entries;
    struct key_line *prev, *next; /* ring of lines */
    size_t key_bytes;
    char key[];
};

static struct key_line *line_of(struct queue *q, struct span key)
{
    struct key_line *line = NULL;
    const char *at = key.len ? key.data : "";
    HASH_FIND(hh, q->by_key, at, key.len, line);
    if (line)
        return line;
    line = calloc(1, sizeof *line + key.len);
    if (!line)
        return NULL;
    memcpy(line->key, at, key.len);
    line->key_bytes = key.len;
    HASH_ADD_KEYPTR(hh, q->by_key, line->key, line->key_bytes, line);
    if (!line->hh.tbl) {
        free(line);
        return NULL;
    }
    /* Before the line whose turn it is: at the end of the round. */
    if (q->turn)
        CDL_PREPEND_ELEM(q->turn, q->turn, line);
    else
        CDL_PREPEND(q->turn, line);
    return line;
}

static void line_close(struct queue *q, struct key_line *line)
{
    HASH_DELETE(hh, q->by_key, line);
    CDL_DELETE(q->turn, line);
    free(line);
}

enum err queue_push(struct queue *q, struct queue_entry *e, struct span key_id, void *owner,
                    bool first)
{
    /* CDL_PREPEND_ELEM moves the head to the new element: remember whose turn it was. */
    struct key_line *turn = q->turn;
    struct key_line *line = line_of(q, key_id);
    if (!line)
        return ERR_NOMEM;
    if (turn)
        q->turn = turn;
    e->owner = owner;
    e->queue = q;
    e->line = line;
    if (first)
        DL_PREPEND(line->entries, e);
    else
        DL_APPEND(line->entries, e);
    q->count++;
    return OK;
}

void queue_remove(struct queue_entry *e)
{
    struct queue *q = e->queue;
    struct key_line *line = e->line;
    if (!q)
        return;
    DL_DELETE(line->entries, e);
    *e = (struct queue_entry){0};
    q->count--;
    if (!line->entries)
        line_close(q, line);
}

void *queue_pop(struct queue *q)
{
    struct key_line *line = q->turn;
    if (!line)
        return NULL;
    q->turn = line->next;
    struct queue_entry *e = line->entries;
    void *owner = e->owner;
    queue_remove(e);
    return owner;
}

void queue_free(struct queue *q)
{
    while (queue_pop(q))
        ;
}
