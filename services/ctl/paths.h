/* Where this host's suite is: its configuration, its run directory (sockets) and its state
 * directory (store). */
#ifndef SERVICES_CTL_PATHS_H
#define SERVICES_CTL_PATHS_H

#include "common/runtime/config/config.h"
#include "services/ctl/command.h"

enum { PATHS_BYTES = 200 };

struct suite_paths {
    const char *config_path; /* --config, else $TOLLGATE_CONFIG, else NULL */
    const char *run_option, *state_option;
    char run_dir[PATHS_BYTES];
    char state_dir[PATHS_BYTES];
};

#define PATHS_ARGS(paths)                                                                          \
    {"config", "FILE", "configuration (default: $TOLLGATE_CONFIG)", &(paths).config_path, NULL},   \
        {"run-dir", "DIR", "sockets (default: $TOLLGATE_RUN_DIR, or one by user)",                 \
         &(paths).run_option, NULL},                                                               \
    {                                                                                              \
        "state-dir", "DIR", "store (default: $TOLLGATE_STATE_DIR, or one by user)",                \
            &(paths).state_option, NULL                                                            \
    }

/* Fills in what was not given: for root /run/tollgate and /var/lib/tollgate; for others
 * $XDG_RUNTIME_DIR/tollgate (else /tmp/tollgate-UID) and $XDG_STATE_HOME/tollgate (else
 * ~/.local/state/tollgate). ERR_TOO_BIG for a path beyond PATHS_BYTES. */
enum err paths_resolve(struct suite_paths *p) NODISCARD;
/* Loads the configuration (the defaults when there is no file). Prints what is wrong. Returns −1
 * and *out, or the exit code. */
int paths_load(const struct suite_paths *p, struct config **out);

#endif
