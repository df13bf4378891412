/* Requests that hold something: a concurrency slot, or tokens set aside. Each is let go exactly
 * once, whichever of RELEASE, SETTLE, booking and expiry come, in whatever order. */
#ifndef SERVICES_AUTH_LIMITS_RESERVATIONS_H
#define SERVICES_AUTH_LIMITS_RESERVATIONS_H

#include "proto/header.h"
#include "services/auth/keys/keys.h"

/* What one attempt used, as its worker says (a hash of its name). */
struct reservation_report {
    uint64_t worker, tokens;
};

enum { RESERVATION_REPORTS = 4, RESERVATION_WORKERS = 4 };

struct reservation {
    struct table_node node;
    struct request_id id;
    struct key *key;         /* NULL: of a key that is gone */
    uint64_t charged_tokens; /* taken from the key's token limit at admission */
    uint64_t actual_tokens;  /* reported so far */
    struct reservation_report reports[RESERVATION_REPORTS]; /* those of it that may be doubted */
    uint64_t workers[RESERVATION_WORKERS]; /* named by the RELEASE; none = whoever it was */
    uint8_t report_count, worker_count;
    uint64_t due_ns;   /* its request's deadline */
    uint64_t owner;    /* epoch of the edge that asked; 0 = unknown */
    uint64_t since_ns; /* when it took its slot */
    bool slot;         /* counted in key->in_flight */
    bool stored;       /* the store knows of its slot */
    bool released, settled;
    bool held;  /* its RELEASE waits for the SETTLE: its end is told, not awaited */
    bool fresh; /* in the list of those */
    struct reservation *before, *after; /* in it */
};

struct reservation_list {
    struct reservation *first, *last;
};

/* An edge that went away: its requests hold their slots a while longer, for it may only have lost
 * its link. */
struct reservation_owner_gone {
    uint64_t owner, since_ns;
};

enum {
    RESERVATION_OWNERS_GONE = 32,
    RESERVATION_OWNER_GRACE_S = 10,
    RESERVATION_STORE_AGE_MS = 100
};

struct reservations {
    struct table table;
    struct limits *limits;
    struct reservation_list fresh; /* with a slot the store does not know of, oldest first */
    struct reservation *spare;
    size_t cursor;
    struct reservation_owner_gone gone[RESERVATION_OWNERS_GONE];
    /* A slot the store knows of is free; may be NULL. */
    void (*forget)(void *ctx, const struct request_id *id);
    /* What a request used is known only from a worker that no RELEASE names; may be NULL. */
    void (*unconfirmed)(void *ctx, const struct request_id *id);
    void *ctx; /* of both */
};

void reservations_init(struct reservations *h, struct limits *limits);
void reservations_free(struct reservations *h);
struct reservation *reservation_find(const struct reservations *h, const struct request_id *id);
/* NULL without memory. */
struct reservation *reservation_add(struct reservations *h, const struct request_id *id,
                                    struct key *key, uint64_t due_ns);
/* Takes one of the key's concurrency slots. `stored`: it was found in the store. */
void reservation_take_slot(struct reservations *h, struct reservation *reservation, uint64_t now_ns,
                           bool stored);
/* Gives it back, if it has one. */
void reservation_free_slot(struct reservations *h, struct reservation *reservation);
/* The oldest whose slot has lasted long enough to be worth a row, off the list and marked as
 * stored; NULL: none. So that slots survive a restart, and the many short requests cost nothing. */
struct reservation *reservation_next_to_store(struct reservations *h, uint64_t now_ns);
/* It was not stored after all. */
void reservation_not_stored(struct reservations *h, const struct request_id *id);
/* An edge has gone, or is back: its holds end RESERVATION_OWNER_GRACE_S after it went. */
void reservations_owner_gone(struct reservations *h, uint64_t owner, uint64_t now_ns);
void reservations_owner_back(struct reservations *h, uint64_t owner);
/* A worker says what an attempt used. Until the RELEASE names it (or says nothing of workers) that
 * is provisional: it never costs the key more than was set aside. */
void reservation_report(struct reservation *reservation, uint64_t worker, uint64_t tokens);
/* The RELEASE names a worker that an attempt ran at. Of more than RESERVATION_WORKERS nobody is
 * doubted. */
void reservation_name_worker(struct reservation *reservation, uint64_t worker);
/* Corrects the key's tokens from what was set aside to what was used, frees the slot, forgets it.
 */
void reservation_finish(struct reservations *h, struct reservation *reservation, uint64_t now_ns);
/* Forgets it, leaving the tokens as charged. */
void reservation_drop(struct reservations *h, struct reservation *reservation);
/* The key goes: what they hold of it is nobody's. */
void reservations_forget_key(struct reservations *h, const struct key *key);
/* Some of the table: those past their deadline let go. Call a few times a second. */
void reservations_sweep(struct reservations *h, uint64_t now_ns);

#endif
