/* Makes a struct fault from fixed words. */
#ifndef SERVICES_WORKER_NEUTRAL_FAULT_H
#define SERVICES_WORKER_NEUTRAL_FAULT_H

#include "services/worker/neutral/neutral.h"

/* message and param are string literals; param may be NULL. */
void fault_set(struct fault *f, unsigned error_class, const char *message, const char *param);
/* The same fault with its bytes in the arena, so that it outlives what it was made from. */
struct fault fault_copy(const struct fault *f, struct arena *arena);

#endif
