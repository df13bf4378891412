/* What a request that failed, or needed several attempts, has been through: for the ledger, as one
 * JSON object. Nothing of the prompt is in it and nothing that an upstream has said in words, which
 * may quote the prompt; codes and ids are. One that was answered at once has none. */
#ifndef SERVICES_EDGE_REQUEST_HISTORY_H
#define SERVICES_EDGE_REQUEST_HISTORY_H

#include "services/edge/request/request.h"

enum { HISTORY_ATTEMPTS = 8 };

/* The present attempt has failed so; NULL: it was answered. Before its grant is given back. Of
 * more than HISTORY_ATTEMPTS the first ones and the last are kept. */
void history_note(struct edge_request *r, const struct fail *failed);
/* Why the request ends, in words of our own. */
void history_reason(struct edge_request *r, struct span message);
/* The request ends; appends nothing when there is nothing to tell. */
void history_write(const struct edge_request *r, const struct request_outcome *o, struct buf *out);

#endif
