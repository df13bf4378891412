/* HTTP/1.1 of our own: one request and its response at a time over a connection that libcurl has
 * made. Inside of the HTTP client.
 *
 *   connection   what happens                                  leaves by
 *   NEW          libcurl connects                              connected: BUSY; failed: closed
 *   BUSY         the request is sent, its response read        whole: IDLE, or closed when it may
 * not be used again; anything else: closed IDLE         waits in the pool the next request: BUSY;
 * any event: closed
 *
 * A request whose pooled connection turned out dead moves to a fresh one when nothing of it has
 * left, or when it is a GET of which nothing has come back; otherwise it fails. */
#ifndef COMMON_FETCH_EXCHANGE_H
#define COMMON_FETCH_EXCHANGE_H

#include "common/fetch/fetch_internal.h"

extern const struct fetch_engine fetch_engine_exchange;

/* May this request go this way? */
bool exchange_suits(const struct fetch_spec *spec);

#endif
