/* Embeddings requests of one client key that come at the same time, sent upstream as one (option
 * worker.embeddings_window). The attempts wait as members of a batch; when its window has passed, a
 * carrier (an attempt that nobody but the batch hears of) takes their inputs upstream and each
 * member gets its part of the answer, or its own try when the batch was refused. */
#ifndef SERVICES_WORKER_BATCH_BATCH_H
#define SERVICES_WORKER_BATCH_BATCH_H

#include "services/worker/attempt/attempt.h"

extern const struct attempt_batching embeddings_batching;

#endif
