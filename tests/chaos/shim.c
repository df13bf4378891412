/* Preloaded into a daemon by tests/chaos: makes single calls fail, or moves the wall clock.
 *
 *   CHAOS_FAIL=malloc:17   the 17th allocation fails (once); also socket, write, fsync
 *   CHAOS_LIST=FILE        appends, when the program ends, each place that calls one of them: kind,
 * number of its first call CHAOS_CLOCK=FILE       eight bytes, mapped: nanoseconds that are added
 * to the wall clock at every reading of it
 *
 * A place is the callers of a call: the same line reached by another way is another place. Calls
 * are counted from the start of main's libraries on, over all threads. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { MALLOC, SOCKET, WRITE, FSYNC, KINDS };
enum { FRAMES = 6, PLACES = 1 << 16 };

static const char *const kind_names[KINDS] = {"malloc", "socket", "write", "fsync"};
static struct {
    uint64_t hash, first;
    enum kind kind;
} places[PLACES];
static uint64_t counts[KINDS];
static enum kind fail_kind = KINDS;
static uint64_t fail_at;
static const char *list_path;
static const volatile int64_t *clock_offset;
static bool ready;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread bool inside; /* backtrace() allocates */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static void read_clock_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *clock_offset, PROT_READ, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED)
        clock_offset = p;
    if (fd >= 0)
        close(fd);
}

static void on_crash(int number)
{
    static const char text[] = "CRASH\n";
    void *frames[16];
    inside = true;
    (void)syscall(SYS_write, STDERR_FILENO, text, sizeof text - 1);
    backtrace_symbols_fd(frames, backtrace(frames, 16), STDERR_FILENO);
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

__attribute__((constructor)) static void begin(void)
{
    const char *fail = getenv("CHAOS_FAIL"), *clock_path = getenv("CHAOS_CLOCK");
    const char *number = fail ? strchr(fail, ':') : NULL;
    for (int k = 0; number && k < KINDS; k++)
        if (strlen(kind_names[k]) == (size_t)(number - fail) &&
            !strncmp(fail, kind_names[k], (size_t)(number - fail))) {
            fail_kind = (enum kind)k;
            fail_at = strtoull(number + 1, NULL, 10);
        }
    if (clock_path)
        read_clock_file(clock_path);
    if (fail_kind != KINDS)
        (void)signal(SIGSEGV, on_crash);
    list_path = getenv("CHAOS_LIST");
    ready = list_path || fail_kind != KINDS;
}

static void remember(enum kind kind, uint64_t number)
{
    void *frames[FRAMES + 2];
    int n = backtrace(frames, FRAMES + 2);
    uint64_t hash = 0xcbf29ce484222325u ^ (uint64_t)kind;
    for (int i = 2; i < n; i++)
        hash = (hash ^ (uintptr_t)frames[i]) * 0x100000001b3u;
    (void)pthread_mutex_lock(&lock);
    size_t at = (size_t)(hash % PLACES), tries = 0;
    while (places[at].first && places[at].hash != hash && tries++ < PLACES)
        at = (at + 1) % PLACES;
    if (!places[at].first) {
        places[at].hash = hash;
        places[at].first = number;
        places[at].kind = kind;
    }
    (void)pthread_mutex_unlock(&lock);
}

/* Is this the call that fails? */
static bool fails(enum kind kind)
{
    if (!ready || inside)
        return false;
    uint64_t number = __atomic_add_fetch(&counts[kind], 1, __ATOMIC_RELAXED);
    if (list_path) {
        inside = true;
        remember(kind, number);
        inside = false;
    }
    if (kind != fail_kind || number != fail_at)
        return false;
    void *frames[16];
    inside = true;
    backtrace_symbols_fd(frames, backtrace(frames, 16),
                         STDERR_FILENO); /* which one it was, in the log */
    inside = false;
    return true;
}

__attribute__((destructor)) static void end(void)
{
    inside = true;
    FILE *f = list_path ? fopen(list_path, "ae") : NULL;
    for (size_t i = 0; f && i < PLACES; i++)
        if (places[i].first)
            (void)fprintf(f, "%s %llu\n", kind_names[places[i].kind],
                          (unsigned long long)places[i].first);
    if (f)
        (void)fclose(f);
}

/* ---- memory ---- */
void *malloc(size_t size)
{
    if (fails(MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    if (fails(MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    if (fails(MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(p, size);
}

int posix_memalign(void **p, size_t alignment, size_t size)
{
    if (fails(MALLOC))
        return ENOMEM;
    *p = __libc_memalign(alignment, size);
    return *p ? 0 : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    if (fails(MALLOC)) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_memalign(alignment, size);
}

/* ---- descriptors, files ---- */
int socket(int domain, int type, int protocol)
{
    if (fails(SOCKET)) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_socket, domain, type, protocol);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags)
{
    if (fails(SOCKET)) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_accept4, fd, address, length, flags);
}

int accept(int fd, struct sockaddr *restrict address, socklen_t *restrict length)
{
    return accept4(fd, address, length, 0);
}

/* What a write to this may fail with; 0: the kernel never refuses it (an eventfd, a pipe with
 * room). */
static int write_error(int fd)
{
    struct stat s;
    if (!ready || inside || fd <= STDERR_FILENO ||
        fstat(fd, &s)) /* a line of the log that is lost is no failure */
        return 0;
    return S_ISREG(s.st_mode) ? ENOSPC : S_ISSOCK(s.st_mode) ? ECONNRESET : 0;
}

static bool write_fails(int fd)
{
    int error = write_error(fd);
    if (!error || !fails(WRITE))
        return false;
    errno = error;
    return true;
}

ssize_t write(int fd, const void *data, size_t size)
{
    return write_fails(fd) ? -1 : syscall(SYS_write, fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return write_fails(fd) ? -1 : syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return pwrite64(fd, data, size, at);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return write_fails(fd) ? -1 : syscall(SYS_writev, fd, parts, count);
}

ssize_t send(int fd, const void *data, size_t size, int flags)
{
    return write_fails(fd) ? -1 : syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
               socklen_t length)
{
    return write_fails(fd) ? -1 : syscall(SYS_sendto, fd, data, size, flags, to, length);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return write_fails(fd) ? -1 : syscall(SYS_sendmsg, fd, message, flags);
}

int fsync(int fd)
{
    if (fails(FSYNC)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    if (fails(FSYNC)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* ---- the wall clock ---- */
int clock_gettime(clockid_t clock, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(clock, t);
    if (rc == 0 && clock_offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec + *clock_offset;
        t->tv_sec = ns / 1000000000;
        t->tv_nsec = ns % 1000000000;
    }
    return rc;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *t)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (t)
        *t = now.tv_sec;
    return now.tv_sec;
}
