/* What ended requests used, kept until auth has it on disk: sent at once, again after a second,
 * then more and more seldom while nothing is acknowledged, gone at SETTLED. Bounded; the worker
 * withdraws its slots when it is full. What is left at the end of the worker is kept in its state
 * directory, for the next. Knows no bus: a function sends. */
#ifndef SERVICES_WORKER_ATTEMPT_SETTLE_H
#define SERVICES_WORKER_ATTEMPT_SETTLE_H

#include "common/base/err.h"
#include "proto/message.h"

struct settles;

/* Sends one; returns what bus_send does. */
typedef enum err (*settle_send)(void *ctx, struct header h, const struct settle *s);

enum { SETTLE_RESEND_MS = 1000, SETTLE_BATCH = 512 };

enum err settles_create(struct settles **out, uint32_t max, settle_send send, void *ctx) NODISCARD;
/* Takes NULL, nulls. What is pending and not kept is lost: auth books an estimate from the edge's
 * RELEASE. */
void settles_destroy(struct settles **settles);

/* A worker as its spool knows it; strings live as long as the settles. */
struct settles_of {
    const char *state_dir, *provider, *worker;
    uint64_t epoch;
};
/* What is owed at the end is kept there, and what workers of this provider have left there is sent
 * from there. */
void settles_spool(struct settles *s, const struct settles_of *who);
/* The end: keeps what is not acknowledged. */
void settles_keep(struct settles *s);

/* Keeps a copy under its id and attempt, and sends it. ERR_TOO_BIG at twice the bound (running
 * requests may still end when it is full), ERR_NOMEM. */
enum err settles_add(struct settles *s, const struct request_id *id, uint8_t attempt,
                     const struct settle *m, uint64_t now_ms);
/* SETTLED came. false when it was not pending (a second answer). */
bool settles_done(struct settles *s, const struct request_id *id, uint8_t attempt);
/* Sends what could not be sent, then again what has waited for SETTLE_RESEND_MS (or longer while
 * auth acknowledges nothing), at most SETTLE_BATCH. */
void settles_tick(struct settles *s, uint64_t now_ms);
/* auth is there (again): everything is due at the next tick. */
void settles_due_now(struct settles *s);
uint32_t settles_pending(const struct settles *s);
bool settles_full(const struct settles *s);

#endif
