#include "unit/common/http/test_corpus.h"

#include <stdio.h>

#include "common/base/buf.h"

struct corpus {
    void *ctx;
    corpus_fn fn;
};

#define SECOND "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

/* The form, and a second request behind it in one piece. */
static void give(struct corpus *c, struct span request, enum corpus_end end)
{
    struct buf out = {0};
    buf_append(&out, request);
    buf_append_str(&out, SECOND);
    c->fn(c->ctx, buf_span(&out), end);
    buf_free(&out);
}

static void refuse(struct corpus *c, struct span request)
{
    give(c, request, CORPUS_REFUSED);
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void refuse_fields(struct corpus *c, const char *fields)
{
    struct buf out = {0};
    buf_printf(&out, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", fields);
    refuse(c, buf_span(&out));
    buf_free(&out);
}

static void refuse_lengths_beside_codings(struct corpus *c)
{
    static const char *const codings[] = {"chunked",  "Chunked",       "CHUNKED",
                                          "identity", "gzip, chunked", "chunked, identity"};
    static const char *const names[] = {"Transfer-Encoding", "transfer-encoding",
                                        "TRANSFER-ENCODING"};
    static const char *const lengths[] = {"0", "5", "11", "100000"};
    char fields[256];
    for (size_t k = 0; k < COUNT(codings); k++) {
        for (size_t n = 0; n < COUNT(names); n++) {
            for (size_t l = 0; l < COUNT(lengths); l++) {
                (void)snprintf(fields, sizeof fields, "Content-Length: %s\r\n%s: %s", lengths[l],
                               names[n], codings[k]);
                refuse_fields(c, fields);
                (void)snprintf(fields, sizeof fields, "%s: %s\r\nContent-Length: %s", names[n],
                               codings[k], lengths[l]);
                refuse_fields(c, fields);
            }
        }
    }
}

static void refuse_odd_codings(struct corpus *c)
{
    static const char *const codings[] = {
        "chunked ",
        "chunked\t",
        "chunked,",
        ",chunked",
        "chunked, chunked",
        "chunked;q=1",
        "\"chunked\"",
        "xchunked",
        "chunkedx",
        "chunk",
        "identity",
        "gzip",
        "deflate",
        "cow",
        "identity, chunked",
        "chunked\x0b",
        ("\x0b"
         "chunked"),
        "",
        "chunked identity",
        "chunked\\",
    };
    char fields[256];
    for (size_t k = 0; k < COUNT(codings); k++) {
        (void)snprintf(fields, sizeof fields, "Transfer-Encoding: %s", codings[k]);
        refuse_fields(c, fields);
        (void)snprintf(fields, sizeof fields, "Transfer-Encoding: chunked\r\nTransfer-Encoding: %s",
                       codings[k]);
        refuse_fields(c, fields);
        (void)snprintf(fields, sizeof fields, "Transfer-Encoding: %s\r\nTransfer-Encoding: chunked",
                       codings[k]);
        refuse_fields(c, fields);
    }
}

static void refuse_odd_lengths(struct corpus *c)
{
    static const char *const lengths[] = {
        "+5",
        "-1",
        "-0",
        "0x5",
        "5 ",
        "5\t",
        "5,5",
        "5, 5",
        "5;5",
        "5 5",
        "",
        "five",
        "1e1",
        "5.0",
        "99999999999999999999",
        "18446744073709551616",
        "18446744073709551615",
        "9223372036854775808",
        "1000000000000000000000000",
        "0b1",
        "'5'",
        "5\x0b",
    };
    char fields[256];
    for (size_t l = 0; l < COUNT(lengths); l++) {
        (void)snprintf(fields, sizeof fields, "Content-Length: 5\r\nContent-Length: %s",
                       lengths[l]);
        refuse_fields(c, fields);
    }
    for (size_t a = 0; a < 6; a++) {
        for (size_t b = 0; b < 6; b++) {
            (void)snprintf(fields, sizeof fields,
                           "Content-Length: %zu\r\nX-A: b\r\ncontent-length: %zu", a, b);
            refuse_fields(c, fields);
        }
    }
}

static void refuse_odd_names(struct corpus *c)
{
    static const char *const names[] = {"Content-Length", "Transfer-Encoding", "Host", "X-Any"};
    static const char *const tails[] = {
        " ", "\t", "\x0b", "\x0c", "\x01", "\x7f", "(", ")", "<", ">", "@",        ",",
        ";", "\\", "\"",   "/",    "[",    "]",    "?", "=", "{", "}", "\xc3\xa9", "\x80"};
    char fields[256];
    for (size_t n = 0; n < COUNT(names); n++) {
        for (size_t i = 0; i < COUNT(tails); i++) {
            (void)snprintf(fields, sizeof fields, "%s%s: 5", names[n], tails[i]);
            refuse_fields(c, fields);
        }
    }
    refuse_fields(c, ": 5");
    refuse_fields(c, ":");
    refuse_fields(c, ":\r\nX-Any: a");
    refuse_fields(c, "X-Any: a\r\n: \r\nContent-Length: 5");
}

static void refuse_control_bytes(struct corpus *c)
{
    for (int byte = 0; byte < 0x80; byte++) {
        if ((byte >= 0x20 && byte != 0x7f) || byte == '\t' || byte == '\n')
            continue;
        for (int at = 0; at < 3; at++) {
            struct buf out = {0};
            buf_append_str(&out, "POST / HTTP/1.1\r\nHost: x\r\nX-Any: ");
            buf_append_str(&out, at == 0 ? "" : at == 1 ? "ab" : "abcd");
            buf_append_char(&out, (char)byte);
            buf_append_str(&out, at == 0 ? "abcd" : at == 1 ? "cd" : "");
            buf_append_str(&out, "\r\nX-More: 1\r\n\r\n");
            refuse(c, buf_span(&out));
            buf_free(&out);
        }
    }
}

static void refuse_folded_lines(struct corpus *c)
{
    static const char *const fields[] = {
        "X-Any: a\r\n b",
        "X-Any: a\r\n\tb",
        "X-Any: a\r\n  Content-Length: 5",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding:\r\n\tchunked",
        "Transfer-Encoding: identity\r\n , chunked",
        "Content-Length:\r\n 5",
        "Content-Length: 1\r\n 0",
        "X-Any: a\r\n b\r\nX-More: c",
        "X-Any: a\r\n b\r\n c\r\nX-More: c",
    };
    for (size_t i = 0; i < COUNT(fields); i++)
        refuse_fields(c, fields[i]);
}

static void refuse_whole(struct corpus *c)
{
    static const char *const heads[] = {
        /* hosts */
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
        /* codings in 1.0 */
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        /* methods and targets */
        "G(T / HTTP/1.1\r\nHost: x\r\n\r\n",
        "G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n",
        "G\xc3\xa9T / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET\t/ / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET relative HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a\rb HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n",
        /* fields that are none */
        "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: x\r\n\r\n",
        "GET / HTTP/1.1\r\n\tHost: x\r\n\r\n",
        /* chunks */
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\ng\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5,5\r\nhello\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT(heads); i++)
        refuse(c, span_str(heads[i]));
}

static void refuse_lone_lengths(struct corpus *c)
{
    static const char *const lengths[] = {
        "+5",  "-1",    "0x5", "5,5", "five", "99999999999999999999",
        "1e1", "5 5",   "5 ",  "5\t", "0x",   "",
        "5\r", "\"5\"", "5.0", "0b1", "-0",   "18446744073709551616"};
    char fields[256];
    for (size_t i = 0; i < COUNT(lengths); i++) {
        (void)snprintf(fields, sizeof fields, "Content-Length: %s", lengths[i]);
        refuse_fields(c, fields);
    }
}

static void refuse_versions(struct corpus *c)
{
    static const char *const versions[] = {
        "HTTP/1.2",  "HTTP/2.0", "HTTP/0.9",  "HTTP/1.1x", "http/1.1", "HTTP/01.1", "XTTP/1.1",
        "HTTP/1.",   "HTTP/",    "HTTP/1.10", "HTTP/11.1", "HTTP/1 1", "HTTP",      "1.1",
        "HTTP/1.1 ", "HTTP/3.0", "HTTP/1.3",  "HTTP/1.01", "HTTP/+1.1"};
    char head[256];
    for (size_t i = 0; i < COUNT(versions); i++) {
        (void)snprintf(head, sizeof head, "GET / %s\r\nHost: x\r\n\r\n", versions[i]);
        refuse(c, span_str(head));
    }
}

/* A line feed alone ends no line, wherever it stands; nor do two. */
static void refuse_bare_line_feeds(struct corpus *c)
{
    static const char *const heads[] = {
        "GET / HTTP/1.1\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\n",
        "GET / HTTP/1.1\nHost: x\n\n",
        "GET / HTTP/1.1\r\nHost: x\nX-Any: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\nX-Any: a\n\n",
        "GET / HTTP/1.1\r\nX-Any: a\nContent-Length: 5\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Any: a\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\n\nhello",
        "GET / HTTP/1.0\n\n",
    };
    for (size_t i = 0; i < COUNT(heads); i++)
        refuse(c, span_str(heads[i]));
}

static void refuse_odd_request_lines(struct corpus *c)
{
    static const char *const lines[] = {
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET   /   HTTP/1.1",
        " GET / HTTP/1.1",
        "\tGET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1\t",
        "GET\t/\tHTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET /",
        "GET",
        "GET ",
        "/ HTTP/1.1",
        "GET HTTP/1.1",
        "GET  HTTP/1.1",
        "GET / / HTTP/1.1",
        "GET /\x80 HTTP/1.1",
        "GET \\ HTTP/1.1",
        "GET ? HTTP/1.1",
        "GET http:/x HTTP/1.1",
        "GET HTTP://x/ HTTP/1.1",
        "GET *x HTTP/1.1",
        "GET:/ HTTP/1.1",
        "GET, / HTTP/1.1",
        "{} / HTTP/1.1",
        "\"GET\" / HTTP/1.1",
        "GET\v/ HTTP/1.1",
        "GET /\f HTTP/1.1",
        "GETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1",
        "PRI * HTTP/2.0",
    };
    char head[256];
    for (size_t i = 0; i < COUNT(lines); i++) {
        (void)snprintf(head, sizeof head, "%s\r\nHost: x\r\n\r\n", lines[i]);
        refuse(c, span_str(head));
    }
}

static void serve_sound_ones(struct corpus *c)
{
    static const char *const requests[] = {
        "GET http://x/abs?q HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nhOsT: [::1]:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Tab: a\tb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nX-More:    \r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Utf8: \xc3\xa9\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 005\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length:5\r\n\r\nhello",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /a?b=%00&c=%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",

        "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: Keep-Alive, x\r\n\r\n",
        "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello",
        "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD / HTTP/1.0\r\n\r\n",
        "DELETE /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        "PROPFIND /a HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: CLOSE\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: x, close , y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: closed\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, TE\r\nTE: trailers\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "
        "h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Any: a\r\nX-Any: b\r\nx-any: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Any:a\r\nX-Tabs:\t\ta\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Colons: a:b::c\r\n\r\n",
        "GET / HTTP/1.1\r\n!#$%&'*+-.^_`|~09azAZ: all\r\nHost: x\r\n\r\n",
        "GET /?a HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /?a?b&c=/d HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET //a/../b/./c%2f HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a+b;c=d,e:f@g!$&'()*~[]{}|^`\"<>\\ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET https://x:8443/abs HTTP/1.1\r\nHost: y\r\n\r\n",
        "GET http://x HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
        "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
        "POST / HTTP/1.1\r\nHost: x\r\nExpect: something\r\nContent-Length: 2\r\n\r\nok",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
        "chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nX-Trailer: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST /two HTTP/1.1\r\nHost: x\r\nContent-Length: "
        "2\r\n\r\nok",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\n\r\nGET /two HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok\r\nGET /two HTTP/1.1\r\nHost: "
        "x\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT(requests); i++)
        give(c, span_str(requests[i]), CORPUS_SERVED);
}

/* A sound request, and what comes behind it is not. */
static void refuse_behind_sound_ones(struct corpus *c)
{
    static const char *const first[] = {
        "GET /first HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    };
    static const char *const then[] = {
        "X\r\n",
        "hello world\r\n",
        "0\r\n\r\n",
        "\x16\x03\x01",
        "G(T / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Any : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nX-Any: a\r\n b\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT(first); i++) {
        for (size_t k = 0; k < COUNT(then); k++) {
            struct buf out = {0};
            buf_append_str(&out, first[i]);
            buf_append_str(&out, then[k]);
            give(c, buf_span(&out), CORPUS_SECOND_REFUSED);
            buf_free(&out);
        }
    }
}

static void give_sizes(struct corpus *c)
{
    for (int fields = 98; fields <= 102; fields++) {
        struct buf out = {0};
        buf_append_str(&out, "GET / HTTP/1.1\r\nHost: x\r\n");
        for (int i = 1; i < fields; i++)
            buf_printf(&out, "X-%d: a\r\n", i);
        buf_append_str(&out, "\r\n");
        give(c, buf_span(&out), fields <= 100 ? CORPUS_SERVED : CORPUS_REFUSED);
        buf_free(&out);
    }
    static const size_t values[] = {1000,  4096,  8192,  16384, 32000,
                                    32690, 32768, 33000, 40000, 70000};
    for (size_t i = 0; i < COUNT(values); i++) {
        struct buf out = {0};
        buf_append_str(&out, "GET / HTTP/1.1\r\nHost: x\r\nX-Big: ");
        for (size_t n = 0; n < values[i]; n++)
            buf_append_char(&out, 'a');
        buf_append_str(&out, "\r\n\r\n");
        give(c, buf_span(&out), values[i] < 32768 - 50 ? CORPUS_SERVED : CORPUS_REFUSED);
        buf_free(&out);
    }
    struct buf many = {0};
    buf_append_str(&many, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 1000; i++)
        buf_printf(&many, "X-%03d: a\r\n", i);
    buf_append_str(&many, "\r\n");
    give(c, buf_span(&many), CORPUS_REFUSED);
    buf_free(&many);
}

void corpus_each(corpus_fn fn, void *ctx)
{
    struct corpus c = {ctx, fn};
    refuse_lengths_beside_codings(&c);
    refuse_odd_codings(&c);
    refuse_odd_lengths(&c);
    refuse_odd_names(&c);
    refuse_control_bytes(&c);
    refuse_folded_lines(&c);
    refuse_whole(&c);
    refuse_lone_lengths(&c);
    refuse_versions(&c);
    refuse_bare_line_feeds(&c);
    refuse_odd_request_lines(&c);
    refuse_behind_sound_ones(&c);
    serve_sound_ones(&c);
    give_sizes(&c);
}
