/* One DISPATCH being carried out: drives its call, moves bytes between the upstream and the bus,
 * and ends in exactly one of REPLY, END, FAIL or silence (cancelled).
 *
 *   RUNNING → OVER      the broker has heard the end (or asked for silence); what is left of the
 * network (a connection that may be kept, a cancel on its way) is let finish for a moment
 *
 * Flow control: DATA is spent against the credit the edge grants; without credit the upstream is
 * not read. */
#ifndef SERVICES_WORKER_ATTEMPT_ATTEMPT_H
#define SERVICES_WORKER_ATTEMPT_ATTEMPT_H

#include "common/runtime/bus/bus.h"
#include "common/runtime/metric.h"
#include "services/worker/pipeline/pipeline.h"
#include "services/worker/attempt/settle.h"
#include "services/worker/endpoints/setup.h"

struct job;

/* What all jobs share; owned by the worker, outlives them. */
struct job_env {
    struct loop *loop;
    struct upstream *upstream;
    struct settles *settles;
    const struct model_table *table;
    struct schema_cache *schemas;  /* of Replicate's models; may be NULL */
    struct metric_client *metrics; /* may be NULL */
    void *ctx;                     /* for the two below */
    enum err (*send)(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                     const void *message);
    /* The job is OVER: its pointer is not used any more by the owner when this returns. Once per
     * job that was begun, perhaps within job_begin. */
    void (*on_over)(void *ctx, struct job *job);
    struct job *idle; /* finished ones, kept for reuse */
    struct job *all;  /* running and lingering ones */
    uint32_t idle_count;
    struct job_batch *batches; /* embeddings that wait for each other, or fly together */
};

/* Takes a lane and copies the message; the setup is referenced. NULL when that can't be: FAIL has
 * been sent. */
struct job *job_create(struct job_env *env, struct setup *setup, struct bus_peer *from,
                       const struct bus_message *m);
/* Right after it. */
void job_begin(struct job *job);
/* CANCEL: stops, settles what was used with status 499, says nothing to the broker. */
void job_cancel(struct job *job);
/* CREDIT */
void job_credit(struct job *job, uint32_t bytes);

const struct request_id *job_id(const struct job *job);
uint8_t job_attempt(const struct job *job);
struct bus_peer *job_peer(const struct job *job);

/* The worker's own table links. */
struct job_links {
    struct job *next_in_bucket, *prev, *next;
};
struct job_links *job_links(struct job *job);

/* Refuses a DISPATCH without beginning it: FAIL, nothing sent. */
void job_refuse(struct job_env *env, struct bus_peer *to, const struct bus_message *m,
                unsigned error_class, const char *message);
/* Ends everything without a word: at shutdown. */
void job_env_free(struct job_env *env);

#endif
