/* What auth keeps: keys, limiter state, the ledger. One interface; SQLite behind it today, room for
 * a shared engine (several auth replicas) tomorrow. Used by one thread at a time: see writer.h.
 *
 * The ledger has one row per request and attempt, written once as a rule:
 *   reported  a worker's SETTLE
 *   booked    no SETTLE came in time: counted as estimated; a later SETTLE replaces it
 * A RELEASE that waits for its SETTLE has no row (held.h).
 * What a request has been through that failed, or needed several attempts, stands beside it.
 * A request that never reached a worker has a booked row of no tokens with the status its client
 * saw, so that every admitted request has exactly one row and "not estimated" means "reported by an
 * upstream". */
#ifndef SERVICES_AUTH_LEDGER_STORE_H
#define SERVICES_AUTH_LEDGER_STORE_H

#include "common/base/buf.h"
#include "proto/header.h"
#include "services/auth/keys/keys.h"
#include "services/auth/limits/limits.h"

enum { STORE_SCHEMA_VERSION = 4 };

struct store_usage {
    struct request_id id;
    uint32_t attempt; /* of a RELEASE: the last one its edge heard of, 0 = unknown */
    struct span key_id, key_name, model, provider, upstream_model, upstream_id;
    uint32_t api;
    uint32_t status;
    bool stream;
    bool estimated;
    uint64_t input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens;
    uint64_t cost_nano;
    uint64_t cache_write_1h_tokens; /* of cache_write_tokens */
    uint64_t tool_calls;            /* billed ones, of tools that run at the provider */
    struct span service_tier;       /* empty = standard */
    uint32_t cost_source;           /* enum cost_source */
    struct span end_user;           /* as the request names it; empty = it does not */
    struct span tags;               /* of the request and of its key, comma-separated */
    uint64_t started_ms;            /* wall clock */
    uint32_t first_ms, duration_ms;
};

enum store_op_kind {
    STORE_SETTLE,      /* usage */
    STORE_RELEASE,     /* usage; `settles` */
    STORE_KEY_ADD,     /* key */
    STORE_KEY_CHANGE,  /* key.id, and key_fields of key */
    STORE_KEY_DELETE,  /* key.id; with its limits */
    STORE_LIMIT_PUT,   /* limit */
    STORE_SLOT_PUT,    /* slot */
    STORE_SLOT_DELETE, /* slot.id */
    STORE_PRUNE,       /* before_day: single rows older than that go, some at a time */
    STORE_USAGE,       /* query; fills `answer` */
    STORE_REQUEST,     /* usage.id; fills `answer` */
    STORE_PROBE        /* writes something, to find out whether it can */
};

enum store_outcome {
    STORE_NEW,       /* the row was added */
    STORE_DUPLICATE, /* it was there: nothing changed */
    STORE_SETTLED,   /* RELEASE: the worker's row is there already */
    STORE_WAITING    /* RELEASE with `settles`: nothing is there, and nothing was written */
};

/* A request that takes one of its key's concurrency slots; those that last a moment are kept over a
 * restart. */
struct store_slot {
    struct request_id id;
    struct span key_id;
    uint64_t owner; /* epoch of its edge */
    uint64_t due_wall_ms;
    uint64_t charged_tokens;
};

enum usage_dimension {
    USAGE_BY_KEY = 1,
    USAGE_BY_MODEL = 2,
    USAGE_BY_PROVIDER = 4,
    USAGE_BY_DAY = 8,
    USAGE_BY_USER = 16,
    USAGE_BY_TAG = 32
};

enum { USAGE_STATUSES = 8 };

struct usage_query {
    unsigned by;                   /* enum usage_dimension, or'ed; ignored for rows */
    bool rows;                     /* single requests, newest first, instead of sums */
    uint64_t since_day, until_day; /* days since 1970, both included */
    struct span key_id, model;     /* empty = all */
    uint32_t limit;                /* rows at most */
    uint64_t since_ms;             /* of rows: begun since then, by the wall clock */
    struct {
        uint32_t from, to;
    } statuses[USAGE_STATUSES]; /* of rows: any of these ranges; none = all */
    uint32_t status_count;
};

struct store_op {
    enum store_op_kind kind;
    bool settles;        /* RELEASE: a SETTLE may still come, so no row is made for it */
    struct span history; /* RELEASE: a JSON object about the request's attempts; empty = none … */
    struct span history_class; /* … and the class of its failure */
    bool of_response; /* SETTLE: corrects the estimated row of usage.upstream_id, if there is one */
    enum store_outcome outcome; /* set by apply */
    uint64_t tokens_before;     /* set by apply: what a corrected row held */
    enum err read; /* set by apply: a STORE_USAGE or STORE_REQUEST that failed has failed alone;
                      ERR_TOO_BIG: it would have looked through too many rows */
    struct store_usage usage;
    struct key_attributes key;
    unsigned key_fields; /* KEY_CHANGE: enum key_field, or'ed */
    struct limit_saved limit;
    struct store_slot slot;
    uint64_t before_day;
    struct usage_query query;
    struct buf *answer; /* STORE_USAGE: a JSON array of objects is appended; STORE_REQUEST: {"rows":
                           [{…}], "history": {…}} */
    void *tag;          /* the submitter's own, as is … */
    uint64_t worker;    /* … who settles: a hash of its name */
};

/* What a start reads back. Spans are views for the call. */
struct store_visitor {
    void *ctx;
    enum err (*on_key)(void *ctx, const struct key_attributes *key);
    enum err (*on_limit)(void *ctx, const struct limit_saved *limit);
    enum err (*on_slot)(void *ctx, const struct store_slot *slot);
    /* the latest stored responses, newest first, and who made them; may be NULL */
    enum err (*on_response)(void *ctx, struct span id, struct span key_id, uint64_t made_ms);
};

struct store {
    const struct store_ops *ops;
};

struct store_ops {
    enum err (*load)(struct store *s, const struct store_visitor *v);
    /* One transaction: all or nothing, durable on OK. SETTLEs come first, the others in order: a
     * report before the RELEASE that it makes needless. */
    enum err (*apply)(struct store *s, struct store_op *ops, size_t n);
    void (*close)(struct store *s);
};

static inline enum err store_load(struct store *s, const struct store_visitor *v)
{
    return s->ops->load(s, v);
}

static inline enum err store_apply(struct store *s, struct store_op *ops, size_t n)
{
    return s->ops->apply(s, ops, n);
}

static inline void store_close(struct store **s)
{
    if (*s)
        (*s)->ops->close(*s);
    *s = NULL;
}

/* Opens, or creates (0600). pepper_check: some bytes derived from the pepper, kept at creation and
 * compared after. ERR_EXISTS: another auth has it; ERR_DENIED: made with another pepper;
 * ERR_VERSION: a newer schema; ERR_IO else. Logs why. */
enum err store_sqlite_open(const char *path, struct span pepper_check,
                           struct store **out) NODISCARD;

#endif
