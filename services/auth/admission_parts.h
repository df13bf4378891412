/* What admission.c is made of, for its own files. */
#ifndef SERVICES_AUTH_ADMISSION_PARTS_H
#define SERVICES_AUTH_ADMISSION_PARTS_H

#include "services/auth/admission.h"

#define MS_NS ((uint64_t)1000000)

/* ---- refusals.c: who may not, and in which words ---- */

void refusal_deny(struct verdict *v, const struct key *key, enum error_class why,
                  const char *message);
/* Each is false when there is nothing to refuse. Unknown, revoked, blocked, replaced and expired
 * keys. */
bool refusal_of_key(struct verdict *v, const struct key_secret *secret, uint64_t wall_ms);
/* One that nobody here has made, or another key. */
bool refusal_of_response(const struct admission *a, struct verdict *v, const struct key *key,
                         const struct authorize *ask);
bool refusal_of_model(struct verdict *v, const struct key *key, struct span model);
bool refusal_of_rate(const struct admission *a, struct verdict *v, const struct key *key,
                     const struct config_model *m, const struct limit_set *set, uint64_t tokens,
                     uint64_t now_ns);
void refusal_count(const struct admission *a, const struct key *key, const struct config_model *m,
                   const char *limit);

/* x-ratelimit-* for either answer: the fields have the same names in both messages. */
#define FILL_VIEWS(answer, set, now_ns)                                                            \
    do {                                                                                           \
        struct limit_view requests_, tokens_;                                                      \
        limit_set_view((set), (now_ns), LIMIT_REQUESTS, &requests_);                               \
        limit_set_view((set), (now_ns), LIMIT_TOKENS, &tokens_);                                   \
        (answer)->limit_requests = requests_.limit;                                                \
        (answer)->remaining_requests = requests_.remaining;                                        \
        (answer)->reset_requests_ms = requests_.reset_ms;                                          \
        (answer)->limit_tokens = tokens_.limit;                                                    \
        (answer)->remaining_tokens = tokens_.remaining;                                            \
        (answer)->reset_tokens_ms = tokens_.reset_ms;                                              \
    } while (0)

/* ---- key_slots.c: of keys that may run so many requests at once ---- */

bool key_slot_is_lacking(const struct admission *a, const struct asker *who, const struct key *key,
                         const struct authorize *ask, uint64_t now_ns);
/* It waits, if a slot may come back; otherwise it is refused. */
void key_slot_await(const struct admission *a, const struct asker *who, struct verdict *v,
                    struct key *key, const struct config_model *m, const struct limit_set *set,
                    uint64_t now_ns);
/* On lease, or for this request alone where there are no leases. */
void key_slot_give(const struct admission *a, const struct asker *who, struct verdict *v,
                   struct key *key, struct reservation *reservation, const struct authorize *ask,
                   uint64_t now_ns);

/* ---- fallbacks.c ---- */

/* All limits of the key and this model, and its entry. */
const struct config_model *limits_of_model(const struct admission *a, const struct key *key,
                                           struct span model, struct limit_set *set);
/* Says which fallbacks this key may not use, or that have no room. */
void fallbacks_bar(const struct admission *a, struct verdict *v, const struct key *key,
                   const struct config_model *m, const struct limit_set *asked, uint64_t now_ns);

#endif
