/* Shared by the files that speak Replicate's protocol. */
#ifndef SERVICES_SIMULATOR_REPLICATE_H
#define SERVICES_SIMULATOR_REPLICATE_H

#include "services/simulator/answer.h"

/* true when the faults ask for an error: it is composed. */
bool replicate_fault(struct ask *ask);
void replicate_model(struct ask *ask, struct span name);
/* A model's name says what it is like (README.md). */
bool replicate_name_has(struct span model, const char *word);

#endif
