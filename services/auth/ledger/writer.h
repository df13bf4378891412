/* The store's thread. The loop gathers operations; while one transaction is on its way to the disk
 * the next one fills up, so that a slow disk makes batches larger and nothing wait that need not
 * (group commit). Results come back to the loop, in order, once they are durable. */
#ifndef SERVICES_AUTH_LEDGER_WRITER_H
#define SERVICES_AUTH_LEDGER_WRITER_H

#include "common/runtime/loop.h"
#include "services/auth/ledger/store.h"

/* Operations waiting at most, and in one transaction at most. */
enum { WRITER_QUEUE_MAX = 65536, WRITER_BATCH_MAX = 1024 };
/* How long the first operation of a batch waits for company, unless so many come or somebody waits
 * for one of them. */
enum { WRITER_GATHER_MS = 10, WRITER_GATHER_OPS = 512 };

struct writer;

/* On the loop's thread, for every operation in the order submitted, but the SETTLEs of a
 * transaction first, as the store applies them; op and its views end with the call. */
typedef void (*writer_result_fn)(void *ctx, struct store_op *op, enum err result);

/* Takes the store: closed by writer_destroy. */
enum err writer_create(struct writer **out, struct loop *loop, struct store *store,
                       writer_result_fn fn, void *ctx) NODISCARD;
/* Finishes what was submitted, results and all, then ends the thread. What a disk has not taken in
 * 10 s gets ERR_CLOSED. */
void writer_destroy(struct writer **w);
/* Copies the operation and what its spans show. ERR_AGAIN: too much is waiting.
 * ERR_CLOSED: in the end of writer_destroy. */
enum err writer_submit(struct writer *w, const struct store_op *op) NODISCARD;
size_t writer_waiting(const struct writer *w);

#endif
