#include "common/runtime/bus/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/span.h"

enum { MAX_WAITING = 64 };

struct resolver_query {
    char host[RESOLVER_ADDRESS_BYTES], port[8];
    resolver_fn fn; /* NULL = forgotten; the loop's side alone looks at it */
    void *ctx;
    enum err e;
    char answer[INET6_ADDRSTRLEN];
    struct resolver_query *next;
};

struct query_queue {
    struct resolver_query *first, **end;
    unsigned count;
};

/* What the thread and its owner share. */
struct desk {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    resolver_lookup lookup;
    struct query_queue waiting, answered;
    int wake_fd;
    bool busy;   /* the thread asks a name server */
    bool closed; /* a busy thread frees the desk itself */
};

struct resolver {
    struct loop *loop;
    struct desk *desk;
    struct loop_watch *watch;
    pthread_t thread;
    bool started;
};

/* ---- addresses ---- */

/* "tcp://host:port"; host without the brackets of IPv6. */
static bool cut_address(const char *address, struct span *host, struct span *port)
{
    struct span all = span_str(address);
    const char *colon = strrchr(address, ':');
    uint64_t number;
    if (!span_starts(all, "tcp://") || all.len >= RESOLVER_ADDRESS_BYTES)
        return false;
    all = span_skip(all, sizeof "tcp://" - 1);
    if (colon <= all.data)
        return false;
    *host = span_first(all, (size_t)(colon - all.data));
    *port = span_str(colon + 1);
    if (host->len > 2 && host->data[0] == '[' && host->data[host->len - 1] == ']')
        *host = span_of(host->data + 1, host->len - 2);
    return span_to_u64(*port, &number) && number > 0 && number < 65536 && port->len < 6;
}

static bool is_number(struct span host)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr any;
    if (host.len >= sizeof text)
        return false;
    (void)snprintf(text, sizeof text, "%.*s", SPAN_ARG(host));
    return inet_pton(host.data[-1] == '[' ? AF_INET6 : AF_INET, text, &any) == 1;
}

bool resolver_is_numeric(const char *address)
{
    struct span host, port;
    return cut_address(address, &host, &port) && is_number(host);
}

bool resolver_is_needed(const char *address)
{
    struct span host, port;
    return cut_address(address, &host, &port) && !is_number(host);
}

/* ---- the thread ---- */

static enum err look_up(const char *host, int family, char *out, size_t size)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int failed = getaddrinfo(host, NULL, &hints, &list);
    if (failed == EAI_NONAME || failed == EAI_NODATA || failed == EAI_ADDRFAMILY)
        return ERR_NOT_FOUND;
    if (failed)
        return ERR_AGAIN;
    failed =
        getnameinfo(list->ai_addr, list->ai_addrlen, out, (socklen_t)size, NULL, 0, NI_NUMERICHOST);
    freeaddrinfo(list);
    return failed ? ERR_AGAIN : OK;
}

/* Daemons are bound to IPv4 in most places: IPv6 only for names that have nothing else. */
static enum err look_up_any(const char *host, char *out, size_t size)
{
    enum err e = look_up(host, AF_INET, out, size);
    return e == ERR_NOT_FOUND ? look_up(host, AF_INET6, out, size) : e;
}

static void put(struct query_queue *queue, struct resolver_query *query)
{
    query->next = NULL;
    *queue->end = query;
    queue->end = &query->next;
    queue->count++;
}

static struct resolver_query *take(struct query_queue *queue)
{
    struct resolver_query *query = queue->first;
    if (!query)
        return NULL;
    queue->first = query->next;
    if (!queue->first)
        queue->end = &queue->first;
    queue->count--;
    return query;
}

static void free_desk(struct desk *desk)
{
    struct resolver_query *query;
    while ((query = take(&desk->waiting)) || (query = take(&desk->answered)))
        free(query);
    (void)pthread_cond_destroy(&desk->changed);
    (void)pthread_mutex_destroy(&desk->lock);
    if (desk->wake_fd >= 0)
        (void)close(desk->wake_fd);
    free(desk);
}

static void wake(int fd)
{
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0)
        return; /* the counter is full: the loop has been woken already */
}

static void answer(struct desk *desk, struct resolver_query *query)
{
    desk->busy = true;
    (void)pthread_mutex_unlock(&desk->lock);
    query->e = desk->lookup(query->host, query->answer, sizeof query->answer);
    (void)pthread_mutex_lock(&desk->lock);
    desk->busy = false;
    put(&desk->answered, query);
    wake(desk->wake_fd);
}

static void *run(void *ctx)
{
    struct desk *desk = ctx;
    bool mine = false; /* closed while it was busy */
    (void)pthread_mutex_lock(&desk->lock);
    while (!desk->closed) {
        struct resolver_query *query = take(&desk->waiting);
        if (!query) {
            (void)pthread_cond_wait(&desk->changed, &desk->lock);
            continue;
        }
        answer(desk, query);
        mine = desk->closed;
    }
    (void)pthread_mutex_unlock(&desk->lock);
    if (mine)
        free_desk(desk);
    return NULL;
}

/* ---- its owner ---- */

static void hand_over(struct resolver_query *query)
{
    char address[RESOLVER_ADDRESS_BYTES];
    bool v6 = strchr(query->answer, ':') != NULL;
    if (!query->fn)
        return;
    if (query->e) {
        query->fn(query->ctx, query->e, NULL);
        return;
    }
    (void)snprintf(address, sizeof address, v6 ? "tcp://[%s]:%s" : "tcp://%s:%s", query->answer,
                   query->port);
    query->fn(query->ctx, OK, address);
}

static void on_answers(void *ctx, uint32_t events)
{
    struct resolver *resolver = ctx;
    struct desk *desk = resolver->desk;
    uint64_t count;
    (void)events;
    if (read(desk->wake_fd, &count, sizeof count) < 0)
        return;
    for (;;) {
        (void)pthread_mutex_lock(&desk->lock);
        struct resolver_query *query = take(&desk->answered);
        (void)pthread_mutex_unlock(&desk->lock);
        if (!query)
            return;
        hand_over(query);
        free(query);
    }
}

static enum err start_thread(struct resolver *resolver)
{
    sigset_t all, before;
    if (resolver->started)
        return OK;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    resolver->started = pthread_create(&resolver->thread, NULL, run, resolver->desk) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return resolver->started ? OK : ERR_AGAIN;
}

static struct desk *new_desk(resolver_lookup lookup)
{
    struct desk *desk = calloc(1, sizeof *desk);
    if (!desk)
        return NULL;
    desk->lookup = lookup ? lookup : look_up_any;
    desk->waiting.end = &desk->waiting.first;
    desk->answered.end = &desk->answered.first;
    (void)pthread_mutex_init(&desk->lock, NULL);
    (void)pthread_cond_init(&desk->changed, NULL);
    desk->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return desk;
}

enum err resolver_create(struct resolver **out, struct loop *loop, resolver_lookup lookup)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    *out = NULL;
    if (!resolver)
        return ERR_NOMEM;
    resolver->loop = loop;
    resolver->desk = new_desk(lookup);
    enum err e = !resolver->desk ? ERR_NOMEM : resolver->desk->wake_fd < 0 ? ERR_TOO_BIG : OK;
    if (!e)
        e = loop_watch_add(loop, resolver->desk->wake_fd, EPOLLIN, on_answers, resolver,
                           &resolver->watch);
    *out = resolver;
    if (e)
        resolver_destroy(out);
    return e;
}

void resolver_destroy(struct resolver **pointer)
{
    struct resolver *resolver = *pointer;
    if (!resolver)
        return;
    loop_watch_remove(&resolver->watch);
    struct desk *desk = resolver->desk;
    bool busy = false;
    if (resolver->started) {
        (void)pthread_mutex_lock(&desk->lock);
        desk->closed = true;
        busy = desk->busy;
        (void)pthread_cond_signal(&desk->changed);
        (void)pthread_mutex_unlock(&desk->lock);
        if (busy)
            (void)pthread_detach(resolver->thread);
        else
            (void)pthread_join(resolver->thread, NULL);
    }
    if (desk && !busy)
        free_desk(desk);
    free(resolver);
    *pointer = NULL;
}

enum err resolver_ask(struct resolver *resolver, const char *address, resolver_fn fn, void *ctx,
                      struct resolver_query **out)
{
    struct span host, port;
    *out = NULL;
    if (!cut_address(address, &host, &port))
        return ERR_INVALID;
    struct desk *desk = resolver->desk;
    enum err e = start_thread(resolver);
    struct resolver_query *query = e ? NULL : calloc(1, sizeof *query);
    if (!query)
        return e ? e : ERR_NOMEM;
    (void)snprintf(query->host, sizeof query->host, "%.*s", SPAN_ARG(host));
    (void)snprintf(query->port, sizeof query->port, "%.*s", SPAN_ARG(port));
    query->fn = fn;
    query->ctx = ctx;
    (void)pthread_mutex_lock(&desk->lock);
    bool full = desk->waiting.count >= MAX_WAITING;
    if (!full)
        put(&desk->waiting, query);
    (void)pthread_cond_signal(&desk->changed);
    (void)pthread_mutex_unlock(&desk->lock);
    if (full) {
        free(query);
        return ERR_AGAIN;
    }
    *out = query;
    return OK;
}

void resolver_forget(struct resolver_query **query)
{
    if (*query)
        (*query)->fn = NULL;
    *query = NULL;
}
