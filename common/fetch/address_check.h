/* Which addresses an upstream may have. Looked at when the socket is made, so that a name which
 * resolves to something inside (a rebinding, a metadata service) is refused whatever the
 * configuration's text is. */
#ifndef COMMON_FETCH_ADDRESS_CHECK_H
#define COMMON_FETCH_ADDRESS_CHECK_H

#include <stdbool.h>
#include <sys/socket.h>

/* true for addresses of the public internet; false for private, loopback, link-local (the clouds'
 * metadata services), shared, multicast, documentation and reserved ranges (IANA special-purpose
 * registries, RFC 6890), IPv4 ones inside IPv6 included, and for families that are neither. */
bool address_is_public(const struct sockaddr *address, socklen_t len);

#endif
