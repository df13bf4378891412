#include "services/ctl/certs.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECRET_MODE = 0400, SHARED_SECRET_MODE = 0440, LIST_MODE = 0444, FOLDER_MODE = 0755 };

static enum err fail(struct buf *out, const char *what, const char *why, enum err e)
{
    buf_printf(out, "%s: %s\n", what, why);
    return e;
}

static enum err path_of(const char *folder, const char *service, const char *suffix,
                        char out[KEY_PATH_BYTES], struct buf *error_out)
{
    int n = snprintf(out, KEY_PATH_BYTES, "%s/%s%s", folder, service, suffix);
    return n < 0 || n >= KEY_PATH_BYTES
               ? fail(error_out, folder, "the path is too long", ERR_TOO_BIG)
               : OK;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* ---- writing ---- */

/* Root makes them for the users that the daemons run as. */
static void give_to_daemon(const char *path, const char *service)
{
    char name[SERVICE_BYTES + 16];
    if (geteuid() != 0)
        return;
    (void)snprintf(name, sizeof name, "tollgate-%.*s", SPAN_ARG(service_role(span_str(service))));
    const struct passwd *user = getpwnam(name);
    if (!user)
        user = getpwnam("tollgate");
    if (user && chown(path, user->pw_uid, user->pw_gid) != 0)
        return; /* then root's it stays, and the daemon says that it can't read it */
}

static enum err write_pair(const char *folder, const char *service, const char *suffix,
                           const struct key_pair *pair, unsigned mode, struct buf *error_out)
{
    char path[KEY_PATH_BYTES];
    struct buf text = {0};
    enum err e = path_of(folder, service, suffix, path, error_out);
    if (e)
        return e;
    if (!buf_reserve(&text, 1024)) /* does not move: no copy of the secret stays behind */
        return ERR_NOMEM;
    key_pair_write(pair, service, &text);
    e = buf_check(&text);
    if (!e && key_file_write(path, buf_span(&text), mode) != OK)
        e = fail(error_out, path, strerror(errno), ERR_IO);
    explicit_bzero(text.data, text.cap);
    buf_free(&text);
    if (!e && mode == SECRET_MODE)
        give_to_daemon(path, service);
    return e;
}

static enum err write_list(const struct certs *c, const char *folder, struct buf *error_out)
{
    char path[KEY_PATH_BYTES];
    struct buf text = {0};
    enum err e = path_of(folder, "public", ".keys", path, error_out);
    key_list_write(&c->list, &text);
    if (!e)
        e = buf_check(&text);
    if (!e && key_file_write(path, buf_span(&text), LIST_MODE) != OK)
        e = fail(error_out, path, strerror(errno), ERR_IO);
    buf_free(&text);
    return e;
}

static enum err list_key(struct certs *c, const char *service, const char *key,
                         struct buf *error_out)
{
    if (key_list_find(&c->list, span_str(key)))
        return OK;
    enum err e = key_list_add(&c->list, span_str(service), span_str(key));
    if (e)
        return fail(error_out, service, e == ERR_TOO_BIG ? "it has two keys already" : err_name(e),
                    e);
    return write_list(c, c->folder, error_out);
}

/* ---- the folder ---- */

enum err certs_open(struct certs *c, const char *folder, struct buf *error_out)
{
    char path[KEY_PATH_BYTES];
    *c = (struct certs){.lock_fd = -1};
    (void)snprintf(c->folder, sizeof c->folder, "%s", folder);
    if (mkdir(folder, FOLDER_MODE) != 0 && errno != EEXIST)
        return fail(error_out, folder, strerror(errno), ERR_IO);
    c->lock_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->lock_fd < 0 || flock(c->lock_fd, LOCK_EX) != 0)
        return fail(error_out, folder, strerror(errno), ERR_IO);
    enum err e = path_of(folder, "public", ".keys", path, error_out);
    return e || !exists(path) ? e : key_list_load(folder, &c->list, error_out);
}

void certs_close(struct certs *c)
{
    key_list_free(&c->list);
    if (c->lock_fd >= 0)
        (void)close(c->lock_fd);
    c->lock_fd = -1;
}

static enum err make_pair(struct certs *c, const char *service, const char *suffix,
                          struct buf *error_out)
{
    struct key_pair pair;
    enum err e = key_pair_make(&pair);
    if (e)
        return fail(error_out, service, "this libzmq has no CURVE", e);
    e = write_pair(c->folder, service, suffix, &pair, SECRET_MODE, error_out);
    if (!e)
        e = list_key(c, service, pair.public_key, error_out);
    key_pair_wipe(&pair);
    return e;
}

/* One whose making was interrupted is listed now. */
static enum err list_pair(struct certs *c, const char *path, const char *service, bool *listed_out,
                          struct buf *error_out)
{
    struct key_pair pair;
    enum err e = key_pair_load(path, &pair, error_out);
    if (e)
        return e;
    *listed_out = key_list_find(&c->list, span_str(pair.public_key)) != NULL;
    e = list_key(c, service, pair.public_key, error_out);
    key_pair_wipe(&pair);
    return e;
}

enum err certs_make(struct certs *c, const char *service, struct buf *error_out)
{
    char path[KEY_PATH_BYTES];
    bool listed;
    if (!service_is_known(span_str(service)))
        return fail(error_out, service,
                    "no service: edge, auth, broker, metrics, ctl or "
                    "worker-PROVIDER",
                    ERR_INVALID);
    enum err e = path_of(c->folder, service, ".secret", path, error_out);
    if (e)
        return e;
    if (!exists(path))
        return make_pair(c, service, ".secret", error_out);
    e = list_pair(c, path, service, &listed, error_out);
    return e ? e : ERR_EXISTS;
}

/* ---- a change of keys ---- */

static enum err drop_others(struct certs *c, const char *path, const char *service,
                            struct buf *error_out)
{
    struct key_pair pair;
    enum err e = key_pair_load(path, &pair, error_out);
    if (e)
        return e;
    for (size_t n = key_list_count(&c->list, service); n-- > 0;) {
        char key[KEY_TEXT];
        memcpy(key, key_list_of(&c->list, service, n)->key, sizeof key);
        if (strcmp(key, pair.public_key) != 0)
            key_list_remove(&c->list, span_str(key));
    }
    key_pair_wipe(&pair);
    return write_list(c, c->folder, error_out);
}

enum err certs_rotate(struct certs *c, const char *service, enum certs_step *step_out,
                      struct buf *error_out)
{
    char now[KEY_PATH_BYTES], next[KEY_PATH_BYTES];
    bool listed = false;
    enum err e = path_of(c->folder, service, ".secret", now, error_out);
    if (!e)
        e = path_of(c->folder, service, ".secret.next", next, error_out);
    if (!e && !exists(now))
        e = fail(error_out, service, "it has no key here", ERR_NOT_FOUND);
    if (e)
        return e;
    *step_out = CERTS_LISTED;
    if (exists(next)) {
        e = list_pair(c, next, service, &listed, error_out);
        if (e || !listed)
            return e;
        *step_out = CERTS_SWITCHED;
        return rename(next, now) == 0 ? OK : fail(error_out, next, strerror(errno), ERR_IO);
    }
    if (key_list_count(&c->list, service) < SERVICE_KEYS_MAX)
        return make_pair(c, service, ".secret.next", error_out);
    *step_out = CERTS_DROPPED;
    return drop_others(c, now, service, error_out);
}

/* ---- handing out ---- */

static enum err hand_out_one(const struct certs *c, const char *service, const char *folder,
                             struct buf *error_out)
{
    char from[KEY_PATH_BYTES];
    struct key_pair pair;
    enum err e = path_of(c->folder, service, ".secret", from, error_out);
    if (!e)
        e = key_pair_load(from, &pair, error_out);
    if (e)
        return e;
    e = write_pair(folder, service, ".secret", &pair, SHARED_SECRET_MODE, error_out);
    key_pair_wipe(&pair);
    return e ? e : write_list(c, folder, error_out);
}

enum err certs_hand_out(const struct certs *c, const char *to, unsigned *count_out,
                        struct buf *error_out)
{
    enum err e = OK;
    *count_out = 0;
    for (size_t i = 0; !e && i < c->list.count; i++) {
        const char *service = c->list.items[i].service;
        char folder[KEY_PATH_BYTES];
        struct stat st;
        bool seen = key_list_of(&c->list, service, 0) != &c->list.items[i];
        e = seen ? OK : path_of(to, service, "", folder, error_out);
        if (e || seen || stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
            continue;
        e = hand_out_one(c, service, folder, error_out);
        *count_out += e == OK;
    }
    return e;
}
