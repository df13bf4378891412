/* What stands in a client's messages, whatever its protocol. */
#ifndef SERVICES_WORKER_PIPELINE_REQUEST_LOOK_H
#define SERVICES_WORKER_PIPELINE_REQUEST_LOOK_H

#include "common/base/json.h"

/* The member of the body that holds an image: "messages" or "input"; NULL when there is none. */
const char *request_image_member(struct json body);

#endif
