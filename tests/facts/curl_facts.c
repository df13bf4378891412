/* Facts 9 and 10: libcurl; and what our own client needs of CURLOPT_CONNECT_ONLY. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>

/* A server that answers the first request of each connection, then resets when the second one has
 * come. */
struct server {
    int fd;
    unsigned port;
    atomic_int requests;
    pthread_t thread;
};

static bool read_request(int fd)
{
    char bytes[4096];
    size_t have = 0;
    for (;;) {
        ssize_t n = read(fd, bytes + have, sizeof bytes - 1 - have);
        if (n <= 0)
            return false;
        have += (size_t)n;
        bytes[have] = '\0';
        const char *body = strstr(bytes, "\r\n\r\n");
        if (body && strstr(body, "BODY"))
            return true;
    }
}

static void *serve(void *ctx)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    struct server *s = ctx;
    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        if (read_request(fd)) {
            atomic_fetch_add(&s->requests, 1);
            ssize_t n = write(fd, answer, sizeof answer - 1);
            (void)n;
            if (read_request(fd)) {
                struct linger hard = {1, 0};
                atomic_fetch_add(&s->requests, 1);
                (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
            }
        }
        (void)close(fd);
    }
}

static void start_server(struct server *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop_server(struct server *s)
{
    (void)shutdown(s->fd, SHUT_RDWR);
    (void)pthread_join(s->thread, NULL);
    (void)close(s->fd);
}

static size_t swallow(char *at, size_t size, size_t n, void *ctx)
{
    (void)at;
    (void)ctx;
    return size * n;
}

struct body {
    size_t at;
};

static size_t give(char *out, size_t size, size_t n, void *ctx)
{
    struct body *b = ctx;
    size_t len = 4 - b->at < size * n ? 4 - b->at : size * n;
    memcpy(out, &"BODY"[b->at], len);
    b->at += len;
    return len;
}

static int no_seek(void *ctx, curl_off_t offset, int origin)
{
    struct body *b = ctx;
    return offset == 0 && origin == SEEK_SET && b->at == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

static CURL *open_post(const struct server *s)
{
    char url[64];
    CURL *easy = curl_easy_init();
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/", s->port);
    (void)curl_easy_setopt(easy, CURLOPT_URL, url);
    (void)curl_easy_setopt(easy, CURLOPT_POST, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, swallow);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 4L);
    (void)curl_easy_setopt(easy, CURLOPT_TIMEOUT, 20L);
    return easy;
}

/* Fact 9: on a reused connection that dies before the answer, curl sends a POST again by itself. */
static void a_post_is_silently_repeated_on_a_dead_connection(void **state)
{
    (void)state;
    struct server s = {0};
    start_server(&s);
    CURL *easy = open_post(&s);
    (void)curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "BODY");
    assert_int_equal(curl_easy_perform(easy), CURLE_OK);
    CURLcode second = curl_easy_perform(easy);
    printf("second POST: %d (%s), requests seen: %d\n", second, curl_easy_strerror(second),
           atomic_load(&s.requests));
    assert_int_equal(second, CURLE_OK);
    assert_int_equal(atomic_load(&s.requests), 3);
    curl_easy_cleanup(easy);
    stop_server(&s);
}

/* … and the way out: a body by READFUNCTION that cannot be rewound is sent once. */
static void a_body_that_cannot_be_rewound_is_sent_once(void **state)
{
    (void)state;
    struct server s = {0};
    struct body first = {0}, second = {0};
    start_server(&s);
    CURL *easy = open_post(&s);
    (void)curl_easy_setopt(easy, CURLOPT_READFUNCTION, give);
    (void)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, no_seek);
    (void)curl_easy_setopt(easy, CURLOPT_READDATA, &first);
    (void)curl_easy_setopt(easy, CURLOPT_SEEKDATA, &first);
    assert_int_equal(curl_easy_perform(easy), CURLE_OK);
    (void)curl_easy_setopt(easy, CURLOPT_READDATA, &second);
    (void)curl_easy_setopt(easy, CURLOPT_SEEKDATA, &second);
    assert_int_equal(curl_easy_perform(easy), CURLE_SEND_FAIL_REWIND);
    assert_int_equal(atomic_load(&s.requests), 2);
    curl_easy_cleanup(easy);
    stop_server(&s);
}

/* Fact 10: the option that keeps a hung resolver from blocking is there. */
static void quick_exit_is_offered(void **state)
{
    (void)state;
    CURL *easy = curl_easy_init();
    assert_int_equal(curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L), CURLE_OK);
    curl_easy_cleanup(easy);
    assert_true(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS);
    assert_true(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_HTTP2);
}

static int note_close(void *ctx, curl_socket_t fd)
{
    *(curl_socket_t *)ctx = fd;
    return 0;
}

/* A connection made for us can be kept past its easy handle: libcurl gives the socket up through
 * CURLOPT_CLOSESOCKETFUNCTION while the handle is removed, not later, without having sent or shut
 * down anything. */
static void a_socket_made_for_us_is_given_up_with_its_handle(void **state)
{
    (void)state;
    struct server s = {0};
    curl_socket_t fd = CURL_SOCKET_BAD, closed = CURL_SOCKET_BAD;
    int running = 1, left;
    char bytes[64];
    start_server(&s);
    CURL *easy = open_post(&s);
    CURLM *multi = curl_multi_init();
    (void)curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    (void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, note_close);
    (void)curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, &closed);
    assert_int_equal(curl_multi_add_handle(multi, easy), CURLM_OK);
    while (running) {
        assert_int_equal(curl_multi_perform(multi, &running), CURLM_OK);
        if (running)
            (void)curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
    CURLMsg *m = curl_multi_info_read(multi, &left);
    assert_true(m && m->msg == CURLMSG_DONE && m->data.result == CURLE_OK);
    assert_int_equal(curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd), CURLE_OK);
    assert_int_equal(closed, CURL_SOCKET_BAD);
    (void)curl_multi_remove_handle(multi, easy);
    assert_int_equal(closed, fd);
    curl_easy_cleanup(easy);
    (void)curl_multi_cleanup(multi);
    static const char request[] = "POST / HTTP/1.1\r\n\r\nBODY";
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    assert_int_equal(send(fd, request, sizeof request - 1, 0), (ssize_t)sizeof request - 1);
    assert_int_equal(poll(&ready, 1, 20000), 1);
    assert_true(recv(fd, bytes, sizeof bytes, 0) > 0);
    (void)close(fd);
    stop_server(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_post_is_silently_repeated_on_a_dead_connection),
        cmocka_unit_test(a_body_that_cannot_be_rewound_is_sent_once),
        cmocka_unit_test(quick_exit_is_offered),
        cmocka_unit_test(a_socket_made_for_us_is_given_up_with_its_handle),
    };
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    printf("%s\n", curl_version());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    curl_global_cleanup();
    return failed;
}
