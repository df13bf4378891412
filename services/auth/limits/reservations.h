/* Requests that hold something: a concurrency slot, tokens set aside, or a ledger row that waits
 * for its SETTLE. Each is let go exactly once, whichever of RELEASE, SETTLE, booking and expiry
 * come, in whatever order. */
#ifndef SERVICES_AUTH_LIMITS_RESERVATIONS_H
#define SERVICES_AUTH_LIMITS_RESERVATIONS_H

#include "proto/header.h"
#include "services/auth/keys/keys.h"

struct hold {
    struct table_node node;
    struct request_id id;
    struct key *key;         /* NULL: of a key that is gone */
    uint64_t charged_tokens; /* taken from the key's token limit at admission */
    uint64_t actual_tokens;  /* reported so far */
    uint64_t due_ns;         /* its request's deadline; when waiting: when to book */
    uint64_t owner;          /* epoch of the edge that asked; 0 = unknown */
    uint64_t since_ns;       /* when it took its slot */
    bool slot;               /* counted in key->in_flight */
    bool stored;             /* the store knows of its slot */
    bool released, settled;
    enum { HOLD_UNLISTED, HOLD_FRESH, HOLD_WAITING } list;
    struct hold *before, *after; /* in its list */
};

struct hold_list {
    struct hold *first, *last;
};

/* An edge that went away: its requests hold their slots a while longer, for it may only have lost
 * its link. */
struct hold_owner_gone {
    uint64_t owner, since_ns;
};

enum { HOLD_OWNERS_GONE = 32, HOLD_OWNER_GRACE_S = 10, HOLD_STORE_AGE_MS = 100 };

struct holds {
    struct table table;
    struct limits *limits;
    struct hold_list waiting; /* for their SETTLE, by due_ns */
    struct hold_list fresh;   /* with a slot the store does not know of, oldest first */
    struct hold *spare;
    size_t cursor;
    struct hold_owner_gone gone[HOLD_OWNERS_GONE];
    /* A slot the store knows of is free; may be NULL. */
    void (*forget)(void *ctx, const struct request_id *id);
    void *forget_ctx;
};

void holds_init(struct holds *h, struct limits *limits);
void holds_free(struct holds *h);
struct hold *hold_find(const struct holds *h, const struct request_id *id);
/* NULL without memory. */
struct hold *hold_add(struct holds *h, const struct request_id *id, struct key *key,
                      uint64_t due_ns);
/* Takes one of the key's concurrency slots. `stored`: it was found in the store. */
void hold_take_slot(struct holds *h, struct hold *hold, uint64_t now_ns, bool stored);
/* Gives it back, if it has one. */
void hold_free_slot(struct holds *h, struct hold *hold);
/* The oldest whose slot has lasted long enough to be worth a row, off the list and marked as
 * stored; NULL: none. So that slots survive a restart, and the many short requests cost nothing. */
struct hold *hold_next_to_store(struct holds *h, uint64_t now_ns);
/* It was not stored after all. */
void hold_not_stored(struct holds *h, const struct request_id *id);
/* An edge has gone, or is back: its holds end HOLD_OWNER_GRACE_S after it went. */
void holds_owner_gone(struct holds *h, uint64_t owner, uint64_t now_ns);
void holds_owner_back(struct holds *h, uint64_t owner);
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
