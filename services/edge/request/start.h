/* Requests of the LLM APIs: what the body and the model's configuration say about one, before
 * auth is asked. */
#ifndef SERVICES_EDGE_REQUEST_START_H
#define SERVICES_EDGE_REQUEST_START_H

#include "services/edge/request/arrival.h"

/* The head has been checked, the body is complete. */
void request_start(const struct arrival *a);

#endif
