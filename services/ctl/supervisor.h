/* Starts the children, waits until all are ready, keeps them alive, and takes them down in order.
 */
#ifndef SERVICES_CTL_SUPERVISOR_H
#define SERVICES_CTL_SUPERVISOR_H

#include "common/runtime/loop.h"
#include "services/ctl/child.h"

enum { CHILDREN_MAX = 64, START_TIMEOUT_MS = 20000 };

struct supervisor_spec {
    const char *run_dir;        /* the socket on which children say READY=1 is made here */
    const char *const *secrets; /* names of provider secrets in the environment, NULL-terminated */
    unsigned stop_timeout_ms;   /* for one stage; then SIGKILL */
    /* All are ready for the first time; may call supervisor_stop. */
    void (*on_ready)(void *ctx);
    void *ctx;
};

struct supervisor;

enum err supervisor_create(struct supervisor **out, const struct supervisor_spec *spec) NODISCARD;
void supervisor_destroy(struct supervisor **s);
/* NULL at the bound. The child is the supervisor's. */
struct child *supervisor_add(struct supervisor *s, const char *name, const char *program,
                             enum child_stage stage);
/* NULL past the last. */
struct child *supervisor_child(struct supervisor *s, size_t index);
/* Runs until stopped by SIGINT, SIGTERM or supervisor_stop (a second signal kills). SIGHUP goes on
 * to the children. OK: stopped as asked; ERR_INVALID: a child said that the configuration is bad;
 * ERR_CLOSED: one could not start. */
enum err supervisor_run(struct supervisor *s) NODISCARD;
void supervisor_stop(struct supervisor *s);

#endif
