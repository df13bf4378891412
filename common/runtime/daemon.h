/* The life of a daemon: options → config → log → signals → bus and HELLO → start → ready → loop →
 * SIGTERM: refuse new, drain to the deadline → stop → exit code. One skeleton for all of them. */
#ifndef COMMON_RUNTIME_DAEMON_H
#define COMMON_RUNTIME_DAEMON_H

#include "common/runtime/bus/bus.h"
#include "common/runtime/config/config.h"
#include "common/runtime/helper.h"
#include "common/runtime/metric.h"

/* What daemon_main hands to a daemon; valid from start to stop. */
struct daemon {
    struct loop *loop;
    struct bus *bus;
    const struct config *config; /* replaced before reload() is called */
    struct metric_client *metrics;
    struct helper *helper; /* for work that would hold the loop up */
    const char *name;      /* "edge-1" */
    const char *run_dir;
    const char *state_dir;
    struct bus_peer **brokers; /* connected ones, in the configuration's order; NULL where
                                  spec->connects lacks them */
    size_t broker_count;
    struct bus_peer *auth;
    struct bus_peer *metrics_peer;
    bool draining;
};

enum { DAEMON_LAST_WORDS_MS = 1000 };
enum daemon_links { LINK_BROKERS = 1, LINK_AUTH = 2, LINK_METRICS = 4 };

/* A command line option of one daemon beyond the common ones. */
struct daemon_option {
    const char *name; /* "provider": --provider VALUE */
    const char *help;
    const char **value; /* where it goes */
};

struct daemon_spec {
    const char *program;                 /* "tollgate-edge" */
    const char *role;                    /* "edge" */
    const char *summary;                 /* for --help */
    const struct daemon_option *options; /* ends with a NULL name; may be NULL */
    unsigned connects;                   /* daemon_links */
    bool keeps_state;                    /* its state directory is made and checked */
    bool binds;                          /* binds bus.bind, else its own address (own_address.h) */
    uint32_t max_message_bytes;          /* of others; 0 = the bus's own bound */
    const char *const *provider; /* workers: where the provider's name is after option parsing */
    enum err (*start)(void *self, struct daemon *d);
    /* Beside the loop, before reload(): reads what it needs of the file at `path`; may be NULL. */
    void (*prepare)(void *self, const char *path);
    void (*reload)(void *self); /* d->config has just been swapped; may be NULL */
    /* A reload found an option changed that only a start takes, or changed back; beside the log and
     * the metric. May be NULL. */
    void (*restart_needed)(void *self, const char *option, bool waits);
    void (*drain)(void *self);   /* SIGTERM: take no more; may be NULL */
    bool (*drained)(void *self); /* nothing left? asked every turn while draining; may be NULL */
    /* Beside runtime.drain_timeout; may be NULL. */
    uint64_t (*drain_extra_ms)(void *self);
    /* The time to drain is over, or somebody asks again: end what still runs, and say so to those
     * who wait for it. The daemon stops when it is drained then, or after DAEMON_LAST_WORDS_MS.
     * NULL: it stops at once. */
    void (*cut_short)(void *self);
    void (*stop)(void *self);
    bus_handler handlers[MESSAGE_TYPES];
    const char *senders[MESSAGE_TYPES]; /* of each: see bus.h */
    const char *callers;                /* roles that may connect: "edge worker" */
    void (*on_peer_up)(void *self, struct bus_peer *peer);
    void (*on_peer_down)(void *self, struct bus_peer *peer);
    uint32_t (*queued)(void *self, const struct bus_peer *peer); /* what PONG reports to it */
};

/* Common command line: --config FILE, --name NAME, --run-dir DIR, --state-dir DIR, --log-level,
 * --log-format,
 * --version, --help. Exit codes: 0 stopped cleanly, 1 failed, 2 usage, 78 (EX_CONFIG) bad
 * configuration. Prints "READY=1" to $NOTIFY_SOCKET (systemd) and logs event=ready when start has
 * succeeded. */
int daemon_main(const struct daemon_spec *spec, void *self, int argc, char **argv);

#endif
