/* What the three answer writers share: who answers, what was used, why it stopped; ids made where
 * there are none. */
#ifndef SERVICES_WORKER_API_WRITER_H
#define SERVICES_WORKER_API_WRITER_H

#include "services/worker/api/rope.h"
#include "services/worker/neutral/api_ops.h"

/* The first member of every writer. */
struct answer_writer {
    struct answer_options options;
    bool stream;
    bool started;
    bool done; /* END or ERROR was written: nothing follows (exactly-once end) */
    struct span id_text, model_text; /* json text, in the arena */
    struct usage usage;
    uint64_t output_bytes; /* of text and arguments, for usage that never comes */
    enum stop_reason stop;
    struct span stop_sequence_text;
};

/* Fills the shared part. */
void writer_init(struct answer_writer *w, const struct answer_options *options);
/* Takes what every protocol treats alike: id and model of START, usage, stop. */
void writer_take(struct answer_writer *w, const struct neutral_event *e);
/* A copy in the arena; out fails when that is full. */
struct span writer_copy(struct answer_writer *w, struct span s);
/* Appends to a rope of this answer; out fails when the arena is full. */
void writer_gather(struct answer_writer *w, struct rope *rope, struct span text);
/* The answer's id with one of the prefixes in front (the first, unless it begins with one of them
 * already). A made one, of the request's id, when the upstream gave none. `prefixes` ends with
 * NULL. */
void writer_settle_id(struct answer_writer *w, const char *const *prefixes);
/* "call_" + 24 hex digits, always the same for the same request and number: writers are pure. */
struct span writer_made_id(struct answer_writer *w, const char *prefix, size_t number);
/* The in-band error of a stream; nothing in a unary answer. Ends the writer. */
void writer_error(struct answer_writer *w, const struct api_error *fault);

/* A member that is a count. */
void writer_count(struct json_writer *jw, const char *name, uint64_t count);
/* Cache-written tokens by how long they are kept, as a member; nothing where the upstream does not
 * tell them apart. */
void writer_cache_split(struct json_writer *jw, const char *name, const struct usage *u);
/* The mark of usage that the upstream did not tell; nothing where it did. */
void writer_estimated(struct json_writer *jw, const struct usage *u);
/* Usage with every gap filled: estimates for input and output, zero for the rest. */
struct usage writer_usage(const struct answer_writer *w);

/* ---- tools of an answer, by the neutral slot ---- */

struct answer_tool {
    uint32_t slot;
    bool ended;
    struct span id_text, name_text;
    struct rope args; /* unary: all of them; streams: those that wait */
    bool args_seen;
};

struct answer_tools {
    struct answer_tool *items;
    size_t count, cap;
};

/* Appends; NULL (and out fails) when the arena is full. Moves earlier ones. */
struct answer_tool *answer_tools_add(struct answer_tools *tools, struct answer_writer *w,
                                     const struct neutral_event *e);
/* The latest tool with this slot; NULL when none was begun. */
struct answer_tool *answer_tools_find(const struct answer_tools *tools, uint32_t slot);

#endif
