/* The socket on which `tollgate up` is asked: one line of JSON each way, then it closes. For its
 * own user and root alone. */
#ifndef SERVICES_CTL_CONTROL_H
#define SERVICES_CTL_CONTROL_H

#include "common/base/json.h"
#include "common/runtime/loop.h"

enum { CONTROL_CLIENTS_MAX = 16, CONTROL_LINE_MAX = 4096, CONTROL_IDLE_MS = 5000 };

struct control;

/* Answers a request by members of the object that is open in `answer`. */
typedef void (*control_fn)(void *ctx, struct json request, struct json_writer *answer);

/* Makes the socket, mode 0600; one that is there already is nobody's (the caller has the run
 * directory's lock). */
enum err control_create(struct control **out, struct loop *loop, const char *path, control_fn fn,
                        void *ctx) NODISCARD;
void control_destroy(struct control **c);

#endif
