#include "services/auth/limits/limits.h"

#include <stdio.h>
#include <stdlib.h>

void limits_init(struct limits *l)
{
    *l = (struct limits){0};
}

static void free_limit(void *ctx, struct table_node *node)
{
    (void)ctx;
    free(TABLE_OWNER(node, struct limit, by_name));
}

void limits_free(struct limits *l)
{
    size_t cursor = 0;
    table_sweep(&l->by_name, &cursor, l->by_name.size, free_limit, NULL);
    table_free(&l->by_name);
    *l = (struct limits){0};
}

static struct limit *find_or_make(struct limits *l, struct span name)
{
    uint64_t hash = table_hash(0, name);
    for (struct table_node *n = table_first(&l->by_name, hash); n; n = table_next(n)) {
        struct limit *limit = TABLE_OWNER(n, struct limit, by_name);
        if (span_is(name, limit->name))
            return limit;
    }
    if (name.len >= LIMIT_NAME_BYTES)
        return NULL;
    struct limit *limit = calloc(1, sizeof *limit);
    if (!limit)
        return NULL;
    memcpy(limit->name, name.data, name.len);
    limit->label = "";
    if (table_add(&l->by_name, &limit->by_name, hash)) {
        free(limit);
        return NULL;
    }
    return limit;
}

struct limit *limits_get(struct limits *l, struct span name, const char *label,
                         enum limit_unit unit, struct gcra_rate rate, uint64_t now_ns)
{
    struct limit *limit = find_or_make(l, name);
    if (!limit)
        return NULL;
    limit->label = label;
    limit->shared = strcmp(label, "model") == 0;
    limit->unit = unit;
    gcra_set_rate(&limit->gcra, now_ns, rate);
    return limit;
}

enum err limits_restore(struct limits *l, const struct limit_saved *saved, uint64_t now_ns,
                        uint64_t now_wall_ms, struct span boot_id)
{
    struct limit *limit = find_or_make(l, saved->name);
    if (!limit)
        return ERR_NOMEM;
    uint64_t passed_ns = 0;
    if (span_equals(saved->boot_id, boot_id)) {
        passed_ns = now_ns > saved->mono_ns ? now_ns - saved->mono_ns : 0;
    } else if (now_wall_ms > saved->wall_ms) {
        uint64_t passed_ms = now_wall_ms - saved->wall_ms;
        passed_ns = passed_ms > UINT64_MAX / 1000000 ? UINT64_MAX : passed_ms * 1000000;
    }
    limit->gcra.full_ns = saved->owed_ns ? now_ns + saved->owed_ns : 0;
    limit->withheld_ns = saved->owed_ns < passed_ns ? saved->owed_ns : passed_ns;
    return OK;
}

static void give_back(void *ctx, struct table_node *node)
{
    struct limit *limit = TABLE_OWNER(node, struct limit, by_name);
    uint64_t back_ns = limit->withheld_ns;
    if (!back_ns)
        return;
    limit->withheld_ns = 0;
    limit->gcra.full_ns = limit->gcra.full_ns > back_ns ? limit->gcra.full_ns - back_ns : 0;
    limits_mark_dirty(ctx, limit);
}

void limits_give_back(struct limits *l)
{
    size_t cursor = 0;
    table_sweep(&l->by_name, &cursor, l->by_name.size, give_back, l);
}

void limits_mark_dirty(struct limits *l, struct limit *limit)
{
    if (limit->dirty)
        return;
    limit->dirty = true;
    limit->next_dirty = l->dirty;
    l->dirty = limit;
}

static uint64_t true_debt_ns(const struct limit *limit, uint64_t now_ns)
{
    uint64_t owed_ns = gcra_reset_ns(&limit->gcra, now_ns);
    return owed_ns > limit->withheld_ns ? owed_ns - limit->withheld_ns : 0;
}

struct limit *limits_next_dirty(struct limits *l, uint64_t now_ns, struct limit_saved *out)
{
    struct limit *limit = l->dirty;
    if (!limit)
        return NULL;
    l->dirty = limit->next_dirty;
    limit->next_dirty = NULL;
    limit->dirty = false;
    *out = (struct limit_saved){
        .name = span_str(limit->name), .owed_ns = true_debt_ns(limit, now_ns), .mono_ns = now_ns};
    return limit;
}

bool limit_set_add(struct limit_set *set, struct limit *limit)
{
    if (!limit)
        return true;
    if (set->count == LIMIT_SET_MAX)
        return false;
    set->limits[set->count++] = limit;
    return true;
}

static uint64_t units_of(const struct limit *limit, uint64_t requests, uint64_t tokens)
{
    return limit->unit == LIMIT_REQUESTS ? requests : tokens;
}

bool limit_set_check(const struct limit_set *set, uint64_t now_ns, uint64_t requests,
                     uint64_t tokens, struct limit_refusal *refusal_out)
{
    *refusal_out = (struct limit_refusal){0};
    for (size_t i = 0; i < set->count; i++) {
        const struct limit *limit = set->limits[i];
        uint64_t wait = gcra_wait_ns(&limit->gcra, now_ns, units_of(limit, requests, tokens));
        if (wait > refusal_out->wait_ns)
            *refusal_out = (struct limit_refusal){limit, wait};
    }
    return refusal_out->limit == NULL;
}

void limit_set_charge(struct limits *l, const struct limit_set *set, uint64_t now_ns,
                      uint64_t requests, uint64_t tokens)
{
    for (size_t i = 0; i < set->count; i++) {
        struct limit *limit = set->limits[i];
        uint64_t units = units_of(limit, requests, tokens);
        if (units == 0)
            continue;
        gcra_charge(&limit->gcra, now_ns, units);
        limits_mark_dirty(l, limit);
    }
}

void limit_set_refund(struct limits *l, const struct limit_set *set, uint64_t requests,
                      uint64_t tokens)
{
    for (size_t i = 0; i < set->count; i++) {
        struct limit *limit = set->limits[i];
        uint64_t units = units_of(limit, requests, tokens);
        if (units == 0)
            continue;
        gcra_refund(&limit->gcra, units);
        limits_mark_dirty(l, limit);
    }
}

bool limit_set_owes(const struct limit_set *set, uint64_t now_ns)
{
    for (size_t i = 0; i < set->count; i++) {
        if (gcra_owes(&set->limits[i]->gcra, now_ns))
            return true;
    }
    return false;
}

void limit_forgive(struct limits *l, struct limit *limit)
{
    limit->gcra.full_ns = limit->withheld_ns = 0;
    limits_mark_dirty(l, limit);
}

void limit_set_view(const struct limit_set *set, uint64_t now_ns, enum limit_unit unit,
                    struct limit_view *out)
{
    *out = (struct limit_view){0};
    for (size_t i = 0; i < set->count; i++) {
        const struct limit *limit = set->limits[i];
        if (limit->unit != unit || limit->gcra.rate.count == 0)
            continue;
        uint64_t remaining = gcra_remaining(&limit->gcra, now_ns);
        if (out->limit && remaining >= out->remaining)
            continue;
        out->limit = limit->gcra.rate.count;
        out->remaining = remaining;
        out->reset_ms = (gcra_reset_ns(&limit->gcra, now_ns) + 999999) / 1000000;
    }
}

uint64_t limit_set_remaining(const struct limit_set *set, uint64_t now_ns, enum limit_unit unit)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < set->count; i++) {
        const struct limit *limit = set->limits[i];
        if (limit->unit != unit)
            continue;
        uint64_t remaining = gcra_remaining(&limit->gcra, now_ns);
        if (remaining < least)
            least = remaining;
    }
    return least;
}
