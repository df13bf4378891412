/* What the request readers share: members of an object by table, and faults that name the member
 * they speak of. A member that is null is absent (docs/wire.md, Requests); one of a wrong type is
 * refused, never coerced; one that no table knows is kept as an extra (top level) or named as
 * dropped (deeper). */
#ifndef SERVICES_WORKER_API_READ_H
#define SERVICES_WORKER_API_READ_H

#include "services/worker/neutral/neutral.h"

struct reader {
    struct neutral_request *out;
    struct arena *arena;
    struct api_error *fault;
    size_t turn_cap;
    size_t tool_calls; /* so far, in all messages */
};

/* Where in the body a value stands: a chain of stack frames, turned into text only when something
 * is wrong. */
struct where {
    const struct where *up; /* NULL at the top */
    const char *name;       /* a member; NULL for an element of an array */
    size_t index;
};

/* Sets the fault, `param` from `at`; returns ERR_INVALID. The message comes from a printf format.
 */
enum err read_fault(struct reader *r, const struct where *at, unsigned error_class,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));
/* "'messages[0].content' must be a string, not an object." */
enum err read_wrong_type(struct reader *r, const struct where *at, struct json v,
                         const char *expected);

typedef enum err (*member_fn)(struct reader *r, const struct where *at, struct json v, void *into);

enum member_kind {
    MEMBER_KNOWN,  /* read elsewhere */
    MEMBER_TEXT,   /* a string; struct span: json text */
    MEMBER_NUMBER, /* struct span: verbatim */
    MEMBER_BOOL,   /* bool */
    MEMBER_FLAG,   /* a boolean; struct span: verbatim */
    MEMBER_OBJECT, /* struct span: verbatim */
    MEMBER_JSON,   /* any value; struct span: verbatim */
    MEMBER_FN      /* by the function */
};

struct member {
    const char *name;
    enum member_kind kind;
    size_t offset; /* in *into */
    member_fn fn;
    bool required;
};

enum { MEMBERS_MAX = 64 };

/* An object's members, read in the table's order. */
struct shape {
    const char *path; /* "messages": what dropped members' names start with; NULL: unknown ones
                         become extras */
    const struct member *members;
    size_t count;
};

#define SHAPE(path, members)                                                                       \
    {                                                                                              \
        (path), (members), sizeof(members) / sizeof((members)[0])                                  \
    }

/* ERR_INVALID (fault set) unless v is an object of this shape. */
enum err read_object(struct reader *r, const struct where *at, struct json v,
                     const struct shape *shape, void *into) NODISCARD;
/* Calls fn for every element. */
enum err read_array(struct reader *r, const struct where *at, struct json v, member_fn fn,
                    void *into) NODISCARD;
/* A string's json text. */
enum err read_text(struct reader *r, const struct where *at, struct json v,
                   struct span *out) NODISCARD;
/* An integer in [min, max]. */
enum err read_integer(struct reader *r, const struct where *at, struct json v, int64_t min,
                      int64_t max, int64_t *out) NODISCARD;
/* One string, or an array of them; member_fn for struct span * and size_t * of the request's stop
 * list. */
enum err read_stop_string_or_array(struct reader *r, const struct where *at, struct json v,
                                   void *into);
enum err read_stop_array(struct reader *r, const struct where *at, struct json v, void *into);
/* member_fns that fill the request (`into` is it). */
enum err read_ignored_text(struct reader *r, const struct where *at, struct json v, void *into);

/* These members must not come twice: gateway and provider must not disagree on them. `names` ends
 * with NULL. */
enum err read_refuse_doubled(struct reader *r, struct json body,
                             const char *const *names) NODISCARD;

/* Room for so many more, exactly: what a body makes of memory stays a small multiple of its size.
 * False when the arena is full. */
bool read_reserve_turns(struct reader *r, size_t more);
bool read_reserve_parts(struct reader *r, struct part_list *list, size_t more);
/* A zeroed turn at the end of the request's list; NULL when the arena is full. Moves earlier turns.
 */
struct turn *read_add_turn(struct reader *r, enum role role, size_t index);
/* A part at the end of the list. */
struct part *read_add_part(struct reader *r, struct part_list *list, enum part_kind kind);
/* The fault for an arena that is full; returns ERR_INVALID. */
enum err read_too_large(struct reader *r);

/* bytes → json text in the arena. */
struct span read_to_text(struct reader *r, struct span bytes);
/* json text → bytes in the arena (a view when nothing is escaped). */
struct span read_to_bytes(struct reader *r, struct span text);

/* Of one request at most. */
enum { TOOLS_MAX = 128, MESSAGES_MAX = 100000, TOOL_CALLS_MAX = 100000, STOPS_MAX = 256 };
/* One more call of a tool in the history. ERR_INVALID: one too many. */
enum err read_count_tool_call(struct reader *r, const struct where *at) NODISCARD;
/* [A-Za-z0-9_-]{1,max}. */
enum err read_check_tool_name(struct reader *r, const struct where *at, struct span name,
                              size_t max) NODISCARD;
/* TOOLS_NAMED names one of the tools. */
enum err read_check_tool_choice(struct reader *r, const struct where *at) NODISCARD;

#endif
