#include "services/auth/waiting.h"

#include <stdlib.h>
#include <utlist.h>

#include "proto/message_copy.h"

#define MS_NS ((uint64_t)1000000)

struct waiting_authorize {
    struct table_node node;
    struct waiting_authorize *prev, *next;               /* of all */
    struct waiting_authorize *prev_of_key, *next_of_key; /* of the same key */
    struct key *key;
    struct asker who;
    struct header h;
    uint64_t due_ns;
    struct authorize ask; /* its spans show `text` */
    char text[];
};

static void unlist(struct waiting *w, struct waiting_authorize *one)
{
    DL_DELETE(w->first, one);
    DL_DELETE2(one->key->waiting, one, prev_of_key, next_of_key);
    table_remove(&w->by_id, &one->node);
}

static void drop(struct waiting *w, struct waiting_authorize *one)
{
    unlist(w, one);
    free(one);
}

void waiting_free(struct waiting *w)
{
    while (w->first)
        drop(w, w->first);
    table_free(&w->by_id);
}

static struct waiting_authorize *find(const struct waiting *w, const struct request_id *id)
{
    for (struct table_node *n = table_first(&w->by_id, request_id_hash(id)); n; n = table_next(n)) {
        struct waiting_authorize *one = TABLE_OWNER(n, struct waiting_authorize, node);
        if (request_id_equals(&one->h.id, id))
            return one;
    }
    return NULL;
}

static bool has_room(const struct waiting *w, const struct key *key)
{
    const struct waiting_authorize *one;
    int of_key;
    DL_COUNT2(key->waiting, one, of_key, next_of_key);
    return of_key < SLOT_WAITING_OF_KEY_MAX && w->by_id.count < SLOT_WAITING_MAX;
}

static struct waiting_authorize *copy(const struct asker *who, const struct header *h,
                                      const struct authorize *ask)
{
    struct waiting_authorize *one =
        malloc(sizeof *one + message_text_bytes(MESSAGE_AUTHORIZE, ask));
    if (!one)
        return NULL;
    *one = (struct waiting_authorize){.who = *who, .h = *h, .ask = *ask};
    (void)message_own_text(MESSAGE_AUTHORIZE, &one->ask, one->text);
    one->ask.lease_ended = false; /* auth has heard that */
    return one;
}

/* false: no room, or no memory. */
static bool add(struct waiting *w, const struct asker *who, const struct header *h,
                const struct authorize *ask, struct key *key, uint64_t now_ns)
{
    struct waiting_authorize *one = has_room(w, key) ? copy(who, h, ask) : NULL;
    if (!one)
        return false;
    if (table_add(&w->by_id, &one->node, request_id_hash(&h->id))) {
        free(one);
        return false;
    }
    uint64_t from_ns = w->admission->slots_from_ns;
    one->key = key;
    one->due_ns = (now_ns > from_ns ? now_ns : from_ns) + SLOT_WAIT_MS * MS_NS;
    DL_APPEND(w->first, one);
    DL_APPEND2(key->waiting, one, prev_of_key, next_of_key);
    return true;
}

void waiting_on_authorize(struct waiting *w, const struct asker *who, const struct header *h,
                          const struct authorize *ask, struct moment now)
{
    struct verdict v;
    struct waiting_authorize *before = find(w, &h->id);
    if (before)
        drop(w, before); /* asked again */
    admission_decide(w->admission, who, h, ask, now, &v);
    if (v.waits) {
        if (add(w, who, h, ask, v.key, now.now_ns)) {
            slot_lease_call_back(w->admission->slots, v.key, who->epoch, v.asked_again);
            return;
        }
        struct asker last = *who;
        last.overdue = true;
        admission_decide(w->admission, &last, h, ask, now, &v);
    }
    w->answer(w->ctx, who->edge, h, ask, &v);
}

/* Decides about one that has waited; false: it goes on waiting. */
static bool decide(struct waiting *w, struct waiting_authorize *one, struct moment now)
{
    struct verdict v;
    one->who.queued = one->key->waiting == one;
    one->who.overdue = now.now_ns >= one->due_ns;
    admission_decide(w->admission, &one->who, &one->h, &one->ask, now, &v);
    if (v.waits)
        return false;
    unlist(w, one);
    w->answer(w->ctx, one->who.edge, &one->h, &one->ask, &v);
    free(one);
    return true;
}

void waiting_serve(struct waiting *w, struct key *key, struct moment now)
{
    while (key->waiting && key->in_flight < key->is.concurrent && decide(w, key->waiting, now))
        ;
}

void waiting_decide_key(struct waiting *w, struct key *key, struct moment now)
{
    struct waiting_authorize *one, *next;
    DL_FOREACH_SAFE2(key->waiting, one, next, next_of_key)
    {
        (void)decide(w, one, now);
    }
}

void waiting_tick(struct waiting *w, struct moment now)
{
    struct waiting_authorize *one, *next;
    DL_FOREACH_SAFE(w->first, one, next)
    {
        if (now.now_ns >= one->due_ns ||
            (one->key->waiting == one && one->key->in_flight < one->key->is.concurrent))
            (void)decide(w, one, now);
    }
}

uint64_t waiting_due_ns(const struct waiting *w)
{
    return w->first ? w->first->due_ns : UINT64_MAX;
}

void waiting_drop_request(struct waiting *w, const struct request_id *id)
{
    struct waiting_authorize *one = find(w, id);
    if (one)
        drop(w, one);
}

void waiting_drop_edge(struct waiting *w, const void *edge)
{
    struct waiting_authorize *one, *next;
    DL_FOREACH_SAFE(w->first, one, next)
    {
        if (one->who.edge == edge)
            drop(w, one);
    }
}
