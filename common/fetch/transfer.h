/* What the life of a transfer has in common, whichever engine carries it: lists, its end, what it
 * tells its handler, and what must wait. Inside of the HTTP client. */
#ifndef COMMON_FETCH_TRANSFER_H
#define COMMON_FETCH_TRANSFER_H

#include "common/fetch/failure.h"
#include "common/fetch/fetch_internal.h"

/* A fresh one, or a kept one; NULL without memory. Not running yet. */
struct fetch_transfer *transfer_take(struct fetch *up);
void transfer_begin(struct fetch_transfer *r, const struct fetch_spec *spec);
/* Back among the kept ones. */
void transfer_park(struct fetch_transfer *r);
/* Running from now on, under its timer. */
void transfer_count_in(struct fetch_transfer *r);
/* Out of its engine and the lists; not while libcurl or a handler is on the stack. */
void transfer_take_out(struct fetch_transfer *r);
void transfer_free_idle(struct fetch *up);

/* The end, told to its handler. `detail` (may be NULL) is for the log. */
void transfer_done(struct fetch_transfer *r);
void transfer_fail(struct fetch_transfer *r, struct fetch_failure failure, const char *detail);
/* The same, but not from within the caller: at the end of this turn or the next. */
void transfer_fail_soon(struct fetch_transfer *r, struct fetch_failure failure);
/* What libcurl's failure, or ours, will be reported as … */
void transfer_give_up(struct fetch_transfer *r, unsigned error_class, struct span message);
/* … for transfer_fail. */
struct fetch_failure transfer_verdict(const struct fetch_transfer *r);

/* The head and bytes of its answer. false: refused (verdict set), or it has been cancelled. The
 * caller holds up->inside. */
bool transfer_take_head(struct fetch_transfer *r, unsigned status,
                        const struct upstream_headers *headers);
bool transfer_take_bytes(struct fetch_transfer *r, struct span bytes);

void transfer_defer(struct fetch_transfer *r, unsigned what);
void transfer_finish_deferred(struct fetch *up);

#endif
