/* What an edge says, in a RELEASE, of the attempts of a request that failed or needed several. */
#ifndef SERVICES_AUTH_LEDGER_HISTORY_H
#define SERVICES_AUTH_LEDGER_HISTORY_H

#include "services/auth/ledger/store.h"

enum { HISTORY_MAX = 32768 };

/* Into the operation, as views of the text, when it is a JSON object of at most HISTORY_MAX bytes;
 * anything else is left out. */
void history_take(struct span text, struct store_op *op);

#endif
