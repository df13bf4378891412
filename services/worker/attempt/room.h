/* Memory of answers: all that the attempts of a worker hold of them stays within
 * worker.max_answer_memory. Near it only the oldest large answer is read on, so that one after the
 * other comes to its end; above it the newest of those that wait fails, and when none waits the one
 * that grows, unless it is the only one. A key whose clients do not take what they asked for has at
 * most half: while so much of his stands still, his others wait. */
#ifndef SERVICES_WORKER_ATTEMPT_ROOM_H
#define SERVICES_WORKER_ATTEMPT_ROOM_H

#include "services/worker/attempt/attempt.h"

/* Stops reading from the attempt's upstream, or goes on, as `paused` and `crowded` say. */
void room_apply_pause(struct attempt *attempt);
/* Counts what the attempt holds now. May stop the reading of its transfers. false: there is no
 * room, and its pipeline has failed. */
bool room_update(struct attempt *attempt);
/* It holds nothing any more; others may be read on. */
void room_leave(struct attempt *attempt);
/* Its client does not read: others need not wait for it. */
void room_stuck(struct attempt *attempt);

#endif
