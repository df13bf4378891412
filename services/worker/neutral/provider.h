/* What every provider is: one vtable of pure functions (no curl, no bus, no clock). One file each
 * in providers/. */
#ifndef SERVICES_WORKER_NEUTRAL_PROVIDER_H
#define SERVICES_WORKER_NEUTRAL_PROVIDER_H

#include "common/base/buf.h"
#include "common/base/sse.h"
#include "common/fetch/headers.h"
#include "proto/provider_info.h"
#include "services/worker/neutral/model_table.h"
#include "services/worker/neutral/neutral.h"

/* One HTTP request to the upstream, as data. All spans live in the pipeline's arena (or the
 * client's body). */
struct transfer {
    const char *method; /* "POST" */
    struct span path;   /* appended to the endpoint's base URL: "/chat/completions" … */
    struct span
        url; /* or a whole URL of another server (Replicate's stream); checked by the provider */
    struct span headers; /* "name: value\n" lines beyond auth, content-type, accept-encoding */
    struct span body;    /* empty = none */
    bool expects_stream; /* sent with accept: text/event-stream; the answer is read as SSE if it is
                            one */
    bool repeatable;     /* may be sent again (a GET) */
    bool detached;       /* nobody waits for its answer (Replicate's cancel) */
    unsigned index;      /* set by the pipeline: which of its transfers */
    struct transfer *next_queued; /* the pipeline's, until it is taken */
};

/* clang-format off */
/* What a compatible server does otherwise: the marks of compat.def, where each is explained. */
struct compat {
#define COMPAT(NAME, member, word, help) bool member;
#include "proto/compat.def"
#undef COMPAT
    /* clang-format on */
    bool private_network; /* plain http and private addresses are fine */
    struct span base_url; /* of the endpoint in use */
};

/* One neutral request on its way through one provider. Made by pipeline.c. */
struct conversion {
    const struct provider *provider;
    struct neutral_request *request;
    struct span target_model; /* bytes */
    const struct model_row
        *row; /* prices and capabilities; never NULL (an unknown model has the default row) */
    struct compat compat;
    struct arena *arena;  /* lives as long as the pipeline */
    struct json_doc *doc; /* scratch for parsing; overwritten by every parse */
    neutral_sink emit;
    void *emit_ctx;
    uint64_t now_s;     /* wall clock at the pipeline's start, for created */
    uint64_t waited_ms; /* since the pipeline's start: to bound polling */
    struct schema_cache
        *schemas; /* replicate: what its models take, kept over requests; may be NULL */
    void *state;  /* the provider's own, in the arena */

    /* what the function asks for; read and cleared by pipeline.c after each one */
    struct transfer *next; /* send this now */
    uint64_t wait_ms;      /* then call on_timer after this long (polling) */
};

struct provider {
    enum protocol protocol;
    const char *fixed_headers; /* "anthropic-version: 2023-06-01\n" on every transfer that does not
                                  carry one */
    uint32_t native_apis;      /* bit 1u << api: passed through by splicing, never translated */

    /* request → pc->next. ERR_INVALID with fault_out set when it cannot be said to this upstream
     * (400). */
    enum err (*build_request)(struct conversion *pc, struct api_error *fault_out);
    /* A whole 2xx JSON body: emits START … END (or ERROR), or asks for another transfer or a wait.
     * ERR_INVALID: not what the protocol says (502 upstream_protocol_error). */
    enum err (*parse_response)(struct conversion *pc, const struct transfer *x, struct span body);
    /* One event of a 2xx stream. */
    enum err (*parse_event)(struct conversion *pc, const struct transfer *x,
                            const struct sse_event *e);
    /* The stream ended cleanly at the transport: END if it was complete, ERROR upstream_closed if
     * not. */
    enum err (*parse_end)(struct conversion *pc, const struct transfer *x);
    /* A non-2xx answer, or an error object: class, message (masked), code, retry-after.
     * status is 200 for an error object in a 2xx body or in a stream (then the body's own type and
     * code decide, a stream event's data is the body). headers is never NULL; its get may answer
     * nothing. */
    void (*map_error)(struct conversion *pc, unsigned status,
                      const struct upstream_headers *headers, struct span body,
                      struct api_error *fault_out);
    /* NULL unless it polls. */
    enum err (*on_timer)(struct conversion *pc);
    /* The client has left: pc->next may become a detached cancel. NULL: closing the connection is
     * enough. */
    void (*cancel)(struct conversion *pc);
};

/* clang-format off */
#define PROTOCOL(NAME, name, ...) extern const struct provider provider_##name;
#define PROVIDER(...)
#include "proto/providers.def"
#undef PROTOCOL
#undef PROVIDER
/* clang-format on */

/* By protocol; ends with NULL. */
extern const struct provider *const provider_all[];

/* Of its protocol: "openai". */
static inline const char *provider_protocol(const struct provider *provider)
{
    return protocol_info(provider->protocol)->name;
}

#endif
