/* Lets in what brokers have granted: judges the token of each DISPATCH, counts what runs, and
 * shares the worker's slots out among the brokers (docs/grants.md, "The worker"). Pure: knows no
 * bus and no clock; times are ms of the worker's monotonic clock, passed in, and never go back. */
#ifndef SERVICES_WORKER_GATE_H
#define SERVICES_WORKER_GATE_H

#include "common/base/err.h"
#include "common/base/span.h"
#include "proto/grant.h"

enum {
    GATE_MAX_LIVING = 16, /* brokers */
    GATE_MAX_LOST = 32,
    GATE_MAX_GRANTS = 65536, /* remembered at once: running, or used and not expired yet */
    /* A lost broker's share is offered to nobody for so long. Its grants for one attempt may live
     * longer: the worker's own slots are what bounds them. */
    GATE_WITHHELD_MS = GRANT_LIFE_MS + GRANT_MARGIN_MS
};

enum gate_verdict {
    GATE_OK,
    GATE_MALFORMED, /* no token at all */
    GATE_OTHER_WORKER,
    GATE_OTHER_EDGE,
    GATE_UNKNOWN_BROKER,
    GATE_BAD_SIGNATURE,
    GATE_EXPIRED,
    GATE_USED, /* once, or by as many attempts at once as it allows */
    GATE_SHUT, /* the worker drains, or cannot keep what requests use */
    GATE_FULL, /* as many attempts run as there are slots, whoever granted them */
    GATE_TABLE_FULL,
    GATE_VERDICTS
};
/* "expired": for logs and metrics; static. */
const char *gate_verdict_name(enum gate_verdict verdict);

struct gate;
/* One grant under which something runs. */
struct gate_grant;

enum err gate_create(struct gate **out, uint64_t worker_epoch, uint32_t slots) NODISCARD;
/* Wipes the keys. Takes NULL, nulls. */
void gate_destroy(struct gate **gate);

/* What runs beyond a smaller number goes on. */
void gate_set_slots(struct gate *gate, uint32_t slots);
/* Lets nothing in while shut. */
void gate_set_shut(struct gate *gate, bool shut);

/* The link to a broker is up (again): its grants are signed with this key from now on; those of the
 * key before hold until they expire. ERR_TOO_BIG: GATE_MAX_LIVING are up. */
enum err gate_broker_up(struct gate *gate, uint64_t broker_epoch,
                        const uint8_t key[GRANT_KEY_BYTES]) NODISCARD;
/* The link is lost. Its grants hold until they expire, what runs goes on, and its share is withheld
 * for GATE_WITHHELD_MS. Beyond GATE_MAX_LOST the longest lost one is forgotten. An unknown epoch is
 * ignored. */
void gate_broker_down(struct gate *gate, uint64_t broker_epoch, uint64_t now_ms);

/* May this edge's DISPATCH begin? GATE_OK: it counts from now on, until gate_end(*out). Otherwise
 * nothing has changed, *out is NULL, and the answer is "busy". */
enum gate_verdict gate_begin(struct gate *gate, struct span token, uint64_t edge_epoch,
                             uint64_t now_ms, struct gate_grant **out) NODISCARD;
/* An attempt that gate_begin let in is over; once for each. The grant may be gone then. true:
 * others were refused because the gate was full, and brokers should hear of the free slot at once.
 */
bool gate_end(struct gate *gate, struct gate_grant *grant, uint64_t now_ms);

/* Forgets what has expired; every 100 ms or so. gate_begin does it too. */
void gate_sweep(struct gate *gate, uint64_t now_ms);

/* One living broker's part. */
struct gate_offer {
    uint64_t broker_epoch; /* 0, or one that is not up: is offered nothing */
    uint32_t queued;       /* asks that wait there, for all workers */
    uint32_t running;      /* result: attempts under its grants */
    uint32_t offered;      /* result: slots it may grant, in all; never below running */
};

/* Shares the slots out (slots.h) but for those that lost brokers' grants take or may still take:
 * at least 1 for each living broker. true: somebody still has more than its fair part since so much
 * runs there, so that shares change with every attempt that ends. */
bool gate_share(struct gate *gate, struct gate_offer *offers, size_t count, uint64_t now_ms);

uint32_t gate_running(const struct gate *gate);
/* Attempts that could begin now; 0 while shut. */
uint32_t gate_free(const struct gate *gate);
/* Grants that are remembered. */
uint32_t gate_grants(const struct gate *gate);

#endif
