/* A unix stream socket, mode 0600, for processes of our own user and root (SO_PEERCRED): a line
 * each way, one after the other. Who keeps an answer waiting for longer than a moment gives it
 * later. */
#ifndef COMMON_RUNTIME_LINE_SERVER_H
#define COMMON_RUNTIME_LINE_SERVER_H

#include "common/base/span.h"
#include "common/runtime/loop.h"

struct line_server;
struct line_client;

struct line_server_spec {
    const char *path;  /* one that is there already is nobody's: the caller has a lock */
    unsigned clients;  /* at once; further ones are hung up on */
    size_t line_bytes; /* of a line; who says more without an end is hung up on */
    unsigned idle_ms;  /* who says nothing for so long too */
    bool once;         /* a client's first answer is its last */
    void *ctx;
    /* A line, without its newline; good until this returns. It is answered once, by
     * line_server_answer, now or later; lines behind it wait. */
    void (*on_line)(void *ctx, struct line_client *from, struct span line);
};

/* ERR_TOO_BIG: the path is longer than 107 bytes; ERR_IO with errno; ERR_NOMEM. */
enum err line_server_create(struct line_server **out, struct loop *loop,
                            const struct line_server_spec *spec) NODISCARD;
/* What is not answered will not be: the clients are gone. Takes NULL, nulls. */
void line_server_destroy(struct line_server **server);
/* Sends the line and a newline, and wipes its copy; nobody hears it who has left meanwhile. `to` is
 * not used any more. */
void line_server_answer(struct line_client *to, struct span line);

#endif
