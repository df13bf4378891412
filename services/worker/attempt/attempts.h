/* The running attempts by request id. The gate has let them in (gate.h). */
#ifndef SERVICES_WORKER_ATTEMPT_ATTEMPTS_H
#define SERVICES_WORKER_ATTEMPT_ATTEMPTS_H

#include "services/worker/attempt/attempt.h"

struct attempts;

/* env is copied. Its on_over is called when an attempt is no longer among the running ones; may be
 * NULL. */
enum err attempts_create(struct attempts **out, const struct attempt_env *env) NODISCARD;
/* Ends everything without a word: attempts_stop has had it. */
void attempts_destroy(struct attempts **attempts);

/* Does this attempt run, or a later one of the same request? */
bool attempts_has(struct attempts *all, const struct header *h);
/* DISPATCH that the gate has let in under `grant` (NULL in tests without one), which the attempt
 * keeps: see attempt_grant. A later attempt of a running id replaces it. false: not begun, FAIL has
 * been sent; on_over won't be called. */
bool attempts_dispatch(struct attempts *all, struct setup *setup, struct bus_peer *from,
                       const struct bus_message *m, struct gate_grant *grant) NODISCARD;
/* DISPATCH that the gate has not let in: FAIL (WORKER_REFUSED) with the reason and the free slots.
 */
void attempts_refuse(const struct attempts *all, struct bus_peer *to, const struct bus_message *m,
                     struct span why, uint32_t free_slots);
/* CANCEL; of an attempt that is over, has been replaced or is not this edge's it does nothing. */
void attempts_cancel(struct attempts *all, const struct bus_peer *from,
                     const struct bus_message *m);
/* CREDIT; likewise. */
void attempts_credit(struct attempts *all, const struct bus_peer *from, const struct bus_message *m,
                     uint32_t bytes);
/* The link to this edge is lost: nobody hears its attempts any more. */
void attempts_cancel_peer(struct attempts *all, const struct bus_peer *peer);
/* The worker stops: what still runs ends with FAIL, which says whether anything was sent. */
void attempts_stop(struct attempts *all);

/* Memory that they hold of answers. */
uint64_t attempts_answer_bytes(const struct attempts *all);
uint32_t attempts_running(const struct attempts *all);
/* No attempt and nothing lingering on the network. */
bool attempts_quiet(const struct attempts *all);

#endif
