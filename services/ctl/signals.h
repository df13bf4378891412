/* SIGINT, SIGTERM, SIGHUP and SIGCHLD, as events of the loop. */
#ifndef SERVICES_CTL_SIGNALS_H
#define SERVICES_CTL_SIGNALS_H

#include "common/runtime/loop.h"

struct signals {
    int fd;
    struct loop_watch *watch;
    void (*on_signal)(void *ctx, int number);
    void *ctx;
};

/* Blocks them for this process: a child has to unblock its own. `s` must stay where it is. */
enum err signals_open(struct signals *s, struct loop *loop,
                      void (*on_signal)(void *ctx, int number), void *ctx) NODISCARD;
/* Also of one that was never opened. */
void signals_close(struct signals *s);

#endif
