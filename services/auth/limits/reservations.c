#include "services/auth/limits/reservations.h"

#include <stdlib.h>

enum { SWEEP_SLOTS = 256 };

void reservations_init(struct reservations *h, struct limits *limits)
{
    *h = (struct reservations){.limits = limits};
}

static void free_node(void *ctx, struct table_node *node)
{
    (void)ctx;
    free(TABLE_OWNER(node, struct reservation, node));
}

void reservations_free(struct reservations *h)
{
    size_t cursor = 0;
    table_sweep(&h->table, &cursor, h->table.size, free_node, NULL);
    table_free(&h->table);
    while (h->spare) {
        struct reservation *next = h->spare->after;
        free(h->spare);
        h->spare = next;
    }
}

struct reservation *reservation_find(const struct reservations *h, const struct request_id *id)
{
    for (struct table_node *n = table_first(&h->table, request_id_hash(id)); n; n = table_next(n)) {
        struct reservation *reservation = TABLE_OWNER(n, struct reservation, node);
        if (request_id_equals(&reservation->id, id))
            return reservation;
    }
    return NULL;
}

struct reservation *reservation_add(struct reservations *h, const struct request_id *id,
                                    struct key *key, uint64_t due_ns)
{
    struct reservation *reservation = h->spare;
    if (reservation)
        h->spare = reservation->after;
    else
        reservation = malloc(sizeof *reservation);
    if (!reservation)
        return NULL;
    *reservation = (struct reservation){.id = *id, .key = key, .due_ns = due_ns};
    if (table_add(&h->table, &reservation->node, request_id_hash(id))) {
        free(reservation);
        return NULL;
    }
    return reservation;
}

/* ---- those whose slot the store does not know of ---- */

static void unlist(struct reservations *h, struct reservation *reservation)
{
    if (!reservation->fresh)
        return;
    struct reservation_list *l = &h->fresh;
    *(reservation->before ? &reservation->before->after : &l->first) = reservation->after;
    *(reservation->after ? &reservation->after->before : &l->last) = reservation->before;
    reservation->before = reservation->after = NULL;
    reservation->fresh = false;
}

static void append(struct reservations *h, struct reservation *reservation)
{
    struct reservation_list *l = &h->fresh;
    unlist(h, reservation);
    reservation->fresh = true;
    reservation->before = l->last;
    reservation->after = NULL;
    *(l->last ? &l->last->after : &l->first) = reservation;
    l->last = reservation;
}

/* ---- slots ---- */

void reservation_take_slot(struct reservations *h, struct reservation *reservation, uint64_t now_ns,
                           bool stored)
{
    reservation->slot = true;
    reservation->stored = stored;
    reservation->since_ns = now_ns;
    if (reservation->key)
        reservation->key->in_flight++;
    if (!stored)
        append(h, reservation);
}

void reservation_free_slot(struct reservations *h, struct reservation *reservation)
{
    if (!reservation->slot)
        return;
    if (reservation->key && reservation->key->in_flight)
        reservation->key->in_flight--;
    reservation->slot = false;
    unlist(h, reservation);
    if (reservation->stored && h->forget)
        h->forget(h->ctx, &reservation->id);
    reservation->stored = false;
}

struct reservation *reservation_next_to_store(struct reservations *h, uint64_t now_ns)
{
    struct reservation *reservation = h->fresh.first;
    if (!reservation ||
        now_ns < reservation->since_ns + RESERVATION_STORE_AGE_MS * (GCRA_SECOND / 1000))
        return NULL;
    unlist(h, reservation);
    reservation->stored = true;
    return reservation;
}

void reservation_not_stored(struct reservations *h, const struct request_id *id)
{
    struct reservation *reservation = reservation_find(h, id);
    if (!reservation || !reservation->slot || !reservation->stored)
        return;
    reservation->stored = false;
    append(h, reservation);
}

/* ---- their edges ---- */

static struct reservation_owner_gone *find_gone(struct reservations *h, uint64_t owner)
{
    for (size_t i = 0; i < RESERVATION_OWNERS_GONE; i++) {
        if (h->gone[i].owner == owner)
            return &h->gone[i];
    }
    return NULL;
}

void reservations_owner_gone(struct reservations *h, uint64_t owner, uint64_t now_ns)
{
    struct reservation_owner_gone *at = find_gone(h, owner);
    for (size_t i = 0; !at && i < RESERVATION_OWNERS_GONE; i++) {
        if (h->gone[i].owner == 0)
            at = &h->gone[i];
    }
    struct reservation_owner_gone *oldest = &h->gone[0];
    for (size_t i = 1; !at && i < RESERVATION_OWNERS_GONE; i++) {
        if (h->gone[i].since_ns < oldest->since_ns)
            oldest = &h->gone[i];
    }
    *(at ? at : oldest) = (struct reservation_owner_gone){owner, now_ns};
}

void reservations_owner_back(struct reservations *h, uint64_t owner)
{
    struct reservation_owner_gone *at = find_gone(h, owner);
    if (owner && at)
        *at = (struct reservation_owner_gone){0};
}

static bool is_orphan(struct reservations *h, const struct reservation *reservation,
                      uint64_t now_ns)
{
    const struct reservation_owner_gone *at =
        reservation->owner ? find_gone(h, reservation->owner) : NULL;
    return at && now_ns >= at->since_ns + RESERVATION_OWNER_GRACE_S * GCRA_SECOND;
}

/* ---- ends ---- */

void reservation_drop(struct reservations *h, struct reservation *reservation)
{
    reservation_free_slot(h, reservation);
    unlist(h, reservation);
    table_remove(&h->table, &reservation->node);
    reservation->after = h->spare;
    h->spare = reservation;
}

void reservation_report(struct reservation *reservation, uint64_t worker, uint64_t tokens)
{
    reservation->actual_tokens += tokens;
    reservation->settled = true;
    if (reservation->report_count < RESERVATION_REPORTS)
        reservation->reports[reservation->report_count++] =
            (struct reservation_report){worker, tokens};
}

void reservation_name_worker(struct reservation *reservation, uint64_t worker)
{
    if (reservation->worker_count < RESERVATION_WORKERS)
        reservation->workers[reservation->worker_count] = worker;
    if (reservation->worker_count <= RESERVATION_WORKERS)
        reservation->worker_count++;
}

static bool is_confirmed(const struct reservation *reservation, uint64_t worker)
{
    if (!reservation->released)
        return false;
    if (reservation->worker_count == 0 || reservation->worker_count > RESERVATION_WORKERS)
        return true;
    for (size_t i = 0; i < reservation->worker_count; i++) {
        if (reservation->workers[i] == worker)
            return true;
    }
    return false;
}

/* What the key is charged with in the end. */
static uint64_t believed_tokens(const struct reservations *h, const struct reservation *reservation)
{
    uint64_t doubted = 0;
    bool confirmed = true;
    for (size_t i = 0; i < reservation->report_count; i++) {
        if (is_confirmed(reservation, reservation->reports[i].worker))
            continue;
        confirmed = false;
        doubted += reservation->reports[i].tokens;
    }
    if (confirmed)
        return reservation->actual_tokens;
    if (h->unconfirmed)
        h->unconfirmed(h->ctx, &reservation->id);
    uint64_t sure = reservation->actual_tokens - doubted;
    uint64_t most = sure > reservation->charged_tokens ? sure : reservation->charged_tokens;
    return reservation->actual_tokens < most ? reservation->actual_tokens : most;
}

void reservation_finish(struct reservations *h, struct reservation *reservation, uint64_t now_ns)
{
    uint64_t tokens = believed_tokens(h, reservation);
    if (reservation->key && reservation->key->tokens) {
        struct limit_set only = {{reservation->key->tokens}, 1};
        if (tokens > reservation->charged_tokens)
            limit_set_charge(h->limits, &only, now_ns, 0, tokens - reservation->charged_tokens);
        else
            limit_set_refund(h->limits, &only, 0, reservation->charged_tokens - tokens);
    }
    reservation_drop(h, reservation);
}

static void leave_key(void *ctx, struct table_node *node)
{
    const struct key *key = ctx;
    struct reservation *reservation = TABLE_OWNER(node, struct reservation, node);
    if (reservation->key == key)
        reservation->key = NULL;
}

void reservations_forget_key(struct reservations *h, const struct key *key)
{
    size_t cursor = 0;
    table_sweep(&h->table, &cursor, h->table.size, leave_key, (void *)(uintptr_t)key);
}

struct reservation_sweep {
    struct reservations *reservations;
    uint64_t now_ns;
};

static void expire(void *ctx, struct table_node *node)
{
    const struct reservation_sweep *s = ctx;
    struct reservation *reservation = TABLE_OWNER(node, struct reservation, node);
    if (reservation->held ||
        (s->now_ns < reservation->due_ns && !is_orphan(s->reservations, reservation, s->now_ns)))
        return;
    if (reservation->settled)
        reservation_finish(s->reservations, reservation, s->now_ns);
    else
        reservation_drop(s->reservations, reservation);
}

void reservations_sweep(struct reservations *h, uint64_t now_ns)
{
    struct reservation_sweep s = {h, now_ns};
    table_sweep(&h->table, &h->cursor, SWEEP_SLOTS + h->table.size / 8, expire, &s);
}
