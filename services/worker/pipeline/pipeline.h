/* One dispatched request from its body to its last client byte, as a pure state machine: no curl,
 * no bus, no clock. The worker feeds it what the network does and does what it asks; tests, fuzzers
 * and the conformance suite drive it the same way.
 *
 * Same protocol on both sides: the client's bytes pass, spliced only where something must change
 * (docs/wire.md, Pass-through), and a scanner looks for usage, finish and errors. Otherwise: api
 * reader → neutral → provider → neutral events → api writer. */
#ifndef SERVICES_WORKER_PIPELINE_PIPELINE_H
#define SERVICES_WORKER_PIPELINE_PIPELINE_H

#include "common/runtime/config/config.h"
#include "services/worker/neutral/compat.h"
#include "services/worker/neutral/provider.h"

struct pipeline;

struct pipeline_spec {
    enum api api;
    struct span method, path; /* path behind /v1, with its query */
    struct span headers;      /* the client's allow-listed header lines */
    struct span body;         /* must outlive the pipeline */
    struct span model;        /* as the client asked */
    struct span target_model; /* the upstream's name */
    const struct provider *provider;
    const struct config_provider *provider_config; /* compat marks; may be NULL (defaults) */
    struct span base_url;                          /* of the chosen endpoint */
    const struct config_model *model_config;       /* defaults, price, capabilities; may be NULL */
    const struct config *config;     /* finds the entry of a stored response's model; may be NULL */
    const struct model_table *table; /* prices and capabilities */
    struct schema_cache *schemas;    /* Replicate's model schemas (schema_cache.h); may be NULL */
    uint64_t output_cap;             /* inject this cap; 0 = leave alone */
    uint64_t input_tokens;           /* the edge's estimate */
    uint64_t output_most;   /* tokens that the request allows; 0 = as many as the model can */
    uint64_t now_s;         /* wall clock */
    struct span request_id; /* "req_…" */
    uint64_t max_response;  /* bytes of a unary answer; 0 = 64 MiB */
    bool tells_limits;      /* the provider's rate limits are among the result's headers */
    struct learned_compat *learned; /* of the provider, kept over requests; may be NULL */
};

/* ERR_INVALID: the request can't be served; *fault_out says why (strings live in static memory or
 * in `arena`). */
enum err pipeline_create(struct pipeline **out, const struct pipeline_spec *spec,
                         struct arena *fault_arena, struct api_error *fault_out) NODISCARD;
void pipeline_destroy(struct pipeline **pipeline);

/* After pipeline_create and after every pipeline_on_…: start every transfer this returns until it
 * returns NULL. */
const struct transfer *pipeline_next(struct pipeline *pipeline);
/* Then, if not 0: call pipeline_on_timer after this long, instead of a timer still running; 0
 * leaves that one as it is. */
uint64_t pipeline_wait_ms(struct pipeline *pipeline);

/* What the network did to a transfer. A non-2xx body is gathered here (bounded) and mapped. */
void pipeline_on_head(struct pipeline *pipeline, const struct transfer *x, unsigned status,
                      const struct upstream_headers *headers);
void pipeline_on_bytes(struct pipeline *pipeline, const struct transfer *x, struct span bytes);
void pipeline_on_end(struct pipeline *pipeline, const struct transfer *x);
/* Transport failure: one of
 * ERROR_UPSTREAM_{UNREACHABLE,RESET,TLS,CONNECT_TIMEOUT,TIMEOUT,CLOSED,PROTOCOL}. */
void pipeline_on_failure(struct pipeline *pipeline, const struct transfer *x, unsigned error_class,
                         struct span message);
/* waited_ms: since pipeline_create. */
void pipeline_on_timer(struct pipeline *pipeline, uint64_t waited_ms);
/* The client has left. pipeline_next may then return a detached transfer (Replicate's cancel),
 * once. */
void pipeline_cancel(struct pipeline *pipeline);

enum pipeline_state {
    PIPELINE_RUNNING,
    PIPELINE_DONE,  /* output holds the rest (a unary answer: all of it) */
    PIPELINE_FAILED /* pipeline_fault says why; for a committed stream too: the edge writes the
                   in-band error */
};
enum pipeline_state pipeline_state(const struct pipeline *pipeline);
/* The first content is there (or the end): HEAD may be sent. Before it a failure still has a status
 * of its own. */
bool pipeline_committed(const struct pipeline *pipeline);
bool pipeline_is_stream(const struct pipeline *pipeline); /* the client gets SSE */
/* Client bytes so far; the caller takes them by buf_consume or buf_clear. */
struct buf *pipeline_output(struct pipeline *pipeline);
const struct api_error *pipeline_fault(const struct pipeline *pipeline);
/* Memory that its answer takes now. */
size_t pipeline_answer_bytes(const struct pipeline *pipeline);
/* There is no memory for (more of) its answer: it fails. */
void pipeline_refuse(struct pipeline *pipeline);

struct pipeline_result {
    unsigned status; /* for the client */
    struct span content_type;
    struct span headers;             /* "x-tollgate-dropped: …\n" */
    struct span upstream_model;      /* what answered */
    struct span upstream_id;         /* the provider's id of the answer */
    struct span provider_request_id; /* … and of the request, as its headers say it */
    struct usage usage;              /* gaps filled with estimates where `estimated` */
    bool estimated;
    uint64_t cost_nano; /* of its source; 0 when nobody knows a price */
    enum cost_source cost_source;
};
/* Valid once done, failed or cancelled; may be asked earlier for what is known. */
const struct pipeline_result *pipeline_result(struct pipeline *pipeline);
/* The same of one that broke off while the upstream worked on it: never less than the estimated
 * input and what was delivered; where nothing was, the `generated` tokens that may have been made.
 */
const struct pipeline_result *pipeline_result_cut(struct pipeline *pipeline, uint64_t generated);

#endif
