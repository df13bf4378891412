#include "common/runtime/holder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum {
    LINE_BYTES = 256,
    INODES_MAX = 16,
    PROCESSES_MAX = 65536,
    FILES_MAX = 1 << 20,
    LISTENS = 0x0a
};

/* ---- processes ---- */

static void describe(unsigned long pid, char out[HOLDER_BYTES])
{
    char path[64], name[32] = "a process";
    (void)snprintf(path, sizeof path, "/proc/%lu/comm", pid);
    FILE *file = fopen(path, "re");
    if (file && fgets(name, sizeof name, file))
        name[strcspn(name, "\n")] = '\0';
    if (file)
        (void)fclose(file);
    (void)snprintf(out, HOLDER_BYTES, "%s (pid %lu)", name, pid);
}

/* Sockets, by their inodes. */
struct sockets {
    unsigned long inodes[INODES_MAX];
    size_t count;
};

static bool has_one(unsigned long pid, const struct sockets *sockets, unsigned *looked)
{
    char path[300], link[64];
    unsigned long inode;
    bool found = false;
    (void)snprintf(path, sizeof path, "/proc/%lu/fd", pid);
    DIR *folder = opendir(path);
    for (const struct dirent *e;
         folder && !found && ++*looked < FILES_MAX && (e = readdir(folder));) {
        (void)snprintf(path, sizeof path, "/proc/%lu/fd/%.20s", pid, e->d_name);
        ssize_t n = readlink(path, link, sizeof link - 1);
        link[n > 0 ? n : 0] = '\0';
        if (sscanf(link, "socket:[%lu]", &inode) != 1)
            continue;
        for (size_t i = 0; i < sockets->count; i++)
            found |= sockets->inodes[i] == inode;
    }
    if (folder)
        (void)closedir(folder);
    return found;
}

static bool find_process(const struct sockets *sockets, char out[HOLDER_BYTES])
{
    DIR *folder = sockets->count ? opendir("/proc") : NULL;
    bool found = false;
    unsigned looked = 0, processes = 0;
    for (const struct dirent *e; folder && !found && (e = readdir(folder));) {
        unsigned long pid = strtoul(e->d_name, NULL, 10);
        if (!pid || ++processes > PROCESSES_MAX)
            continue;
        found = has_one(pid, sockets, &looked);
        if (found)
            describe(pid, out);
    }
    if (folder)
        (void)closedir(folder);
    return found;
}

/* ---- ports and locks ---- */

static void add_listening(const char *table, uint16_t port, struct sockets *out)
{
    char line[LINE_BYTES];
    FILE *file = fopen(table, "re");
    while (file && out->count < INODES_MAX && fgets(line, sizeof line, file)) {
        unsigned at, state;
        unsigned long inode;
        if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %lu", &at, &state,
                   &inode) == 3 &&
            at == port && state == LISTENS)
            out->inodes[out->count++] = inode;
    }
    if (file)
        (void)fclose(file);
}

bool holder_of_port(uint16_t port, char out[HOLDER_BYTES])
{
    struct sockets sockets = {.count = 0};
    add_listening("/proc/net/tcp", port, &sockets);
    add_listening("/proc/net/tcp6", port, &sockets);
    return find_process(&sockets, out);
}

bool holder_of_lock(const char *path, char out[HOLDER_BYTES])
{
    char line[LINE_BYTES];
    struct stat wanted;
    bool found = false;
    FILE *file = stat(path, &wanted) == 0 ? fopen("/proc/locks", "re") : NULL;
    while (file && !found && fgets(line, sizeof line, file)) {
        unsigned long pid, inode;
        unsigned major_number, minor_number;
        found = sscanf(line, "%*u: FLOCK %*s %*s %lu %x:%x:%lu", &pid, &major_number, &minor_number,
                       &inode) == 4 &&
                pid && inode == wanted.st_ino && major_number == major(wanted.st_dev) &&
                minor_number == minor(wanted.st_dev);
        if (found)
            describe(pid, out);
    }
    if (file)
        (void)fclose(file);
    return found;
}
