#include "common/runtime/bus/key_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/crypto.h"

enum { READ_BYTES = 4096, OTHERS = 0007, GROUP_WRITES = 0020 };

#define LIST_NAME "public.keys"
#define SECRET_SUFFIX ".secret"

static enum err fail(struct buf *out, const char *path, const char *why, enum err e)
{
    buf_printf(out, "%s: %s\n", path, why);
    return e;
}

static enum err path_in(const char *folder, const char *name, const char *suffix,
                        char out[KEY_PATH_BYTES])
{
    int n = snprintf(out, KEY_PATH_BYTES, "%s/%s%s", folder, name, suffix);
    return n < 0 || n >= KEY_PATH_BYTES ? ERR_TOO_BIG : OK;
}

/* All of it, into a buffer that does not grow and so leaves no copies of a secret behind. */
static enum err read_fd(int fd, char *text, size_t size, size_t *len_out)
{
    size_t len = 0;
    for (;;) {
        ssize_t n = read(fd, text + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        len += (size_t)n;
        if (n == 0 || len == size)
            break;
    }
    *len_out = len;
    return len == size ? ERR_TOO_BIG : OK;
}

static enum err open_file(const char *path, bool secret, int *fd_out, struct buf *error_out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *fd_out = fd;
    if (fd < 0)
        return fail(error_out, path, strerror(errno),
                    errno == ENOENT   ? ERR_NOT_FOUND
                    : errno == EACCES ? ERR_DENIED
                                      : ERR_IO);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return fail(error_out, path, "not a file", ERR_INVALID);
    if (secret && st.st_mode & OTHERS)
        return fail(error_out, path, "others may read this secret (chmod 0400)", ERR_DENIED);
    if (st.st_mode & (GROUP_WRITES | (OTHERS & 0002)))
        return fail(error_out, path, "others may write it (chmod go-w)", ERR_DENIED);
    return OK;
}

static enum err read_file(const char *path, bool secret, char *text, size_t size, size_t *len_out,
                          struct buf *error_out)
{
    int fd;
    *len_out = 0;
    enum err e = open_file(path, secret, &fd, error_out);
    if (!e) {
        e = read_fd(fd, text, size, len_out);
        if (e)
            e = fail(error_out, path, err_name(e), e);
    }
    if (fd >= 0)
        (void)close(fd);
    return e;
}

enum err key_pair_load(const char *path, struct key_pair *out, struct buf *error_out)
{
    char text[READ_BYTES];
    size_t len = 0;
    enum err e = read_file(path, true, text, sizeof text, &len, error_out);
    if (!e && key_pair_read(span_of(text, len), out) != OK)
        e = fail(error_out, path, "no pair of keys that belong together", ERR_INVALID);
    crypto_wipe(text, sizeof text);
    return e;
}

enum err key_list_load(const char *folder, struct key_list *out, struct buf *error_out)
{
    char path[KEY_PATH_BYTES];
    size_t len = 0;
    *out = (struct key_list){0};
    if (path_in(folder, LIST_NAME, "", path))
        return fail(error_out, folder, "the path is too long", ERR_TOO_BIG);
    char *text = malloc(KEY_FILE_BYTES);
    enum err e = text ? read_file(path, false, text, KEY_FILE_BYTES, &len, error_out) : ERR_NOMEM;
    if (!e)
        e = key_list_read(span_of(text, len), path, out, error_out);
    free(text);
    return e;
}

void bus_keys_reset(struct bus_keys *keys)
{
    key_pair_wipe(&keys->own);
    key_list_free(&keys->list);
}

/* Would others take us for who we are? */
static enum err check_listed(const struct bus_keys *keys, const struct key_list *list,
                             struct buf *error_out)
{
    const struct listed_key *entry = key_list_find(list, span_str(keys->own.public_key));
    if (entry && strcmp(entry->service, keys->service) == 0)
        return OK;
    buf_printf(error_out, "%s/" LIST_NAME ": the key of %s" SECRET_SUFFIX " is not listed as %s\n",
               keys->folder, keys->service, keys->service);
    return ERR_INVALID;
}

enum err bus_keys_load(struct bus_keys *out, const char *folder, const char *service,
                       struct buf *error_out)
{
    char path[KEY_PATH_BYTES];
    *out = (struct bus_keys){0};
    (void)snprintf(out->folder, sizeof out->folder, "%s", folder);
    (void)snprintf(out->service, sizeof out->service, "%s", service);
    if (path_in(folder, service, SECRET_SUFFIX, path))
        return fail(error_out, folder, "the path is too long", ERR_TOO_BIG);
    enum err e = key_list_load(folder, &out->list, error_out);
    if (!e)
        e = key_pair_load(path, &out->own, error_out);
    if (!e)
        e = check_listed(out, &out->list, error_out);
    if (e)
        bus_keys_reset(out);
    return e;
}

enum err bus_keys_load_any(struct bus_keys *out, const char *folder, struct buf *error_out)
{
    const struct dirent *entry;
    enum err e = bus_keys_load(out, folder, "ctl", error_out);
    DIR *dir = e ? opendir(folder) : NULL;
    while (e && dir && (entry = readdir(dir))) {
        char service[SERVICE_BYTES];
        struct span name = span_str(entry->d_name);
        if (!span_ends(name, SECRET_SUFFIX) || name.len >= sizeof service)
            continue;
        (void)snprintf(service, sizeof service, "%.*s",
                       SPAN_ARG(span_first(name, name.len - strlen(SECRET_SUFFIX))));
        struct buf ignored = {0};
        e = bus_keys_load(out, folder, service, &ignored);
        buf_free(&ignored);
    }
    if (dir)
        (void)closedir(dir);
    if (!e)
        buf_clear(error_out);
    return e;
}

enum err bus_keys_reload(struct bus_keys *keys, struct buf *error_out)
{
    struct key_list fresh;
    enum err e = key_list_load(keys->folder, &fresh, error_out);
    if (!e)
        e = check_listed(keys, &fresh, error_out);
    if (e) {
        key_list_free(&fresh);
        return e;
    }
    key_list_free(&keys->list);
    keys->list = fresh;
    return OK;
}

/* ---- writing ---- */

static enum err write_all(int fd, struct span text)
{
    while (text.len) {
        ssize_t n = write(fd, text.data, text.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        text = span_skip(text, (size_t)n);
    }
    return OK;
}

enum err key_file_write(const char *path, struct span text, unsigned mode)
{
    char fresh[KEY_PATH_BYTES];
    int n = snprintf(fresh, sizeof fresh, "%s.new", path);
    if (n < 0 || n >= KEY_PATH_BYTES)
        return ERR_TOO_BIG;
    (void)unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return ERR_IO;
    bool fine = write_all(fd, text) == OK && fchmod(fd, mode) == 0 && fsync(fd) == 0;
    fine = close(fd) == 0 && fine;
    if (fine && rename(fresh, path) == 0)
        return OK;
    (void)unlink(fresh);
    return ERR_IO;
}
