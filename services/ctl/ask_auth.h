/* One question to auth's admin socket, one answer. */
#ifndef SERVICES_CTL_ASK_AUTH_H
#define SERVICES_CTL_ASK_AUTH_H

#include "services/ctl/ask_socket.h"
#include "services/ctl/paths.h"

/* For a command: finds the socket, prints what went wrong, also when auth says no. Returns −1 and
 * the answer, or the exit code. */
int ask_auth(struct suite_paths *p, struct span line, struct answer *out);

#endif
