/* The one definition of "this is an error" in a 2xx answer or in one of a stream's events, for
 * pass-through and translation alike. */
#ifndef SERVICES_WORKER_NEUTRAL_ANSWER_ERROR_H
#define SERVICES_WORKER_NEUTRAL_ANSWER_ERROR_H

#include "common/base/json.h"

/* {"error": …} that says something (null, false and "" are what some servers always send); and,
 * where there are no choices, {"object":"error"}, {"type":"error"}, {"detail": …} and
 * {"message":"…"}. */
bool answer_is_error(struct json root);
/* The same of a stream's event of this name. An event that says its type is of that type, whatever
 * its name. */
bool answer_event_is_error(struct json event, struct span name);

#endif
