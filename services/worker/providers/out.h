/* Inside of providers/: how a provider's parser says its events. Keeps their order legal: nothing
 * before START but an error, nothing after END or ERROR. */
#ifndef SERVICES_WORKER_PROVIDERS_OUT_H
#define SERVICES_WORKER_PROVIDERS_OUT_H

#include "services/worker/neutral/provider.h"
#include "services/worker/providers/stop_filter.h"

/* First member of every provider's state. */
struct out {
    struct stop_filter filter; /* count 0: off */
    bool started;
    bool ended;
};

/* True while events may still come. */
static inline bool out_is_open(const struct out *o)
{
    return !o->ended && !o->filter.done;
}

void out_event(struct conversion *pc, struct out *o, const struct neutral_event *e);
/* Once; later ones are nothing. */
void out_start(struct conversion *pc, struct out *o, struct span id_text, struct span model_text,
               const struct usage *usage);
/* TEXT, REFUSAL, THINK, THINK_SIGNATURE, REDACTED; empty text is nothing. */
void out_text(struct conversion *pc, struct out *o, enum event_kind kind, struct span text);
void out_tool_begin(struct conversion *pc, struct out *o, uint32_t slot, struct span id_text,
                    struct span name_text);
/* `text`: json text of a piece of the arguments; empty is nothing. */
void out_tool_args(struct conversion *pc, struct out *o, uint32_t slot, struct span text);
/* The same for a piece that is JSON itself: white space outside of strings is removed, nothing else
 * touched. */
void out_tool_json(struct conversion *pc, struct out *o, uint32_t slot, struct json value);
void out_tool_end(struct conversion *pc, struct out *o, uint32_t slot);
/* USAGE, STOP, END. */
void out_finish(struct conversion *pc, struct out *o, const struct usage *usage,
                enum stop_reason stop, struct span stop_sequence_text);
void out_fault(struct conversion *pc, struct out *o, const struct api_error *fault);
/* A fault of a class with fixed words. */
void out_fault_class(struct conversion *pc, struct out *o, unsigned error_class,
                     const char *message);

/* The fault that an error object in a 2xx body, or in a stream, speaks of. Overwrites pc->doc. */
void out_error_body(struct conversion *pc, struct out *o, struct span body);

/* Parses what an upstream sent: invalid UTF-8 becomes U+FFFD in *repaired, which the
 * caller frees when it is done with *root_out. ERR_INVALID: no JSON. */
enum err out_parse(struct conversion *pc, struct span text, struct buf *repaired,
                   struct json *root_out) NODISCARD;

/* json text of compact JSON, appended. */
void json_append_json_text(struct buf *out, struct json value);

/* Text that grows in the arena. */
struct arena_text {
    char *data;
    size_t len, cap;
    bool failed; /* something did not fit: it has a hole */
};
bool arena_text_append(struct arena_text *t, struct arena *arena, struct span s);
static inline struct span arena_text_span(const struct arena_text *t)
{
    return span_of(t->data, t->len);
}

#endif
