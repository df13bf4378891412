/* Before a large body is read, or one whose length nobody said, and while a small one drips: is its
 * key one that auth knows? A large one waits for the answer, and of an unknown key's nothing is
 * read; a slow one's connection ends with that answer. */
#ifndef SERVICES_EDGE_REQUEST_KEY_CHECK_H
#define SERVICES_EDGE_REQUEST_KEY_CHECK_H

#include "services/edge/request/arrival.h"

/* From on_head (hold) or on_slow: refuses, holds the exchange, or lets it go on. Without hold its
 * body is read on meanwhile, and it is refused when auth says so before all has come. */
void key_check_begin(const struct arrival *a, struct span key, bool hold);
/* An exchange that waits ends, or its request has come. */
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
