/* What the parts of `tollgate up` share: cmd_up.c starts it, up_listener.c has
 * the edge's socket, up_reload.c follows the configuration
 * file, up_control.c answers who asks. */
#ifndef SERVICES_CTL_UP_H
#define SERVICES_CTL_UP_H

#include "services/ctl/control.h"
#include "services/ctl/demo.h"
#include "services/ctl/suite.h"

struct up_listener {
    struct up_place {
        char address[PATHS_BYTES];
        unsigned port;
    } held, wanted; /* wanted: as the configuration says by now */
    bool handed;    /* by whoever started us: the configuration says nothing */
};

struct up {
    struct suite_paths paths;
    struct suite_options options; /* listen_fd is ours */
    struct up_listener listener;
    const char *port;
    bool demo;
    struct demo_ports ports;
    unsigned simulated;
    char config_path[PATHS_BYTES + 16];
    struct config *config;
    struct supervisor *supervisor;
    struct control *control;
    int lock_fd;
    const char *notify; /* our own caller's readiness socket, if any */
    int code;
};

/* Time that one stage has for its end. */
unsigned up_stop_timeout(const struct config *config);
/* Takes or opens the edge's socket. Returns −1, or the exit code. */
int up_listen(struct up *u);
void up_close_listener(void *up);
void up_want_listener(struct up_listener *l, const struct config *config);
/* Before an edge is started anew: opens another socket for it when the configuration says another
 * place by now. NULL, or why that can't be. */
const char *up_move_listener(struct up *u, struct child *edge);

/* SIGHUP: new providers get a worker, removed ones lose theirs. False: the file is wrong, and what
 * was in force stays so. */
bool up_reload(void *ctx);
/* "where", "children" and "restart" (control.h). */
void up_control(void *ctx, struct json request, struct json_writer *answer);

#endif
