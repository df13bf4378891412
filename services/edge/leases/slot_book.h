/* Slots of keys that may run so many requests at once, as far as auth has leased them to this edge:
 * how many there are, how many are in use, what auth wants back.
 *
 * Of each key two counts are kept that only grow: slots given, as auth said last, and slots
 * returned. What is given but not returned is held, used or free. A free slot is used until its
 * lease expires, auth away or not: whatever else is lost, no more requests run than slots are held,
 * and auth never believes that fewer are. Bounded. Pure: time is passed in, a function sends. */
#ifndef SERVICES_EDGE_LEASES_SLOT_BOOK_H
#define SERVICES_EDGE_LEASES_SLOT_BOOK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/crypto.h"
#include "common/base/err.h"

struct slot_book;
struct leased_slots; /* of one key */

/* Tells auth the counts of a key (SLOTS_HELD). */
typedef void (*slot_book_send)(void *ctx, const uint8_t key[SHA256_BYTES], uint64_t given,
                               uint64_t returned);

struct slot_counts {
    uint64_t given, returned;
    uint32_t used;
};

enum err slot_book_create(struct slot_book **out, size_t max_keys, slot_book_send send,
                          void *ctx) NODISCARD;
void slot_book_destroy(struct slot_book **book);

/* ALLOW: so many have been given, and the free ones may be used for so long. false: there is no
 * room for that key, and all are returned. */
bool slot_book_given(struct slot_book *b, const uint8_t key[SHA256_BYTES], uint64_t given,
                     uint32_t valid_ms, uint64_t now_ms);
/* A slot for a request; NULL: none is free. A request that auth is asked about may take one whose
 * lease has expired (`expired`): it is counted there until it is returned. */
struct leased_slots *slot_book_take(struct slot_book *b, const uint8_t key[SHA256_BYTES],
                                    bool expired, uint64_t now_ms);
/* The request is over. Nulls; takes NULL. */
void slot_book_leave(struct slot_book *b, struct leased_slots **slots, uint64_t now_ms);
/* SLOTS_BACK: returns free ones until so many are returned, and others as they fall free. It is
 * answered in any case. */
void slot_book_back(struct slot_book *b, const uint8_t key[SHA256_BYTES], uint64_t given,
                    uint64_t until, uint64_t now_ms);
/* The key is revoked, or the edge drains: the lease is over, unless ALLOW renews it. */
void slot_book_end(struct slot_book *b, const uint8_t key[SHA256_BYTES]);
void slot_book_end_all(struct slot_book *b);
/* Returns what has expired. Call a few times a second. */
void slot_book_tick(struct slot_book *b, uint64_t now_ms);
/* Tells auth, which may be another one, what is held. */
void slot_book_tell_all(struct slot_book *b);
/* For AUTHORIZE. */
struct slot_counts slot_book_counts(const struct slot_book *b, const uint8_t key[SHA256_BYTES]);
size_t slot_book_keys(const struct slot_book *b);

#endif
