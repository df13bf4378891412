/* The grants that this edge holds, from all brokers: which slot a request may take now, what runs
 * under each, what the brokers must hear of it (docs/grants.md). Pure: no bus, no clock.
 *
 *   grant       is                                             leaves it by
 *   OPEN        usable: attempts start under it                expiry, REVOKE, return, its worker's
 * loss, its one use CLOSED      what runs under it ends                        nothing runs, and
 * its broker has heard so or is gone: freed
 */
#ifndef SERVICES_EDGE_GRANTS_GRANTS_H
#define SERVICES_EDGE_GRANTS_GRANTS_H

#include "common/base/buf.h"
#include "proto/grant.h"
#include "proto/message.h"

enum { GRANTS_MAX_BROKERS = 16, GRANTS_PER_REPORT = 1000, GRANTS_REPORT_MS = 50 };

struct grants;

/* The requests for one model, as clients name it; exists while there is one or a standing grant. */
struct model_use;

/* One grant. Valid while an attempt runs under it, or until the next call of grants_*. `m` is a
 * copy of the message. */
struct held_grant {
    struct grant m;
    unsigned broker; /* index */
};

enum grant_outcome { GRANT_OK, GRANT_FAILED, GRANT_CANCELED };

enum err grants_create(struct grants **out) NODISCARD;
/* All requests must have left. Takes NULL, nulls. */
void grants_destroy(struct grants **grants);

/* ---- requests ---- */

/* A request of this model begins, may ask or take; NULL without memory. */
struct model_use *grants_enter(struct grants *g, struct span model);
/* … and ends. Nulls. */
void grants_leave(struct grants *g, struct model_use **use);
/* Slots of this model that could be used at once: what ASK says. */
uint32_t grants_wanted(const struct model_use *use);

/* A free slot of a standing grant for this model, of the less busy ones in turn: an attempt starts
 * under it. NULL when there is none. */
struct held_grant *grants_take(struct grants *g, struct model_use *use, uint64_t now_ms);
/* An attempt starts under this one. false when it is closed, expired or full. A grant for one
 * attempt is closed by it. */
bool grants_start(struct grants *g, struct held_grant *grant, uint64_t now_ms);
/* Its answer has begun. */
void grants_commit(struct grants *g, struct held_grant *grant, uint64_t now_ms);
/* The attempt is over. */
void grants_end(struct grants *g, struct held_grant *grant, enum grant_outcome outcome,
                uint64_t now_ms);
/* The worker was busy: nothing is taken under this one until it is renewed. */
void grants_rest(struct grants *g, struct held_grant *grant);
/* Nothing (more) is started under it: nobody waits for it. */
void grants_return(struct grants *g, struct held_grant *grant, uint64_t now_ms);

/* ---- brokers ---- */

/* GRANT: a new one, or with a known number a renewal. NULL without memory or when it makes no sense
 * (no worker, no slots): the broker finds that out by itself. */
struct held_grant *grants_put(struct grants *g, unsigned broker, const struct grant *m,
                              uint64_t now_ms);
/* REVOKE */
void grants_revoke(struct grants *g, unsigned broker, uint64_t number, uint64_t now_ms);
/* Its link is lost: what it gave holds, but it will not hear of it. */
void grants_broker_down(struct grants *g, unsigned broker);
/* The worker of this boot is gone, or can't be reached. */
void grants_worker_down(struct grants *g, uint64_t worker_epoch, uint64_t now_ms);

/* ---- reports, renewals, time ---- */

/* Appends the entries that this broker should hear now, at most GRANTS_PER_REPORT, and notes that
 * they travel as report number `seq`. false = none are due (failures and closed ones are due at
 * once, the others GRANTS_REPORT_MS after the first change, all of them once a second). */
bool grants_report(struct grants *g, unsigned broker, uint32_t seq, uint64_t now_ms,
                   struct buf *out);
/* REPORTED */
void grants_reported(struct grants *g, unsigned broker, uint32_t seq);
/* Closes what has expired, and finds the next renewal that is due: the model (a view), which of the
 * brokers, how many slots. That broker's reports are due then: it must know what runs before it
 * renews. Call it until false. */
bool grants_renewal(struct grants *g, uint64_t now_ms, unsigned *broker_out, struct span *model_out,
                    uint32_t *wanted_out);
/* When grants_report or grants_renewal has something to do; UINT64_MAX = not by itself. */
uint64_t grants_next_due_ms(const struct grants *g);

struct grants_stats {
    uint32_t held;    /* grants, closed ones included */
    uint32_t slots;   /* of the open ones */
    uint32_t running; /* attempts */
};
struct grants_stats grants_stats(const struct grants *g);

#endif
