/* Which daemons a configuration needs on one host, and with which arguments. */
#ifndef SERVICES_CTL_SUITE_H
#define SERVICES_CTL_SUITE_H

#include "services/ctl/paths.h"
#include "services/ctl/supervisor.h"

enum { SUITE_NAME_BYTES = 64 };

struct suite_options {
    const char *log_level, *log_format; /* NULL: as configured */
    int listen_fd;                      /* the edge's socket; > 0, or it opens its own */
};

struct suite {
    struct supervisor *supervisor;
    const struct suite_paths *paths;
    const struct suite_options *options;
};

/* metrics, auth, one broker per address, one worker per provider, one edge. Each sees the variables
 * of the environment that every daemon may see; a worker also every ${NAME} of its provider's
 * section. */
enum err suite_add(const struct suite *s, const struct config *config) NODISCARD;
enum err suite_add_worker(const struct suite *s, const struct config_provider *p) NODISCARD;
void suite_worker_name(const struct config_provider *p, char out[SUITE_NAME_BYTES]);
/* The provider's section was read again: does it name variables that its worker was not given? It
 * gets them with its next start. */
enum err suite_update_worker(struct child *c, const struct config_provider *p,
                             bool *changed_out) NODISCARD;

/* "http://127.0.0.1:4000": where the edge of this configuration answers on this host. */
void suite_url(const struct config *config, struct buf *out);

#endif
