#include "common/runtime/own_address.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { UNIX_PATH_MAX = 107 };

/* ---- ipc ---- */

/* A lock that nobody holds is a dead worker's. */
static void sweep(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        char path[300];
        size_t n = strlen(entry->d_name);
        if (n < 5 || strcmp(entry->d_name + n - 5, ".lock") != 0)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            (void)unlink(path);
            path[strlen(path) - 5] = '\0';
            (void)unlink(path);
        }
        (void)close(fd);
    }
    if (dir)
        (void)closedir(dir);
}

enum err own_address_below(const char *run_dir, const char *name, uint64_t boot,
                           char out[OWN_ADDRESS_BYTES])
{
    char folder[220];
    int n = snprintf(folder, sizeof folder, "%s/w", run_dir);
    if (n < 0 || (size_t)n >= sizeof folder)
        return ERR_TOO_BIG;
    if (mkdir(folder, 0750) != 0 && errno != EEXIST)
        return ERR_IO;
    sweep(folder);
    n = snprintf(out, OWN_ADDRESS_BYTES, "ipc://%s/%s-%016llx", folder, name,
                 (unsigned long long)boot);
    return n < 0 || n - 6 > UNIX_PATH_MAX ? ERR_TOO_BIG : OK;
}

/* ---- tcp ---- */

bool own_address_is_any(const char *bound)
{
    return strncmp(bound, "tcp://0.0.0.0:", 14) == 0 || strncmp(bound, "tcp://[::]:", 11) == 0;
}

static enum err number_of(const struct sockaddr *address, socklen_t size, char out[NI_MAXHOST])
{
    return getnameinfo(address, size, out, NI_MAXHOST, NULL, 0, NI_NUMERICHOST) == 0 ? OK : ERR_IO;
}

/* Connecting a datagram socket sends nothing. */
static enum err address_towards(const char *host, const char *port, char out[NI_MAXHOST])
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST}, *list = NULL;
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    enum err e = ERR_IO;
    if (getaddrinfo(host, port, &hints, &list) != 0)
        return ERR_IO;
    int fd = socket(list->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen) == 0 &&
        getsockname(fd, (struct sockaddr *)&own, &size) == 0)
        e = number_of((struct sockaddr *)&own, size, out);
    if (fd >= 0)
        (void)close(fd);
    freeaddrinfo(list);
    return e;
}

/* The first interface that is not the loopback one, or that. */
static enum err first_address(char out[NI_MAXHOST])
{
    struct ifaddrs *all = NULL;
    enum err e = ERR_IO;
    if (getifaddrs(&all) != 0)
        return ERR_IO;
    for (unsigned loopback = 0; e && loopback <= IFF_LOOPBACK; loopback += IFF_LOOPBACK)
        for (const struct ifaddrs *i = all; i && e; i = i->ifa_next)
            if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET &&
                (i->ifa_flags & IFF_LOOPBACK) == loopback)
                e = number_of(i->ifa_addr, sizeof(struct sockaddr_in), out);
    freeifaddrs(all);
    return e;
}

enum err own_address_towards(const char *bound, const char *towards, char out[OWN_ADDRESS_BYTES])
{
    char host[OWN_ADDRESS_BYTES], own[NI_MAXHOST];
    const char *colon = strrchr(towards, ':'), *port = strrchr(bound, ':');
    if (!port)
        return ERR_IO;
    enum err e = ERR_IO;
    if (strncmp(towards, "tcp://", 6) == 0 && colon > towards + 6) {
        bool v6 = towards[6] == '[';
        const char *start = towards + 6 + v6;
        (void)snprintf(host, sizeof host, "%.*s", (int)(colon - v6 - start), start);
        e = address_towards(host, colon + 1, own);
    } else {
        e = first_address(own);
    }
    if (e)
        return e;
    int n = snprintf(out, OWN_ADDRESS_BYTES, strchr(own, ':') ? "tcp://[%s]%s" : "tcp://%s%s", own,
                     port);
    return n < 0 || n >= OWN_ADDRESS_BYTES ? ERR_IO : OK;
}
