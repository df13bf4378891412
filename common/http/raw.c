/* Answers written past libmicrohttpd, where it takes none. */
#include <sys/socket.h>

#include "common/http/internal.h"

enum { MAX_RAW_ANSWER = 64 << 10 };

static const char *phrase(unsigned status)
{
    const char *text = MHD_get_reason_phrase_for(status);
    return text ? text : "Unknown";
}

static void compose(const struct http_exchange *x, unsigned status, struct span body,
                    struct buf *out)
{
    buf_printf(out, "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Length: %zu\r\n", status,
               phrase(status), body.len);
    struct span rest = buf_span(&x->fields);
    while (rest.len) {
        struct span name = span_cut(&rest, '\0');
        struct span value = span_cut(&rest, '\0');
        buf_append(out, name);
        buf_append_str(out, ": ");
        buf_append(out, value);
        buf_append_str(out, "\r\n");
    }
    buf_append_str(out, "\r\n");
    buf_append(out, body);
}

void raw_respond(struct http_exchange *x, int fd, unsigned status, struct span body)
{
    struct buf out;
    buf_init(&out, MAX_RAW_ANSWER);
    compose(x, status, body, &out);
    if (!out.failed)
        /* Whatever doesn't fit an empty socket buffer is lost: the client is being refused anyway.
         */
        (void)send(fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    buf_free(&out);
}
