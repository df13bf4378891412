#include "common/runtime/own_address.h"

#include <arpa/inet.h>
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

#include "common/base/log.h"

enum { UNIX_PATH_MAX = 107 };

static bool is_tcp(const char *address)
{
    return strncmp(address, "tcp://", 6) == 0;
}

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

static enum err path_of_worker(const char *run_dir, const char *name, uint64_t boot,
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

enum err own_address_of_worker(const struct config_options *o, const char *run_dir,
                               const char *name, uint64_t boot, char out[OWN_ADDRESS_BYTES])
{
    const char *broker = o->bus_brokers.count ? o->bus_brokers.items[0] : "";
    if (!is_tcp(broker))
        return path_of_worker(run_dir, name, boot, out);
    (void)snprintf(out, OWN_ADDRESS_BYTES, "tcp://*:*");
    return OK;
}

/* ---- tcp ---- */

/* This machine's address on the way to host:port: connecting a datagram socket sends nothing. */
static enum err address_towards(const char *host, const char *port, char out[INET6_ADDRSTRLEN])
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *list = NULL;
    struct sockaddr_storage own;
    socklen_t size = sizeof own;
    enum err e = ERR_IO;
    if (getaddrinfo(host, port, &hints, &list) != 0)
        return ERR_IO;
    for (const struct addrinfo *a = list; a && e; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0 &&
            getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
            getnameinfo((struct sockaddr *)&own, size, out, INET6_ADDRSTRLEN, NULL, 0,
                        NI_NUMERICHOST) == 0)
            e = OK;
        if (fd >= 0)
            (void)close(fd);
    }
    freeaddrinfo(list);
    return e;
}

/* While no broker has a name yet: the first interface that is not the loopback one. */
static enum err first_address(char out[INET6_ADDRSTRLEN])
{
    struct ifaddrs *all = NULL;
    enum err e = ERR_IO;
    if (getifaddrs(&all) != 0)
        return ERR_IO;
    for (const struct ifaddrs *i = all; i && e; i = i->ifa_next)
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !(i->ifa_flags & IFF_LOOPBACK) &&
            getnameinfo(i->ifa_addr, sizeof(struct sockaddr_in), out, INET6_ADDRSTRLEN, NULL, 0,
                        NI_NUMERICHOST) == 0)
            e = OK;
    freeifaddrs(all);
    return e;
}

enum err own_address_to_tell(const struct config_options *o, const char *bound,
                             char out[OWN_ADDRESS_BYTES])
{
    char host[200], own[INET6_ADDRSTRLEN];
    if (*o->bus_worker_address) {
        (void)snprintf(out, OWN_ADDRESS_BYTES, "%s", o->bus_worker_address);
        return OK;
    }
    if (!is_tcp(bound)) {
        (void)snprintf(out, OWN_ADDRESS_BYTES, "%s", bound);
        return OK;
    }
    const char *port = strrchr(bound, ':') + 1;
    enum err e = ERR_IO;
    for (size_t i = 0; e && i < o->bus_brokers.count; i++) {
        const char *address = o->bus_brokers.items[i];
        const char *colon = strrchr(address, ':');
        if (!is_tcp(address) || !colon || (size_t)(colon - address - 6) >= sizeof host)
            continue;
        (void)snprintf(host, sizeof host, "%.*s", (int)(colon - address - 6), address + 6);
        e = address_towards(host, colon + 1, own);
    }
    if (e)
        e = first_address(own);
    if (e)
        return e;
    bool v6 = strchr(own, ':') != NULL;
    (void)snprintf(out, OWN_ADDRESS_BYTES, v6 ? "tcp://[%s]:%s" : "tcp://%s:%s", own, port);
    return OK;
}
