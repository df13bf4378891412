/* A busy loop is not a dead one. While one turn takes long this thread sends peers what a PING
 * would get them, a PONG, over the loop's own sockets, and whose request it is busy with; their
 * lock is held for every use of one. It sends nothing for a loop that has stood in one turn for
 * longer than its watchdog allows. A process that is stopped or gone has no such thread either. */
#include "common/runtime/bus/bus_internal.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

enum { LOOK_MS = 100 };

void lifeline_add(struct bus_peer *peer)
{
    if (peer->on_lifeline)
        return;
    bus_lock(peer->bus);
    DL_APPEND2(peer->bus->lifeline.peers, peer, lifeline_prev, lifeline_next);
    peer->on_lifeline = true;
    bus_unlock(peer->bus);
}

void lifeline_drop(struct bus_peer *peer)
{
    if (!peer->on_lifeline)
        return;
    bus_lock(peer->bus);
    DL_DELETE2(peer->bus->lifeline.peers, peer, lifeline_prev, lifeline_next);
    peer->on_lifeline = false;
    bus_unlock(peer->bus);
}

void lifeline_said_queued(struct bus_peer *peer, uint32_t queued)
{
    if (peer->said_queued == queued)
        return;
    bus_lock(peer->bus);
    peer->said_queued = queued;
    bus_unlock(peer->bus);
}

/* The lock is held. Whatever does not go out now is said again soon. */
static void speak(struct bus_peer *peer)
{
    struct header h = {.version = PROTO_MAJOR, .type = MESSAGE_PONG, .epoch = peer->bus->epoch};
    struct pong pong = {.queued = peer->said_queued, .greeted = true};
    uint8_t work[LOOP_WORK_BYTES];
    if (loop_work(peer->bus->loop, work))
        pong.busy = span_of((const char *)work, sizeof work);
    char frame[128];
    size_t bytes = codec_size(MESSAGE_PONG, &pong);
    void *handle = peer->wire->handle;
    if (bytes > sizeof frame)
        return;
    codec_encode(&h, &pong, frame);
    if (!peer->connecting &&
        zmq_send(handle, peer->id, peer->id_len, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return;
    (void)zmq_send(handle, frame, bytes, ZMQ_DONTWAIT);
}

static void speak_to_all(struct bus *bus)
{
    const uint64_t one = 1;
    struct bus_peer *peer;
    DL_FOREACH2(bus->lifeline.peers, peer, lifeline_next)
    speak(peer);
    ssize_t n = write(bus->lifeline.event_fd, &one, sizeof one);
    (void)n; /* it is readable already */
}

static void wait_a_look(struct bus *bus)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    (void)pthread_cond_timedwait(&bus->lifeline.stops, &bus->lock, &until);
}

/* It counts its own looks: a process that was stopped meanwhile has not been busy. */
static void *watch(void *ctx)
{
    struct bus *bus = ctx;
    unsigned long seen = 0;
    unsigned looks = 0;
    bus_lock(bus);
    while (!bus->lifeline.stopping) {
        wait_a_look(bus);
        unsigned long mark = loop_turn_mark(bus->loop);
        looks = (mark & 1) && mark == seen ? looks + 1 : 0;
        seen = mark;
        if (looks && looks <= bus->lifeline.most_looks)
            speak_to_all(bus);
    }
    bus_unlock(bus);
    return NULL;
}

/* Sending may have eaten the edge that tells of new input. */
static void on_spoken(void *ctx, uint32_t events)
{
    struct bus *bus = ctx;
    uint64_t count;
    (void)events;
    ssize_t n = read(bus->lifeline.event_fd, &count, sizeof count);
    (void)n;
    for (struct wire *wire = bus->wires; wire; wire = wire->next)
        wire->touched = true; /* the turn's end looks */
}

static bool start_thread(struct bus *bus)
{
    sigset_t all, old;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old);
    bus->lifeline.started = pthread_create(&bus->lifeline.thread, NULL, watch, bus) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return bus->lifeline.started;
}

enum err bus_keep_alive(struct bus *bus, uint64_t limit_ms)
{
    struct lifeline *l = &bus->lifeline;
    pthread_condattr_t attr;
    l->most_looks = (unsigned)(limit_ms / LOOK_MS);
    l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->event_fd < 0)
        return ERR_IO;
    enum err e = loop_watch_add(bus->loop, l->event_fd, EPOLLIN, on_spoken, bus, &l->watch);
    if (!e) {
        (void)pthread_condattr_init(&attr);
        (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        (void)pthread_cond_init(&l->stops, &attr);
        (void)pthread_condattr_destroy(&attr);
        if (start_thread(bus))
            return OK;
        (void)pthread_cond_destroy(&l->stops);
        loop_watch_remove(&l->watch);
        e = ERR_IO;
    }
    (void)close(l->event_fd);
    return e;
}

void lifeline_stop(struct bus *bus)
{
    struct lifeline *l = &bus->lifeline;
    if (!l->started)
        return;
    bus_lock(bus);
    l->stopping = true;
    (void)pthread_cond_signal(&l->stops);
    bus_unlock(bus);
    (void)pthread_join(l->thread, NULL);
    l->started = false;
    loop_watch_remove(&l->watch);
    (void)close(l->event_fd);
    (void)pthread_cond_destroy(&l->stops);
}
