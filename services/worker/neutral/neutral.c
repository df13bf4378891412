#include "services/worker/neutral/neutral.h"

/* A client may invent any number of member names: the header that lists them stays short. */
enum { DROPPED_MAX = 64, DROPPED_NAME_MAX = 64 };

static bool is_header_safe(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

/* A name fit for a header value: a client's own member names hold any bytes. */
static const char *header_name(struct arena *arena, const char *name)
{
    struct span s = span_first(span_str(name), DROPPED_NAME_MAX);
    char *copy = arena_strdup(arena, s);
    for (size_t i = 0; copy && i < s.len; i++) {
        if (!is_header_safe(copy[i]))
            copy[i] = '?';
    }
    return copy;
}

static bool is_dropped(const struct neutral_request *r, const char *name)
{
    for (size_t i = 0; i < r->dropped_count; i++) {
        if (strcmp(r->dropped[i], name) == 0)
            return true;
    }
    return false;
}

static bool has_room(struct neutral_request *r)
{
    if (r->dropped_count < r->dropped_cap)
        return true;
    size_t cap = r->dropped_cap ? r->dropped_cap * 2 : 8;
    const char **grown = ARENA_ARRAY(r->arena, const char *, cap);
    if (!grown)
        return false;
    for (size_t i = 0; i < r->dropped_count; i++)
        grown[i] = r->dropped[i];
    r->dropped = grown;
    r->dropped_cap = cap;
    return true;
}

void neutral_drop(struct neutral_request *r, const char *name)
{
    const char *safe = r->dropped_count < DROPPED_MAX ? header_name(r->arena, name) : "more";
    if (safe && *safe && !is_dropped(r, safe) && has_room(r))
        r->dropped[r->dropped_count++] = safe;
}

const char *neutral_turns_name(const struct neutral_request *r)
{
    return r->api == API_OPENAI_RESPONSES ? "input" : "messages";
}

struct part *part_list_add(struct part_list *list, struct arena *arena)
{
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 1;
        struct part *grown = ARENA_ARRAY(arena, struct part, cap);
        if (!grown)
            return NULL;
        if (list->count)
            memcpy(grown, list->items, list->count * sizeof *grown);
        list->items = grown;
        list->cap = cap;
    }
    return &list->items[list->count++];
}

static void take(uint64_t *into, uint64_t from)
{
    if (from != USAGE_UNKNOWN)
        *into = from;
}

void usage_merge(struct usage *into, const struct usage *from)
{
    take(&into->input, from->input);
    take(&into->cached, from->cached);
    take(&into->cache_write, from->cache_write);
    take(&into->output, from->output);
    take(&into->reasoning, from->reasoning);
    take(&into->cache_write_1h, from->cache_write_1h);
    for (size_t i = 0; i < TARIFF_FEES; i++)
        into->calls[i] = from->calls[i] ? from->calls[i] : into->calls[i];
    into->estimated |= from->estimated;
    if (from->stated) {
        into->stated = true;
        into->stated_nano = from->stated_nano;
    }
    if (from->tier != TIER_STANDARD)
        into->tier = from->tier;
    if (from->service_tier_text.len)
        into->service_tier_text = from->service_tier_text;
}
