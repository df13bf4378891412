/* One question to auth's admin socket, one answer. */
#ifndef SERVICES_CTL_ASK_AUTH_H
#define SERVICES_CTL_ASK_AUTH_H

#include "common/base/json.h"
#include "services/ctl/paths.h"

struct answer {
    struct buf text;
    struct json_doc doc;
    struct json root;
};

/* Sends one line of JSON to the socket and reads the answer within timeout_ms. ERR_NOT_FOUND:
 * nobody listens there; ERR_DENIED: not for this user; ERR_TIMEOUT, ERR_CLOSED, ERR_INVALID: no
 * proper answer; ERR_IO. */
enum err ask_socket(const char *socket_path, struct span line, unsigned timeout_ms,
                    struct answer *out) NODISCARD;
void answer_free(struct answer *a);

/* The same for a command: finds the socket by the place's configuration, prints what went wrong,
 * also when auth says no. Returns −1 and the answer, or the exit code. */
int ask_auth(struct suite_paths *p, struct span line, struct answer *out);

#endif
