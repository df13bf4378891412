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

/* Without slashes at its end: lstat would follow a link before one. */
static bool copy_plain(const char *path, char out[PATH_BYTES])
{
    int n = snprintf(out, PATH_BYTES, "%s", path);
    if (n <= 0 || n >= PATH_BYTES)
        return false;
    while (n > 1 && out[n - 1] == '/')
        out[--n] = '\0';
    return true;
}

static enum err check(const char *plain, enum own_dir_kind kind, const char **why_out)
{
    struct stat s;
    if (lstat(plain, &s) != 0) {
        *why_out = strerror(errno);
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    }
    *why_out = judge(&s, kind);
    return *why_out ? ERR_DENIED : OK;
}

enum err own_dir_check(const char *path, enum own_dir_kind kind, const char **why_out)
{
    char plain[PATH_BYTES];
    *why_out = "its path is too long";
    return copy_plain(path, plain) ? check(plain, kind, why_out) : ERR_TOO_BIG;
}

enum err own_dir(const char *path, enum own_dir_kind kind, const char **why_out)
{
    char plain[PATH_BYTES];
    *why_out = "its path is too long";
    if (!copy_plain(path, plain))
        return ERR_TOO_BIG;
    if (make(plain, kind == OWN_DIR_RUN ? MODE_RUN : MODE_STATE)) {
        *why_out = strerror(errno);
        return ERR_IO;
    }
    return check(plain, kind, why_out);
}
