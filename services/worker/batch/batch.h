/* Embeddings calls of one client key that come at the same time, sent upstream as one (option
 * worker.embeddings_window). The calls wait as members of a batch; when its window has passed, a
 * carrier (a job that nobody but the batch hears of) takes their inputs upstream and each member
 * gets its part of the answer, or its own try when the batch was refused. Inside of job.c's
 * business, as job_parts.h. */
#ifndef SERVICES_WORKER_BATCH_BATCH_H
#define SERVICES_WORKER_BATCH_BATCH_H

#include "services/worker/attempt/attempt_internal.h"

struct job_batch;

/* Lets a job that has just begun wait for others like it. false: it goes its way alone. */
bool job_batch_join(struct job *job);
/* A member ends by itself; the others go on. */
void job_batch_leave(struct job *job);

/* The carrier's call is done, or has failed: so are, or go on alone, the members. */
void job_batch_answered(struct job *carrier);
void job_batch_failed(struct job *carrier, const struct fault *fault);

/* At shutdown. */
void job_batches_free(struct job_env *env);

#endif
