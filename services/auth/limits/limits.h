/* All named limits of this auth, and the sets of them that one request must pass.
 *
 * A set is checked whole before anything is charged, so a refused request consumes nothing of any
 * limit. What a limit owes is saved in the store now and then and on every commit, and restored at
 * start. */
#ifndef SERVICES_AUTH_LIMITS_LIMITS_H
#define SERVICES_AUTH_LIMITS_LIMITS_H

#include "common/base/err.h"
#include "services/auth/limits/gcra.h"
#include "services/auth/limits/table.h"
#include "services/auth/limits/usage_rate.h"

enum limit_unit { LIMIT_REQUESTS, LIMIT_TOKENS };
enum { LIMIT_NAME_BYTES = 160, LIMIT_SET_MAX = 8, BOOT_ID_BYTES = 40 };

struct limit {
    struct table_node by_name;
    char name[LIMIT_NAME_BYTES]; /* "key:key_1a2b:requests/minute", "model:gpt-4" */
    const char *label; /* "key_requests", "key_tokens", "model", "key_model": metric and message */
    enum limit_unit unit;
    struct gcra gcra;
    uint64_t withheld_ns; /* see limits_give_back */
    bool shared;          /* by keys */
    bool dirty;
    struct limit *next_dirty;
    struct usage_rate used; /* share.h: lately, by all edges … */
    uint64_t told;  /* … which were told lately that they may use so much a day of it … */
    size_t told_to; /* … and are so many */
};

struct limits {
    struct table by_name;
    struct limit *dirty; /* changed since they were last saved */
};

/* What is kept of a limit. Monotonic time means something only within one boot of the machine;
 * across boots the wall clock is all there is. */
struct limit_saved {
    struct span name;
    uint64_t owed_ns;
    uint64_t mono_ns;
    uint64_t wall_ms;
    struct span boot_id;
};

void limits_init(struct limits *l);
void limits_free(struct limits *l);
/* Finds or makes it, and sets its rate, of which what it owes is kept in units; NULL without
 * memory. Lives as long as `l`. */
struct limit *limits_get(struct limits *l, struct span name, const char *label,
                         enum limit_unit unit, struct gcra_rate rate, uint64_t now_ns);
/* A limit's state from an earlier life of auth. The wall clock may have jumped: time between two
 * boots never counts as negative, and a jump forward gains one burst at most. */
enum err limits_restore(struct limits *l, const struct limit_saved *saved, uint64_t now_ns,
                        uint64_t now_wall_ms, struct span boot_id) NODISCARD;
/* What has flowed back while auth was away is withheld at first: edges may have used it, and say so
 * as soon as they are back. Now they have had the time. */
void limits_give_back(struct limits *l);
/* Takes one changed limit off the list; NULL when there are none. The name is a view. */
struct limit *limits_next_dirty(struct limits *l, uint64_t now_ns, struct limit_saved *out);
/* Its state was not saved after all. */
void limits_mark_dirty(struct limits *l, struct limit *limit);

struct limit_set {
    struct limit *limits[LIMIT_SET_MAX];
    size_t count;
};

/* Ignores NULL; false when the set is full. */
bool limit_set_add(struct limit_set *set, struct limit *limit);

/* Why a request may not run. */
struct limit_refusal {
    const struct limit *limit; /* the one to wait longest for */
    uint64_t
        wait_ns; /* until all limits have room; GCRA_NEVER: the request is larger than the burst */
};

/* Charges nothing. */
bool limit_set_check(const struct limit_set *set, uint64_t now_ns, uint64_t requests,
                     uint64_t tokens, struct limit_refusal *refusal_out);
void limit_set_charge(struct limits *l, const struct limit_set *set, uint64_t now_ns,
                      uint64_t requests, uint64_t tokens);
void limit_set_refund(struct limits *l, const struct limit_set *set, uint64_t requests,
                      uint64_t tokens);

/* Is more charged to any of them than it gives at once? */
bool limit_set_owes(const struct limit_set *set, uint64_t now_ns);
/* As if nothing had ever been charged. */
void limit_forgive(struct limits *l, struct limit *limit);

/* Of the tightest limit (the one with the least left) of each unit; all 0 when there is none. */
struct limit_view {
    uint64_t limit;
    uint64_t remaining;
    uint64_t reset_ms;
};
void limit_set_view(const struct limit_set *set, uint64_t now_ns, enum limit_unit unit,
                    struct limit_view *out);
/* Units that fit into every limit of that unit; UINT64_MAX when unlimited. */
uint64_t limit_set_remaining(const struct limit_set *set, uint64_t now_ns, enum limit_unit unit);

#endif
