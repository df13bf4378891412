#include "common/base/spool_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/crypto.h"
#include "common/base/log.h"

/* A file is MAGIC, then records: length (4 bytes, little-endian), check (8), bytes. */
static const char magic[8] = "TGSPOOL1";
static const char suffix[] = ".spool", unfinished[] = ".part";
enum { LENGTH_BYTES = 4, CHECK_BYTES = 8, HEAD_BYTES = LENGTH_BYTES + CHECK_BYTES, HEX = 16 };
enum { NAME_BYTES = SPOOL_OWNER_BYTES + 32 };

struct spool_reader {
    int dir;
    FILE *file; /* holds the claim */
    bool broken;
    char owner[SPOOL_OWNER_BYTES];
    char name[NAME_BYTES];
    char record[SPOOL_RECORD_MAX];
};

struct spool_writer {
    int dir, fd;
    uint64_t bytes; /* whole records, and the magic */
    char name[NAME_BYTES], part[NAME_BYTES];
    char record[HEAD_BYTES + SPOOL_RECORD_MAX];
};

static void put_length(uint32_t n, uint8_t out[LENGTH_BYTES])
{
    for (unsigned i = 0; i < LENGTH_BYTES; i++)
        out[i] = (uint8_t)(n >> (8 * i));
}

static uint32_t get_length(const uint8_t in[LENGTH_BYTES])
{
    uint32_t n = 0;
    for (unsigned i = 0; i < LENGTH_BYTES; i++)
        n |= (uint32_t)in[i] << (8 * i);
    return n;
}

/* A length that was torn off fails too: as many bytes have another check. */
static void check_of(struct span record, uint8_t out[CHECK_BYTES])
{
    uint8_t digest[SHA256_BYTES];
    crypto_sha256(record, digest);
    memcpy(out, digest, CHECK_BYTES);
}

/* "<owner>-<hex><end>" */
static bool is_named(const char *name, const char *owner, const char *end)
{
    size_t n = strlen(owner);
    if (strncmp(name, owner, n) != 0 || name[n] != '-')
        return false;
    name += n + 1;
    return strspn(name, "0123456789abcdef") == HEX && strcmp(name + HEX, end) == 0;
}

/* ---- reading ---- */

/* NULL: it will do. */
static const char *judge(const struct stat *s)
{
    if (!S_ISREG(s->st_mode))
        return "it is no file";
    if (s->st_uid != geteuid())
        return "it belongs to another user";
    if (s->st_mode & (S_IWGRP | S_IWOTH))
        return "others than its owner may write there";
    if (s->st_nlink > 1)
        return "it has another name elsewhere";
    return (uint64_t)s->st_size > SPOOL_FILE_MAX ? "it is too large" : NULL;
}

/* Opens and claims; −1 when it is somebody else's, or none to trust. */
static int claim(int dir, const char *name)
{
    struct stat s = {0}, now;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return -1; /* taken care of meanwhile */
    const char *why = fd < 0 || fstat(fd, &s) != 0 ? strerror(errno) : judge(&s);
    if (why)
        log_warn("spool_passed_over", LSTR("file", name), LSTR("why", why));
    /* between opening and claiming it another may have been done with it */
    else if (flock(fd, LOCK_EX | LOCK_NB) == 0 &&
             fstatat(dir, name, &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_ino == s.st_ino &&
             now.st_dev == s.st_dev)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static enum err read_magic(struct spool_reader *r)
{
    char found[sizeof magic];
    size_t n = fread(found, 1, sizeof found, r->file);
    bool is_ours = n == sizeof found && memcmp(found, magic, n - 1) == 0;
    if (is_ours && found[n - 1] != magic[n - 1])
        return ERR_VERSION;
    r->broken = !is_ours;
    return OK;
}

static enum err reader_of(struct spool_reader **out, int dir, int fd, const char *owner,
                          const char *name)
{
    struct spool_reader *r = calloc(1, sizeof *r);
    FILE *file = r ? fdopen(fd, "r") : NULL;
    if (!file) {
        (void)close(fd);
        free(r);
        return ERR_NOMEM;
    }
    r->dir = dir;
    r->file = file;
    (void)snprintf(r->owner, sizeof r->owner, "%s", owner);
    (void)snprintf(r->name, sizeof r->name, "%s", name);
    enum err e = read_magic(r);
    if (e) {
        log_warn("spool_passed_over", LSTR("file", name), LSTR("why", "a later version made it"));
        (void)fclose(file);
        free(r);
        return e;
    }
    *out = r;
    return OK;
}

enum err spool_reader_open(struct spool_reader **out, const char *path, const char *owner)
{
    enum err e = ERR_NOT_FOUND;
    *out = NULL;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *list = dir >= 0 ? opendir(path) : NULL;
    const struct dirent *entry;
    while (e && list && (entry = readdir(list))) {
        if (strlen(entry->d_name) >= NAME_BYTES || !is_named(entry->d_name, owner, suffix))
            continue;
        int fd = claim(dir, entry->d_name);
        if (fd >= 0)
            e = reader_of(out, dir, fd, owner, entry->d_name);
    }
    if (list)
        (void)closedir(list);
    if (e && dir >= 0)
        (void)close(dir);
    return e ? ERR_NOT_FOUND : OK;
}

enum err spool_reader_next(struct spool_reader *r, struct span *record_out)
{
    uint8_t head[HEAD_BYTES], check[CHECK_BYTES];
    if (r->broken)
        return ERR_INVALID;
    size_t n = fread(head, 1, sizeof head, r->file);
    if (n == 0 && !ferror(r->file))
        return ERR_NOT_FOUND;
    r->broken = true;
    uint32_t length = n == sizeof head ? get_length(head) : UINT32_MAX;
    if (length > SPOOL_RECORD_MAX || fread(r->record, 1, length, r->file) != length)
        return ERR_INVALID;
    check_of(span_of(r->record, length), check);
    if (memcmp(check, head + LENGTH_BYTES, sizeof check) != 0)
        return ERR_INVALID;
    r->broken = false;
    *record_out = span_of(r->record, length);
    return OK;
}

void spool_reader_remove(struct spool_reader **out)
{
    struct spool_reader *r = *out;
    char aside[NAME_BYTES];
    (void)snprintf(aside, sizeof aside, "%s.broken", r->owner);
    int failed =
        r->broken ? renameat(r->dir, r->name, r->dir, aside) : unlinkat(r->dir, r->name, 0);
    if (failed)
        log_warn("spool_not_removed", LSTR("file", r->name), LSTR("why", strerror(errno)));
    spool_reader_close(out);
}

void spool_reader_close(struct spool_reader **out)
{
    struct spool_reader *r = *out;
    if (!r)
        return;
    (void)fclose(r->file);
    (void)close(r->dir);
    free(r);
    *out = NULL;
}

/* ---- writing ---- */

/* What a writer that was killed has left. */
static void remove_unfinished(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(dir, name, 0);
    if (fd >= 0)
        (void)close(fd);
}

static size_t count_files(int dir, const char *path, const char *owner)
{
    size_t n = 0;
    DIR *list = opendir(path);
    const struct dirent *entry;
    while (list && (entry = readdir(list))) {
        n += is_named(entry->d_name, owner, suffix);
        if (is_named(entry->d_name, owner, unfinished))
            remove_unfinished(dir, entry->d_name);
    }
    if (list)
        (void)closedir(list);
    return n;
}

/* Another that starts may have taken it for a dead one's before it was locked: then once more. */
static int open_part(int dir, const char *name)
{
    struct stat s;
    for (int i = 0; i < 8; i++) {
        int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 && flock(fd, LOCK_EX) == 0 && fstat(fd, &s) == 0 && s.st_nlink == 1)
            return fd;
        if (fd < 0)
            return -1;
        (void)close(fd);
    }
    return -1;
}

static bool write_all(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n) {
        ssize_t written = write(fd, at, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        at += written;
        n -= (size_t)written;
    }
    return true;
}

/* Takes back what a failed write has left of a record. */
static enum err add_bytes(struct spool_writer *w, const void *bytes, size_t n)
{
    if (write_all(w->fd, bytes, n)) {
        w->bytes += n;
        return OK;
    }
    int why = errno;
    if (ftruncate(w->fd, (off_t)w->bytes) != 0 || lseek(w->fd, 0, SEEK_END) < 0)
        log_debug("spool_not_cut"); /* a reader stops there */
    errno = why;
    return ERR_IO;
}

static void give_up(struct spool_writer *w)
{
    int why = errno;
    (void)unlinkat(w->dir, w->part, 0);
    (void)close(w->fd);
    (void)close(w->dir);
    free(w);
    errno = why;
}

enum err spool_writer_open(struct spool_writer **out, const char *path, const char *owner,
                           uint64_t number)
{
    *out = NULL;
    struct spool_writer *w = calloc(1, sizeof *w);
    if (!w)
        return ERR_NOMEM;
    (void)snprintf(w->name, sizeof w->name, "%s-%016" PRIx64 "%s", owner, number, suffix);
    (void)snprintf(w->part, sizeof w->part, "%s-%016" PRIx64 "%s", owner, number, unfinished);
    w->dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool full = w->dir >= 0 && count_files(w->dir, path, owner) >= SPOOL_FILES_MAX;
    w->fd = w->dir < 0 || full ? -1 : open_part(w->dir, w->part);
    if (w->fd < 0) {
        if (w->dir >= 0)
            (void)close(w->dir);
        free(w);
        return full ? ERR_TOO_BIG : ERR_IO;
    }
    enum err e = add_bytes(w, magic, sizeof magic);
    if (e)
        give_up(w);
    else
        *out = w;
    return e;
}

enum err spool_writer_add(struct spool_writer *w, struct span record)
{
    size_t n = HEAD_BYTES + record.len;
    if (record.len > SPOOL_RECORD_MAX || w->bytes + n > SPOOL_FILE_MAX)
        return ERR_TOO_BIG;
    put_length((uint32_t)record.len, (uint8_t *)w->record);
    check_of(record, (uint8_t *)w->record + LENGTH_BYTES);
    memcpy(w->record + HEAD_BYTES, record.data, record.len);
    return add_bytes(w, w->record, n);
}

enum err spool_writer_finish(struct spool_writer **out)
{
    struct spool_writer *w = *out;
    *out = NULL;
    if (w->bytes == sizeof magic) {
        give_up(w);
        return OK;
    }
    if (fsync(w->fd) != 0 || renameat(w->dir, w->part, w->dir, w->name) != 0) {
        give_up(w);
        return ERR_IO;
    }
    enum err e = fsync(w->dir) == 0 ? OK : ERR_IO;
    int why = errno;
    (void)close(w->fd);
    (void)close(w->dir);
    free(w);
    errno = why;
    return e;
}
