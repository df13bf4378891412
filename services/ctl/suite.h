/* Which daemons a configuration needs on one host, and with which arguments. */
#ifndef SERVICES_CTL_SUITE_H
#define SERVICES_CTL_SUITE_H

#include "services/ctl/paths.h"
#include "services/ctl/supervisor.h"

enum { SUITE_SECRETS_MAX = 64 };

/* Names of the environment variables that hold providers' secrets. */
struct suite_secrets {
    char *names[SUITE_SECRETS_MAX + 1]; /* owned, NULL-terminated */
    size_t count;
};

struct suite_options {
    const char *log_level, *log_format; /* NULL: as configured */
};

/* Every ${NAME} in what only a provider's worker may see. ERR_TOO_BIG, ERR_NOMEM. */
enum err suite_find_secrets(const struct config *config, struct suite_secrets *out) NODISCARD;
void suite_secrets_free(struct suite_secrets *s);

/* metrics, auth, one broker per address, one worker per provider, one edge. */
enum err suite_add(struct supervisor *s, const struct config *config,
                   const struct suite_paths *paths, const struct suite_options *options) NODISCARD;

/* "http://127.0.0.1:4000": where the edge of this configuration answers on this host. */
void suite_url(const struct config *config, struct buf *out);

#endif
