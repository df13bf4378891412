/* What libcurl calls while a request runs: bytes out, bytes in, sockets made. */
#include "common/fetch/multi_internal.h"
#include "common/fetch/sockets.h"

static struct span get_header(const void *ctx, const char *name)
{
    const struct multi_part *p = ctx;
    struct curl_header *h = NULL;
    if (curl_easy_header(p->easy, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
        return SPAN_NONE;
    return span_str(h->value);
}

bool multi_take_head(struct multi_part *p)
{
    long status = 0;
    (void)curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
    struct upstream_headers headers = {get_header, p};
    return transfer_take_head(p->r, (unsigned)status, &headers);
}

static size_t on_write(char *data, size_t size, size_t n, void *ctx)
{
    struct multi_part *p = ctx;
    struct fetch_transfer *r = p->r;
    if (r->state != FETCH_RUNNING)
        return 0;
    if (r->paused)
        return CURL_WRITEFUNC_PAUSE;
    if (!r->headed && !multi_take_head(p))
        return 0;
    return transfer_take_bytes(r, span_of(data, size * n)) ? size * n : 0;
}

static size_t on_read(char *into, size_t size, size_t n, void *ctx)
{
    struct multi_part *p = ctx;
    if (p->r->state != FETCH_RUNNING)
        return CURL_READFUNC_ABORT; /* cancelled from within another one's callback: the body may be
                                       gone */
    struct span rest = span_first(span_skip(p->r->spec.body, p->body_read), size * n);
    if (rest.len)
        memcpy(into, rest.data, rest.len);
    p->body_read += rest.len;
    return rest.len;
}

/* libcurl rewinds to send a request again after a reused connection turned out dead. A POST whose
 * bytes have left may have been carried out: no. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    const struct multi_part *p = ctx;
    return p->body_read == 0 && offset == 0 && origin == SEEK_SET ? CURL_SEEKFUNC_OK
                                                                  : CURL_SEEKFUNC_FAIL;
}

/* Called each time a connection is ready for the request. A second time is a repetition. */
static int on_before_request(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
    struct multi_part *p = ctx;
    struct fetch_transfer *r = p->r;
    (void)remote, (void)local, (void)remote_port, (void)local_port;
    r->verdict = ERROR_NONE; /* an address was refused, but another one of the name was not */
    bool repeatable = r->spec.body.len == 0 && strcmp(r->spec.method, "GET") == 0;
    return p->tries++ == 0 || repeatable ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static curl_socket_t on_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    const struct multi_part *p = ctx;
    bool refused = false;
    (void)purpose;
    curl_socket_t fd = sockets_open(p->up, p->r->spec.origin, address, &refused);
    if (refused) {
        transfer_give_up(p->r, ERROR_UPSTREAM_UNREACHABLE, SOCKETS_REFUSED);
        p->r->verdict_reason = REASON_PRIVATE_ADDRESS;
    }
    return fd;
}

void multi_set_callbacks(struct multi_part *p)
{
    CURL *e = p->easy;
    sockets_set_common(e, p->up);
    (void)curl_easy_setopt(e, CURLOPT_PRIVATE, (char *)p);
    (void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, p->error);
    (void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
    (void)curl_easy_setopt(e, CURLOPT_WRITEDATA, p);
    (void)curl_easy_setopt(e, CURLOPT_READFUNCTION, on_read);
    (void)curl_easy_setopt(e, CURLOPT_READDATA, p);
    (void)curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, on_seek);
    (void)curl_easy_setopt(e, CURLOPT_SEEKDATA, p);
    (void)curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, on_before_request);
    (void)curl_easy_setopt(e, CURLOPT_PREREQDATA, p);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    (void)curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, p);
    (void)curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)KEEP_IDLE_S);
    (void)curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BYTES);
}
