/* One libmicrohttpd daemon without a thread: the connections it gets, its callbacks, TLS files. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/http/internal.h"

enum {
    RUNS_PER_TURN = 16,
    RUNS_WITH_HANDSHAKES = 4,
    SPIN_MS = 2,
    MAX_TLS_FILE = 1 << 20,
    SHARD_FILL = 32, /* connections of a shard before the next one gets any */
};

/* Refuse what the standard forbids; 0.9.75 would then close without an answer, so there our own
 * checks do it. */
#if MHD_VERSION >= 0x01000000
#define STRICTNESS 1
#else
#define STRICTNESS 0
#endif

static struct http_conn *conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void on_log(void *ctx, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void on_log(void *ctx, const char *format, va_list args)
{
    (void)ctx;
    if (!log_enabled(LEVEL_DEBUG))
        return;
    char text[256];
    int n = vsnprintf(text, sizeof text, format, args);
    if (n > 0)
        log_debug("microhttpd", LSPAN("text", span_trim(span_str(text))));
}

/* Keeps the target as it came: what follows percent-decodes by itself, or not at all. */
static size_t leave_escaped(void *ctx, struct MHD_Connection *mhd, char *s)
{
    (void)ctx;
    (void)mhd;
    return strlen(s);
}

/* The request line is complete: the first libmicrohttpd tells of a request. */
static void *on_request_line(void *ctx, const char *uri, struct MHD_Connection *mhd)
{
    struct http_shard *shard = ctx;
    struct http_conn *c = conn_of(mhd);
    if (!c)
        return NULL;
    struct http_exchange *x = exchange_create(shard->server, c, &way_relay, span_str(uri));
    if (!x)
        return NULL;
    exchange_set_target(x, span_of(x->text, strlen(x->text)));
    x->library.mhd = mhd;
    x->library.target = uri;
    c->x = x;
    if (c->used) /* the first head's time runs since the accept */
        conn_phase(c, CONN_HEAD);
    else
        shard->fresh--;
    c->used = true;
    return x;
}

static enum MHD_Result on_access(void *ctx, struct MHD_Connection *mhd, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **request)
{
    (void)ctx;
    (void)mhd;
    (void)url;
    return *request ? library_access(*request, method, version, data, size) : MHD_NO;
}

static void on_completed(void *ctx, struct MHD_Connection *mhd, void **request,
                         enum MHD_RequestTerminationCode code)
{
    struct http_exchange *x = *request;
    (void)ctx;
    (void)mhd;
    if (!x)
        return;
    *request = NULL;
    struct http_conn *c = x->conn;
    bool whole =
        code == MHD_REQUEST_TERMINATED_COMPLETED_OK && x->library.queued && x->state != X_CUT;
    c->x = NULL;
    conn_phase(c, CONN_IDLE);
    exchange_end(x, whole);
}

static void conn_closed(struct http_shard *shard, struct http_conn *c)
{
    struct http_server *s = shard->server;
    if (c->x) {
        exchange_end(c->x, false);
        c->x = NULL;
    }
    if (c->linger && !s->stopping) {
        int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
        if (fd >= 0)
            linger_start(s, fd, c->drop_bytes);
    }
    shard->connections--;
    shard->fresh -= !c->used;
    if (shard->retired && !shard->connections)
        shard_mark(shard);
    conn_free(c);
}

static struct http_conn *starting_conn(const struct http_server *s, int fd)
{
    struct http_conn *c;
    DL_FOREACH(s->starting, c)
    {
        if (c->fd == fd)
            return c;
    }
    return NULL;
}

/* 0.9.75 tells of a connection while it is handed over, 1.0 at its next run. */
static struct http_conn *conn_started(struct http_server *s, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *c = info ? starting_conn(s, info->connect_fd) : NULL;
    if (c) {
        DL_DELETE(s->starting, c);
        DL_PREPEND(s->conns, c);
        c->started = true;
    }
    return c;
}

static void on_connection(void *ctx, struct MHD_Connection *mhd, void **conn,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_shard *shard = ctx;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *conn = conn_started(shard->server, mhd);
        return;
    }
    if (*conn)
        conn_closed(shard, *conn);
    *conn = NULL;
}

static void on_spin_timer(void *ctx)
{
    shard_run(ctx);
}

void shard_run(struct http_shard *shard)
{
    /* A connection whose TLS handshake waits for its client counts as ready all the time in
     * libmicrohttpd: with such ones about, "run me again at once" may mean nothing. What really
     * happens comes through the epoll descriptor. */
    bool may_spin = shard->server->tls_cert && shard->fresh;
    for (int i = 0; i < (may_spin ? RUNS_WITH_HANDSHAKES : RUNS_PER_TURN); i++) {
        MHD_UNSIGNED_LONG_LONG wait_ms = 0;
        (void)MHD_run(shard->mhd);
        if (MHD_get_timeout(shard->mhd, &wait_ms) != MHD_YES || wait_ms)
            return;
        if (shard->server->turn_bytes >= HTTP_TURN_BYTES) {
            may_spin = false; /* there is work, in another turn */
            break;
        }
    }
    if (may_spin) {
        loop_timer_start(shard->server->loop, &shard->spin_timer, SPIN_MS, on_spin_timer, shard);
        return;
    }
    shard_mark(shard);
    loop_again(shard->server->loop);
}

static void on_ready(void *ctx, uint32_t events)
{
    (void)events;
    shard_run(ctx);
}

/* ---- connections ---- */

/* The first one with room: a turn costs some system calls per shard that has anything to do. When
 * all have their fill, the one with the fewest. */
static struct http_shard *choose_shard(struct http_server *s)
{
    uint32_t best = s->next_shard++ % s->shard_count;
    for (uint32_t i = 0; i < s->shard_count; i++) {
        if (s->shards[i]->connections < SHARD_FILL)
            return s->shards[i];
        if (s->shards[i]->connections < s->shards[best]->connections)
            best = i;
    }
    return s->shards[best];
}

void shard_take(struct http_conn *c)
{
    struct http_server *s = c->server;
    struct http_shard *shard = choose_shard(s);
    struct sockaddr_storage from;
    socklen_t from_len = sizeof from;
    int fd = c->fd;
    if (getpeername(fd, (struct sockaddr *)&from, &from_len) < 0 ||
        (c->watcher != &departures && !conn_watch(c, &departures))) {
        conn_free(c);
        (void)close(fd);
        return;
    }
    DL_DELETE(s->conns, c);
    DL_PREPEND(s->starting, c);
    c->started = false;
    c->shard = shard;
    shard->connections++;
    shard->fresh++;
    conn_phase(c, CONN_HEAD);
    if (MHD_add_connection(shard->mhd, fd, (const struct sockaddr *)&from, from_len) == MHD_YES)
        return;
    /* libmicrohttpd has closed it. If it had reported the connection to us, it has reported the end
     * too, and c is freed. */
    if (starting_conn(s, fd)) {
        shard->connections--;
        shard->fresh--;
        conn_free(c);
    }
}

/* ---- life ---- */

static bool is_for_everybody(FILE *f, const char *path)
{
    struct stat s;
    if (fstat(fileno(f), &s) == 0 && !(s.st_mode & S_IRWXO))
        return false;
    log_error("tls_key_refused", LSTR("file", path), LSTR("why", "everybody may read it"));
    return true;
}

static char *read_file(const char *path, bool secret)
{
    FILE *f = fopen(path, "re");
    bool open_to_all = f && secret && is_for_everybody(f, path);
    char *text = f && !open_to_all ? calloc(1, MAX_TLS_FILE) : NULL;
    if (text && !fread(text, 1, MAX_TLS_FILE - 1, f)) {
        free(text);
        text = NULL;
    }
    if (f)
        (void)fclose(f);
    return text;
}

struct tls_text {
    char *cert, *key; /* both NULL: plain */
};

static struct MHD_Daemon *start_mhd(struct http_shard *shard, const struct tls_text *tls)
{
    /* Forward secrecy and AEAD only, in TLS 1.2 as in 1.3. */
    static char priorities[] =
        "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+ECDHE-ECDSA:+ECDHE-RSA:+AES-128-GCM:+AES-256-GCM:"
        "+CHACHA20-POLY1305:+AEAD:+SIGN-ALL:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:-SIGN-DSA-SHA1:"
        "+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+COMP-NULL:+CTYPE-X509";
    const struct http_config *config = &shard->server->config;
    unsigned flags =
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem for_tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, tls->cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, tls->key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, priorities},
        {MHD_OPTION_END, 0, NULL},
    };
    if (tls->cert)
        flags |= MHD_USE_TLS;
    else
        for_tls[0].option = MHD_OPTION_END;
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_access, shard, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, shard, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, shard,
        MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)config->max_connections + 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        http_pool_bytes(shard->server), MHD_OPTION_STRICT_FOR_CLIENT, STRICTNESS, MHD_OPTION_ARRAY,
        for_tls, MHD_OPTION_END);
}

void shard_destroy(struct http_shard *shard)
{
    if (!shard)
        return;
    struct http_server *s = shard->server;
    loop_watch_remove(&shard->watch);
    loop_timer_stop(s->loop, &shard->spin_timer);
    if (shard->mhd)
        MHD_stop_daemon(shard->mhd);
    if (shard->dirty)
        DL_DELETE2(s->dirty_shards, shard, dirty_prev, dirty_next);
    DL_DELETE(s->all_shards, shard);
    free(shard);
}

static struct http_shard *shard_create(struct http_server *s, const struct tls_text *tls)
{
    struct http_shard *shard = calloc(1, sizeof *shard);
    if (!shard)
        return NULL;
    shard->server = s;
    DL_PREPEND(s->all_shards, shard);
    shard->mhd = start_mhd(shard, tls);
    const union MHD_DaemonInfo *info =
        shard->mhd ? MHD_get_daemon_info(shard->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || loop_watch_add(s->loop, info->epoll_fd, EPOLLIN, on_ready, shard, &shard->watch)) {
        shard_destroy(shard);
        return NULL;
    }
    return shard;
}

static void tls_forget(struct tls_text *tls)
{
    free(tls->cert);
    if (tls->key)
        crypto_wipe(tls->key, MAX_TLS_FILE);
    free(tls->key);
    *tls = (struct tls_text){NULL, NULL};
}

static enum err tls_read(struct tls_text *tls, const struct http_server *s)
{
    *tls = (struct tls_text){NULL, NULL};
    if (!s->tls_cert)
        return OK;
    tls->cert = read_file(s->tls_cert, false);
    tls->key = read_file(s->tls_key, true);
    if (tls->cert && tls->key)
        return OK;
    tls_forget(tls);
    return ERR_INVALID;
}

enum err shards_create(struct http_server *s)
{
    struct tls_text tls;
    enum err e = tls_read(&tls, s);
    if (e)
        return e;
    struct http_shard *made[HTTP_MAX_SHARDS];
    uint32_t n = 0;
    while (n < s->shard_count && (made[n] = shard_create(s, &tls)) != NULL)
        n++;
    tls_forget(&tls);
    if (n < s->shard_count) {
        while (n)
            shard_destroy(made[--n]);
        return s->tls_cert ? ERR_INVALID : ERR_IO;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (s->shards[i]) {
            s->shards[i]->retired = true;
            shard_mark(s->shards[i]);
        }
        s->shards[i] = made[i];
    }
    return OK;
}
