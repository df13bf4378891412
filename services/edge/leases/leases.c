#include "services/edge/leases/leases.h"

#include <stdlib.h>

#include "services/edge/leases/leased_keys.h"

struct key_leases {
    struct leased_keys keys;
    size_t max_models;
    lease_send send;
    void *ctx;
};

enum { NAME_MAX_BYTES = 256 };

enum err leases_create(struct key_leases **out, size_t max_models, lease_send send, void *ctx)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return ERR_NOMEM;
    **out = (struct key_leases){.max_models = max_models, .send = send, .ctx = ctx};
    return OK;
}

/* ---- what auth is told ---- */

/* A model that it holds for; SPAN_NONE: none is known any more. */
static struct span model_of(const struct leased_key *k, const struct key_lease *lease)
{
    const struct leased_model *m;
    DL_FOREACH(k->by_use, m)
    {
        if (m->lease == lease)
            return m->name;
    }
    return SPAN_NONE;
}

static bool tell(const struct key_leases *l, const struct key_lease *lease, bool ended)
{
    const struct leased_key *k = lease->owner;
    struct lease_used m = key_lease_report(lease);
    m.key_digest = span_of(k->digest, SHA256_BYTES);
    m.model = model_of(k, lease);
    m.ended = ended;
    return l->send(l->ctx, &m);
}

/* The rest goes back. false: auth cannot be told now. */
static bool end(struct key_leases *l, struct key_lease *lease)
{
    if (lease->name && !tell(l, lease, true))
        return false;
    lease_set_open(&l->keys, lease, false);
    return true;
}

void leases_tick(struct key_leases *l, uint64_t now_ms)
{
    while (l->keys.open && now_ms >= l->keys.open->expires_ms && end(l, l->keys.open))
        ;
}

void leases_tell_all(struct key_leases *l)
{
    const struct leased_key *k, *next;
    const struct key_lease *lease;
    HASH_ITER(hh, l->keys.by_digest, k, next)
    {
        DL_FOREACH(k->leases, lease)
        {
            if (lease->name && (lease->used.requests || lease->open))
                (void)tell(l, lease, !lease->open);
        }
    }
}

void leases_end(struct key_leases *l, const uint8_t key[SHA256_BYTES])
{
    const struct leased_key *k = leased_keys_find(&l->keys, key);
    struct key_lease *lease;
    if (!k)
        return;
    DL_FOREACH(k->leases, lease)
    {
        if (lease->open && lease->name)
            (void)end(l, lease);
    }
}

void leases_end_all(struct key_leases *l)
{
    while (l->keys.open) {
        (void)tell(l, l->keys.open, true);
        lease_set_open(&l->keys, l->keys.open, false);
    }
}

void leases_counted(struct key_leases *l, const uint8_t key[SHA256_BYTES],
                    const struct lease_counted *m)
{
    const struct leased_key *k = leased_keys_find(&l->keys, key);
    struct key_lease *lease;
    if (!k)
        return;
    DL_FOREACH(k->leases, lease)
    {
        if (lease->name == m->lease) {
            lease->charged.requests = m->charged;
            lease->charged.tokens = m->charged_tokens;
        }
    }
}

void leases_forget(struct key_leases *l, const uint8_t key[SHA256_BYTES])
{
    struct leased_key *k = leased_keys_find(&l->keys, key);
    if (k)
        leased_keys_drop(&l->keys, k);
}

void leases_forget_all(struct key_leases *l)
{
    while (l->keys.by_digest)
        leased_keys_drop(&l->keys, l->keys.by_digest);
}

void leases_destroy(struct key_leases **leases)
{
    if (!*leases)
        return;
    leases_forget_all(*leases);
    free(*leases);
    *leases = NULL;
}

/* ---- what auth has said ---- */

/* Of the key itself, when it has many names; else the key longest unused goes, and auth gets back
 * its leases. */
static void make_room(struct key_leases *l, struct leased_key *k)
{
    if (k->model_count > LEASE_MODELS_OF_KEY)
        leased_model_drop(&l->keys, k, k->by_use->prev);
    while (l->keys.model_count > l->max_models && l->keys.by_digest != k) {
        leases_end(l, l->keys.by_digest->digest);
        leased_keys_drop(&l->keys, l->keys.by_digest);
    }
    if (l->keys.model_count > l->max_models)
        leased_model_drop(&l->keys, k, k->by_use->prev);
}

void leases_put(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model,
                const struct allow *a, uint64_t now_ms)
{
    struct leased_key *k = model.len <= NAME_MAX_BYTES ? leased_keys_touch(&l->keys, key, a) : NULL;
    struct leased_model *m = k ? leased_model_put(&l->keys, k, model, a) : NULL;
    if (!m)
        return;
    make_room(l, k);
    k->known_until_ms = now_ms + a->known_ms;
    m->output_tokens = a->output_tokens;
    m->needs_slot = a->slots_key.len > 0;
    m->limits_ms = now_ms;
    m->limits =
        (struct limit_headers){a->limit_requests, a->remaining_requests, a->reset_requests_ms,
                               a->limit_tokens,   a->remaining_tokens,   a->reset_tokens_ms};
    if (!a->lease && !a->lease_ms)
        return; /* auth has none for it now */
    m->lease = leased_key_lease(k, a->lease);
    if (m->lease && key_lease_allowed(m->lease, a, now_ms))
        lease_set_open(&l->keys, m->lease, true);
}

/* ---- what the edge decides ---- */

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static void show(const struct leased_key *k, const struct leased_model *m, uint64_t now_ms,
                 struct lease_view *out)
{
    uint64_t passed_ms = now_ms - m->limits_ms;
    *out = (struct lease_view){.key_id = k->id,
                               .key_name = k->name,
                               .models = k->models,
                               .barred = m->barred,
                               .limits = m->limits};
    out->limits.reset_requests_ms = less(m->limits.reset_requests_ms, passed_ms);
    out->limits.reset_tokens_ms = less(m->limits.reset_tokens_ms, passed_ms);
}

/* What was leased is used up before the share of the rate. */
static enum err take_away(struct leased_model *m, bool has_slot, uint64_t tokens,
                          struct lease_moment at)
{
    struct key_lease *lease = m->lease;
    bool leased = lease->open && key_lease_has(lease, tokens);
    if (lease->name == 0 && (lease->refused || !lease->expires_ms))
        return ERR_AGAIN;
    if (m->limits.limit_tokens && tokens > m->limits.limit_tokens)
        return ERR_AGAIN; /* auth says how large it may be */
    if (m->needs_slot && !has_slot)
        return ERR_DENIED;
    return leased || lease->name == 0 || away_take(&lease->away, tokens, at.auth_down_ms, at.now_ms)
               ? OK
               : ERR_AGAIN;
}

static enum err take_leased(const struct leased_model *m, bool has_slot, uint64_t tokens,
                            uint64_t now_ms)
{
    const struct key_lease *lease = m->lease;
    if (!lease->open || now_ms >= lease->expires_ms || !key_lease_has(lease, tokens))
        return ERR_AGAIN;
    return m->needs_slot && !has_slot ? ERR_DENIED : OK;
}

enum err leases_take(struct key_leases *l, const uint8_t key[SHA256_BYTES],
                     const struct lease_request *ask, struct lease_moment at,
                     struct lease_view *out)
{
    struct leased_key *k = leased_keys_find(&l->keys, key);
    struct leased_model *m = k ? leased_model_find(k, ask->model) : NULL;
    if (!m || at.now_ms >= k->known_until_ms)
        return ERR_NOT_FOUND;
    if (!m->lease)
        return ERR_AGAIN;
    uint64_t tokens = ask->tokens + m->output_tokens * ask->answers;
    enum err e = at.auth_down_ms ? take_away(m, ask->has_slot, tokens, at)
                                 : take_leased(m, ask->has_slot, tokens, at.now_ms);
    if (e)
        return e;
    key_lease_use(m->lease, tokens);
    if (k->by_use != m) {
        DL_DELETE(k->by_use, m);
        DL_PREPEND(k->by_use, m);
    }
    m->limits.remaining_requests = less(m->limits.remaining_requests, 1);
    m->limits.remaining_tokens = less(m->limits.remaining_tokens, tokens);
    show(k, m, at.now_ms, out);
    out->reserved_tokens = tokens;
    out->uncounted = key_lease_is_ahead(m->lease);
    return OK;
}

static struct key_lease *lease_of(const struct key_leases *l, const uint8_t key[SHA256_BYTES],
                                  struct span model)
{
    const struct leased_key *k = leased_keys_find(&l->keys, key);
    const struct leased_model *m = k ? leased_model_find(k, model) : NULL;
    return m ? m->lease : NULL;
}

void leases_report(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model,
                   bool goes_on, struct authorize *out)
{
    struct key_lease *lease = lease_of(l, key, model);
    if (!lease || !lease->name)
        return;
    struct lease_used m = key_lease_report(lease);
    out->lease = m.lease;
    out->lease_used = m.used;
    out->lease_used_tokens = m.used_tokens;
    out->lease_charged = m.charged;
    out->lease_charged_tokens = m.charged_tokens;
    out->lease_ended = lease->open && !goes_on;
    if (out->lease_ended)
        lease_set_open(&l->keys, lease, false);
}

void leases_close(struct key_leases *l, const uint8_t key[SHA256_BYTES], struct span model)
{
    struct key_lease *lease = lease_of(l, key, model);
    if (!lease || lease->name)
        return;
    lease->refused = true;
    lease_set_open(&l->keys, lease, false);
}

size_t leases_count(const struct key_leases *l)
{
    return l->keys.model_count;
}
