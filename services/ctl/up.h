/* What the parts of `tollgate up` share: cmd_up.c starts it, up_reload.c follows the configuration
 * file, up_control.c answers who asks. */
#ifndef SERVICES_CTL_UP_H
#define SERVICES_CTL_UP_H

#include "services/ctl/changes.h"
#include "services/ctl/control.h"
#include "services/ctl/demo.h"
#include "services/ctl/suite.h"

struct up {
    struct suite_paths paths;
    struct suite_options options;
    const char *port;
    bool demo;
    struct demo_ports ports;
    unsigned simulated;
    char config_path[PATHS_BYTES + 16];
    struct config *config;
    struct supervisor *supervisor;
    struct control *control;
    struct changes changes;
    int lock_fd;
    const char *notify; /* our own caller's readiness socket, if any */
    int code;
};

/* Time that one stage has for its end. */
unsigned up_stop_timeout(const struct config *config);
/* SIGHUP: new providers get a worker, removed ones lose theirs. False: the file is wrong, and what
 * was in force stays so. */
bool up_reload(void *ctx);
/* "where", "children" and "restart" (control.h). */
void up_control(void *ctx, struct json request, struct json_writer *answer);

#endif
