/* Calls of the LLM protocols: what the body and the model's configuration say about one, before
 * auth is asked. */
#ifndef SERVICES_EDGE_CALLS_H
#define SERVICES_EDGE_CALLS_H

#include "services/edge/arrival.h"

/* The head has been checked, the body is complete. */
void calls_start(const struct arrival *a);

#endif
