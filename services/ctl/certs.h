/* A folder of bus keys, as its owner sees it: every service's secret and the list
 * (common/runtime/bus/key_files.h). Made, changed in three steps, handed out. */
#ifndef SERVICES_CTL_CERTS_H
#define SERVICES_CTL_CERTS_H

#include "common/runtime/bus/key_files.h"

struct certs {
    char folder[KEY_PATH_BYTES];
    struct key_list list;
    int lock_fd; /* one command at a time */
};

/* A new key: listed beside the old one; then the daemons of the service get it; then the old one
 * is listed no more. */
enum certs_step { CERTS_LISTED, CERTS_SWITCHED, CERTS_DROPPED };

/* All: what is wrong goes to error_out, a line each. */

/* The folder is made when there is none. Close it in any case. ERR_INVALID: the list is broken. */
enum err certs_open(struct certs *c, const char *folder, struct buf *error_out) NODISCARD;
void certs_close(struct certs *c);
/* The pair of a service, if it has none yet (ERR_EXISTS: it has). */
enum err certs_make(struct certs *c, const char *service, struct buf *error_out) NODISCARD;
/* The next step of changing a service's key. ERR_NOT_FOUND: it has none. */
enum err certs_rotate(struct certs *c, const char *service, enum certs_step *step_out,
                      struct buf *error_out) NODISCARD;
/* Into every folder TO/SERVICE that is there: the list and that service's secret, for our group.
 * *count_out = so many folders. */
enum err certs_hand_out(const struct certs *c, const char *to, unsigned *count_out,
                        struct buf *error_out) NODISCARD;

#endif
