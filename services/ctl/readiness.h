/* How children say that they are ready: by READY=1 on a socket that $NOTIFY_SOCKET names, as to
 * systemd; or by answering on a port. */
#ifndef SERVICES_CTL_READINESS_H
#define SERVICES_CTL_READINESS_H

#include <sys/types.h>

#include <stdbool.h>

#include "common/runtime/loop.h"

struct readiness;

/* Makes the socket in `folder` and sets $NOTIFY_SOCKET; on_ready is told which process has spoken,
 * as the kernel knows it. */
enum err readiness_create(struct readiness **out, struct loop *loop, const char *folder,
                          void (*on_ready)(void *ctx, pid_t pid), void *ctx) NODISCARD;
void readiness_destroy(struct readiness **r);

/* Does anybody listen there, on loopback? Never waits. */
bool readiness_answers(unsigned port);

#endif
