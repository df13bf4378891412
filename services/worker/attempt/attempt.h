/* clang-format off */
/* One DISPATCH being carried out: drives its pipeline, moves bytes between the upstream and the bus,
 * and ends in exactly one of REPLY, END, FAIL or silence (cancelled).
 *
 *   state     what is going on                                    leaves it by
 *   RUNNING   the pipeline works, or waits in a batch             REPLY, END, FAIL; CANCEL; the deadline
 *   OVER      the edge has heard the end, or wants silence;       the last transfer has ended, or the
 *             a connection that may be kept, or a cancel on its   time for that is over: freed
 *             way to the upstream, is let finish
 *
 * Flow control: DATA is spent against the credit the edge grants; without credit the upstream is
 * not read. */
/* clang-format on */
#ifndef SERVICES_WORKER_ATTEMPT_ATTEMPT_H
#define SERVICES_WORKER_ATTEMPT_ATTEMPT_H

#include "common/runtime/bus/bus.h"
#include "common/runtime/helper.h"
#include "common/runtime/metric.h"
#include "services/worker/pipeline/pipeline.h"
#include "services/worker/attempt/failure_log.h"
#include "services/worker/attempt/settle.h"
#include "services/worker/attempt/speed.h"
#include "services/worker/setup.h"

struct attempt;
struct attempt_env;
struct gate_grant;

/* Attempts that may wait for others and go upstream together: see batch/. */
struct attempt_batching {
    /* Lets an attempt that has just begun wait for others like it. false: it goes its way alone. */
    bool (*join)(struct attempt *attempt);
    /* A member ends by itself; the others go on. */
    void (*leave)(struct attempt *attempt);
    /* The carrier's pipeline is done, or has failed: so are, or go on alone, the members. */
    void (*answered)(struct attempt *carrier);
    void (*failed)(struct attempt *carrier, const struct api_error *fault);
    /* At shutdown. */
    void (*free)(struct attempt_env *env);
};

/* What all of them hold of answers: room.h. */
struct answer_room {
    uint64_t bytes;
    struct attempt *first; /* those with large ones, the oldest first */
    uint32_t waiting;      /* that are not read on */
    struct loop_timer timer;
};

/* What all attempts share; owned by the worker, outlives them. */
struct attempt_env {
    struct loop *loop;
    struct fetch *fetch;
    struct helper *helper; /* for large work; may be NULL: all is done at once */
    struct settles *settles;
    const struct model_table *table;
    struct schema_cache *schemas;  /* of Replicate's models; may be NULL */
    struct metric_client *metrics; /* may be NULL */
    struct speeds *speeds;         /* may be NULL */
    void *ctx;                     /* for the two below */
    enum err (*send)(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                     const void *message);
    /* The attempt is OVER: its pointer is not used any more by the owner when this returns. Once
     * per attempt that was begun, perhaps within attempt_begin. */
    void (*on_over)(void *ctx, struct attempt *attempt);
    struct failure_log failures;
    struct attempt *idle; /* finished ones, kept for reuse */
    struct attempt *all;  /* running and lingering ones */
    uint32_t idle_count;
    struct answer_room room;
    const struct attempt_batching *batching; /* NULL = each goes alone */
    struct batch *batches; /* embeddings that wait for each other, or are on the network together */
};

/* Takes an endpoint and copies the message; the setup is referenced. NULL when that can't be: FAIL
 * has been sent. */
struct attempt *attempt_create(struct attempt_env *env, struct setup *setup, struct bus_peer *from,
                               const struct bus_message *m);
/* Right after it. */
void attempt_begin(struct attempt *attempt);
/* CANCEL: stops, settles what was used with status 499, sends nothing to the edge. */
void attempt_cancel(struct attempt *attempt);
/* The worker stops: the same, but the edge hears FAIL (WORKER_LOST). The helper has finished. */
void attempt_abandon(struct attempt *attempt);
/* CREDIT */
void attempt_credit(struct attempt *attempt, uint32_t bytes);

const struct request_id *attempt_id(const struct attempt *attempt);
uint8_t attempt_number(const struct attempt *attempt);
struct bus_peer *attempt_peer(const struct attempt *attempt);

/* The worker's own table links. */
struct attempt_links {
    struct attempt *next_in_bucket, *prev, *next;
    struct gate_grant *grant; /* under which it runs */
};
struct attempt_links *attempt_links(struct attempt *attempt);

/* Refuses a DISPATCH without beginning it: FAIL, nothing sent. `free_slots` goes with
 * WORKER_REFUSED.
 */
void attempt_refuse(const struct attempt_env *env, struct bus_peer *to, const struct bus_message *m,
                    const struct api_error *fault, uint32_t free_slots);
/* Ends everything without a word: at shutdown. */
void attempt_env_free(struct attempt_env *env);

#endif
