/* Client addresses, and how many connections each has. One client may have any number of IPv6
 * addresses: what they have in common are the first 64 bits. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/http/internal.h"

struct in6_addr address_of(const struct sockaddr_storage *from)
{
    struct in6_addr address = {0};
    if (from->ss_family == AF_INET6) {
        address = ((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
    } else if (from->ss_family == AF_INET) {
        address.s6_addr[10] = address.s6_addr[11] = 0xff;
        memcpy(address.s6_addr + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr,
               4);
    }
    return address;
}

void address_text(const struct in6_addr *address, char out[INET6_ADDRSTRLEN])
{
    out[0] = '\0';
    if (IN6_IS_ADDR_V4MAPPED(address))
        (void)inet_ntop(AF_INET, address->s6_addr + 12, out, INET6_ADDRSTRLEN);
    else
        (void)inet_ntop(AF_INET6, address, out, INET6_ADDRSTRLEN);
}

struct http_peer *peer_take(struct http_server *s, const struct in6_addr *address)
{
    struct in6_addr network = *address;
    struct http_peer *peer = NULL;
    if (!IN6_IS_ADDR_V4MAPPED(address))
        memset(network.s6_addr + 8, 0, 8);
    HASH_FIND(hh, s->peers, &network, sizeof network, peer);
    if (!peer) {
        peer = calloc(1, sizeof *peer);
        if (!peer)
            return NULL;
        peer->network = network;
        HASH_ADD(hh, s->peers, network, sizeof peer->network, peer);
        if (!peer->hh.tbl) {
            free(peer);
            return NULL;
        }
    }
    peer->connections++;
    return peer;
}

void peer_release(struct http_server *s, struct http_peer *peer)
{
    if (--peer->connections)
        return;
    HASH_DEL(s->peers, peer);
    free(peer);
}
