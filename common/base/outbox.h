/* Messages that are sent again until they are acknowledged: bounded in number, each known by a
 * request's id and an attempt. While nothing at all is acknowledged they are sent again more and
 * more seldom, so that a slow receiver is not given more to do. Knows no bus and no clock: a
 * function sends, the time is passed in. */
#ifndef COMMON_BASE_OUTBOX_H
#define COMMON_BASE_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

struct outbox;
struct outbox_item;

enum { OUTBOX_LONGEST_RESEND_MS = 30000 };

struct outbox_key {
    uint8_t id[16];
    uint8_t attempt;
};

struct outbox_spec {
    size_t max;
    bool drops_oldest;  /* at `max`: the oldest is given up; else a new one is refused */
    uint32_t resend_ms; /* doubled each time that it passes without an acknowledgement */
    unsigned batch;     /* sent in one tick, at most */
    /* ERR_CLOSED, ERR_AGAIN: nothing can be sent now; it stays due. Any other failure is the
     * item's own: it is tried again as if it had been sent. */
    enum err (*send)(void *ctx, const struct outbox_key *key, const void *payload);
    void *ctx;
};

enum err outbox_create(struct outbox **out, const struct outbox_spec *spec) NODISCARD;
/* Takes NULL, nulls. What is pending is lost. */
void outbox_destroy(struct outbox **outbox);

/* An item with room for a payload, aligned for any type, to be filled and added. NULL: no memory.
 */
struct outbox_item *outbox_item_create(size_t payload_bytes);
void *outbox_item_payload(struct outbox_item *item);

/* Owns `item` from here on, whatever it returns, and sends it once. A key that is pending already
 * stays as it is: OK. NULL is ERR_NOMEM; ERR_TOO_BIG at the bound. What is lost is counted. */
enum err outbox_add(struct outbox *o, const struct outbox_key *key, struct outbox_item *item,
                    uint64_t now_ms) NODISCARD;
/* The same, but it is sent by the next tick, in company. */
enum err outbox_add_later(struct outbox *o, const struct outbox_key *key,
                          struct outbox_item *item) NODISCARD;
/* The same, of one that is kept elsewhere too, until outbox_restored says that none of these is
 * left.
 */
enum err outbox_restore(struct outbox *o, const struct outbox_key *key,
                        struct outbox_item *item) NODISCARD;
size_t outbox_restored(const struct outbox *o);
/* Those pending that are kept nowhere else, in the order they came, until fn says false. */
void outbox_each_own(const struct outbox *o,
                     bool (*fn)(void *ctx, const struct outbox_key *key, const void *payload),
                     void *ctx);
/* It is acknowledged. false when it was not pending. */
bool outbox_acknowledge(struct outbox *o, const struct outbox_key *key);
/* Sends what could not be sent before, then again what was sent long enough ago. */
void outbox_tick(struct outbox *o, uint64_t now_ms);
/* The receiver is there again: everything is due at the next tick, and again after resend_ms. */
void outbox_due_now(struct outbox *o);
size_t outbox_pending(const struct outbox *o);
uint64_t outbox_dropped(const struct outbox *o);

#endif
