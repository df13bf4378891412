#include "common/runtime/own_dir.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096, MODE_ABOVE = 0755, MODE_RUN = 0750, MODE_STATE = 0700 };

static enum err make(const char *path, mode_t mode)
{
    char part[PATH_BYTES];
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(part, MODE_ABOVE) != 0 && errno != EEXIST)
            return ERR_IO;
        *at = '/';
    }
    return mkdir(part, mode) == 0 || errno == EEXIST ? OK : ERR_IO;
}

/* NULL: it will do. */
static const char *judge(const struct stat *s, enum own_dir_kind kind)
{
    bool roots = s->st_uid == 0;
    if (S_ISLNK(s->st_mode))
        return "it is a symbolic link";
    if (!S_ISDIR(s->st_mode))
        return "it is no directory";
    if (!roots && s->st_uid != geteuid())
        return "it belongs to another user";
    if (kind == OWN_DIR_STATE && (s->st_mode & (S_IWGRP | S_IWOTH)))
        return "others than its owner may write there";
    if ((s->st_mode & S_IWOTH) && !(roots && (s->st_mode & S_ISVTX)))
        return "everybody may write there";
    return NULL;
}

enum err own_dir(const char *path, enum own_dir_kind kind, const char **why_out)
{
    struct stat s;
    char plain[PATH_BYTES];
    int n = snprintf(plain, sizeof plain, "%s", path);
    *why_out = "its path is too long";
    if (n <= 0 || (size_t)n >= sizeof plain)
        return ERR_TOO_BIG;
    while (n > 1 && plain[n - 1] == '/') /* lstat would follow a link before a slash */
        plain[--n] = '\0';
    enum err e = make(plain, kind == OWN_DIR_RUN ? MODE_RUN : MODE_STATE);
    if (e || lstat(plain, &s) != 0) {
        *why_out = strerror(errno);
        return ERR_IO;
    }
    *why_out = judge(&s, kind);
    return *why_out ? ERR_DENIED : OK;
}
