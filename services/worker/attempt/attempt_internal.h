/* Inside of an attempt, shared by its files and by batch/, which carries several at once. */
#ifndef SERVICES_WORKER_ATTEMPT_ATTEMPT_INTERNAL_H
#define SERVICES_WORKER_ATTEMPT_ATTEMPT_INTERNAL_H

#include "services/worker/attempt/attempt.h"

enum {
    DEFAULT_TIMEOUT_MS = 60000,
    KEEP_MS = 1000, /* for a transport to end after its answer was complete, so that it can be used
                       again */
    DETACHED_MS = 10000, /* for a cancel to reach the upstream */
    DATA_BYTES = 64 * 1024,
    KEPT_OUTPUT_BYTES = 256, /* of a stream that stands still */
    MAX_IDLE_ATTEMPTS = 1024
};

enum attempt_state { ATTEMPT_RUNNING, ATTEMPT_OVER };

/* One transfer on the network. */
struct attempt_transfer {
    struct attempt *attempt;
    const struct transfer *x;
    struct fetch_transfer *request; /* NULL = this struct is free */
    struct attempt_transfer *next;
};

/* What an attempt's pipeline does beside the loop, where much JSON has to be read and written. The
 * loop has no pipeline meanwhile, and what would end the attempt waits. */
struct attempt_work {
    struct helper_job job;
    struct attempt *attempt;
    struct pipeline *pipeline;
    struct pipeline_spec spec; /* it is made … */
    struct api_error fault;    /* … and failed, with err */
    enum err err;
    const struct transfer *ended; /* or this one of its transfers has ended */
    bool cancelled, overdue, timer;
};

struct attempt {
    struct attempt_env *env;
    struct attempt_links links;
    struct attempt *prev_all, *next_all;
    enum attempt_state state;
    struct bus_peer *peer;
    struct header head; /* the DISPATCH's */
    struct dispatch d;  /* its strings in `texts` */
    char *texts, *id_text;
    struct secret
        *credential;    /* the client's own, which its requests carry; NULL: the endpoint's */
    struct arena arena; /* for what few attempts need */
    struct setup *setup;
    struct endpoint *endpoint;
    struct pipeline *pipeline;
    struct attempt_work *work; /* NULL = none */
    void (*on_worked)(struct attempt *attempt, struct attempt_work *done);
    uint64_t received_bytes;
    struct attempt_transfer first, *transfers;
    uint32_t transfers_running;
    uint32_t credit, seq;
    size_t out_sent; /* of the pipeline's output */
    uint64_t started_us, started_wall_ms, sent_us, first_us, deadline_us;
    struct loop_timer deadline, poll;
    bool head_sent, sent;
    bool paused;  /* the edge gives no credit */
    bool crowded; /* other answers come first: room.c */
    bool stopped; /* for either reason its transfers are not read */
    size_t room_bytes;
    struct attempt *room_prev, *room_next;
    bool pumping, pump_again;
    struct span detail; /* of its last transfer that failed, for the log … */
    enum reason reason; /* … and why it did */
    void (*on_progress)(struct attempt *attempt); /* a transfer brought something */
    struct batch *batch;   /* it is a member of: then it has neither pipeline nor endpoint */
    uint32_t batch_at;     /* its index there */
    struct batch *carries; /* it carries: then it has no peer, and sends no messages */
};

/* ---- attempt.c ---- */
/* Makes its pipeline and lets it go on, on the endpoint it has or takes now. */
void attempt_go(struct attempt *attempt);
/* The one change of state. What is still on the network may finish within
 * `linger_ms`. */
void attempt_over(struct attempt *attempt, enum endpoint_verdict verdict, uint64_t rest_ms,
                  uint64_t linger_ms);

/* ---- beside.c ---- */
/* Makes its pipeline beside the loop; on_worked follows. false: too little to do for that. */
bool attempt_make_beside(struct attempt *attempt, const struct pipeline_spec *spec);
/* Tells the pipeline of this transfer's end there; on_worked follows. false as above. */
bool attempt_end_beside(struct attempt *attempt, const struct transfer *x);

/* ---- create.c ---- */
/* An attempt for the batch: like this one, but with another body, and unknown to edge and auth.
 * NULL without memory. */
struct attempt *attempt_create_carrier(const struct attempt *like, struct span body,
                                       struct batch *batch);
/* Gives its endpoint back as if nothing had been tried. */
void attempt_lose_endpoint(struct attempt *attempt);
/* Gives it back with what was learned of it; nothing when it has none. */
void attempt_give_endpoint_back(struct attempt *attempt, enum endpoint_verdict verdict,
                                uint64_t rest_ms);
/* Gives the attempt's memory back once no transfer runs any more. */
void attempt_release(struct attempt *attempt);

/* ---- messages.c ---- */
/* Does it make a response that may be asked for by its id later? */
bool attempt_makes_response(const struct attempt *attempt);
uint32_t attempt_ms_since(const struct attempt *attempt, uint64_t then_us);
/* `whole`: the answer was not cut short, so that what was counted is all there is. */
void attempt_settle(struct attempt *attempt, const struct pipeline_result *r, unsigned status,
                    bool whole);
/* FAIL, and a settlement when something was billed or delivered, or the upstream may have worked on
 * it: it has the request and has not said no. */
void attempt_send_fail(struct attempt *attempt, const struct api_error *fault);
/* A settlement of what was used until now, as if the client had left; FAIL before it where there is
 * a fault. */
void attempt_settle_early(struct attempt *attempt, const struct api_error *fault);
/* What a stored response has used, when it is told to who asks for it. */
void attempt_settle_seen(struct attempt *attempt, const struct pipeline_result *r);
/* How long the whole answer took says how fast the model is. */
void attempt_learn(const struct attempt *attempt, const struct pipeline_result *r);
/* whole_bytes: of an answer that is all there; 0 = a stream. */
enum err attempt_send_head(struct attempt *attempt, const struct pipeline_result *r,
                           uint64_t whole_bytes);
/* As much of the pipeline's output as the credit allows. */
enum err attempt_send_data(struct attempt *attempt);
void attempt_send_end(struct attempt *attempt, const struct pipeline_result *r);
void attempt_send_reply(struct attempt *attempt, const struct pipeline_result *r, struct span body);

/* ---- transfers.c ---- */
/* on_progress: called when it has brought something, never from within. */
void attempt_launch(struct attempt *attempt, const struct transfer *x,
                    void (*on_progress)(struct attempt *attempt));
void attempt_cancel_transfers(struct attempt *attempt, bool detached_too);
/* Notes whether bytes of a request may have reached the upstream. */
void attempt_look_whether_sent(struct attempt *attempt);

#endif
