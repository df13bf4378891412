/* One daemon that `tollgate up` keeps alive: started, watched, started again when it dies, each
 * time a little later. */
#ifndef SERVICES_CTL_CHILD_H
#define SERVICES_CTL_CHILD_H

#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum {
    CHILD_ARGS_MAX = 24,
    BACKOFF_FIRST_MS = 250,
    BACKOFF_LONGEST_MS = 10000,
    BACKOFF_FORGET_MS = 30000
};

/* Stopped in this order, each stage when the one before is gone: no request loses what it still
 * needs. */
enum child_stage {
    STAGE_EDGE,
    STAGE_WORKER,
    STAGE_BROKER,
    STAGE_AUTH,
    STAGE_METRICS,
    STAGE_SIMULATOR,
    STAGE_COUNT
};

enum child_state {
    CHILD_WAITING,  /* to be started at due_ms */
    CHILD_STARTING, /* runs, not ready yet */
    CHILD_READY,
    CHILD_STOPPED /* is not started again */
};

struct child {
    char name[64];                  /* "worker-openai" */
    char program[32];               /* "tollgate-worker" */
    char *args[CHILD_ARGS_MAX + 2]; /* owned; args[0] is the program */
    size_t arg_count;
    char *keep_env[8]; /* owned: names of secrets this one may see */
    size_t keep_count;
    enum child_stage stage;
    enum child_state state;
    pid_t pid;           /* 0: does not run */
    unsigned ready_port; /* 0: it says READY=1; else it is ready when 127.0.0.1 answers there */
    unsigned backoff_ms;
    uint64_t started_ms, due_ms;
    int exit_status; /* as waitpid gave it, of the last one */
};

void child_init(struct child *c, const char *name, const char *program, enum child_stage stage);
void child_free(struct child *c);
/* A copy; too many are an error. */
enum err child_add_arg(struct child *c, const char *arg) NODISCARD;
enum err child_keep_env(struct child *c, struct span name) NODISCARD;

/* Forks and executes it from `folder` (where this program is), else from PATH. `secrets` are the
 * names of all providers' environment variables: those the child does not keep are removed from its
 * environment. Its stdin is empty, its process group its own (a Ctrl-C is ours to pass on), and it
 * gets SIGTERM should we die. */
enum err child_start(struct child *c, struct span folder, const char *const *secrets,
                     uint64_t now_ms) NODISCARD;
/* It has ended: decides when it is started again. */
void child_ended(struct child *c, int exit_status, uint64_t now_ms);
/* "exit code 78" or "signal 9". */
void child_why(const struct child *c, char out[32]);

#endif
