#include "common/fetch/connection.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "common/base/crypto.h"
#include "common/fetch/shard.h"
#include "common/fetch/sockets.h"

enum {
    GROUP_SIZE = 32,     /* connections of one multi */
    LEAST_BUFFER = 1024, /* libcurl's receive buffer, which is not used */
    MAX_TLS_RECORD = 16384,
    EVER = 1 << 20,
    LATE_MS = 250 /* so much later than libcurl's own timeout of a connect comes ours */
};

/* A multi with the connections that are being made in it, and those under TLS. */
struct connector_group {
    struct shard shard;
    uint32_t count;
    struct connector_group *prev, *next;
};

/* Groups with room come first. */
struct connector {
    struct connector_group *groups;
};

/* ---- groups ---- */

static void on_done(struct shard *shard, CURL *easy, CURLcode code);

static struct connector_group *group_with_room(struct fetch *up)
{
    struct connector *k = up->connector;
    if (k->groups && k->groups->count < GROUP_SIZE)
        return k->groups;
    struct connector_group *g = calloc(1, sizeof *g);
    if (!g)
        return NULL;
    if (shard_open(&g->shard, up, EVER, on_done) != OK) {
        free(g);
        return NULL;
    }
    DL_PREPEND(k->groups, g);
    return g;
}

static void free_group(struct connector *k, struct connector_group *g)
{
    DL_DELETE(k->groups, g);
    shard_close(&g->shard);
    free(g);
}

static void enter_group(struct fetch_connection *c, struct connector_group *g)
{
    struct connector *k = c->up->connector;
    c->group = g;
    if (++g->count < GROUP_SIZE)
        return;
    DL_DELETE(k->groups, g);
    DL_APPEND(k->groups, g);
}

/* An empty one is closed when another has room; the last stays for the next connection. */
static void leave_group(struct fetch_connection *c)
{
    struct connector *k = c->up->connector;
    struct connector_group *g = c->group;
    c->group = NULL;
    (void)curl_multi_remove_handle(g->shard.multi, c->easy);
    curl_easy_cleanup(c->easy);
    c->easy = NULL;
    g->count--;
    if (g->count == 0 && g != k->groups && !g->shard.reaping) {
        free_group(k, g);
        return;
    }
    DL_DELETE(k->groups, g);
    DL_PREPEND(k->groups, g);
}

enum err connector_create(struct fetch *up)
{
    up->connector = calloc(1, sizeof *up->connector);
    return up->connector ? OK : ERR_NOMEM;
}

void connector_destroy(struct fetch *up)
{
    struct connector *k = up->connector;
    while (k && k->groups)
        free_group(k, k->groups);
    free(k);
    up->connector = NULL;
}

/* ---- connecting ---- */

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct fetch_connection *c = ctx;
    (void)purpose;
    return sockets_open(c->up, c->r->spec.origin, address, &c->refused);
}

/* A plain socket is ours alone from now on: libcurl gives it up without closing it. */
static enum err keep_socket(struct fetch_connection *c)
{
    struct fetch *up = c->up;
    int fd = c->fd;
    up->kept_fd = fd;
    leave_group(c);
    bool given_up = up->kept_fd != fd;
    up->kept_fd = -1;
    if (given_up)
        return OK;
    c->fd = -1; /* libcurl's still, to close whenever it likes */
    return ERR_IO;
}

/* libcurl keeps this time itself, but for when it had no memory to note it. */
static void on_late(void *ctx)
{
    struct fetch_connection *c = ctx;
    c->on_connected(c, CURLE_OPERATION_TIMEDOUT,
                    fetch_facts_of(c->easy, c->r->spec.origin->proxy != NULL));
}

static void on_done(struct shard *shard, CURL *easy, CURLcode code)
{
    char *private = NULL;
    struct fetch_facts facts = {0};
    curl_socket_t fd = CURL_SOCKET_BAD;
    (void)shard;
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
    struct fetch_connection *c = (struct fetch_connection *)(void *)private;
    loop_timer_stop(c->up->loop, &c->late);
    if (code != CURLE_OK)
        facts = fetch_facts_of(easy, c->r->spec.origin->proxy != NULL);
    if (code == CURLE_OK) {
        (void)curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &fd);
        c->fd = fd;
        (void)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, NULL);
        free(c->error);
        c->error = NULL;
        if (fd == CURL_SOCKET_BAD || (!c->tls && keep_socket(c) != OK))
            code = CURLE_COULDNT_CONNECT;
    }
    c->on_connected(c, code, facts);
}

static enum err set_up_easy(struct fetch_connection *c, struct span authority)
{
    CURL *e = c->easy;
    struct buf url = {0};
    buf_append(&url, authority);
    buf_append(&url, SPAN("/\0"));
    sockets_set_common(e, c->up);
    sockets_set_origin(e, c->up, c->r->spec.origin);
    (void)curl_easy_setopt(e, CURLOPT_PRIVATE, (char *)c);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->error);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, c);
    (void)curl_easy_setopt(e, CURLOPT_CONNECT_ONLY, 1L);
    (void)curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)LEAST_BUFFER);
    (void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    enum err err = buf_check(&url) == OK && curl_easy_setopt(e, CURLOPT_URL, url.data) == CURLE_OK
                       ? OK
                       : ERR_NOMEM;
    buf_free(&url);
    return err;
}

static enum err begin_to_connect(struct fetch_connection *c, struct span authority)
{
    struct connector_group *g = group_with_room(c->up);
    c->error = calloc(1, CURL_ERROR_SIZE);
    c->easy = curl_easy_init();
    if (!g || !c->error || !c->easy || set_up_easy(c, authority) != OK ||
        curl_multi_add_handle(g->shard.multi, c->easy) != CURLM_OK)
        return ERR_NOMEM;
    enter_group(c, g);
    loop_timer_start(c->up->loop, &c->late, c->up->options.connect_timeout_ms + LATE_MS, on_late,
                     c);
    return OK;
}

enum err connection_open(struct fetch_transfer *r, struct span authority,
                         void (*on_connected)(struct fetch_connection *c, CURLcode code,
                                              struct fetch_facts facts),
                         struct fetch_connection **out)
{
    struct fetch_connection *c = calloc(1, sizeof *c);
    *out = NULL;
    if (!c)
        return ERR_NOMEM;
    c->up = r->up;
    c->r = r;
    c->fd = -1;
    c->tls = span_starts(authority, "https:");
    c->on_connected = on_connected;
    enum err err = begin_to_connect(c, authority);
    if (err == OK)
        *out = c;
    else
        connection_close(&c);
    return err;
}

void connection_close(struct fetch_connection **connection)
{
    struct fetch_connection *c = *connection;
    if (!c)
        return;
    *connection = NULL;
    loop_timer_stop(c->up->loop, &c->again);
    loop_timer_stop(c->up->loop, &c->late);
    if (c->group)
        leave_group(c); /* closes the socket */
    else if (c->fd >= 0)
        (void)sockets_on_close(c->up, c->fd);
    curl_easy_cleanup(c->easy);
    if (c->out.data)
        crypto_wipe(c->out.data, c->out.cap); /* it holds the key */
    buf_free(&c->out);
    fetch_response_free(&c->response);
    free(c->error);
    free(c);
}

/* ---- bytes ---- */

static enum connection_io send_plain(const struct fetch_connection *c, struct span first,
                                     struct span second, size_t *sent)
{
    union {
        const char *from;
        char *to;
    } a = {.from = first.data}, b = {.from = second.data};
    struct iovec parts[2] = {{a.to, first.len}, {b.to, second.len}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = second.len ? 2 : 1};
    ssize_t n;
    do
        n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    *sent = n > 0 ? (size_t)n : 0;
    if (n > 0)
        return CONNECTION_DONE;
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? CONNECTION_AGAIN
                                                              : CONNECTION_BROKEN;
}

/* One record at a time, so that what failed has not been sent. */
static enum connection_io send_tls(const struct fetch_connection *c, struct span bytes,
                                   size_t *sent)
{
    *sent = 0;
    bytes = span_first(bytes, MAX_TLS_RECORD);
    CURLcode code = curl_easy_send(c->easy, bytes.data, bytes.len, sent);
    if (code == CURLE_OK)
        return *sent ? CONNECTION_DONE : CONNECTION_AGAIN;
    return code == CURLE_AGAIN ? CONNECTION_AGAIN : CONNECTION_BROKEN;
}

enum connection_io connection_send(struct fetch_connection *c, struct span first,
                                   struct span second, size_t *sent)
{
    if (!first.len) {
        first = second;
        second = SPAN_NONE;
    }
    return c->tls ? send_tls(c, first, sent) : send_plain(c, first, second, sent);
}

static enum connection_io receive_plain(const struct fetch_connection *c, char *into, size_t size,
                                        size_t *got)
{
    ssize_t n;
    do
        n = recv(c->fd, into, size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    *got = n > 0 ? (size_t)n : 0;
    if (n > 0)
        return CONNECTION_DONE;
    if (n == 0)
        return CONNECTION_ENDED;
    return errno == EAGAIN || errno == EWOULDBLOCK ? CONNECTION_AGAIN : CONNECTION_BROKEN;
}

enum connection_io connection_receive(struct fetch_connection *c, char *into, size_t size,
                                      size_t *got)
{
    if (!c->tls)
        return receive_plain(c, into, size, got);
    CURLcode code = curl_easy_recv(c->easy, into, size, got);
    if (code == CURLE_OK)
        return *got ? CONNECTION_DONE : CONNECTION_ENDED;
    return code == CURLE_AGAIN ? CONNECTION_AGAIN : CONNECTION_BROKEN;
}

enum err connection_want(struct fetch_connection *c, uint32_t events)
{
    return socket_table_want(&c->up->sockets, c->fd, events, &c->owner);
}
