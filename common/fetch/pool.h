/* Idle connections of our own, kept for the next request to the same site: scheme, host and port,
 * by the same way, under the same trust. A connection that closes or says something while it is
 * idle is closed at once. Inside of the HTTP client.
 *
 * Bounds: options.max_connections idle ones in all (the oldest goes), KEEP_IDLE_S each. */
#ifndef COMMON_FETCH_POOL_H
#define COMMON_FETCH_POOL_H

#include "common/fetch/connection.h"

struct fetch_site;

enum err pool_create(struct fetch *up) NODISCARD;
/* Closes all idle ones. */
void pool_destroy(struct fetch *up);

/* The site's latest idle connection that is still silent, busy from now on; NULL when there is
 * none.
 */
struct fetch_connection *pool_take(struct fetch *up, struct span authority,
                                   const struct fetch_origin *origin);
/* A new connection is the site's. ERR_NOMEM: it is not, and may never be idle. */
enum err pool_enter(struct fetch_connection *c, struct span authority,
                    const struct fetch_origin *origin) NODISCARD;
/* Its request is over: kept. */
void pool_put(struct fetch_connection *c);
/* An event of an idle one's socket. */
void pool_on_event(struct fetch_connection *c);
/* Closes a connection of any state. Takes NULL, nulls. */
void pool_close(struct fetch_connection **connection);
/* One of the site's connections turned out dead: so may the other idle ones be, which are closed,
 * that a retry goes out on a fresh one. The site has a busy one. */
void pool_close_idle_of(struct fetch_site *site);

#endif
