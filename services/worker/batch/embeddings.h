/* Several /v1/embeddings requests as one: may they go together, the body that holds all their
 * inputs, and the one answer taken apart again. Pure; who waits for whom is the worker's business.
 */
#ifndef SERVICES_WORKER_BATCH_EMBEDDINGS_H
#define SERVICES_WORKER_BATCH_EMBEDDINGS_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"

enum { EMBEDDINGS_MAX_INPUTS = 2048 }; /* of one request */

/* One caller's request. */
struct embeddings_part {
    struct span body; /* borrowed */
    size_t inputs;
    uint64_t bytes; /* of the inputs: its share of the usage */
};

/* What one caller gets. */
struct embeddings_share {
    struct buf body;
    uint64_t tokens;
};

/* Reads a body; appends to key_out all that must be equal for requests to go together: the kind of
 * the inputs (text or tokens) and every other member. ERR_UNSUPPORTED: it goes alone. */
enum err embeddings_part_read(struct embeddings_part *out, struct span body,
                              struct buf *key_out) NODISCARD;
/* Appends the first one's body with the inputs of all. ERR_TOO_BIG above EMBEDDINGS_MAX_INPUTS. */
enum err embeddings_join(const struct embeddings_part *parts, size_t count,
                         struct buf *out) NODISCARD;
/* Of `total`, what falls to the bytes before `upto` of `sum`: differences of it sum up exactly. */
uint64_t embeddings_portion(uint64_t total, uint64_t upto, uint64_t sum);
/* Fills one share per part: its embeddings, counted from 0 again, bytes of the numbers untouched,
 * and its part of the usage by input bytes; the parts sum up exactly. ERR_INVALID when the answer
 * does not hold one embedding per input. Bodies are freed by the caller, also after an error. */
enum err embeddings_split(const struct embeddings_part *parts, size_t count, struct span answer,
                          struct embeddings_share *shares_out) NODISCARD;

#endif
