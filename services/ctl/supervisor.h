/* Starts the children, waits until all are ready, keeps them alive, restarts those it is told to,
 * and takes them down in order. */
#ifndef SERVICES_CTL_SUPERVISOR_H
#define SERVICES_CTL_SUPERVISOR_H

#include "common/runtime/loop.h"
#include "services/ctl/child.h"

enum { START_TIMEOUT_MS = 20000, HURRY_MS = 3000 /* for one stage, once we were asked twice */ };

struct supervisor_spec {
    const char *run_dir;      /* the socket on which children say READY=1 is made here */
    unsigned stop_timeout_ms; /* for one stage; then SIGKILL */
    /* All are ready for the first time; may call supervisor_stop. */
    void (*on_ready)(void *ctx);
    /* SIGHUP, before the children get it; false: they don't. May add and remove children and
     * restart them. May be NULL. */
    bool (*on_reload)(void *ctx);
    /* All are about to be told to end. May be NULL. */
    void (*on_stopping)(void *ctx);
    void *ctx;
};

struct supervisor;

enum err supervisor_create(struct supervisor **out, const struct supervisor_spec *spec) NODISCARD;
void supervisor_destroy(struct supervisor **s);
struct loop *supervisor_loop(const struct supervisor *s);
void supervisor_set_stop_timeout(struct supervisor *s, unsigned ms);

/* NULL at the bound. The child is the supervisor's; it is started at the next tick. */
struct child *supervisor_add(struct supervisor *s, const char *name, const char *program,
                             enum child_stage stage);
/* NULL past the last. */
struct child *supervisor_child(const struct supervisor *s, size_t index);
struct child *supervisor_find(const struct supervisor *s, struct span name);
/* Tells it to end, and forgets it. ERR_TOO_BIG: as supervisor_restart. */
enum err supervisor_remove(struct supervisor *s, struct child *c) NODISCARD;
/* Starts it anew: beside the old one where it overlaps, else when that one has ended. OK: begun;
 * ERR_AGAIN: it is being started already; ERR_CLOSED: all are being stopped; ERR_TOO_BIG: too many
 * are ending still; ERR_NOMEM. */
enum err supervisor_restart(struct supervisor *s, struct child *c) NODISCARD;

/* Runs until stopped by SIGINT, SIGTERM or supervisor_stop (a second signal ends what runs, a third
 * kills). OK: stopped as asked; ERR_INVALID: a child said that the configuration is bad;
 * ERR_CLOSED: one could not start. */
enum err supervisor_run(struct supervisor *s) NODISCARD;
void supervisor_stop(struct supervisor *s);

#endif
