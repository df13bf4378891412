/* JSON that a model wrapped in a Markdown fence (docs/wire.md, Structured output): what json_object
 * promised is the JSON alone. */
#ifndef SERVICES_WORKER_API_JSON_FENCE_H
#define SERVICES_WORKER_API_JSON_FENCE_H

#include "common/base/span.h"

/* json text: what stands inside the one fence around it; the text itself when there is none. */
struct span json_fence_strip(struct span text);

#endif
