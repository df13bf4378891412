#include "services/ctl/ask_socket.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"

enum { ANSWER_MAX = 64 << 20 };

/* Root asks services of all users; others their own, or root's: in a folder that somebody else made
 * somebody else listens. */
static bool is_trusted(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
           (geteuid() == 0 || peer.uid == 0 || peer.uid == geteuid());
}

static enum err connect_to(const char *path, int *out)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof at.sun_path)
        return ERR_TOO_BIG;
    memcpy(at.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return ERR_IO;
    if (connect(fd, (const struct sockaddr *)&at, sizeof at) != 0) {
        enum err e = errno == ENOENT || errno == ECONNREFUSED ? ERR_NOT_FOUND
                     : errno == EACCES                        ? ERR_DENIED
                                                              : ERR_IO;
        (void)close(fd);
        return e;
    }
    if (!is_trusted(fd)) {
        (void)close(fd);
        return ERR_DENIED;
    }
    *out = fd;
    return OK;
}

static enum err wait_for(int fd, short events, uint64_t due_ms)
{
    uint64_t now = clock_mono_ms(&clock_real);
    struct pollfd p = {.fd = fd, .events = events};
    int n = now >= due_ms ? 0 : poll(&p, 1, (int)(due_ms - now));
    return n > 0 ? OK : n == 0 ? ERR_TIMEOUT : ERR_IO;
}

static enum err send_all(int fd, struct span bytes, uint64_t due_ms)
{
    while (bytes.len) {
        enum err e = wait_for(fd, POLLOUT, due_ms);
        if (e)
            return e;
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return ERR_CLOSED;
        bytes = span_skip(bytes, n > 0 ? (size_t)n : 0);
    }
    return OK;
}

static enum err read_line(int fd, struct buf *out, uint64_t due_ms)
{
    for (;;) {
        enum err e = wait_for(fd, POLLIN, due_ms);
        char *at = e ? NULL : buf_reserve(out, 65536);
        if (!at)
            return e ? e : ERR_TOO_BIG;
        ssize_t n = recv(fd, at, 65536, MSG_DONTWAIT);
        if (n == 0)
            return ERR_CLOSED;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return ERR_IO;
        out->len += n > 0 ? (size_t)n : 0;
        if (out->len && out->data[out->len - 1] == '\n') {
            out->len--;
            return OK;
        }
    }
}

enum err ask_socket(const char *socket_path, struct span line, unsigned timeout_ms,
                    struct answer *out)
{
    int fd = -1;
    uint64_t due_ms = clock_mono_ms(&clock_real) + timeout_ms;
    *out = (struct answer){0};
    buf_init(&out->text, ANSWER_MAX);
    enum err e = connect_to(socket_path, &fd);
    if (!e)
        e = send_all(fd, line, due_ms);
    if (!e)
        e = send_all(fd, SPAN("\n"), due_ms);
    if (!e)
        e = read_line(fd, &out->text, due_ms);
    if (!e)
        e = json_parse(&out->doc, buf_span(&out->text), JSON_DEPTH_CLIENT);
    if (fd >= 0)
        (void)close(fd);
    if (e)
        answer_free(out);
    else
        out->root = json_root(&out->doc);
    return e;
}

void answer_free(struct answer *a)
{
    json_doc_free(&a->doc);
    buf_free(&a->text);
}
