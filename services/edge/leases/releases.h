/* RELEASE messages that auth has not acknowledged yet: kept and sent again until RELEASED, bounded
 * in number; over the end of the edge in its state directory. Knows no bus: a function sends, the
 * fake clock turns. */
#ifndef SERVICES_EDGE_LEASES_RELEASES_H
#define SERVICES_EDGE_LEASES_RELEASES_H

#include "common/base/err.h"
#include "proto/message.h"

struct releases;

/* Sends one; returns what bus_send does. */
typedef enum err (*release_send)(void *ctx, struct header h, const struct release *r);

/* One waits for company: releases_tick is to be called within RELEASE_GATHER_MS. */
typedef void (*release_gather)(void *ctx);

/* release.uncounted: by whom auth hears of what it has not charged. */
enum { RELEASE_TOLD_BY_LEASE = 1, RELEASE_TOLD_ALONE = 2 };
enum { RELEASE_GATHER_MS = 15 };
enum { RELEASE_RESEND_MS = 1000, RELEASE_MAX_PENDING = 100000, RELEASE_BATCH = 512 };

enum err releases_create(struct releases **out, size_t max_pending, release_send send,
                         release_gather gather, void *ctx) NODISCARD;
void releases_destroy(struct releases **releases);
/* What is owed at the end is kept in this directory (`epoch` names this life), and what other lives
 * have left there is sent from there. */
void releases_spool(struct releases *l, const char *state_dir, uint64_t epoch);
/* The end: keeps what is not acknowledged. */
void releases_keep(struct releases *l);

/* Keeps a copy. `attempt` is the last one that a SETTLE may come of. It waits for company, unless
 * auth waits for it (`urgent`): then it goes at once, and takes those along that wait. At the bound
 * the oldest one is given up (counted): auth then books by itself. */
void releases_add(struct releases *l, const struct request_id *id, uint8_t attempt,
                  const struct release *r, bool urgent, uint64_t now_ms);
/* RELEASED came. */
void releases_ack(struct releases *l, const struct request_id *id, uint8_t attempt);
/* Sends again what was last sent RELEASE_RESEND_MS ago, or longer while auth acknowledges nothing;
 * at most RELEASE_BATCH of them. Call it a few times a second. */
void releases_tick(struct releases *l, uint64_t now_ms);
/* auth is there again: everything is due now. */
void releases_due_now(struct releases *l);
size_t releases_pending(const struct releases *l);
uint64_t releases_dropped(const struct releases *l);

#endif
