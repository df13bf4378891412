/* Requests that hold something: a concurrency slot, tokens set aside, or a ledger row that waits
 * for its SETTLE. Each is let go exactly once, whichever of RELEASE, SETTLE, booking and expiry
 * come, in whatever order. */
#ifndef SERVICES_AUTH_HOLDS_H
#define SERVICES_AUTH_HOLDS_H

#include "proto/header.h"
#include "services/auth/keys.h"

struct hold {
    struct table_node node;
    struct request_id id;
    struct key *key;         /* NULL: of a key that is gone */
    uint64_t charged_tokens; /* taken from the key's token limit at admission */
    uint64_t actual_tokens;  /* reported so far */
    uint64_t due_ns;         /* its request's deadline; when waiting: when to book */
    bool slot;               /* counted in key->in_flight */
    bool released, settled, waiting;
    struct hold *before, *after; /* those waiting, by due_ns */
};

struct holds {
    struct table table;
    struct limits *limits;
    struct hold *first_waiting, *last_waiting;
    struct hold *spare;
    size_t cursor;
};

void holds_init(struct holds *h, struct limits *limits);
void holds_free(struct holds *h);
struct hold *hold_find(const struct holds *h, const struct request_id *id);
/* NULL without memory. */
struct hold *hold_add(struct holds *h, const struct request_id *id, struct key *key,
                      uint64_t due_ns);
/* Gives the concurrency slot back, if it has one. */
void hold_free_slot(struct hold *hold);
/* Corrects the key's tokens from what was set aside to what was used, frees the slot, forgets it.
 */
void hold_finish(struct holds *h, struct hold *hold, uint64_t now_ns);
/* Forgets it, leaving the tokens as charged. */
void hold_drop(struct holds *h, struct hold *hold);
/* Waits for its SETTLE until due_ns (which must not be before those already waiting). */
void hold_wait(struct holds *h, struct hold *hold, uint64_t due_ns);
void hold_stop_waiting(struct holds *h, struct hold *hold);
/* Some of the table: those past their deadline let go. Call a few times a second. */
void holds_sweep(struct holds *h, uint64_t now_ns);

#endif
