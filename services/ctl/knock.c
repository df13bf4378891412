#include "services/ctl/knock.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "services/ctl/ctl_bus.h"

static void on_peer_up(void *ctx, struct bus_peer *peer)
{
    bool *there = ctx;
    (void)peer;
    *there = true;
}

enum err knock_bus(const char *role, const char *address, const char *certs, unsigned timeout_ms)
{
    static const bus_handler handlers[MESSAGE_TYPES] = {NULL};
    bool there = false;
    const struct bus_spec spec = {.ctx = &there, .handlers = handlers, .on_peer_up = on_peer_up};
    struct ctl_bus b;
    enum err e = ctl_bus_open(&b, certs, spec, role, address);
    if (!e)
        e = ctl_bus_wait(&b, &there, timeout_ms);
    ctl_bus_close(&b);
    return e;
}

/* "http://1.2.3.4:80/x" → host, port, path; in place. */
static enum err split_url(char *url, char **host, char **port, const char **path)
{
    if (strncmp(url, "http://", 7) != 0)
        return ERR_UNSUPPORTED;
    *host = url + 7;
    char *slash = strchr(*host, '/');
    *path = slash ? slash + 1 : "";
    if (slash)
        *slash = '\0';
    char *colon = strrchr(*host, ':');
    if (!colon)
        return ERR_INVALID;
    *colon = '\0';
    *port = colon + 1;
    return OK;
}

static int dial(const char *host, const char *port, unsigned timeout_ms)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV},
                    *found = NULL;
    struct timeval patience = {timeout_ms / 1000, (timeout_ms % 1000) * 1000};
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* bounds the connect too */
    bool good = fd >= 0 &&
                setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
                setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
                connect(fd, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    if (good)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

enum err knock_http(const char *url, unsigned timeout_ms, unsigned *status_out)
{
    char copy[256], *host, *port, head[64] = "";
    const char *path;
    struct buf request = {0};
    (void)snprintf(copy, sizeof copy, "%s", url);
    enum err e = split_url(copy, &host, &port, &path);
    int fd = e ? -1 : dial(host, port, timeout_ms);
    if (e || fd < 0)
        return e ? e : ERR_CLOSED;
    buf_printf(&request, "GET /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);
    ssize_t sent = send(fd, request.data, request.len, MSG_NOSIGNAL);
    ssize_t got = sent == (ssize_t)request.len ? recv(fd, head, sizeof head - 1, MSG_WAITALL) : -1;
    buf_free(&request);
    (void)close(fd);
    if (got <= 0)
        return ERR_TIMEOUT;
    return sscanf(head, "HTTP/1.1 %3u", status_out) == 1 ? OK : ERR_INVALID;
}
