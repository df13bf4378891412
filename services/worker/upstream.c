#include "services/worker/upstream.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "common/base/log.h"
#include "services/worker/address_check.h"
#include "services/worker/socket_table.h"
#include "services/worker/upstream_error.h"
#include "services/worker/upstream_origin.h"

enum {
    SHARD_FILL =
        64, /* running requests before the next shard is opened: connections stay together */
    MAX_IDLE = 1024,  /* easy handles kept for reuse */
    MAX_LINES = 64,   /* header fields of one request */
    KEEP_IDLE_S = 60, /* an idle connection older than this is not used again */
    RECEIVE_BYTES = 16384,
    UPLOAD_BYTES = 16384
};

struct shard {
    struct upstream *up;
    CURLM *multi;
    uint32_t running;
    bool due; /* in the list of those to be run at the end of the turn */
    struct shard *next_due;
    struct loop_timer timer;
};

enum request_state { REQUEST_IDLE, REQUEST_RUNNING, REQUEST_DEAD };

/* What must wait until libcurl has returned: it refuses calls from within its callbacks. */
enum deferred { DEFER_START = 1, DEFER_CANCEL = 2, DEFER_RESUME = 4 };

struct upstream_request {
    struct upstream *up;
    CURL *easy;
    struct shard *shard;
    enum request_state state;
    unsigned deferred;
    struct upstream_request *next; /* in the idle or the deferred list */
    struct upstream_request *next_running, *prev_running;
    struct upstream_spec spec;
    size_t body_read;
    unsigned tries; /* times that libcurl was about to put it on a wire */
    uint64_t received_bytes;
    uint64_t limit_bytes; /* 0 = none */
    uint64_t started_ms, last_ms;
    struct loop_timer timer;
    bool headed, paused, mute;
    unsigned verdict; /* an error class of our own making; libcurl's failure only carries it out */
    struct span verdict_message;
    /* kept between requests, so that what has not changed is not set again */
    struct upstream_origin *origin;
    uint64_t origin_serial;
    struct buf url, lines;
    struct curl_slist nodes[MAX_LINES];
    char error[CURL_ERROR_SIZE];
};

struct upstream {
    struct loop *loop;
    struct upstream_options options;
    struct socket_table sockets;
    CURLSH *share;
    struct shard *shards;
    struct shard *due;
    struct upstream_request *idle, *deferred, *running_list;
    uint32_t idle_count, running;
    uint64_t serials; /* origins seen */
    char *default_ca; /* libcurl's own CA file */
    bool told;        /* a handler has been called */
    unsigned inside;  /* libcurl is on the stack */
    struct loop_hook hook;
};

static void finish_deferred(struct upstream *up);
static void on_silence(void *ctx);

/* ---- libcurl's callbacks ---- */

static struct span get_header(const void *ctx, const char *name)
{
    const struct upstream_request *r = ctx;
    struct curl_header *h = NULL;
    if (curl_easy_header(r->easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return SPAN_NONE;
    return span_str(h->value);
}

static void give_up(struct upstream_request *r, unsigned error_class, struct span message)
{
    r->verdict = error_class;
    r->verdict_message = message;
}

/* false when the answer is refused. */
static bool take_head(struct upstream_request *r)
{
    long status = 0;
    (void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    struct span encoding = get_header(r, "content-encoding");
    if (encoding.len && !span_is_nocase(encoding, "identity")) {
        if (status >= 200 && status < 300) {
            give_up(r, ERROR_UPSTREAM_PROTOCOL, SPAN("The upstream's answer is compressed."));
            return false;
        }
        r->mute = true; /* its status still says something */
    }
    struct span type = get_header(r, "content-type");
    if (type.len >= 17 && strncasecmp(type.data, "text/event-stream", 17) == 0)
        r->limit_bytes = 0;
    r->headed = true;
    r->up->told = true;
    struct upstream_headers headers = {get_header, r};
    r->spec.handler->on_head(r->spec.ctx, (unsigned)status, &headers);
    return r->state == REQUEST_RUNNING;
}

static size_t on_write(char *data, size_t size, size_t n, void *ctx)
{
    struct upstream_request *r = ctx;
    size_t bytes = size * n;
    if (r->state != REQUEST_RUNNING)
        return 0;
    if (r->paused)
        return CURL_WRITEFUNC_PAUSE;
    r->last_ms = loop_now_ms(r->up->loop);
    if (!r->headed && !take_head(r))
        return 0;
    r->received_bytes += bytes;
    if (r->limit_bytes && r->received_bytes > r->limit_bytes) {
        give_up(r, ERROR_UPSTREAM_PROTOCOL, SPAN("The upstream's answer is too large."));
        return 0;
    }
    r->up->told = true;
    if (!r->mute)
        r->spec.handler->on_bytes(r->spec.ctx, span_of(data, bytes));
    return r->state == REQUEST_RUNNING ? bytes : 0;
}

static size_t on_read(char *into, size_t size, size_t n, void *ctx)
{
    struct upstream_request *r = ctx;
    if (r->state != REQUEST_RUNNING)
        return CURL_READFUNC_ABORT; /* cancelled from within another one's callback: the body may be
                                       gone */
    struct span rest = span_first(span_skip(r->spec.body, r->body_read), size * n);
    if (rest.len)
        memcpy(into, rest.data, rest.len);
    r->body_read += rest.len;
    return rest.len;
}

/* libcurl rewinds to send a request again after a reused connection turned out dead. A POST whose
 * bytes have left may have been carried out: no (RELIABILITY fact 9). */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    const struct upstream_request *r = ctx;
    return r->body_read == 0 && offset == 0 && origin == SEEK_SET ? CURL_SEEKFUNC_OK
                                                                  : CURL_SEEKFUNC_FAIL;
}

/* Called each time a connection is ready for the request. A second time is a repetition. */
static int on_before_request(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
    struct upstream_request *r = ctx;
    (void)remote, (void)local, (void)remote_port, (void)local_port;
    r->verdict = ERROR_NONE; /* an address was refused, but another one of the name was not */
    bool repeatable = r->spec.body.len == 0 && strcmp(r->spec.method, "GET") == 0;
    return r->tries++ == 0 || repeatable ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct upstream_request *r = ctx;
    (void)purpose;
    bool free_choice = r->origin->private_network || r->origin->proxy;
    if (!free_choice && !address_is_public(&address->addr, (socklen_t)address->addrlen)) {
        give_up(r, ERROR_UPSTREAM_UNREACHABLE,
                SPAN("The upstream's address is private; its provider is not marked private."));
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (socket_table_opened(&r->up->sockets, fd) != OK) {
        (void)close(fd);
        return CURL_SOCKET_BAD;
    }
    return fd;
}

static int on_close_socket(void *ctx, curl_socket_t fd)
{
    struct upstream *up = ctx;
    socket_table_closed(&up->sockets, fd);
    return close(fd);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *unused)
{
    struct shard *shard = ctx;
    (void)easy, (void)unused;
    uint32_t events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    enum err err = socket_table_want(&shard->up->sockets, fd, events, shard);
    return err == OK ? 0 : -1;
}

/* ---- running the multis ---- */

static void mark_due(struct shard *shard)
{
    if (shard->due)
        return;
    shard->due = true;
    shard->next_due = shard->up->due;
    shard->up->due = shard;
}

static void free_request(struct upstream_request *r)
{
    curl_easy_cleanup(r->easy);
    buf_free(&r->url);
    buf_free(&r->lines);
    free(r);
}

static void park(struct upstream_request *r)
{
    struct upstream *up = r->up;
    r->state = REQUEST_IDLE;
    if (up->idle_count >= MAX_IDLE) {
        free_request(r);
        return;
    }
    r->next = up->idle;
    up->idle = r;
    up->idle_count++;
}

static void count_in(struct upstream_request *r, struct shard *shard)
{
    struct upstream *up = r->up;
    r->shard = shard;
    r->state = REQUEST_RUNNING;
    shard->running++;
    up->running++;
    r->prev_running = NULL;
    r->next_running = up->running_list;
    if (up->running_list)
        up->running_list->prev_running = r;
    up->running_list = r;
}

/* Out of libcurl; not from within its callbacks. */
static void take_out(struct upstream_request *r)
{
    struct upstream *up = r->up;
    (void)curl_multi_remove_handle(r->shard->multi, r->easy);
    loop_timer_stop(up->loop, &r->timer);
    r->shard->running--;
    up->running--;
    r->state = REQUEST_DEAD;
    if (r->next_running)
        r->next_running->prev_running = r->prev_running;
    if (r->prev_running)
        r->prev_running->next_running = r->next_running;
    else
        up->running_list = r->next_running;
}

static void fail(struct upstream_request *r, unsigned error_class, struct span message)
{
    struct upstream_spec spec = r->spec;
    bool sent = upstream_sent(r);
    take_out(r);
    r->up->told = true;
    if (error_class != ERROR_UPSTREAM_CLOSED)
        log_debug("upstream_failed", LSTR("class", error_info(error_class)->name),
                  LSTR("detail", r->error));
    spec.handler->on_failure(spec.ctx, error_class, message, sent);
    park(r);
}

static void on_finished(struct upstream_request *r, CURLcode code)
{
    if (r->verdict != ERROR_NONE && code != CURLE_OK) {
        fail(r, r->verdict, r->verdict_message);
        return;
    }
    if (code == CURLE_OK && !r->headed) {
        r->up->inside++; /* so that a cancel by the handler waits */
        bool taken = take_head(r);
        r->up->inside--;
        if (r->state != REQUEST_RUNNING)
            return;
        if (!taken) {
            fail(r, r->verdict, r->verdict_message);
            return;
        }
    }
    if (code == CURLE_OK) {
        struct upstream_spec spec = r->spec;
        take_out(r);
        r->up->told = true;
        spec.handler->on_end(spec.ctx);
        park(r);
        return;
    }
    long os_errno = 0;
    (void)curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &os_errno);
    struct upstream_failure f = upstream_failure_of(code, upstream_sent(r), r->headed, os_errno);
    fail(r, f.error_class, f.message);
}

static void reap(struct shard *shard)
{
    int left = 0;
    for (CURLMsg *m; (m = curl_multi_info_read(shard->multi, &left));) {
        char *private = NULL;
        CURLcode code = m->data.result;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        struct upstream_request *r = (struct upstream_request *)(void *)private;
        /* one that was cancelled within a callback is taken out by finish_deferred */
        if (m->msg == CURLMSG_DONE && r->state == REQUEST_RUNNING)
            on_finished(r, code);
    }
}

static void run_shard(struct shard *shard, curl_socket_t fd, int events)
{
    int running = 0;
    shard->up->inside++;
    (void)curl_multi_socket_action(shard->multi, fd, events, &running);
    shard->up->inside--;
    reap(shard);
    finish_deferred(shard->up);
}

static void on_ready(void *owner, int fd, uint32_t events)
{
    int bits = 0;
    if (events & EPOLLIN)
        bits |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        bits |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        bits |= CURL_CSELECT_ERR;
    run_shard(owner, fd, bits);
}

static void on_shard_timer(void *ctx)
{
    mark_due(ctx);
}

static int on_multi_timer(CURLM *multi, long timeout_ms, void *ctx)
{
    struct shard *shard = ctx;
    (void)multi;
    if (timeout_ms < 0)
        loop_timer_stop(shard->up->loop, &shard->timer);
    else if (timeout_ms == 0)
        mark_due(shard); /* once per turn for all requests of the turn */
    else
        loop_timer_start(shard->up->loop, &shard->timer, (uint64_t)timeout_ms, on_shard_timer,
                         shard);
    return 0;
}

static void on_turn_end(void *ctx)
{
    struct upstream *up = ctx;
    if (!up->due)
        return;
    struct shard *list = up->due;
    up->due = NULL;
    up->told = false;
    while (list) {
        struct shard *shard = list;
        list = shard->next_due;
        shard->due = false;
        run_shard(shard, CURL_SOCKET_TIMEOUT, 0);
    }
    /* Handlers may have sent on the bus, whose own hook is over for this turn. */
    if (up->told || up->due)
        loop_again(up->loop);
}

/* ---- deferred work ---- */

static void defer(struct upstream_request *r, unsigned what)
{
    if (r->deferred == 0) {
        r->next = r->up->deferred;
        r->up->deferred = r;
    }
    r->deferred |= what;
}

static void add_to_multi(struct upstream_request *r)
{
    if (curl_multi_add_handle(r->shard->multi, r->easy) == CURLM_OK)
        return;
    fail(r, ERROR_UPSTREAM_UNREACHABLE, SPAN("The gateway could not make the upstream request."));
}

static void resume_now(struct upstream_request *r)
{
    /* Delivers what is kept by calling on_write, from here. */
    r->up->inside++;
    CURLcode code = curl_easy_pause(r->easy, CURLPAUSE_CONT);
    r->up->inside--;
    if (code != CURLE_OK && r->state == REQUEST_RUNNING)
        fail(r, r->verdict ? r->verdict : (unsigned)ERROR_UPSTREAM_CLOSED,
             r->verdict ? r->verdict_message : SPAN("The upstream's answer could not be read on."));
}

static void finish_deferred(struct upstream *up)
{
    while (up->inside == 0 && up->deferred) {
        struct upstream_request *r = up->deferred;
        unsigned what = r->deferred;
        up->deferred = r->next;
        r->deferred = 0;
        r->next = NULL;
        if (what & DEFER_CANCEL) {
            take_out(r);
            park(r);
        } else if (what & DEFER_START) {
            add_to_multi(r);
        } else if (r->state == REQUEST_RUNNING) {
            resume_now(r);
        }
    }
}

/* ---- requests ---- */

static void set_once(struct upstream_request *r)
{
    CURL *e = r->easy;
    struct upstream *up = r->up;
    (void)curl_easy_setopt(e, CURLOPT_PRIVATE, (char *)r);
    (void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->error);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
    (void)curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
    (void)curl_easy_setopt(e, CURLOPT_READDATA, r);
    (void)curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
    (void)curl_easy_setopt(e, CURLOPT_SEEKDATA, r);
    (void)curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_before_request);
    (void)curl_easy_setopt(e, CURLOPT_PREREQDATA, r);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, r);
    (void)curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    (void)curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, up);
    (void)curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    (void)curl_easy_setopt(e, CURLOPT_QUICK_EXIT,
                           1L); /* a hung resolver holds nobody up: fact 10 */
    (void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)up->options.connect_timeout_ms);
    (void)curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    (void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)KEEP_IDLE_S);
    (void)curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    (void)curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BYTES);
    (void)curl_easy_setopt(e, CURLOPT_SHARE, up->share);
}

static struct upstream_request *take_request(struct upstream *up)
{
    struct upstream_request *r = up->idle;
    if (r) {
        up->idle = r->next;
        up->idle_count--;
        return r;
    }
    r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->up = up;
    r->easy = curl_easy_init();
    if (!r->easy) {
        free(r);
        return NULL;
    }
    set_once(r);
    return r;
}

static void set_origin(struct upstream_request *r, struct upstream_origin *o)
{
    bool http2 = o->https && r->up->options.http2;
    r->origin = o;
    r->origin_serial = o->serial;
    (void)curl_easy_setopt(r->easy, CURLOPT_HTTP_VERSION,
                           (long)(http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
    (void)curl_easy_setopt(r->easy, CURLOPT_PIPEWAIT, http2 ? 1L : 0L);
    /* "" = none: nothing is taken from the environment */
    (void)curl_easy_setopt(r->easy, CURLOPT_PROXY, o->proxy ? o->proxy : "");
    (void)curl_easy_setopt(r->easy, CURLOPT_CAINFO, o->ca_file ? o->ca_file : r->up->default_ca);
}

static enum err set_url(struct upstream_request *r, const struct upstream_spec *spec)
{
    struct buf *url = &r->url;
    struct span base = spec->url.len ? spec->url : spec->origin->base_url;
    struct span path = spec->url.len ? SPAN_NONE : spec->path;
    bool same = url->len == base.len + path.len + 1 &&
                memcmp(url->data, base.data, base.len) == 0 &&
                (path.len == 0 || memcmp(url->data + base.len, path.data, path.len) == 0);
    if (same)
        return OK;
    buf_clear(url);
    buf_append(url, base);
    buf_append(url, path);
    buf_append_char(url, '\0');
    if (buf_check(url) != OK)
        return ERR_TOO_BIG;
    if (memchr(url->data, '\0', url->len - 1))
        return ERR_INVALID;
    return curl_easy_setopt(r->easy, CURLOPT_URL, url->data) == CURLE_OK ? OK : ERR_INVALID;
}

static bool carries(struct span lines, const char *default_line)
{
    size_t name = strcspn(default_line, ":") + 1;
    while (lines.len) {
        struct span line = span_cut(&lines, '\n');
        if (line.len >= name && strncasecmp(line.data, default_line, name) == 0)
            return true;
    }
    return false;
}

static bool add_node(struct upstream_request *r, size_t *count, char *line)
{
    if (*count == MAX_LINES)
        return false;
    r->nodes[*count].data = line;
    r->nodes[*count].next = &r->nodes[*count + 1]; /* set_headers ends the list */
    (*count)++;
    return true;
}

/* The request's own fields, then the origin's defaults it does not carry, then the origin's shared
 * list. */
static enum err set_headers(struct upstream_request *r, const struct upstream_spec *spec)
{
    static char json_type[] = "Content-Type: application/json";
    static char stream[] = "Accept: text/event-stream", json[] = "Accept: application/json";
    struct upstream_origin *o = spec->origin;
    size_t n = 0;
    bool fits = add_node(r, &n, spec->accept_stream ? stream : json);
    if (spec->body.len && !carries(spec->headers, json_type))
        fits = add_node(r, &n, json_type) && fits;
    buf_clear(&r->lines);
    buf_append(&r->lines, spec->headers);
    buf_append_char(&r->lines, '\n');
    if (buf_check(&r->lines) != OK)
        return ERR_TOO_BIG;
    for (char *at = r->lines.data, *end = at + r->lines.len; at < end;) {
        char *newline = memchr(at, '\n', (size_t)(end - at));
        *newline = '\0';
        if (*at)
            fits = add_node(r, &n, at) && fits;
        at = newline + 1;
    }
    for (size_t i = 0; i < o->default_count; i++)
        if (!carries(spec->headers, o->defaults[i]))
            fits = add_node(r, &n, o->defaults[i]) && fits;
    bool keyed = !spec->url.len || origin_trusts_url(o, spec->url);
    r->nodes[n - 1].next = keyed ? o->with_key : o->common;
    (void)curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, &r->nodes[0]);
    return fits ? OK : ERR_TOO_BIG;
}

static void set_method(struct upstream_request *r, const struct upstream_spec *spec)
{
    bool post = strcmp(spec->method, "POST") == 0, get = strcmp(spec->method, "GET") == 0;
    if (post) {
        (void)curl_easy_setopt(r->easy, CURLOPT_POST, 1L);
        (void)curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body.len);
    } else {
        (void)curl_easy_setopt(r->easy, CURLOPT_HTTPGET, 1L);
    }
    (void)curl_easy_setopt(r->easy, CURLOPT_CUSTOMREQUEST, post || get ? NULL : spec->method);
}

/* The first one with room: few connections, used often, rather than many used seldom. */
static struct shard *choose_shard(struct upstream *up)
{
    struct shard *least = &up->shards[0];
    for (uint32_t i = 0; i < up->options.shards; i++) {
        struct shard *shard = &up->shards[i];
        if (shard->running < SHARD_FILL)
            return shard;
        if (shard->running < least->running)
            least = shard;
    }
    return least;
}

static void reset_request(struct upstream_request *r, const struct upstream_spec *spec)
{
    r->spec = *spec;
    r->body_read = 0;
    r->tries = 0;
    r->received_bytes = 0;
    r->limit_bytes = r->up->options.max_response_bytes;
    r->started_ms = r->last_ms = loop_now_ms(r->up->loop);
    r->headed = r->paused = r->mute = false;
    r->verdict = ERROR_NONE;
    r->deferred = 0;
    r->next = NULL;
    r->error[0] = '\0';
}

enum err upstream_start(struct upstream *u, const struct upstream_spec *spec,
                        struct upstream_request **out)
{
    *out = NULL;
    if (spec->url.len && !origin_allows_url(spec->origin, spec->url))
        return ERR_DENIED;
    struct upstream_request *r = take_request(u);
    if (!r)
        return ERR_NOMEM;
    reset_request(r, spec);
    if (!spec->origin->serial)
        spec->origin->serial = ++u->serials;
    r->origin = spec->origin;
    if (r->origin_serial != spec->origin->serial)
        set_origin(r, spec->origin);
    set_method(r, spec);
    enum err err = set_url(r, spec);
    if (err == OK)
        err = set_headers(r, spec);
    if (err != OK) {
        buf_clear(&r->url);
        park(r);
        return err;
    }
    count_in(r, choose_shard(u));
    loop_timer_start(u->loop, &r->timer, spec->first_byte_ms, on_silence, r);
    *out = r;
    if (u->inside || curl_multi_add_handle(r->shard->multi, r->easy) != CURLM_OK) {
        defer(r, DEFER_START); /* the second case is tried once more, then fails aloud */
        mark_due(r->shard);
    }
    return OK;
}

/* The one timer of a request: moved on lazily, not at every read. */
static void on_silence(void *ctx)
{
    struct upstream_request *r = ctx;
    uint64_t now = loop_now_ms(r->up->loop);
    uint64_t since = r->headed ? r->last_ms : r->started_ms;
    uint64_t wait = r->headed ? r->spec.idle_ms : r->spec.first_byte_ms;
    if (r->state != REQUEST_RUNNING)
        return;
    if (r->paused || now - since < wait) {
        loop_timer_start(r->up->loop, &r->timer, r->paused ? wait : wait - (now - since),
                         on_silence, r);
        return;
    }
    if (r->deferred & DEFER_START)
        return;
    bool sent = upstream_sent(r);
    fail(r, sent ? ERROR_UPSTREAM_TIMEOUT : ERROR_UPSTREAM_CONNECT_TIMEOUT,
         sent ? SPAN("The upstream did not answer in time.")
              : SPAN("No connection to the upstream in time."));
    finish_deferred(r->up);
}

void upstream_cancel(struct upstream_request **request)
{
    struct upstream_request *r = *request;
    *request = NULL;
    if (!r || r->state != REQUEST_RUNNING)
        return;
    r->state = REQUEST_DEAD;
    defer(r, DEFER_CANCEL);
    finish_deferred(r->up);
}

void upstream_pause(struct upstream_request *request)
{
    request->paused = true;
}

void upstream_resume(struct upstream_request *request)
{
    if (!request->paused || request->state != REQUEST_RUNNING)
        return;
    request->paused = false;
    request->last_ms = loop_now_ms(request->up->loop);
    defer(request, DEFER_RESUME);
    finish_deferred(request->up);
}

bool upstream_sent(const struct upstream_request *request)
{
    long bytes = 0;
    (void)curl_easy_getinfo(request->easy, CURLINFO_REQUEST_SIZE, &bytes);
    return bytes > 0;
}

/* ---- life ---- */

static enum err open_shard(struct upstream *up, struct shard *shard)
{
    shard->up = up;
    shard->multi = curl_multi_init();
    if (!shard->multi)
        return ERR_NOMEM;
    long keep = (long)(up->options.max_connections / up->options.shards);
    if (keep < 2 * SHARD_FILL)
        keep = 2 * SHARD_FILL;
    (void)curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_multi_timer);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, keep);
    (void)curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    return OK;
}

/* libcurl forgets its own once another has been set. */
static char *find_default_ca(void)
{
    char *name = NULL, *copy = NULL;
    CURL *easy = curl_easy_init();
    if (easy && curl_easy_getinfo(easy, CURLINFO_CAINFO, &name) == CURLE_OK && name)
        copy = strdup(name);
    curl_easy_cleanup(easy);
    return copy;
}

enum err upstream_create(struct upstream **out, struct loop *loop,
                         const struct upstream_options *options)
{
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return ERR_IO;
    struct upstream *up = calloc(1, sizeof *up);
    if (!up)
        return ERR_NOMEM;
    up->loop = loop;
    up->options = *options;
    if (up->options.shards == 0)
        up->options.shards = 1;
    socket_table_init(&up->sockets, loop, on_ready);
    up->shards = calloc(up->options.shards, sizeof *up->shards);
    up->share = curl_share_init();
    enum err err = up->shards && up->share ? OK : ERR_NOMEM;
    for (uint32_t i = 0; err == OK && i < up->options.shards; i++)
        err = open_shard(up, &up->shards[i]);
    up->hook = (struct loop_hook){.fn = on_turn_end, .ctx = up};
    loop_hook_turn_end(loop, &up->hook);
    if (err != OK) {
        upstream_destroy(&up);
        return err;
    }
    up->default_ca = find_default_ca();
    (void)curl_share_setopt(up->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    (void)curl_share_setopt(up->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    *out = up;
    return OK;
}

void upstream_destroy(struct upstream **u)
{
    struct upstream *up = *u;
    if (!up)
        return;
    *u = NULL;
    loop_hook_remove(up->loop, &up->hook);
    while (up->running_list) {
        struct upstream_request *r = up->running_list;
        take_out(r);
        free_request(r);
    }
    while (up->idle) {
        struct upstream_request *r = up->idle;
        up->idle = r->next;
        free_request(r);
    }
    for (uint32_t i = 0; up->shards && i < up->options.shards; i++) {
        loop_timer_stop(up->loop, &up->shards[i].timer);
        (void)curl_multi_cleanup(up->shards[i].multi);
    }
    (void)curl_share_cleanup(up->share);
    socket_table_free(&up->sockets);
    free(up->shards);
    free(up->default_ca);
    free(up);
    curl_global_cleanup();
}

uint32_t upstream_running(const struct upstream *u)
{
    return u->running;
}
