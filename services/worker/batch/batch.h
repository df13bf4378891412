/* Embeddings calls of one client key that come at the same time, sent upstream as one (option
 * worker.embeddings_window). The calls wait as members of a batch; when its window has passed, a
 * carrier (a attempt that nobody but the batch hears of) takes their inputs upstream and each
 * member gets its part of the answer, or its own try when the batch was refused. Inside of
 * attempt.c's business, as attempt_parts.h. */
#ifndef SERVICES_WORKER_BATCH_BATCH_H
#define SERVICES_WORKER_BATCH_BATCH_H

#include "services/worker/attempt/attempt_internal.h"

struct batch;

/* Lets a attempt that has just begun wait for others like it. false: it goes its way alone. */
bool batch_join(struct attempt *attempt);
/* A member ends by itself; the others go on. */
void batch_leave(struct attempt *attempt);

/* The carrier's call is done, or has failed: so are, or go on alone, the members. */
void batch_answered(struct attempt *carrier);
void batch_failed(struct attempt *carrier, const struct fault *fault);

/* At shutdown. */
void batches_free(struct attempt_env *env);

#endif
