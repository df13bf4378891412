#include "services/auth/keys/pepper.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/log.h"

static enum err fail(const char *path, const char *what, enum err e)
{
    log_error("pepper_failed", LSTR("path", path), LSTR("problem", what));
    return e;
}

static enum err make(const char *path)
{
    uint8_t fresh[PEPPER_BYTES];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return fail(path, strerror(errno), ERR_IO);
    crypto_random(fresh, sizeof fresh);
    bool written = write(fd, fresh, sizeof fresh) == (ssize_t)sizeof fresh && fsync(fd) == 0;
    crypto_wipe(fresh, sizeof fresh);
    if (close(fd) != 0 || !written) {
        (void)unlink(path);
        return fail(path, "could not be written", ERR_IO);
    }
    log_info("pepper_created", LSTR("path", path));
    return OK;
}

static enum err read_bytes(const char *path, int fd, uint8_t out[PEPPER_BYTES])
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail(path, strerror(errno), ERR_IO);
    if (st.st_mode & 077)
        return fail(path, "others may read it: chmod 600", ERR_DENIED);
    if (st.st_size != PEPPER_BYTES || read(fd, out, PEPPER_BYTES) != (ssize_t)PEPPER_BYTES)
        return fail(path, "is not 32 bytes long", ERR_INVALID);
    return OK;
}

enum err pepper_load(const char *path, uint8_t out[PEPPER_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        enum err e = make(path);
        if (e)
            return e;
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0)
        return fail(path, strerror(errno), ERR_IO);
    enum err e = read_bytes(path, fd, out);
    (void)close(fd);
    return e;
}

void pepper_check(const uint8_t pepper[PEPPER_BYTES], uint8_t out[SHA256_BYTES])
{
    crypto_hmac_sha256(span_of(pepper, PEPPER_BYTES), SPAN("tollgate pepper check"), out);
}
