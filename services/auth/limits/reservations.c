#include "services/auth/limits/reservations.h"

#include <stdlib.h>

enum { SWEEP_SLOTS = 256 };

void holds_init(struct holds *h, struct limits *limits)
{
    *h = (struct holds){.limits = limits};
}

static void free_node(void *ctx, struct table_node *node)
{
    (void)ctx;
    free(TABLE_OWNER(node, struct hold, node));
}

void holds_free(struct holds *h)
{
    size_t cursor = 0;
    table_sweep(&h->table, &cursor, h->table.size, free_node, NULL);
    table_free(&h->table);
    while (h->spare) {
        struct hold *next = h->spare->after;
        free(h->spare);
        h->spare = next;
    }
}

struct hold *hold_find(const struct holds *h, const struct request_id *id)
{
    for (struct table_node *n = table_first(&h->table, request_id_hash(id)); n; n = table_next(n)) {
        struct hold *hold = TABLE_OWNER(n, struct hold, node);
        if (request_id_equals(&hold->id, id))
            return hold;
    }
    return NULL;
}

struct hold *hold_add(struct holds *h, const struct request_id *id, struct key *key,
                      uint64_t due_ns)
{
    struct hold *hold = h->spare;
    if (hold)
        h->spare = hold->after;
    else
        hold = malloc(sizeof *hold);
    if (!hold)
        return NULL;
    *hold = (struct hold){.id = *id, .key = key, .due_ns = due_ns};
    if (table_add(&h->table, &hold->node, request_id_hash(id))) {
        free(hold);
        return NULL;
    }
    return hold;
}

/* ---- lists ---- */

static struct hold_list *list_of(struct holds *h, const struct hold *hold)
{
    return hold->list == HOLD_WAITING ? &h->waiting : &h->fresh;
}

static void unlist(struct holds *h, struct hold *hold)
{
    if (hold->list == HOLD_UNLISTED)
        return;
    struct hold_list *l = list_of(h, hold);
    *(hold->before ? &hold->before->after : &l->first) = hold->after;
    *(hold->after ? &hold->after->before : &l->last) = hold->before;
    hold->before = hold->after = NULL;
    hold->list = HOLD_UNLISTED;
}

static void append(struct holds *h, struct hold *hold, int list)
{
    unlist(h, hold);
    hold->list = list == HOLD_WAITING ? HOLD_WAITING : HOLD_FRESH;
    struct hold_list *l = list_of(h, hold);
    hold->before = l->last;
    hold->after = NULL;
    *(l->last ? &l->last->after : &l->first) = hold;
    l->last = hold;
}

void hold_stop_waiting(struct holds *h, struct hold *hold)
{
    if (hold->list == HOLD_WAITING)
        unlist(h, hold);
}

void hold_wait(struct holds *h, struct hold *hold, uint64_t due_ns)
{
    hold->due_ns = due_ns;
    append(h, hold, HOLD_WAITING);
}

/* ---- slots ---- */

void hold_take_slot(struct holds *h, struct hold *hold, uint64_t now_ns, bool stored)
{
    hold->slot = true;
    hold->stored = stored;
    hold->since_ns = now_ns;
    if (hold->key)
        hold->key->in_flight++;
    if (!stored)
        append(h, hold, HOLD_FRESH);
}

void hold_free_slot(struct holds *h, struct hold *hold)
{
    if (!hold->slot)
        return;
    if (hold->key && hold->key->in_flight)
        hold->key->in_flight--;
    hold->slot = false;
    if (hold->list == HOLD_FRESH)
        unlist(h, hold);
    if (hold->stored && h->forget)
        h->forget(h->forget_ctx, &hold->id);
    hold->stored = false;
}

struct hold *hold_next_to_store(struct holds *h, uint64_t now_ns)
{
    struct hold *hold = h->fresh.first;
    if (!hold || now_ns < hold->since_ns + HOLD_STORE_AGE_MS * (GCRA_SECOND / 1000))
        return NULL;
    unlist(h, hold);
    hold->stored = true;
    return hold;
}

void hold_not_stored(struct holds *h, const struct request_id *id)
{
    struct hold *hold = hold_find(h, id);
    if (!hold || !hold->slot || !hold->stored)
        return;
    hold->stored = false;
    append(h, hold, HOLD_FRESH);
}

/* ---- their edges ---- */

static struct hold_owner_gone *find_gone(struct holds *h, uint64_t owner)
{
    for (size_t i = 0; i < HOLD_OWNERS_GONE; i++) {
        if (h->gone[i].owner == owner)
            return &h->gone[i];
    }
    return NULL;
}

void holds_owner_gone(struct holds *h, uint64_t owner, uint64_t now_ns)
{
    struct hold_owner_gone *at = find_gone(h, owner);
    for (size_t i = 0; !at && i < HOLD_OWNERS_GONE; i++) {
        if (h->gone[i].owner == 0)
            at = &h->gone[i];
    }
    struct hold_owner_gone *oldest = &h->gone[0];
    for (size_t i = 1; !at && i < HOLD_OWNERS_GONE; i++) {
        if (h->gone[i].since_ns < oldest->since_ns)
            oldest = &h->gone[i];
    }
    *(at ? at : oldest) = (struct hold_owner_gone){owner, now_ns};
}

void holds_owner_back(struct holds *h, uint64_t owner)
{
    struct hold_owner_gone *at = find_gone(h, owner);
    if (owner && at)
        *at = (struct hold_owner_gone){0};
}

static bool is_orphan(struct holds *h, const struct hold *hold, uint64_t now_ns)
{
    const struct hold_owner_gone *at = hold->owner ? find_gone(h, hold->owner) : NULL;
    return at && now_ns >= at->since_ns + HOLD_OWNER_GRACE_S * GCRA_SECOND;
}

/* ---- ends ---- */

void hold_drop(struct holds *h, struct hold *hold)
{
    hold_free_slot(h, hold);
    unlist(h, hold);
    table_remove(&h->table, &hold->node);
    hold->after = h->spare;
    h->spare = hold;
}

void hold_finish(struct holds *h, struct hold *hold, uint64_t now_ns)
{
    if (hold->key && hold->key->tokens) {
        struct limit_set only = {{hold->key->tokens}, 1};
        if (hold->actual_tokens > hold->charged_tokens)
            limit_set_charge(h->limits, &only, now_ns, 0,
                             hold->actual_tokens - hold->charged_tokens);
        else
            limit_set_refund(h->limits, &only, 0, hold->charged_tokens - hold->actual_tokens);
    }
    hold_drop(h, hold);
}

struct sweep {
    struct holds *holds;
    uint64_t now_ns;
};

static void expire(void *ctx, struct table_node *node)
{
    const struct sweep *s = ctx;
    struct hold *hold = TABLE_OWNER(node, struct hold, node);
    if (hold->list == HOLD_WAITING ||
        (s->now_ns < hold->due_ns && !is_orphan(s->holds, hold, s->now_ns)))
        return;
    if (hold->settled)
        hold_finish(s->holds, hold, s->now_ns);
    else
        hold_drop(s->holds, hold);
}

void holds_sweep(struct holds *h, uint64_t now_ns)
{
    struct sweep s = {h, now_ns};
    table_sweep(&h->table, &h->cursor, SWEEP_SLOTS + h->table.size / 8, expire, &s);
}
