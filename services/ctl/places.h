/* Where the daemons of a suite are asked. */
#ifndef SERVICES_CTL_PLACES_H
#define SERVICES_CTL_PLACES_H

#include "services/ctl/paths.h"

struct suite_places {
    char admin_socket[PATHS_BYTES]; /* auth's */
    char metrics[PATHS_BYTES];      /* its bus address */
    char certs[PATHS_BYTES];        /* the folder of the bus's keys; "" = a plain bus */
    char up_socket[PATHS_BYTES];    /* that of `tollgate up`; there may be none */
};

/* As the configuration says. While that is wrong (it is said on stderr), as a running `tollgate up`
 * says, else where they are by default. Returns −1, or the exit code. */
int places_find(struct suite_paths *p, struct suite_places *out);
/* Where the `tollgate up` of this run directory is asked. ERR_TOO_BIG. */
enum err places_up_socket(const struct suite_paths *p, char out[PATHS_BYTES]) NODISCARD;

#endif
