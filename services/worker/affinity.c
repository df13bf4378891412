#include "services/worker/affinity.h"

#include <stdlib.h>

#include "common/base/json.h"

enum { WAYS = 4 };

struct affinity_entry {
    uint64_t hash; /* 0 = empty */
    uint32_t lane;
    uint32_t age; /* the set's clock when it was remembered */
};

void affinity_free(struct affinity *a)
{
    free(a->entries);
    a->entries = NULL;
}

/* FNV-1a, finished so that its low bits depend on all. Ids are the provider's, so a client gains
 * nothing by a collision but a wrong lane for its own request. */
static uint64_t hash_of(struct span id)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < id.len; i++)
        h = (h ^ (unsigned char)id.data[i]) * 0x100000001b3;
    h ^= h >> 32;
    return h ? h : 1;
}

static struct affinity_entry *set_of(const struct affinity *a, uint64_t hash)
{
    return &a->entries[hash % (AFFINITY_ENTRIES / WAYS) * WAYS];
}

void affinity_remember(struct affinity *a, struct span id, unsigned lane)
{
    if (id.len == 0)
        return;
    if (!a->entries)
        a->entries = calloc(AFFINITY_ENTRIES, sizeof *a->entries);
    if (!a->entries)
        return;
    uint64_t hash = hash_of(id);
    struct affinity_entry *set = set_of(a, hash), *at = &set[0];
    uint32_t newest = 0;
    for (unsigned i = 0; i < WAYS; i++) {
        newest = set[i].age > newest ? set[i].age : newest;
        if (set[i].age < at->age)
            at = &set[i];
    }
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].hash == hash)
            at = &set[i];
    *at = (struct affinity_entry){hash, lane, newest + 1};
}

bool affinity_find(const struct affinity *a, struct span id, unsigned *lane_out)
{
    if (!a->entries || id.len == 0)
        return false;
    uint64_t hash = hash_of(id);
    const struct affinity_entry *set = set_of(a, hash);
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].hash == hash) {
            *lane_out = set[i].lane;
            return true;
        }
    }
    return false;
}

struct span affinity_response_id(struct span path, struct span body)
{
    struct span id = SPAN_NONE;
    path = span_first(path, span_find(path, '?'));
    if (span_starts(path, "/responses/")) {
        struct span rest = span_skip(path, strlen("/responses/"));
        return span_cut(&rest, '/');
    }
    /* Parsed only when the word is there at all. */
    if (span_find_span(body, SPAN("\"previous_response_id\"")) == body.len)
        return SPAN_NONE;
    struct json_doc doc = {0};
    if (json_parse(&doc, body, JSON_DEPTH_CLIENT) == OK)
        id = json_text(json_get(json_root(&doc), "previous_response_id"));
    json_doc_free(&doc);
    return id;
}
