/* What auth says to edges about their requests: ALLOW and DENY, at once or after a wait for a slot,
 * and SLOTS_BACK. */
#ifndef SERVICES_AUTH_ANSWERS_H
#define SERVICES_AUTH_ANSWERS_H

#include "services/auth/auth.h"

void answers_init(struct auth *a);
void answers_free(struct auth *a);
/* The keys are loaded: edges of an earlier life of auth are given time to say what they hold. */
void answers_await_edges(struct auth *a);
void answers_on_authorize(struct auth *a, struct bus_peer *from, const struct bus_message *m);
void answers_on_lease_used(struct auth *a, struct bus_peer *from, const struct bus_message *m);
/* The key has been charged: if that was more than its limits give, its leases end. */
void answers_on_charged(struct auth *a, const struct key *key);
void answers_on_slots_held(struct auth *a, struct bus_peer *from, const struct bus_message *m);
void answers_on_edge_up(struct auth *a, struct bus_peer *edge);
void answers_on_edge_down(struct auth *a, struct bus_peer *edge);
/* A request has ended, and its slot may be free. `key_id` is empty: it was never allowed. */
void answers_on_ended(struct auth *a, const struct request_id *id, struct span key_id);
/* Call a few times a second. */
void answers_tick(struct auth *a);

#endif
