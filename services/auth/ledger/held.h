/* RELEASEs whose SETTLE is not there yet, oldest first. They are in memory only: their edges keep
 * them until they are acknowledged, which is when the report is durable or the wait is over. */
#ifndef SERVICES_AUTH_LEDGER_HELD_H
#define SERVICES_AUTH_LEDGER_HELD_H

#include "services/auth/ledger/store.h"
#include "services/auth/limits/table.h"

struct held_release {
    struct table_node node;
    struct held_release *before, *after;
    uint64_t due_ns;    /* when it is booked as an estimate */
    bool booking;       /* the store has it */
    struct store_op op; /* its spans show `text` */
    char text[];
};

/* {0} is an empty one. */
struct held {
    struct table table;
    struct held_release *first, *last; /* by due_ns; those being booked are in no list */
};

/* Copies op. due_ns is not before that of those held already. NULL without memory. */
struct held_release *held_add(struct held *h, const struct store_op *op, uint64_t due_ns) NODISCARD;
struct held_release *held_find(const struct held *h, const struct request_id *id);
/* The store gets it: off the list. */
void held_book(struct held *h, struct held_release *r);
/* The store refused it: on the list again, at due_ns. */
void held_retry(struct held *h, struct held_release *r, uint64_t due_ns);
void held_drop(struct held *h, struct held_release *r);
/* Those left are dropped without a word. */
void held_free(struct held *h);

#endif
