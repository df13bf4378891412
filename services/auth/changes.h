/* A key has been changed or deleted, durably: what this daemon and the edges know of it follows at
 * once. */
#ifndef SERVICES_AUTH_CHANGES_H
#define SERVICES_AUTH_CHANGES_H

#include "services/auth/auth.h"

/* For struct admin_host; ctx is the struct auth. */
enum err changes_on_changed(void *ctx, struct key *key, const struct key_attributes *change,
                            unsigned fields) NODISCARD;
void changes_on_deleted(void *ctx, struct key *key);
/* Tells an edge that was away which keys have been changed so lately that it may still know them as
 * they were, or serve requests of theirs. */
void changes_tell_edge(const struct auth *a, struct bus_peer *edge);

#endif
