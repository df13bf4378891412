/* What the edge must know of a request's JSON body, and what it refuses there: parsed once, never
 * changed, and its text never interpreted. Members of messages and the rest are the worker's to
 * judge. Pure. */
#ifndef SERVICES_EDGE_REQUEST_BODY_H
#define SERVICES_EDGE_REQUEST_BODY_H

#include "common/base/json.h"
#include "proto/api_error.h"

enum { MODEL_MAX_BYTES = 256, RESPONSE_ID_MAX_BYTES = 512, CHOICES_MAX = 128 };

struct body {
    struct span model;                /* decoded; empty when the client named none */
    struct span previous_response_id; /* decoded; of a stored response that this one continues */
    struct span end_user;             /* for the ledger, as are … */
    struct span tags;                 /* … these, comma-separated; views or in the arena */
    bool stream;
    bool has_cap;
    uint64_t output_cap;   /* tokens one choice may take; of max_tokens, max_completion_tokens,
                              max_output_tokens the largest */
    uint64_t choices;      /* n; 0 = not given */
    uint64_t best_of;      /* answers made, of which `choices` are told; 0 = not given */
    uint64_t prompts;      /* each has its own answers */
    uint64_t input_tokens; /* an estimate */
};

/* `doc` is parsed into and its memory kept; the model is a view of `text` or lives in `arena`.
 * ERR_INVALID fills *fault, with ERROR_INVALID_JSON or ERROR_INVALID_VALUE. */
enum err body_check(enum api api, struct span text, struct json_doc *doc, struct arena *arena,
                    struct body *out, struct api_error *fault) NODISCARD;

#endif
