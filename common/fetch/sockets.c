#include "common/fetch/sockets.h"

#include <sys/socket.h>
#include <unistd.h>

#include "common/fetch/address_check.h"

curl_socket_t sockets_open(struct fetch *up, const struct fetch_origin *origin,
                           const struct curl_sockaddr *address, bool *refused)
{
    bool free_choice = origin->private_network || origin->proxy;
    if (!free_choice && !address_is_public(&address->addr, (socklen_t)address->addrlen)) {
        *refused = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (socket_table_opened(&up->sockets, fd) != OK) {
        (void)close(fd);
        return CURL_SOCKET_BAD;
    }
    return fd;
}

int sockets_on_close(void *ctx, curl_socket_t fd)
{
    struct fetch *up = ctx;
    if (fd == up->kept_fd) {
        up->kept_fd = -1;
        return 0;
    }
    socket_table_closed(&up->sockets, fd);
    return close(fd);
}

void sockets_set_common(CURL *e, struct fetch *up)
{
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, sockets_on_close);
    (void)curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, up);
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L); /* as our own client writes it */
    (void)curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    (void)curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* a hung resolver holds nobody up */
    (void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)up->options.connect_timeout_ms);
    (void)curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    (void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(e, CURLOPT_SHARE, up->share);
}

void sockets_set_origin(CURL *e, const struct fetch *up, const struct fetch_origin *o)
{
    /* "" = none: nothing is taken from the environment */
    (void)curl_easy_setopt(e, CURLOPT_PROXY, o->proxy ? o->proxy : "");
    (void)curl_easy_setopt(e, CURLOPT_NOPROXY, "");
    (void)curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file ? o->ca_file : up->default_ca);
}
