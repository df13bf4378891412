/* One daemon that `tollgate up` keeps alive: started, watched, started again when it dies, each
 * time a little later. */
#ifndef SERVICES_CTL_CHILD_H
#define SERVICES_CTL_CHILD_H

#include <sys/types.h>

#include "common/base/buf.h"
#include "common/base/err.h"

enum {
    CHILD_ARGS_MAX = 24,
    CHILD_ENV_MAX = 1024,
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
    CHILD_RESTARTING, /* told to end, to be started at once when it has */
    CHILD_STOPPED     /* is not started again */
};

struct child {
    char name[64];                  /* "worker-openai" */
    char program[32];               /* "tollgate-worker" */
    char *args[CHILD_ARGS_MAX + 2]; /* owned; args[0] is the program */
    size_t arg_count;
    size_t name_arg;     /* which of them is its name in the suite; 0: none */
    unsigned generation; /* successors so far: its name gets the number, as two may run at once */
    char **keep_env;     /* owned: names of variables that this one may see beside the usual ones */
    size_t keep_count;
    enum child_stage stage;
    enum child_state state;
    /* Two of it may run at once: when it is restarted, the new one is ready before the old one
     * ends. */
    bool overlaps;
    bool owes_hup;       /* SIGHUP came while it was starting: it gets it when it is ready */
    pid_t pid;           /* 0: does not run */
    pid_t next_pid;      /* its successor, not ready yet; 0: none */
    int listen_fd;       /* > 0: a socket of the supervisor's that it is handed by LISTEN_FDS */
    unsigned ready_port; /* 0: it says READY=1; else it is ready when 127.0.0.1 answers there */
    unsigned backoff_ms;
    uint64_t started_ms, due_ms;
    uint64_t next_started_ms;
    unsigned restarts;        /* starts after the first one */
    unsigned failed_restarts; /* successors that were never ready */
    bool has_ended;
    int exit_status; /* as waitpid gave it, of the last one that has ended */
};

void child_init(struct child *c, const char *name, const char *program, enum child_stage stage);
void child_free(struct child *c);
/* A copy; too many are an error. */
enum err child_add_arg(struct child *c, const char *arg) NODISCARD;
enum err child_keep_env(struct child *c, struct span name) NODISCARD;
bool child_keeps_env(const struct child *c, const char *name);

/* Where this program is, with the slash; "" when that is unknown. */
void child_find_folder(char *out, size_t size);
/* Forks and executes it from `folder` (where this program is), else from PATH. It sees the
 * variables every daemon may see (child.c lists them) and those it keeps, nothing else. Its stdin
 * is empty, its process group its own (a Ctrl-C is ours to pass on), and it gets SIGTERM should we
 * die. */
enum err child_start(struct child *c, struct span folder, uint64_t now_ms) NODISCARD;
/* The same of its successor, beside it. */
enum err child_start_next(struct child *c, struct span folder, uint64_t now_ms) NODISCARD;
/* The successor is the child from here on; returns the old one's pid. */
pid_t child_take_over(struct child *c);
/* It has ended: decides when it is started again. */
void child_ended(struct child *c, int exit_status, uint64_t now_ms);
/* "exit code 78" or "signal 9". */
void child_why(const struct child *c, char out[32]);
/* "ready" … */
const char *child_state_name(enum child_state state);

#endif
