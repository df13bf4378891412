/* Before a large body is read, or one whose length nobody said: is its key one that auth knows? The
 * body waits for the answer, and of an unknown key's nothing is read. */
#ifndef SERVICES_EDGE_REQUEST_KEY_CHECK_H
#define SERVICES_EDGE_REQUEST_KEY_CHECK_H

#include "services/edge/request/arrival.h"

/* From on_head: refuses, holds the exchange, or lets it go on. */
void key_check_begin(const struct arrival *a, struct span key);
/* A held exchange ends. */
void key_check_leave(struct edge *e, struct http_exchange *x);
/* auth has answered a question of ours; not about one: nothing happens. */
void key_check_on_allow(struct edge *e, const struct bus_message *m);
void key_check_on_deny(struct edge *e, const struct bus_message *m);
/* What was asked may be lost. */
void key_check_on_auth_up(struct edge *e);
/* Several times a second: who has waited too long is refused. */
void key_check_tick(struct edge *e);
/* At the end of the daemon, when the HTTP server is gone. */
void key_checks_free(struct edge *e);

#endif
