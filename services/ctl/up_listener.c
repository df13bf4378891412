/* The edge's socket: it outlives the edges behind it, so that restarting one refuses nobody. */
#include <stdio.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/runtime/listening.h"
#include "services/ctl/up.h"

void up_want_listener(struct up_listener *l, const struct config *config)
{
    (void)snprintf(l->wanted.address, sizeof l->wanted.address, "%s", config->options.edge_address);
    l->wanted.port = config->options.edge_port;
}

int up_listen(struct up *u)
{
    struct up_listener *l = &u->listener;
    up_want_listener(l, u->config);
    enum err e = listening_handed(LISTENING_HTTP, &u->options.listen_fd);
    if (e)
        return failure("what was handed over by LISTEN_FDS is no listening TCP socket, or none of "
                       "several is named " LISTENING_HTTP);
    l->handed = u->options.listen_fd != LISTENING_NONE;
    l->held = l->wanted;
    if (!l->handed)
        e = listening_open(l->held.address, (uint16_t)l->held.port, &u->options.listen_fd);
    char why[LISTENING_FAULT_BYTES];
    return e ? failure("cannot listen on %s port %u: %s", l->held.address, l->held.port,
                       listening_fault(e, (uint16_t)l->held.port, why))
             : -1;
}

/* Nobody is to wait for a suite that ends. */
void up_close_listener(void *ctx)
{
    struct up *u = ctx;
    if (u->options.listen_fd > 0)
        (void)close(u->options.listen_fd);
    u->options.listen_fd = LISTENING_NONE;
}

/* The old edge has the old socket until it is gone. */
const char *up_move_listener(struct up *u, struct child *edge)
{
    struct up_listener *l = &u->listener;
    int fd = LISTENING_NONE;
    if (l->handed ||
        (l->held.port == l->wanted.port && strcmp(l->held.address, l->wanted.address) == 0))
        return NULL;
    enum err e = listening_open(l->wanted.address, (uint16_t)l->wanted.port, &fd);
    if (e)
        return e == ERR_EXISTS ? "the new edge.port is in use"
                               : "the new edge.address and edge.port cannot be listened on";
    up_close_listener(u);
    u->options.listen_fd = edge->listen_fd = fd;
    l->held = l->wanted;
    log_info("listening", LSTR("address", l->held.address), LU64("port", l->held.port));
    return NULL;
}
