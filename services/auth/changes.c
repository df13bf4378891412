#include "services/auth/changes.h"

#include "common/base/log.h"
#include "services/auth/client.h"

#define MS_NS ((uint64_t)1000000)
#define DAY_MS ((uint64_t)86400000)
/* What an edge has said before it heard of a change comes within this. */
#define FORGOTTEN_NS (GCRA_SECOND)

static void tell_edges(struct auth *a, const struct revoked *m)
{
    for (struct bus_peer *p = bus_next_peer(a->d->bus, NULL); p; p = bus_next_peer(a->d->bus, p)) {
        struct auth_client *c = client_of(p);
        if (c && c->is_edge && bus_send(p, (struct header){0}, MESSAGE_REVOKED, m))
            log_warn("revoke_not_sent", LSTR("edge", bus_peer_name(p)));
    }
}

/* What an edge knows of a key it knows by the secret that was shown. One that this life of auth has
 * not seen an edge can know from an earlier life only: for as long as that holds, it forgets all.
 */
static void push_changed(struct auth *a, const struct key *key, bool ends_requests)
{
    struct revoked m = {.key_id = ends_requests ? key->is.id : SPAN_NONE};
    uint64_t known_ns = a->d->config->options.auth_known * MS_NS;
    bool young = auth_now(a).now_ns < a->started_ns + known_ns;
    bool told = false;
    for (size_t i = 0; i < KEY_SECRETS; i++) {
        const struct key_secret *s = &key->secrets[i];
        if (!s->used || !(s->digest_known || young))
            continue;
        m.key_digest = s->digest_known ? span_of(s->digest, SHA256_BYTES) : SPAN_NONE;
        tell_edges(a, &m);
        told = true;
    }
    if (!told && ends_requests)
        tell_edges(a, &m);
}

void changes_tell_edge(const struct auth *a, struct bus_peer *edge)
{
    uint64_t now_ms = auth_now(a).wall_ms, back_ms = a->d->config->options.auth_known + DAY_MS;
    uint64_t since_ms = now_ms > back_ms ? now_ms - back_ms : 1;
    if (keys_last_changed_ms(a->keys) < since_ms)
        return;
    /* leases go by digests, which this life of auth may not have seen: all of them */
    enum err e = bus_send(edge, (struct header){0}, MESSAGE_REVOKED, &(struct revoked){0});
    for (const struct key *k = keys_first(a->keys); k && !e; k = k->next) {
        struct revoked one = {.key_id = k->is.id};
        if (k->is.revoked_ms >= since_ms || k->is.blocked_ms >= since_ms)
            e = bus_send(edge, (struct header){0}, MESSAGE_REVOKED, &one);
    }
    if (e)
        log_warn("revoke_not_sent", LSTR("edge", bus_peer_name(edge)));
}

enum err changes_on_changed(void *ctx, struct key *key, const struct key_attributes *change,
                            unsigned fields)
{
    struct auth *a = ctx;
    bool ends = (fields & KEY_REVOKED) || ((fields & KEY_BLOCKED) && change->blocked_ms);
    bool at_edges = (fields & ~(unsigned)(KEY_NAME | KEY_TAGS)) != 0; /* those two, auth applies */
    log_info(fields & KEY_REVOKED ? "key_revoked" : "key_changed", LSPAN("key_id", key->is.id),
             LSPAN("key_name", key->is.name), LU64("fields", fields));
    if (at_edges) {
        push_changed(a, key, ends); /* by the secrets that edges know it by */
        lease_forget_key(&a->leases, key);
        key->leases_from_ns = auth_now(a).now_ns + FORGOTTEN_NS;
    }
    enum err e = keys_change(a->keys, key, change, fields, auth_now(a).now_ns);
    waiting_decide_key(&a->waiting, key, auth_now(a));
    return e;
}

void changes_on_deleted(void *ctx, struct key *key)
{
    struct auth *a = ctx;
    log_info("key_deleted", LSPAN("key_id", key->is.id), LSPAN("key_name", key->is.name));
    push_changed(a, key, true);
    key->is.revoked_ms = 1; /* who waits for it is refused */
    waiting_decide_key(&a->waiting, key, auth_now(a));
    lease_forget_key(&a->leases, key);
    slot_leases_forget_key(&a->slots, key);
    reservations_forget_key(&a->reservations, key);
    keys_delete(a->keys, &key, auth_now(a).wall_ms);
}
