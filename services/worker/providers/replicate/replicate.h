/* Inside of providers/: the parts of provider_replicate. */
#ifndef SERVICES_WORKER_PROVIDERS_REPLICATE_REPLICATE_H
#define SERVICES_WORKER_PROVIDERS_REPLICATE_REPLICATE_H

#include "services/worker/providers/out.h"

struct replicate_state {
    struct out out;
    /* how the model is addressed */
    struct span owner, name, version;
    bool deployment;
    struct span schemas; /* components.schemas of the version */
    /* the transfer under way, by what it is for */
    const struct transfer *lookup, *create, *stream;
    struct span id; /* of the prediction: bytes */
    bool over;      /* it needs no cancelling any more */
    bool cancelled;
    int64_t asked_max;      /* output tokens asked for; 0 = the model's own */
    struct arena_text sent; /* output given out already: bytes */
    uint64_t wait_ms;       /* between polls */
};

/* ---- request ---- */

/* The conversation as texts. */
struct replicate_turn {
    bool assistant;
    struct arena_text text; /* bytes */
};
struct replicate_talk {
    struct arena_text system; /* bytes */
    struct replicate_turn *turns;
    size_t count;
    const struct part **images; /* of the last turn */
    size_t image_count;
};
/* ERR_INVALID with the fault: something in it is no text. */
enum err replicate_read_talk(struct conversion *pc, struct replicate_talk *out,
                             struct api_error *fault_out) NODISCARD;

/* An input being written. */
struct replicate_builder {
    struct conversion *pc;
    struct neutral_request *r;
    struct replicate_state *s;
    struct json schemas, properties;
    struct json_writer w;
    struct api_error *fault;
    struct replicate_talk talk;
};
enum err replicate_refuse(struct replicate_builder *b, unsigned error_class, const char *message,
                          const char *param);
/* A member of the model's Input by name. */
struct json replicate_property(const struct replicate_builder *b, const char *name);
bool replicate_has(const struct replicate_builder *b, const char *name);
/* The first of the names (ends with NULL) that the model has; NULL when it has none. */
const char *replicate_first_of(const struct replicate_builder *b, const char *const *names);

/* Members that are numbers, words and stop sequences, in the model's own names and bounds. */
void replicate_write_max_out(struct replicate_builder *b);
void replicate_write_sampling(struct replicate_builder *b);
void replicate_write_effort(struct replicate_builder *b);
/* What can't be sent is enforced on the answer. */
enum err replicate_write_stop(struct replicate_builder *b);

/* {"input":…} for the model, as its schema allows. */
enum err replicate_write_body(struct conversion *pc, struct replicate_state *s, struct buf *out,
                              struct api_error *fault_out) NODISCARD;

struct replicate_prompt {
    struct buf prompt;  /* bytes */
    bool templated;     /* prompt_template must be "{prompt}" */
    bool system_inside; /* the system text is part of the prompt */
};
/* One prompt of the conversation. */
void replicate_write_prompt(struct conversion *pc, const struct replicate_talk *talk,
                            bool takes_system, bool takes_template, struct replicate_prompt *out);
/* Appends bytes without the special tokens of the model's family. */
void replicate_append_clean(struct buf *out, struct span model, struct span text);

/* ---- answer ---- */

/* Emits what a prediction object says, or asks for the next step. ERR_INVALID: it is none. */
enum err replicate_take_prediction(struct conversion *pc, struct replicate_state *s,
                                   struct json prediction, bool created) NODISCARD;
enum err replicate_parse_event(struct conversion *pc, const struct transfer *x,
                               const struct sse_event *e);
enum err replicate_parse_end(struct conversion *pc, const struct transfer *x);

/* ---- transfers ---- */

/* start + "/segment…" percent-encoded + end, in the arena; empty when that is full. */
struct span replicate_path(struct conversion *pc, const char *start, const struct span *segments,
                           size_t count, const char *end);
/* The transfer that is to be made next; NULL when the arena is full. */
struct transfer *replicate_ask(struct conversion *pc, const char *method, struct span at);
/* GET of the prediction; ERR_NOMEM. */
enum err replicate_ask_prediction(struct conversion *pc, struct replicate_state *s) NODISCARD;
/* POST …/cancel, detached, once; nothing when there is nothing to cancel. */
void replicate_ask_cancel(struct conversion *pc, struct replicate_state *s);
/* May the stream's URL be asked, with our token? */
bool replicate_stream_is_safe(const struct conversion *pc, struct span url);

#endif
