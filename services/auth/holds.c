#include "services/auth/holds.h"

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

void hold_free_slot(struct hold *hold)
{
    if (hold->slot && hold->key && hold->key->in_flight)
        hold->key->in_flight--;
    hold->slot = false;
}

void hold_stop_waiting(struct holds *h, struct hold *hold)
{
    if (!hold->waiting)
        return;
    *(hold->before ? &hold->before->after : &h->first_waiting) = hold->after;
    *(hold->after ? &hold->after->before : &h->last_waiting) = hold->before;
    hold->before = hold->after = NULL;
    hold->waiting = false;
}

void hold_wait(struct holds *h, struct hold *hold, uint64_t due_ns)
{
    hold_stop_waiting(h, hold);
    hold->due_ns = due_ns;
    hold->waiting = true;
    hold->before = h->last_waiting;
    hold->after = NULL;
    *(h->last_waiting ? &h->last_waiting->after : &h->first_waiting) = hold;
    h->last_waiting = hold;
}

void hold_drop(struct holds *h, struct hold *hold)
{
    hold_free_slot(hold);
    hold_stop_waiting(h, hold);
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
    if (hold->waiting || s->now_ns < hold->due_ns)
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
