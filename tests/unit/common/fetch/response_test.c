/* Each response is read whole, byte by byte and cut short everywhere; what is heard must not depend
 * on the pieces it came in. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/fetch/response.h"

struct heard {
    enum response_event last;
    unsigned status;
    bool closes;
    char fields[256]; /* "name=value;" */
    struct buf body;
    size_t used;
};

static void note_head(struct heard *h, const struct fetch_head *head)
{
    size_t n = 0;
    h->status = head->status;
    h->fields[0] = '\0';
    for (size_t i = 0; i < head->count && n < sizeof h->fields; i++)
        n += (size_t)snprintf(h->fields + n, sizeof h->fields - n, "%.*s=%.*s;",
                              SPAN_ARG(head->fields[i].name), SPAN_ARG(head->fields[i].value));
}

/* One piece. false: it is over. */
static bool feed(struct fetch_response *r, struct heard *h, struct span piece)
{
    static struct fetch_head head;
    size_t before = piece.len;
    for (;;) {
        struct span body = SPAN_NONE;
        h->last = fetch_response_next(r, &piece, &head, &body);
        if (h->last == RESPONSE_HEAD)
            note_head(h, &head);
        else if (h->last == RESPONSE_BODY)
            buf_append(&h->body, body);
        else
            break;
    }
    h->used += before - piece.len;
    h->closes = r->closes;
    return h->last == RESPONSE_MORE;
}

/* In pieces of `size` bytes, each in memory of its own, so that a sanitizer sees who looks past
 * one. */
static struct heard read_in_pieces(struct span text, size_t size, bool bodiless, bool ends)
{
    struct fetch_response r = {0};
    struct heard h = {0};
    fetch_response_begin(&r, bodiless);
    bool more = true;
    while (more && text.len) {
        struct span piece = span_first(text, size);
        char *own = malloc(piece.len);
        memcpy(own, piece.data, piece.len);
        more = feed(&r, &h, span_of(own, piece.len));
        free(own);
        text = span_skip(text, piece.len);
    }
    if (more && ends)
        h.last = fetch_response_may_end(&r) ? RESPONSE_END : RESPONSE_FAULT;
    fetch_response_free(&r);
    return h;
}

struct good {
    const char *text;
    unsigned status;
    const char *fields, *body;
    bool closes;
    size_t left_over;
    bool bodiless;
};

#define OK11 "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK11 "Transfer-Encoding: chunked\r\n\r\n"
#define CHUNKS "Transfer-Encoding=chunked;"

static const struct good good[] = {
    {OK11 "Content-Length: 2\r\n\r\nhi", 200, "Content-Length=2;", "hi", false, 0, false},
    {OK11 "content-length:\t2 \r\nX: a:b\r\n\r\nhi", 200, "content-length=2;X=a:b;", "hi", false, 0,
     false},
    {OK11 "Content-Length: 2\r\n\r\nhi!", 200, "Content-Length=2;", "hi", false, 1, false},
    {OK11 "Content-Length: 0\r\n\r\n", 200, "Content-Length=0;", "", false, 0, false},
    {OK11 "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 200,
     "Content-Length=2;Content-Length=2;", "hi", false, 0, false},
    {OK11 "Content-Length: 2, 2\r\n\r\nhi", 200, "Content-Length=2, 2;", "hi", false, 0, false},
    {"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n!", 200, "Content-Length=1;", "!", false, 0, false},
    {"HTTP/1.1 200 \nContent-Length: 1\n\n!", 200, "Content-Length=1;", "!", false, 0, false},
    {"HTTP/1.7 404 Who knows\r\nContent-Length: 1\r\n\r\n!", 404, "Content-Length=1;", "!", false,
     0, false},
    {OK11 "Connection: x, Close\r\nContent-Length: 0\r\n\r\n", 200,
     "Connection=x, Close;Content-Length=0;", "", true, 0, false},
    {OK11 "\r\nto the end", 200, "", "to the end", true, 0, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "Content-Length=2;", "hi", true, 0,
     false},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", 200,
     "Connection=keep-alive;Content-Length=2;", "hi", false, 0, false},
    {"HTTP/1.1 204 No\r\n\r\n", 204, "", "", false, 0, false},
    {"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi", 204, "Content-Length=2;", "", true, 2,
     false},
    {"HTTP/1.1 304 Same\r\nContent-Length: 99\r\n\r\n", 304, "Content-Length=99;", "", false, 0,
     false},
    {OK11 "Content-Length: 99\r\n\r\n", 200, "Content-Length=99;", "", false, 0, true},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" OK11
     "Content-Length: 2\r\n\r\nhi",
     200, "Content-Length=2;", "hi", false, 0, false},
    {CHUNKED "2\r\nhi\r\n0\r\n\r\n", 200, CHUNKS, "hi", false, 0, false},
    {CHUNKED "00002 \r\nhi\r\nA;x=\"y\";z\r\n0123456789\r\n0;last\r\n\r\n", 200, CHUNKS,
     "hi0123456789", false, 0, false},
    {CHUNKED "1\r\n!\r\n0\r\nA: b\r\nC: d\n\r\nHTTP", 200, CHUNKS, "!", false, 4, false},
    {CHUNKED "0\r\n\r\n", 200, CHUNKS, "", false, 0, false},
};

static void assert_good(const struct good *g, size_t size)
{
    struct heard h = read_in_pieces(span_str(g->text), size, g->bodiless, true);
    bool right = h.last == RESPONSE_END && h.status == g->status &&
                 strcmp(h.fields, g->fields) == 0 && span_is(buf_span(&h.body), g->body) &&
                 h.closes == g->closes && strlen(g->text) - h.used == g->left_over;
    if (!right)
        fail_msg("%s\nin pieces of %zu: event %d, status %u, fields %s, body %.*s, closes %d",
                 g->text, size, h.last, h.status, h.fields, (int)h.body.len, h.body.data, h.closes);
    buf_free(&h.body);
}

static void good_responses_are_read_the_same_in_any_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        for (size_t size = 1; size < 8; size++)
            assert_good(&good[i], size);
        assert_good(&good[i], strlen(good[i].text));
    }
}

static void a_response_cut_short_is_not_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct span text = span_str(good[i].text);
        size_t head = span_find_span(text, SPAN("\r\n\r\n")) + 4;
        bool by_close = strstr(good[i].text, "to the end") != NULL;
        for (size_t n = 0; n + good[i].left_over < text.len; n++) {
            struct heard h = read_in_pieces(span_first(text, n), n ? n : 1, good[i].bodiless, true);
            if (n == 0)
                assert_int_equal(h.last, RESPONSE_FAULT);
            else
                assert_int_equal(h.last == RESPONSE_END, by_close && n >= head);
            buf_free(&h.body);
        }
    }
}

static const char *const bad[] = {
    "SSH-2.0-OpenSSH_9.2\r\n",
    "hello",
    "\r\n" OK11 "\r\n",
    "http/1.1 200 OK\r\n\r\n",
    "HTTP/2 200\r\n\r\n",
    "HTTP/0.9 200 OK\r\n\r\n",
    "HTTP/1.1  200 OK\r\n\r\n",
    "HTTP/1.1 20 OK\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    "HTTP/1.1 099 OK\r\n\r\n",
    "HTTP/1.1 200\tOK\r\n\r\n",
    "HTTP/1.1 101 Switching\r\n\r\n",
    OK11 "no colon\r\n\r\n",
    OK11 ": no name\r\n\r\n",
    OK11 "Content-Length : 2\r\n\r\nhi",
    OK11 "A: b\r\n folded\r\n\r\n",
    OK11 "A: b\rC: d\r\n\r\n",
    OK11 "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
    OK11 "Content-Length: 2, 3\r\n\r\nhi",
    OK11 "Content-Length: 2,\r\n\r\nhi",
    OK11 "Content-Length: \r\n\r\nhi",
    OK11 "Content-Length: +2\r\n\r\nhi",
    OK11 "Content-Length: -2\r\n\r\nhi",
    OK11 "Content-Length: 0x2\r\n\r\nhi",
    OK11 "Content-Length: 99999999999999999999\r\n\r\nhi",
    OK11 "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    OK11 "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    OK11 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    OK11 "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    OK11 "Transfer-Encoding: identity\r\n\r\nhi",
    OK11 "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    CHUNKED "\r\n",
    CHUNKED "x\r\n",
    CHUNKED ";x\r\n",
    CHUNKED "-1\r\n!",
    CHUNKED "0x1\r\n!",
    CHUNKED "1\n!",
    CHUNKED "1;a\nb\r\n!",
    CHUNKED "1\rx!",
    CHUNKED "1\r\n!!\r\n",
    CHUNKED "1\r\n!\n0\r\n\r\n",
    CHUNKED "1\r\n!\rx",
    CHUNKED "1000000000000000\r\n!",
    CHUNKED "0\r\nA: b\rc\r\n\r\n",
};

static void what_is_not_http_is_refused_in_any_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct span text = span_str(bad[i]);
        for (size_t size = 1; size <= text.len; size += size < 8 ? 1 : text.len - size + 1) {
            struct heard h = read_in_pieces(text, size, false, false);
            if (h.last != RESPONSE_FAULT)
                fail_msg("%s\nis taken in pieces of %zu", bad[i], size);
            buf_free(&h.body);
            if (size == text.len)
                break;
        }
    }
    struct heard h = read_in_pieces(SPAN(OK11 "A: b\0c\r\n\r\n"), 100, false, false);
    assert_int_equal(h.last, RESPONSE_FAULT);
}

/* What may be sent without end is refused at its bound. `unit` is repeated behind `begin`. */
static void assert_bounded(const char *begin, const char *unit, size_t most)
{
    struct buf text = {0};
    buf_append_str(&text, begin);
    while (text.len < most)
        buf_append_str(&text, unit);
    buf_append_str(&text, "\r\n"); /* so that a head ends */
    for (size_t size = 1; size <= 4096; size *= 64) {
        struct heard h = read_in_pieces(buf_span(&text), size, false, false);
        assert_int_equal(h.last, RESPONSE_FAULT);
        assert_int_equal(h.body.len, 0);
    }
    buf_free(&text);
}

static void everything_kept_is_bounded(void **state)
{
    (void)state;
    assert_bounded(OK11, "a: b\r\n", RESPONSE_MAX_FIELDS * 6 + 100 + 16);
    assert_bounded(OK11 "a: ", "b", RESPONSE_MAX_HEAD + 4096);
    assert_bounded("HTTP/1.1 200 ", "b", RESPONSE_MAX_HEAD + 4096);
    assert_bounded("", "HTTP/1.1 102 Wait\r\n\r\n", (RESPONSE_MAX_INTERIM + 2) * 21);
    assert_bounded(CHUNKED "1;", "x", RESPONSE_MAX_EXTENSION + 100);
    assert_bounded(CHUNKED "", "0", 200);
    assert_bounded(CHUNKED "0\r\n", "a: b\r\n", RESPONSE_MAX_TRAILER + 100);
}

static void the_most_that_is_allowed_is_taken(void **state)
{
    struct buf text = {0};
    (void)state;
    buf_append_str(&text, OK11 "Content-Length: 1\r\n");
    for (int i = 1; i < RESPONSE_MAX_FIELDS; i++)
        buf_append_str(&text, "a: b\r\n");
    buf_append_str(&text, "\r\n!");
    for (size_t size = 1; size <= 4096; size *= 64) {
        struct heard h = read_in_pieces(buf_span(&text), size, false, false);
        assert_int_equal(h.last, RESPONSE_END);
        assert_int_equal(h.body.len, 1);
        buf_free(&h.body);
    }
    buf_free(&text);
}

static void a_head_may_be_kept_until_its_body_comes(void **state)
{
    static struct fetch_head head;
    (void)state;
    for (int dripped = 0; dripped < 2; dripped++) {
        struct fetch_response r = {0};
        struct span in = SPAN(OK11 "A: b\r\nContent-Length: 1\r\n\r\n"), body;
        fetch_response_begin(&r, false);
        if (dripped) {
            struct span first = span_first(in, 9);
            assert_int_equal(fetch_response_next(&r, &first, &head, &body), RESPONSE_MORE);
            in = span_skip(in, 9);
        }
        assert_int_equal(fetch_response_next(&r, &in, &head, &body), RESPONSE_HEAD);
        assert_int_equal(fetch_response_keep_head(&r, &head), OK);
        memset(&head, 0, sizeof head);
        fetch_response_kept_head(&r, &head);
        assert_int_equal(head.status, 200);
        assert_true(span_is(fetch_head_get(&head, "a"), "b"));
        assert_int_equal(fetch_head_get(&head, "c").len, 0);
        fetch_response_drop_head(&r);
        in = SPAN("!");
        assert_int_equal(fetch_response_next(&r, &in, &head, &body), RESPONSE_BODY);
        assert_int_equal(fetch_response_next(&r, &in, &head, &body), RESPONSE_END);
        fetch_response_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_responses_are_read_the_same_in_any_pieces),
        cmocka_unit_test(a_response_cut_short_is_not_whole),
        cmocka_unit_test(what_is_not_http_is_refused_in_any_pieces),
        cmocka_unit_test(everything_kept_is_bounded),
        cmocka_unit_test(the_most_that_is_allowed_is_taken),
        cmocka_unit_test(a_head_may_be_kept_until_its_body_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
