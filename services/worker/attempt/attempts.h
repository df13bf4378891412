/* The running jobs by request id, and the cancellations that came before their DISPATCH (control
 * and data are two sockets and overtake each other, RELIABILITY 2). */
#ifndef SERVICES_WORKER_ATTEMPT_ATTEMPTS_H
#define SERVICES_WORKER_ATTEMPT_ATTEMPTS_H

#include "services/worker/attempt/attempt.h"

struct jobs;

/* env: without on_over, ctx of send stays; copied. */
enum err jobs_create(struct jobs **out, const struct job_env *env) NODISCARD;
/* Ends everything without a word. */
void jobs_destroy(struct jobs **jobs);

/* DISPATCH. `limit` jobs at once at most: beyond it WORKER_REFUSED. A later attempt of a running id
 * replaces it; the same one again is ignored. */
void jobs_dispatch(struct jobs *j, struct setup *setup, struct bus_peer *from,
                   const struct bus_message *m, uint32_t limit);
/* CANCEL; remembered when the id is unknown. */
void jobs_cancel(struct jobs *j, const struct bus_message *m);
/* CREDIT */
void jobs_credit(struct jobs *j, const struct bus_message *m, uint32_t bytes);
/* This broker is gone: nobody hears its jobs any more. */
void jobs_cancel_peer(struct jobs *j, const struct bus_peer *peer);

uint32_t jobs_running(const struct jobs *j);
uint32_t jobs_running_of(const struct jobs *j, const struct bus_peer *peer);
/* No job and nothing lingering on the network. */
bool jobs_quiet(const struct jobs *j);

#endif
