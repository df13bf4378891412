#include "common/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/crypto.h"

struct secret {
    size_t len;
    char bytes[];
};

static bool fits_a_header(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return text.len > 0;
}

enum err secret_create(struct span prefix, struct span text, struct secret **out)
{
    *out = NULL;
    if (text.len > SECRET_MAX_BYTES || prefix.len > SECRET_MAX_BYTES)
        return ERR_TOO_BIG;
    if (!fits_a_header(text))
        return ERR_INVALID;
    struct secret *secret = malloc(sizeof *secret + prefix.len + text.len + 1);
    if (!secret)
        return ERR_NOMEM;
    secret->len = prefix.len + text.len;
    if (prefix.len)
        memcpy(secret->bytes, prefix.data, prefix.len);
    memcpy(secret->bytes + prefix.len, text.data, text.len);
    secret->bytes[secret->len] = '\0';
    *out = secret;
    return OK;
}

/* Reads at most n bytes; *got_out tells how many there were. */
static enum err read_all(int fd, char *into, size_t n, size_t *got_out)
{
    size_t got = 0;
    while (got < n) {
        ssize_t r = read(fd, into + got, n - got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return ERR_IO;
        if (r == 0)
            break;
        got += (size_t)r;
    }
    *got_out = got;
    return OK;
}

static enum err check_mode(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return ERR_IO;
    if (!S_ISREG(st.st_mode))
        return ERR_INVALID;
    return st.st_mode & 077 ? ERR_DENIED : OK;
}

enum err secret_from_file(const char *path, struct secret **out)
{
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    char text[SECRET_MAX_BYTES + 1];
    size_t got = 0;
    enum err err = check_mode(fd);
    if (err == OK)
        err = read_all(fd, text, sizeof text, &got);
    if (err == OK)
        err = got > SECRET_MAX_BYTES ? ERR_TOO_BIG
                                     : secret_create(SPAN_NONE, span_trim(span_of(text, got)), out);
    crypto_wipe(text, sizeof text);
    (void)close(fd);
    return err;
}

void secret_destroy(struct secret **secret)
{
    if (!*secret)
        return;
    crypto_wipe((*secret)->bytes, (*secret)->len);
    free(*secret);
    *secret = NULL;
}

struct span secret_reveal(const struct secret *secret)
{
    return secret ? span_of(secret->bytes, secret->len) : SPAN_NONE;
}
