/* Inside of api/: a response being written, as items. */
#ifndef SERVICES_WORKER_API_RESPONSES_ANSWER_H
#define SERVICES_WORKER_API_RESPONSES_ANSWER_H

#include "services/worker/api/custom_input.h"
#include "services/worker/api/responses.h"
#include "services/worker/api/writer.h"
#include "services/worker/neutral/args_scan.h"

enum responses_item_kind { RESPONSES_REASONING, RESPONSES_MESSAGE, RESPONSES_CALL };

struct responses_item {
    enum responses_item_kind kind;
    bool told;                  /* its beginning: it has its place in the output */
    bool closed;                /* nothing more comes */
    bool cut;                   /* by the limit of tokens */
    size_t index;               /* in the output */
    struct span id_text;        /* letters and digits */
    struct rope text;           /* of thoughts, of a message, or a call's arguments or input */
    struct span hidden;         /* REASONING: encrypted_content */
    bool has_text, has_refusal; /* MESSAGE: its parts, in this order */
    struct rope refusal;
    /* CALL */
    uint32_t slot;
    struct span call_id_text, name_text;
    const struct responses_tool *tool; /* NULL: the client gave none of this name */
    struct args_scan scan;
    struct custom_input custom;
    struct rope odd; /* all arguments of a custom tool, as long as they may be needed */
};

struct responses_writer {
    struct answer_writer base;
    uint64_t sequence;             /* of the next event */
    struct responses_item **items; /* that have their place, in its order */
    size_t told_count, item_cap;
    struct responses_item *open;   /* thoughts or a message that goes on; NULL = none */
    struct responses_item **calls; /* as they began */
    size_t call_count, call_cap;
    size_t whole_calls; /* calls before it are closed */
};

/* What the client knows the call's tool as. */
enum responses_tool_kind responses_kind_of(const struct responses_item *item);
/* The call is told whole, when it is: it has no deltas. */
bool responses_is_told_whole(const struct responses_item *item);

/* The item as it is now; before it is closed without what it will hold. */
void responses_write_item(struct responses_writer *w, struct json_writer *jw,
                          struct responses_item *item);
/* The whole response. `status`: "in_progress" has no output and no usage. */
void responses_write_object(struct responses_writer *w, struct json_writer *jw, const char *status);

/* ---- events of a stream; nothing otherwise ---- */

/* Begins one up to its own members; false when nothing is streamed. */
bool responses_begin_event(struct responses_writer *w, struct json_writer *jw, const char *type);
void responses_end_event(struct json_writer *jw);
/* "item_id" and "output_index". */
void responses_event_item(struct json_writer *jw, const struct responses_item *item);
/* response.created and the like. */
void responses_tell_object(struct responses_writer *w, const char *type, const char *status);
/* response.output_item.added, .done. */
void responses_tell_item(struct responses_writer *w, const char *type, struct responses_item *item);
/* One whose member `name` (NULL: none) is json text, of the item; content_index or summary_index,
 * if `index_name` names it, is `index`. */
void responses_tell_text(struct responses_writer *w, const char *type, struct responses_item *item,
                         const char *index_name, uint64_t index, const char *name,
                         struct span text);

/* ---- items ---- */

/* NULL (and out fails) when the arena is full. */
struct responses_item *responses_new_item(struct responses_writer *w,
                                          enum responses_item_kind kind);
/* Gives it its place in the output; once. */
void responses_tell_beginning(struct responses_writer *w, struct responses_item *item);
/* All of it; SPAN_NONE (and out fails) when the arena is full. */
struct span responses_joined(struct responses_writer *w, const struct rope *rope);

/* Behind whatever else was open. */
void responses_begin_call(struct responses_writer *w, const struct neutral_event *e);
/* The call with this neutral slot; NULL when none was begun. */
struct responses_item *responses_find_call(const struct responses_writer *w, uint32_t slot);
/* `item` may be NULL. */
void responses_add_args(struct responses_writer *w, struct responses_item *item, struct span text);
void responses_close_call(struct responses_writer *w, struct responses_item *item);
/* Whoever speaks behind calls has ended those that are whole; others may still go on. */
void responses_close_whole_calls(struct responses_writer *w);

#endif
