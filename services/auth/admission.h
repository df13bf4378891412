/* May this request run? Decides in memory alone, in well under 2 µs: no store, no file, no wait. */
#ifndef SERVICES_AUTH_ADMISSION_H
#define SERVICES_AUTH_ADMISSION_H

#include "common/base/stored_responses.h"
#include "common/runtime/config/config.h"
#include "common/runtime/metric.h"
#include "proto/error_class.h"
#include "proto/message.h"
#include "services/auth/limits/reservations.h"
#include "services/auth/limits/lease.h"
#include "services/auth/limits/outputs.h"
#include "services/auth/limits/slot_leases.h"

struct admission {
    struct keys *keys;
    struct limits *limits;
    struct leases *leases;
    struct slot_leases *slots;
    struct reservations *reservations;
    const struct stored_responses *responses; /* may be NULL */
    const struct outputs *outputs;            /* may be NULL: without a cap nothing is set aside */
    struct metric_client *metrics;            /* may be NULL */
    const struct config *config;
    struct limit **model_limits; /* by index into config->models; NULL entries: none */
    bool store_down;             /* nothing new may be spent that could not be booked */
    uint64_t slots_from_ns;      /* no slot is given before: edges have yet to say what they hold */
};

struct moment {
    uint64_t now_ns;  /* monotonic */
    uint64_t wall_ms; /* for expiry dates only */
};

/* Which edge asks, and how many there are. */
struct asker {
    const void *edge;
    size_t edges;
    uint64_t epoch; /* of the edge's life */
    bool queued;    /* has waited for a slot, and is the next in turn … */
    bool overdue;   /* … or may not wait (any longer) */
};

struct verdict {
    bool allowed;
    bool waits;       /* neither: a slot of `key` may come back soon. Nothing was charged */
    bool asked_again; /* … which its edge may have and not know of: an answer got lost */
    struct key *key;
    const struct lease_count *lease_charged; /* of the lease the edge told of; NULL: of none */
    struct allow allow;
    struct deny deny;
    char message[320]; /* deny.message shows it */
    char barred[512];  /* allow.barred shows it */
};

/* (Re)reads the models' limits; what they owe is kept. The old configuration may go after that.
 * ERR_NOMEM: models go on without limits of their own. */
enum err admission_configure(struct admission *a, const struct config *config,
                             uint64_t now_ns) NODISCARD;
void admission_free(struct admission *a);

/* An admitted request is answered by another model: that one's own limits are charged. */
void admission_charge_fallback(struct admission *a, const struct authorize *ask, uint64_t now_ns);
/* What an edge has used of a lease that holds for `model`; as lease_told. */
const struct lease_count *admission_hear_lease(const struct admission *a, const void *edge,
                                               struct key *key, struct span model,
                                               const struct lease_report *report, uint64_t now_ns);
/* A request that ran without being charged. */
void admission_charge(const struct admission *a, const struct key *key, struct span model,
                      uint64_t tokens, uint64_t now_ns);
/* Spans of the verdict point into the key or the verdict itself. A refusal consumes nothing of any
 * limit. */
void admission_decide(struct admission *a, const struct asker *who, const struct header *h,
                      const struct authorize *ask, struct moment now, struct verdict *out);

#endif
