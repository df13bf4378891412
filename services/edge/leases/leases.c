#include "services/edge/leases/leases.h"

#include <stdlib.h>
#include <uthash.h>

struct key_lease {
    UT_hash_handle hh;
    uint32_t requests; /* left */
    bool tokens_limited;
    uint64_t tokens; /* left */
    struct lease_use used;
    uint64_t output_tokens; /* of an answer without a cap */
    bool needs_slot;
    bool unlimited;      /* the key has no limit: only the absence of auth ends it */
    bool reported;       /* auth has been told of the use, and may take back the rest */
    uint64_t expires_ms; /* of the lease */
    uint64_t known_until_ms;
    uint64_t limits_ms; /* when auth sent the limits */
    struct limit_headers limits;
    struct span key_id, key_name, models, barred; /* behind `name`, in the same block */
    size_t name_bytes;
    char name[]; /* digest and model, then the strings above */
};

/* uthash keeps the order of insertion; a used lease moves to the end, so the first is the longest
 * unused. */
struct key_leases {
    struct key_lease *by_name;
    size_t max_entries;
};

enum { NAME_MAX_BYTES = SHA256_BYTES + 256 };

enum err leases_create(struct key_leases **out, size_t max_entries)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    (*out)->max_entries = max_entries;
    return OK;
}

static void drop(struct key_leases *l, struct key_lease *lease)
{
    HASH_DEL(l->by_name, lease);
    free(lease);
}

void leases_forget_all(struct key_leases *l)
{
    struct key_lease *lease, *next;
    HASH_ITER(hh, l->by_name, lease, next)
    {
        drop(l, lease);
    }
}

void leases_destroy(struct key_leases **leases)
{
    if (!*leases)
        return;
    leases_forget_all(*leases);
    free(*leases);
    *leases = NULL;
}

/* Bytes of the name; 0 when the model is too long to be kept. */
static size_t make_name(const uint8_t key[SHA256_BYTES], struct span model,
                        char out[NAME_MAX_BYTES])
{
    if (model.len > NAME_MAX_BYTES - SHA256_BYTES)
        return 0;
    memcpy(out, key, SHA256_BYTES);
    if (model.len)
        memcpy(out + SHA256_BYTES, model.data, model.len);
    return SHA256_BYTES + model.len;
}

static struct key_lease *find(struct key_leases *l, const char *name, size_t name_bytes)
{
    struct key_lease *lease = NULL;
    HASH_FIND(hh, l->by_name, name, name_bytes, lease);
    return lease;
}

static struct span place(char **at, struct span s)
{
    struct span copy = span_of(*at, s.len);
    if (s.len)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

static struct key_lease *make(const char *name, size_t name_bytes, const struct lease_grant *g)
{
    size_t strings = g->key_id.len + g->key_name.len + g->models.len + g->barred.len;
    struct key_lease *lease = calloc(1, sizeof *lease + name_bytes + strings);
    if (!lease)
        return NULL;
    lease->name_bytes = name_bytes;
    memcpy(lease->name, name, name_bytes);
    char *at = lease->name + name_bytes;
    lease->key_id = place(&at, g->key_id);
    lease->key_name = place(&at, g->key_name);
    lease->models = place(&at, g->models);
    lease->barred = place(&at, g->barred);
    return lease;
}

static bool is_unlimited(const struct lease_grant *g)
{
    return g->requests > 0 && g->tokens == 0 && g->limits.limit_requests == 0 &&
           g->limits.limit_tokens == 0;
}

/* An answer without a lease leaves the one that is running. */
static void keep_lease(struct key_lease *lease, const struct key_lease *old)
{
    lease->requests = old->requests;
    lease->tokens_limited = old->tokens_limited;
    lease->tokens = old->tokens;
    lease->unlimited = old->unlimited;
    lease->used = old->used;
    lease->expires_ms = old->expires_ms;
}

void leases_put(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model,
                const struct lease_grant *g, uint64_t now_ms)
{
    char name[NAME_MAX_BYTES];
    size_t name_bytes = make_name(key, model, name);
    struct key_lease *lease = name_bytes ? make(name, name_bytes, g) : NULL;
    if (!lease)
        return;
    struct key_lease *old = find(l, name, name_bytes);
    lease->requests = g->requests;
    lease->tokens_limited = g->tokens > 0;
    lease->tokens = g->tokens;
    lease->expires_ms = now_ms + g->lease_ms;
    lease->unlimited = is_unlimited(g);
    lease->needs_slot = g->needs_slot;
    lease->output_tokens = g->output_tokens;
    if (g->requests == 0 && old && !old->reported)
        keep_lease(lease, old);
    lease->known_until_ms = now_ms + g->known_ms;
    lease->limits_ms = now_ms;
    lease->limits = g->limits;
    if (old)
        drop(l, old);
    else if (HASH_COUNT(l->by_name) >= l->max_entries)
        drop(l, l->by_name);
    HASH_ADD_KEYPTR(hh, l->by_name, lease->name, lease->name_bytes, lease);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static struct lease_view view(const struct key_lease *lease, uint64_t now_ms)
{
    struct lease_view v = {lease->key_id, lease->key_name, lease->models, lease->barred, 0,
                           lease->limits};
    uint64_t passed_ms = now_ms - lease->limits_ms;
    v.limits.reset_requests_ms = less(v.limits.reset_requests_ms, passed_ms);
    v.limits.reset_tokens_ms = less(v.limits.reset_tokens_ms, passed_ms);
    return v;
}

enum err leases_take(struct key_leases *l, const uint8_t key[SHA256_BYTES],
                     const struct lease_request *ask, bool auth_up, uint64_t now_ms,
                     struct lease_view *out)
{
    char name[NAME_MAX_BYTES];
    size_t name_bytes = make_name(key, ask->model, name);
    uint64_t tokens = ask->tokens;
    struct key_lease *lease = name_bytes ? find(l, name, name_bytes) : NULL;
    if (!lease || now_ms >= lease->known_until_ms)
        return ERR_NOT_FOUND;
    bool endless = lease->unlimited && !auth_up;
    uint64_t until_ms = auth_up ? lease->expires_ms : lease->known_until_ms;
    if ((lease->requests == 0 && !endless) || now_ms >= until_ms || (auth_up && lease->reported))
        return ERR_AGAIN;
    tokens += lease->output_tokens * ask->answers;
    if (lease->tokens_limited && tokens > lease->tokens)
        return ERR_AGAIN;
    if (lease->needs_slot && !ask->has_slot)
        return ERR_DENIED;
    lease->reported = false;
    if (lease->requests > 0)
        lease->requests--;
    lease->used.requests++;
    lease->used.tokens += tokens;
    if (lease->tokens_limited)
        lease->tokens -= tokens;
    lease->limits.remaining_requests = less(lease->limits.remaining_requests, 1);
    lease->limits.remaining_tokens = less(lease->limits.remaining_tokens, tokens);
    *out = view(lease, now_ms);
    out->reserved_tokens = tokens;
    return OK;
}

bool leases_end(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model,
                struct lease_use *out)
{
    char name[NAME_MAX_BYTES];
    size_t name_bytes = make_name(key, model, name);
    struct key_lease *lease = name_bytes ? find(l, name, name_bytes) : NULL;
    *out = (struct lease_use){0};
    if (!lease || lease->reported || (lease->requests == 0 && lease->used.requests == 0))
        return false;
    *out = lease->used;
    lease->reported = true;
    return true;
}

void leases_close(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model)
{
    char name[NAME_MAX_BYTES];
    size_t name_bytes = make_name(key, model, name);
    struct key_lease *lease = name_bytes ? find(l, name, name_bytes) : NULL;
    if (!lease || !lease->reported)
        return;
    lease->requests = 0;
    lease->unlimited = false;
    lease->used = (struct lease_use){0};
}

void leases_forget(struct key_leases *l, const uint8_t key[SHA256_BYTES])
{
    struct key_lease *lease, *next;
    HASH_ITER(hh, l->by_name, lease, next)
    {
        if (memcmp(lease->name, key, SHA256_BYTES) == 0)
            drop(l, lease);
    }
}

size_t leases_count(const struct key_leases *l)
{
    return HASH_COUNT(l->by_name);
}
