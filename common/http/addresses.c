/* Client addresses, and how many connections each has. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/http/internal.h"

struct in6_addr address_key(const struct sockaddr_storage *from)
{
    struct in6_addr key = {0};
    if (from->ss_family == AF_INET6) {
        key = ((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
    } else if (from->ss_family == AF_INET) {
        key.s6_addr[10] = key.s6_addr[11] = 0xff;
        memcpy(key.s6_addr + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    }
    return key;
}

void address_text(const struct in6_addr *key, char out[INET6_ADDRSTRLEN])
{
    out[0] = '\0';
    if (IN6_IS_ADDR_V4MAPPED(key))
        (void)inet_ntop(AF_INET, key->s6_addr + 12, out, INET6_ADDRSTRLEN);
    else
        (void)inet_ntop(AF_INET6, key, out, INET6_ADDRSTRLEN);
}

struct http_peer *peer_take(struct http_server *s, const struct in6_addr *key)
{
    struct http_peer *peer = NULL;
    HASH_FIND(hh, s->peers, key, sizeof *key, peer);
    if (!peer) {
        peer = calloc(1, sizeof *peer);
        if (!peer)
            return NULL;
        peer->address = *key;
        HASH_ADD(hh, s->peers, address, sizeof peer->address, peer);
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
