/* Inside of providers/: what a request says about thinking, as one word. */
#ifndef SERVICES_WORKER_PROVIDERS_EFFORT_H
#define SERVICES_WORKER_PROVIDERS_EFFORT_H

#include "services/worker/neutral/neutral.h"

/* OpenAI's word for it: the client's own, "none" for thinking switched off, or by the
 * size of a budget. Empty when nothing is said. */
struct span request_effort(const struct neutral_request *r);
/* Names what was said about thinking as dropped, in the words of the client's protocol. */
void effort_drop(struct neutral_request *r);

#endif
