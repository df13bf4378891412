#include "services/ctl/signals.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void on_readable(void *ctx, uint32_t events)
{
    struct signals *s = ctx;
    struct signalfd_siginfo info;
    (void)events;
    while (read(s->fd, &info, sizeof info) == (ssize_t)sizeof info)
        s->on_signal(s->ctx, (int)info.ssi_signo);
}

enum err signals_open(struct signals *s, struct loop *loop,
                      void (*on_signal)(void *ctx, int number), void *ctx)
{
    sigset_t set;
    *s = (struct signals){.fd = -1, .on_signal = on_signal, .ctx = ctx};
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return ERR_IO;
    s->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return s->fd < 0 ? ERR_IO : loop_watch_add(loop, s->fd, EPOLLIN, on_readable, s, &s->watch);
}

void signals_close(struct signals *s)
{
    loop_watch_remove(&s->watch);
    if (s->fd > 0)
        (void)close(s->fd);
    s->fd = -1;
}
