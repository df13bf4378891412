/* About how many tokens a request's body is: its text by bytes; pictures and other files, where the
 * API has a place for them, by what they cost there. Pure, and linear in the body. */
#ifndef SERVICES_EDGE_REQUEST_INPUT_ESTIMATE_H
#define SERVICES_EDGE_REQUEST_INPUT_ESTIMATE_H

#include "common/base/json.h"

enum {
    TEXT_BYTES_PER_TOKEN = 4,
    PICTURE_TOKENS = 1500,
    FILE_BYTES_PER_TOKEN = 32 /* of base64: documents and sound; a picture's worth at least */
};

/* doc: a whole body that is an object. At least 1. */
uint64_t input_estimate(const struct json_doc *doc);

#endif
