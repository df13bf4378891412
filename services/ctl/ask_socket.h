/* One question to a unix socket that speaks lines of JSON, one answer. */
#ifndef SERVICES_CTL_ASK_SOCKET_H
#define SERVICES_CTL_ASK_SOCKET_H

#include "common/base/buf.h"
#include "common/base/json.h"

struct answer {
    struct buf text;
    struct json_doc doc;
    struct json root;
};

/* Sends one line of JSON to the socket and reads the answer within timeout_ms. ERR_NOT_FOUND:
 * nobody listens there; ERR_DENIED: not for this user, or another user
 * listens there; ERR_TIMEOUT, ERR_CLOSED, ERR_INVALID: no
 * proper answer; ERR_IO. */
enum err ask_socket(const char *socket_path, struct span line, unsigned timeout_ms,
                    struct answer *out) NODISCARD;
void answer_free(struct answer *a);

#endif
