/* A daemon's command line, and what the environment says where it is silent. */
#ifndef COMMON_RUNTIME_DAEMON_ARGS_H
#define COMMON_RUNTIME_DAEMON_ARGS_H

#include "common/runtime/daemon.h"

struct daemon_args {
    const char *config_path, *bind, *log_level, *log_format; /* NULL: not given */
    char name[96], run_dir[200], state_dir[200];             /* never empty */
};

/* Returns −1 to go on, else an exit code (--help and --version are 0). */
int daemon_args_read(struct daemon_args *a, const struct daemon_spec *spec, int argc, char **argv);

#endif
