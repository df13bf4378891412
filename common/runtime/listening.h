/* Listening TCP sockets: opened here, or handed over by whoever started this program (systemd, or
 * `tollgate up`). A socket that outlives the daemon behind it refuses nobody while that one is
 * started again: clients wait in its queue. */
#ifndef COMMON_RUNTIME_LISTENING_H
#define COMMON_RUNTIME_LISTENING_H

#include <stdint.h>

#include "common/base/err.h"

/* What we call the edge's socket when several are handed over. */
#define LISTENING_HTTP "http"

enum { LISTENING_NONE = -1, LISTENING_FIRST_FD = 3, LISTENING_BACKLOG = 4096 };

/* Binds and listens, non-blocking and close-on-exec; `address` "" or NULL: all of them, port 0: any
 * free one. The descriptor is the caller's. ERR_EXISTS: the port is taken; ERR_DENIED;
 * ERR_INVALID: that is no address; ERR_IO. */
enum err listening_open(const char *address, uint16_t port, int *fd_out) NODISCARD;

enum { LISTENING_FAULT_BYTES = 128 };

/* What listening_open's failure means, in words: "address in use by nginx (pid 4711)". */
const char *listening_fault(enum err e, uint16_t port, char out[LISTENING_FAULT_BYTES]);

/* The socket that was handed over as sd_listen_fds(3) says: the one of that name in $LISTEN_FDNAMES
 * (FileDescriptorName= of a .socket unit), or the only one whatever its name; LISTENING_NONE when
 * nothing was handed to this process. Further ones are closed, and the variables removed from the
 * environment: ask once. ERR_INVALID: what was handed over is no listening TCP socket, or none of
 * several has the name. */
enum err listening_handed(const char *name, int *fd_out) NODISCARD;

/* Where it listens; 0 when that is no port. */
uint16_t listening_port(int fd);

#endif
