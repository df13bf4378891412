/* The running attempts by request id, and the cancellations that came before their DISPATCH
 * (control and data are two sockets and overtake each other). */
#ifndef SERVICES_WORKER_ATTEMPT_ATTEMPTS_H
#define SERVICES_WORKER_ATTEMPT_ATTEMPTS_H

#include "services/worker/attempt/attempt.h"

struct attempts;

/* env: without on_over, ctx of send stays; copied. */
enum err attempts_create(struct attempts **out, const struct attempt_env *env) NODISCARD;
/* Ends everything without a word. */
void attempts_destroy(struct attempts **attempts);

/* DISPATCH. `limit` attempts at once at most: beyond it WORKER_REFUSED. A later attempt of a
 * running id replaces it; the same one again is ignored. */
void attempts_dispatch(struct attempts *all, struct setup *setup, struct bus_peer *from,
                       const struct bus_message *m, uint32_t limit);
/* CANCEL; remembered when the id is unknown. */
void attempts_cancel(struct attempts *all, const struct bus_message *m);
/* CREDIT */
void attempts_credit(struct attempts *all, const struct bus_message *m, uint32_t bytes);
/* This broker is gone: nobody hears its attempts any more. */
void attempts_cancel_peer(struct attempts *all, const struct bus_peer *peer);

uint32_t attempts_running(const struct attempts *all);
uint32_t attempts_running_of(const struct attempts *all, const struct bus_peer *peer);
/* No attempt and nothing lingering on the network. */
bool attempts_quiet(const struct attempts *all);

#endif
