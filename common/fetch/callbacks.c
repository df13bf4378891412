/* What libcurl calls while a request runs: bytes out, bytes in, sockets made and closed. */
#include "common/fetch/fetch_internal.h"

#include <sys/socket.h>
#include <unistd.h>

#include "common/fetch/address_check.h"

static struct span get_header(const void *ctx, const char *name)
{
    const struct fetch_transfer *r = ctx;
    struct curl_header *h = NULL;
    if (curl_easy_header(r->easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return SPAN_NONE;
    return span_str(h->value);
}

/* What libcurl's failure will be reported as. */
static void give_up(struct fetch_transfer *r, unsigned error_class, struct span message)
{
    r->verdict = error_class;
    r->verdict_message = message;
}

bool fetch_take_head(struct fetch_transfer *r)
{
    long status = 0;
    (void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    struct span encoding = get_header(r, "content-encoding");
    if (encoding.len && !span_is_nocase(encoding, "identity")) {
        if (status >= 200 && status < 300) {
            give_up(r, ERROR_UPSTREAM_PROTOCOL, SPAN("The upstream's answer is compressed."));
            return false;
        }
        r->mute = true; /* its status is still of use */
    }
    struct span type = get_header(r, "content-type");
    if (type.len >= 17 && strncasecmp(type.data, "text/event-stream", 17) == 0)
        r->limit_bytes = 0;
    r->headed = true;
    r->up->handler_called = true;
    struct upstream_headers headers = {get_header, r};
    r->spec.handler->on_head(r->spec.ctx, (unsigned)status, &headers);
    return r->state == FETCH_RUNNING;
}

static size_t on_write(char *data, size_t size, size_t n, void *ctx)
{
    struct fetch_transfer *r = ctx;
    size_t bytes = size * n;
    if (r->state != FETCH_RUNNING)
        return 0;
    if (r->paused)
        return CURL_WRITEFUNC_PAUSE;
    r->last_ms = loop_now_ms(r->up->loop);
    if (!r->headed && !fetch_take_head(r))
        return 0;
    r->received_bytes += bytes;
    if (r->limit_bytes && r->received_bytes > r->limit_bytes) {
        give_up(r, ERROR_UPSTREAM_PROTOCOL, SPAN("The upstream's answer is too large."));
        return 0;
    }
    r->up->handler_called = true;
    if (!r->mute)
        r->spec.handler->on_bytes(r->spec.ctx, span_of(data, bytes));
    return r->state == FETCH_RUNNING ? bytes : 0;
}

static size_t on_read(char *into, size_t size, size_t n, void *ctx)
{
    struct fetch_transfer *r = ctx;
    if (r->state != FETCH_RUNNING)
        return CURL_READFUNC_ABORT; /* cancelled from within another one's callback: the body may be
                                       gone */
    struct span rest = span_first(span_skip(r->spec.body, r->body_read), size * n);
    if (rest.len)
        memcpy(into, rest.data, rest.len);
    r->body_read += rest.len;
    return rest.len;
}

/* libcurl rewinds to send a request again after a reused connection turned out dead. A POST whose
 * bytes have left may have been carried out: no. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    const struct fetch_transfer *r = ctx;
    return r->body_read == 0 && offset == 0 && origin == SEEK_SET ? CURL_SEEKFUNC_OK
                                                                  : CURL_SEEKFUNC_FAIL;
}

/* Called each time a connection is ready for the request. A second time is a repetition. */
static int on_before_request(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
    struct fetch_transfer *r = ctx;
    (void)remote, (void)local, (void)remote_port, (void)local_port;
    r->verdict = ERROR_NONE; /* an address was refused, but another one of the name was not */
    bool repeatable = r->spec.body.len == 0 && strcmp(r->spec.method, "GET") == 0;
    return r->tries++ == 0 || repeatable ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct fetch_transfer *r = ctx;
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
    struct fetch *up = ctx;
    socket_table_closed(&up->sockets, fd);
    return close(fd);
}

void fetch_set_callbacks(struct fetch_transfer *r)
{
    CURL *e = r->easy;
    struct fetch *up = r->up;
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
    (void)curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L); /* a hung resolver holds nobody up */
    (void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)up->options.connect_timeout_ms);
    (void)curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    (void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)KEEP_IDLE_S);
    (void)curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BYTES);
    (void)curl_easy_setopt(e, CURLOPT_SHARE, up->share);
}
