/* How libcurl gets and gives up its sockets. Inside of the HTTP client. */
#ifndef COMMON_FETCH_SOCKETS_H
#define COMMON_FETCH_SOCKETS_H

#include "common/fetch/fetch_internal.h"

/* A socket for the address, or CURL_SOCKET_BAD; *refused is set when it is a private one and the
 * origin's must be public. */
curl_socket_t sockets_open(struct fetch *up, const struct fetch_origin *origin,
                           const struct curl_sockaddr *address, bool *refused);
/* CURLOPT_CLOSESOCKETFUNCTION; its data is struct fetch. Leaves up->kept_fd open, and
 * sets it to -1. */
int sockets_on_close(void *up, curl_socket_t fd);
/* What every easy handle has set. */
void sockets_set_common(CURL *easy, struct fetch *up);
/* ... and what belongs to the origin. */
void sockets_set_origin(CURL *easy, const struct fetch *up, const struct fetch_origin *o);

#define SOCKETS_REFUSED                                                                            \
    SPAN("The upstream's address is private; its provider is not marked private.")

#endif
