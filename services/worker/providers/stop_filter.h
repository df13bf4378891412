/* Stop sequences that an upstream can't take, enforced here on its answer: a filter on
 * neutral events. It cuts the text before the first sequence, ends the answer with STOP_SEQUENCE,
 * and lets nothing more through. What might be the beginning of a sequence is held back until the
 * next text shows what it is. */
#ifndef SERVICES_WORKER_PROVIDERS_STOP_FILTER_H
#define SERVICES_WORKER_PROVIDERS_STOP_FILTER_H

#include "services/worker/neutral/neutral.h"

enum { STOP_FILTER_MAX_BYTES = 512 }; /* of one sequence: each text is looked through anew */

struct stop_filter {
    struct arena *arena;
    struct span *stops_text; /* as the client wrote them: for the STOP event */
    struct span *stops;      /* decoded */
    size_t count;
    struct usage usage; /* seen so far: the answer ends before the upstream's own */
    char *held;         /* json text kept back; in the arena */
    size_t held_len, held_cap;
    bool done; /* a sequence was found: END has been sent, the upstream may be cancelled */
};

/* Room for `max` sequences. ERR_NOMEM. */
enum err stop_filter_init(struct stop_filter *f, struct arena *arena, size_t max) NODISCARD;
/* One more sequence (json text); an empty one is ignored. ERR_NOMEM; ERR_TOO_BIG: too long to be
 * looked for. */
enum err stop_filter_add(struct stop_filter *f, struct span stop_text) NODISCARD;
/* Passes the event to `next`, or less of it, or more. */
void stop_filter_feed(struct stop_filter *f, const struct neutral_event *e, neutral_sink next,
                      void *ctx);

#endif
