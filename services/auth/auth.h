/* Everything an auth daemon holds, put together and taken apart; main.c speaks for it on the bus.
 */
#ifndef SERVICES_AUTH_AUTH_H
#define SERVICES_AUTH_AUTH_H

#include "common/runtime/daemon.h"
#include "services/auth/admin/admin.h"
#include "services/auth/admission.h"
#include "services/auth/ledger/ledger.h"
#include "services/auth/ledger/writer.h"
#include "services/auth/waiting.h"

struct auth {
    struct daemon *d;
    struct limits limits;
    struct leases leases;
    struct slot_leases slots;
    struct waiting waiting;
    struct reservations reservations;
    struct stored_responses responses; /* whose they are, as the ledger knows */
    struct keys *keys;
    struct prices prices;
    struct outputs outputs;
    struct admission admission;
    struct ledger ledger;
    struct writer *writer;
    struct admin *admin;
    struct loop_timer tick, prune, wait;
    uint64_t started_ns, next_probe_ns;
    uint64_t give_back_ns; /* 0: limits have got back what was withheld */
    char boot_id[BOOT_ID_BYTES];
    size_t edges; /* connected */
};

enum err auth_start(struct auth *a, struct daemon *d) NODISCARD;
/* Finishes what was taken in, acknowledgements and all. */
void auth_stop(struct auth *a);
/* d->config has been replaced. */
void auth_reload(struct auth *a);
static inline struct moment auth_now(const struct auth *a)
{
    return (struct moment){loop_now_us(a->d->loop) * 1000, clock_wall_ms(loop_clock(a->d->loop))};
}

#endif
