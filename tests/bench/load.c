/* bench_load: asks one address of this machine over many kept-alive connections at once and counts
 * what comes back. One thread, one epoll: it shall disturb what it measures as little as it can.
 * tests/bench/run starts it.
 *
 *   bench_load --port N --body FILE [--key K] [--path P] [--connections N] [--stream | --hold]
 * [--seconds S | --requests N]
 *
 * Every connection sends its request again as soon as it is answered. With --stream an answer is a
 * stream of events, whose first one is timed. With --hold each stream is kept until standard input
 * ends. When every connection has had its first answer (or event) it prints "READY n", counts from
 * zero and goes on for S seconds (with --requests: all count, from the start). Then it prints one
 * line of JSON. --deadline S ends it in any case. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench/answer_reader.h"
#include "bench/histogram.h"

enum { STARTING_AT_ONCE = 128, MOST_ERRORS = 20000, READ_BYTES = 256 * 1024, EVENTS = 256 };

enum load_kind { LOAD_UNARY, LOAD_STREAM, LOAD_HOLD };

struct load_connection {
    int fd; /* -1 = closed */
    bool connecting, arrived;
    size_t sent; /* bytes of the request */
    uint64_t began_ns;
    struct answer_reader reader;
};

struct load {
    enum load_kind kind;
    uint16_t port;
    uint32_t connections, deadline_s;
    uint64_t requests; /* 0 = by time */
    double seconds;
    char *request;
    size_t request_len;
    int epoll;
    struct load_connection *all;
    uint32_t opened, arrived, closed;
    bool is_ready, stopped;
    uint64_t issued, answered, errors, events, ready_ns, ended_ns;
    struct histogram whole, first;
};

static char read_buffer[READ_BYTES];

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void watch(struct load *l, struct load_connection *c, int how, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(l->epoll, how, c->fd, &e) != 0) {
        perror("bench_load: epoll_ctl");
        exit(1);
    }
}

static void open_connection(struct load *l, struct load_connection *c)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        perror("bench_load: socket");
        exit(1);
    }
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(l->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->connecting = true;
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
        l->errors++; /* the event that follows closes it */
    watch(l, c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void close_connection(struct load *l, struct load_connection *c)
{
    close(c->fd);
    c->fd = -1;
    l->closed++;
}

static void fail_connection(struct load *l, struct load_connection *c)
{
    close_connection(l, c);
    if (++l->errors > MOST_ERRORS)
        l->stopped = true;
}

static void send_rest(struct load *l, struct load_connection *c)
{
    ssize_t n = send(c->fd, l->request + c->sent, l->request_len - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        fail_connection(l, c);
        return;
    }
    bool was_whole = n > 0 && c->sent == 0 && (size_t)n == l->request_len && !c->connecting;
    c->sent += n > 0 ? (size_t)n : 0;
    if (!was_whole)
        watch(l, c, EPOLL_CTL_MOD, c->sent < l->request_len ? EPOLLIN | EPOLLOUT : EPOLLIN);
    c->connecting = false;
}

static void send_request(struct load *l, struct load_connection *c)
{
    if (l->requests && l->issued >= l->requests)
        return;
    l->issued++;
    answer_reader_reset(&c->reader);
    c->sent = 0;
    c->began_ns = now_ns();
    send_rest(l, c);
}

static void note_arrival(struct load *l, struct load_connection *c)
{
    if (!c->arrived) {
        c->arrived = true;
        l->arrived++;
    }
}

static void note_answer(struct load *l, struct load_connection *c)
{
    histogram_add(&l->whole, now_ns() - c->began_ns);
    l->answered++;
    if (c->reader.status != 200)
        l->errors++;
    note_arrival(l, c);
}

/* Bytes came; true when the connection goes on reading. */
static bool take_bytes(struct load *l, struct load_connection *c, size_t len)
{
    uint64_t before = c->reader.events;
    size_t used = answer_reader_feed(&c->reader, read_buffer, len);
    if (l->kind != LOAD_UNARY) {
        l->events += c->reader.events - before;
        if (before == 0 && c->reader.events > 0) {
            histogram_add(&l->first, now_ns() - c->began_ns);
            note_arrival(l, c);
        }
    }
    if (c->reader.phase != ANSWER_DONE && used == len)
        return true;
    if (c->reader.phase != ANSWER_DONE || used < len) {
        fail_connection(l, c);
        return false;
    }
    note_answer(l, c);
    if (c->reader.closes || l->kind == LOAD_HOLD) {
        close_connection(l, c);
    } else {
        send_request(l, c);
    }
    return false;
}

static void read_answers(struct load *l, struct load_connection *c)
{
    ssize_t n = recv(c->fd, read_buffer, sizeof read_buffer, 0);
    if (n > 0) {
        take_bytes(l, c, (size_t)n);
    } else if (n == 0 && c->reader.phase == ANSWER_BODY && answer_reader_end(&c->reader)) {
        note_answer(l, c);
        close_connection(l, c);
    } else if (n == 0 || errno != EAGAIN) {
        fail_connection(l, c);
    }
}

static void on_event(struct load *l, struct load_connection *c, uint32_t events)
{
    if (events & (EPOLLERR | EPOLLHUP) && c->connecting)
        fail_connection(l, c);
    else if (events & EPOLLOUT && c->connecting)
        send_request(l, c);
    else if (events & EPOLLOUT)
        send_rest(l, c);
    if (c->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_answers(l, c);
}

/* Opens what is not open: new connections a few at a time, closed ones again unless streams are
 * held. */
static void open_more(struct load *l)
{
    while (l->opened < l->connections && l->opened - l->arrived < STARTING_AT_ONCE)
        open_connection(l, &l->all[l->opened++]);
    bool again = l->kind != LOAD_HOLD && !(l->requests && l->issued >= l->requests);
    for (uint32_t i = 0; l->closed && i < l->opened; i++) {
        if (l->all[i].fd < 0 && (again || !l->all[i].arrived)) {
            l->closed--;
            open_connection(l, &l->all[i]);
        }
    }
}

static void become_ready(struct load *l)
{
    l->is_ready = true;
    l->ready_ns = now_ns();
    if (!l->requests) {
        l->answered = l->errors = l->events = 0;
        memset(&l->whole, 0, sizeof l->whole);
        if (l->kind != LOAD_HOLD)
            memset(&l->first, 0, sizeof l->first);
    }
    printf("READY %u\n", l->arrived);
    fflush(stdout);
}

static bool is_over(struct load *l)
{
    if (l->stopped || (l->requests && l->answered >= l->requests))
        return true;
    return l->is_ready && !l->requests && l->kind != LOAD_HOLD &&
           (double)(now_ns() - l->ready_ns) >= l->seconds * 1e9;
}

static void run(struct load *l)
{
    struct epoll_event events[EVENTS];
    uint64_t began_ns = now_ns();
    while (!is_over(l)) {
        open_more(l);
        int n = epoll_wait(l->epoll, events, EVENTS, 20);
        for (int i = 0; i < n; i++) {
            if (!events[i].data.ptr)
                l->stopped = true; /* standard input ended */
            else if (((struct load_connection *)events[i].data.ptr)->fd >= 0)
                on_event(l, events[i].data.ptr, events[i].events);
        }
        if (!l->is_ready && l->arrived == l->connections)
            become_ready(l);
    }
    if (!l->is_ready)
        l->ready_ns = began_ns;
    l->ended_ns = now_ns();
}

static void print_result(const struct load *l)
{
    uint32_t open = 0;
    for (uint32_t i = 0; i < l->opened; i++)
        open += l->all[i].fd >= 0;
    printf("{\"requests\":%llu,\"errors\":%llu,\"events\":%llu,\"open\":%u,\"seconds\":%.6f",
           (unsigned long long)l->answered, (unsigned long long)l->errors,
           (unsigned long long)l->events, open, (double)(l->ended_ns - l->ready_ns) / 1e9);
    printf(",\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f", histogram_quantile_us(&l->whole, 0.5),
           histogram_quantile_us(&l->whole, 0.99), (double)l->whole.max_ns / 1000);
    printf(",\"first_p50\":%.1f,\"first_p99\":%.1f}\n", histogram_quantile_us(&l->first, 0.5),
           histogram_quantile_us(&l->first, 0.99));
}

static char *read_file(const char *path, size_t *len_out)
{
    FILE *f = fopen(path, "rb");
    char *text = malloc(8u << 20);
    if (!f || !text) {
        perror(path);
        exit(1);
    }
    *len_out = fread(text, 1, 8u << 20, f);
    fclose(f);
    return text;
}

static void make_request(struct load *l, const char *path, const char *key, const char *file)
{
    size_t body_len;
    char *body = read_file(file, &body_len);
    size_t room = body_len + 1024 + strlen(path) + strlen(key);
    l->request = malloc(room);
    if (!l->request)
        exit(1);
    int head =
        snprintf(l->request, room,
                 "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nContent-Type: application/json\r\n"
                 "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n",
                 path, l->port, key, body_len);
    memcpy(l->request + head, body, body_len);
    l->request_len = (size_t)head + body_len;
    free(body);
}

static void prepare(struct load *l)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(l->deadline_s);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->all = calloc(l->connections, sizeof *l->all);
    if (l->epoll < 0 || !l->all) {
        perror("bench_load");
        exit(1);
    }
    struct epoll_event end = {.events = EPOLLIN | EPOLLHUP};
    if (l->kind == LOAD_HOLD && epoll_ctl(l->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &end) != 0) {
        fprintf(stderr, "bench_load: --hold needs a pipe as standard input\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", 1, NULL, 'p'},        {"body", 1, NULL, 'b'},    {"key", 1, NULL, 'k'},
        {"path", 1, NULL, 'u'},        {"seconds", 1, NULL, 's'}, {"requests", 1, NULL, 'r'},
        {"stream", 0, NULL, 'e'},      {"hold", 0, NULL, 'h'},    {"deadline", 1, NULL, 'd'},
        {"connections", 1, NULL, 'c'}, {NULL, 0, NULL, 0},
    };
    static struct load l = {.connections = 1, .seconds = 5, .deadline_s = 120};
    const char *path = "/v1/chat/completions", *key = "sk-any", *body = NULL;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (o) {
        case 'p':
            l.port = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 'b':
            body = optarg;
            break;
        case 'k':
            key = optarg;
            break;
        case 'u':
            path = optarg;
            break;
        case 's':
            l.seconds = strtod(optarg, NULL);
            break;
        case 'r':
            l.requests = strtoull(optarg, NULL, 10);
            break;
        case 'e':
            l.kind = LOAD_STREAM;
            break;
        case 'h':
            l.kind = LOAD_HOLD;
            break;
        case 'd':
            l.deadline_s = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'c':
            l.connections = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        default:
            return 2;
        }
    }
    if (!l.port || !body || !l.connections) {
        fprintf(stderr, "bench_load: --port and --body are needed; see tests/bench/load.c\n");
        return 2;
    }
    make_request(&l, path, key, body);
    prepare(&l);
    run(&l);
    print_result(&l);
    return 0;
}
