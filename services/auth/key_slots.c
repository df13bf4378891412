#include <stdio.h>

#include "services/auth/admission_parts.h"

enum { CONCURRENCY_RETRY_MS = 1000 }; /* nobody knows when a running request ends */

bool key_slot_is_lacking(const struct admission *a, const struct asker *who, const struct key *key,
                         const struct authorize *ask, uint64_t now_ns)
{
    if (!key->is.concurrent)
        return false;
    if (ask->has_slot) /* unless an edge that was cut off for long has come back */
        return key->in_flight > key->is.concurrent;
    return now_ns < a->slots_from_ns || key->in_flight >= key->is.concurrent ||
           (key->waiting && !who->queued);
}

/* It waits, if a slot may come back; otherwise it is refused. */
void key_slot_await(const struct admission *a, const struct asker *who, struct verdict *v,
                    struct key *key, const struct config_model *m, const struct limit_set *set,
                    uint64_t now_ns)
{
    bool early = now_ns < a->slots_from_ns;
    v->waits = !who->overdue && (early || v->asked_again || slot_leases_elsewhere(key, who->epoch));
    if (v->waits)
        return;
    if (early) {
        refusal_deny(
            v, key, ERROR_UNAVAILABLE,
            "The requests that run at once cannot be counted at the moment. Try again shortly.");
        return;
    }
    (void)snprintf(v->message, sizeof v->message,
                   "Rate limit reached for API key '%.*s': %u concurrent requests.",
                   SPAN_ARG(key->is.name), key->is.concurrent);
    refusal_deny(v, key, ERROR_RATE_LIMITED, v->message);
    v->deny.retry_after_ms = CONCURRENCY_RETRY_MS;
    refusal_count(a, key, m, "key_concurrent");
    FILL_VIEWS(&v->deny, set, now_ns);
}

/* On lease, or for this request alone where there are no leases. One each: an edge keeps as many as
 * it has had requests at once lately. */
void key_slot_give(const struct admission *a, const struct asker *who, struct verdict *v,
                   struct key *key, struct reservation *reservation, const struct authorize *ask,
                   uint64_t now_ns)
{
    struct slot_party party = {who->edge, who->epoch, key, ask->key_digest};
    struct allow *allow = &v->allow;
    if (!key->is.concurrent || (reservation && reservation->slot))
        return;
    if ((allow->lease_ms || ask->has_slot) &&
        slot_lease_give(a->slots, &party, !ask->has_slot, now_ns + allow->lease_ms * MS_NS,
                        &allow->slots_given) == OK) {
        allow->slots_key = ask->key_digest;
        allow->slots_ms = allow->lease_ms;
    } else if (!ask->has_slot) {
        reservation_take_slot(a->reservations, reservation, now_ns, false);
    }
}
