/* What the simulator's files share.
 *   main.c       options, start, stop
 *   route.c      which protocol, which handler; keys
 *   ask.c        its faults gathered
 *   openai*.c, anthropic*.c, replicate*.c   the wire formats
 *   answer.c     what is answered, whatever the protocol
 *   play.c       how it is sent: pace, faults
 *   script.c     rules and raw answers from files
 *   stats.c      what was asked and reported */
#ifndef SERVICES_SIMULATOR_SIM_H
#define SERVICES_SIMULATOR_SIM_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/http/http.h"
#include "services/simulator/fault.h"

struct stats;
struct scripts;
struct sim_store;

struct sim_options {
    const char *address;
    uint32_t port;
    const char *script; /* file or folder; NULL = none */
    uint32_t ttft_ms, chunk_ms, chunks, tokens, latency_ms;
    uint32_t keep; /* received requests kept for /_sim/requests */
    uint32_t max_connections;
    bool quiet;
};

/* A reply as a protocol composes it: bytes, and where each piece of a stream ends. */
struct reply {
    unsigned status;
    const char *content_type;
    struct buf headers; /* "name\0value\0" … beyond the common ones */
    struct buf body;
    uint32_t *marks;
    uint32_t mark_count, mark_cap;
    bool streamed;
    uint64_t input, output, cached; /* what it reports, once it is out */
    bool reports_usage;
};

struct sim {
    struct sim_options options;
    struct loop *loop;
    struct http_server *http;
    struct stats *stats;
    struct scripts *scripts;
    struct sim_store *responses, *predictions; /* what GET by id finds */
    struct sim_store *threads;                 /* conversations by the id of their last message */
    struct json_doc doc;                       /* the request being answered */
    struct json_doc thread_doc;                /* … with the conversation it continues */
    struct arena arena;                        /* … and its memory */
    struct reply reply;                        /* … and its answer */
    uint64_t next_id;
};

/* A request on its way to an answer; lives during on_request only. */
struct ask {
    struct sim *sim;
    struct http_exchange *x;
    struct json body;   /* JSON_NOTHING when there is none */
    struct span path;   /* behind the protocol's prefix */
    const char *route;  /* for statistics */
    struct span model;  /* decoded; for statistics too */
    struct span marker; /* user or metadata.user_id */
    struct span text;   /* last user text, decoded, directives still in it */
    struct sim_fault fault;
    bool stream;
    uint64_t id;
    struct reply *reply;
};

enum err sim_create(struct sim **out, struct loop *loop,
                    const struct sim_options *options) NODISCARD;
void sim_destroy(struct sim **sim);

/* ---- route.c ---- */
void sim_on_request(void *ctx, struct http_exchange *x);

/* ---- ask.c ---- */
/* Takes rules, headers and the directive in ask->text together; called by a protocol once it knows
 * model and text. */
void ask_gather_faults(struct ask *ask);

/* ---- the protocols: compose ask->reply ---- */
void openai_handle(struct ask *ask);
void openai_error(struct ask *ask, unsigned status, const char *type, const char *code,
                  const char *param, const char *message);
void openai_responses_handle(struct ask *ask);
void anthropic_handle(struct ask *ask);
void anthropic_error(struct ask *ask, unsigned status, const char *type, const char *message);
void replicate_handle(struct ask *ask);
void replicate_error(struct ask *ask, unsigned status, const char *detail);

/* ---- reply ---- */
void reply_reset(struct reply *r);
void reply_free(struct reply *r);
void reply_header(struct reply *r, const char *name, const char *value);
/* A piece of the stream ends here. */
void reply_mark(struct reply *r);
/* "event: NAME\n" unless NULL, then "data: "; the JSON is written next; reply_event_end closes the
 * event. */
struct json_writer reply_event(struct reply *r, const char *name);
void reply_event_end(struct reply *r);
/* The whole body is JSON of this status. */
struct json_writer reply_json(struct reply *r, unsigned status);
void reply_begin_stream(struct reply *r, const char *content_type);

/* ---- play.c ---- */
/* Sends ask->reply with ask->fault applied, now or by and by. */
void play(struct ask *ask);
void play_on_gone(void *ctx, struct http_exchange *x);
void play_on_drain(void *ctx, struct http_exchange *x);
void play_on_done(void *ctx, struct http_exchange *x, bool sent);

/* ---- script.c ---- */
enum err scripts_load(struct scripts **out, const char *path) NODISCARD;
void scripts_destroy(struct scripts **scripts);
/* Forgets how often what was used. */
void scripts_reset(struct scripts *scripts);
/* Applies the rules that match. */
void scripts_apply(const struct scripts *scripts, const struct ask *ask, struct sim_fault *fault);
/* Bytes of NAME.http; SPAN_NONE when there is no such file. */
struct span scripts_raw(const struct scripts *scripts, const char *name);
/* true while words with times=N have been seen at most N times. */
bool scripts_count(struct scripts *scripts, struct span words, uint32_t times);

/* ---- stats.c ---- */
enum err stats_create(struct stats **out, uint32_t keep) NODISCARD;
void stats_destroy(struct stats **stats);
void stats_reset(struct stats *stats);
void stats_fault(struct stats *stats);
void stats_departed(struct stats *stats);
/* Where a reply's usage is booked, once it is out. */
struct usage_note {
    void *entries[4];
    uint32_t generation; /* of the statistics: a reset makes older notes void */
    uint64_t input, output, cached;
    bool reports;
};
struct usage_note stats_note(struct stats *stats, const struct ask *ask);
void stats_book(struct stats *stats, const struct usage_note *note);
void stats_write(const struct stats *stats, struct buf *out);
void stats_write_requests(const struct stats *stats, struct buf *out);

/* ---- store.c: things found again by id, the oldest forgotten ---- */
enum err store_create(struct sim_store **out, uint32_t max) NODISCARD;
void store_destroy(struct sim_store **store);
/* The value is copied. */
enum err store_put(struct sim_store *store, struct span id, struct span value, const void *extra,
                   size_t extra_len) NODISCARD;
/* false when unknown. Views until the next change. */
bool store_get(const struct sim_store *store, struct span id, struct span *value, void **extra);
bool store_remove(struct sim_store *store, struct span id);

#endif
