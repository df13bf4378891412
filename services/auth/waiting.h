/* Answers AUTHORIZE: at once, or, when all slots of its key are taken and some of them may come
 * back from an edge that holds them on lease, as soon as one is free. Who waits does so in order,
 * bounded in time and number, by key and in all. Pure: time is passed in, a function sends. */
#ifndef SERVICES_AUTH_WAITING_H
#define SERVICES_AUTH_WAITING_H

#include "services/auth/admission.h"

enum {
    SLOT_WAIT_MS = 100, /* for a slot to come back, before it is refused */
    SLOT_WAITING_OF_KEY_MAX = 128,
    SLOT_WAITING_MAX = 4096
};

/* ALLOW or DENY, to the edge as admission knows it. */
typedef void (*waiting_answer)(void *ctx, const void *edge, const struct header *h,
                               const struct authorize *ask, const struct verdict *v);

struct waiting {
    struct table by_id;
    struct waiting_authorize *first; /* of all, the one whose time is over first */
    struct admission *admission;
    waiting_answer answer;
    void *ctx; /* of answer */
};

/* {0} and admission, answer and ctx is an empty one. Those left are dropped without a word. */
void waiting_free(struct waiting *w);
void waiting_on_authorize(struct waiting *w, const struct asker *who, const struct header *h,
                          const struct authorize *ask, struct moment now);
/* A slot of the key may be free. */
void waiting_serve(struct waiting *w, struct key *key, struct moment now);
/* The key has changed: all that wait for it are decided about anew. */
void waiting_decide_key(struct waiting *w, struct key *key, struct moment now);
/* Serves whom it can, and refuses those whose time is over. */
void waiting_tick(struct waiting *w, struct moment now);
/* When the next one's time is over; UINT64_MAX: nobody waits. */
uint64_t waiting_due_ns(const struct waiting *w);
/* The request has ended; the edge is gone. */
void waiting_drop_request(struct waiting *w, const struct request_id *id);
void waiting_drop_edge(struct waiting *w, const void *edge);

#endif
