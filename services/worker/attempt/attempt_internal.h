/* Inside of job.c's business, shared by its files. Nobody else includes it. */
#ifndef SERVICES_WORKER_ATTEMPT_ATTEMPT_INTERNAL_H
#define SERVICES_WORKER_ATTEMPT_ATTEMPT_INTERNAL_H

#include "services/worker/attempt/attempt.h"

enum {
    DEFAULT_TIMEOUT_MS = 60000,
    KEEP_MS = 1000, /* for a transport to end after its answer was complete, so that it can be used
                       again */
    DETACHED_MS = 10000, /* for a cancel to reach the upstream */
    DATA_BYTES = 64 * 1024,
    MAX_IDLE_JOBS = 1024
};

enum job_state { JOB_RUNNING, JOB_OVER };

/* One exchange on the network. */
struct flight {
    struct job *job;
    const struct exchange *x;
    struct upstream_request *request; /* NULL = this struct is free */
    struct flight *next;
};

struct job {
    struct job_env *env;
    struct job_links links;
    struct job *prev_all, *next_all;
    enum job_state state;
    struct bus_peer *peer;
    struct header head; /* the DISPATCH's */
    struct dispatch d;  /* its strings in `texts` */
    char *texts, *id_text;
    struct arena arena; /* for what few jobs need */
    struct setup *setup;
    struct lane *lane;
    struct call *call;
    struct flight first, *flights;
    uint32_t flying;
    uint32_t credit, seq;
    uint64_t started_us, started_wall_ms, sent_us, first_us, deadline_us;
    struct loop_timer deadline, poll;
    bool head_sent, paused, sent;
    bool pumping, pump_again;
    struct job_batch *batch;   /* it is a member of: then it has neither call nor lane */
    uint32_t batch_at;         /* its place there */
    struct job_batch *carries; /* it carries: then it has no peer, and says nothing to anyone */
};

/* ---- job.c ---- */
/* Makes its call and lets it go on, on the lane it has or takes now. */
void job_go(struct job *job);
/* Gives its lane back as if nothing had been tried. */
void job_lose_lane(struct job *job);
/* The one change of state. What flies on is let finish within `linger_ms`. */
void job_over(struct job *job, enum lane_verdict verdict, uint64_t rest_ms, uint64_t linger_ms);
/* Lets the call go on: starts what it asks for, sends what it has. May end the job. */
void job_pump(struct job *job);

/* ---- job_make.c ---- */
/* A job for the batch: like this one, but with another body, and unknown to broker and auth. NULL
 * without memory. */
struct job *job_create_carrier(const struct job *like, struct span body, struct job_batch *batch);
/* Gives the job's memory back once nothing flies any more. */
void job_release(struct job *job);

/* ---- job_say.c ---- */
/* Does it make a response that may be asked for by its id later? */
bool job_makes_response(const struct job *job);
uint32_t job_ms_since(const struct job *job, uint64_t then_us);
/* `whole`: the answer was not cut short, so that what was counted is all there is. */
void job_settle(struct job *job, const struct call_result *r, unsigned status, bool whole);
/* FAIL, and a settlement when something was billed or delivered. r may be NULL. */
void job_send_fail(struct job *job, const struct fault *fault, const struct call_result *r);
enum err job_send_head(struct job *job, const struct call_result *r);
/* As much of the call's output as the credit allows. */
enum err job_send_data(struct job *job);
void job_send_end(struct job *job, const struct call_result *r);
void job_send_reply(struct job *job, const struct call_result *r, struct span body);

/* ---- job_flights.c ---- */
void job_launch(struct job *job, const struct exchange *x);
void job_cancel_flights(struct job *job, bool detached_too);
/* Stops reading from the upstream, or goes on. */
void job_set_paused(struct job *job, bool paused);
/* Notes whether bytes of a request may have reached the upstream. */
void job_look_whether_sent(struct job *job);

#endif
