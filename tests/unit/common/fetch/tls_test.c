/* Our own HTTP/1.1 client under TLS, which libcurl keeps: decrypted bytes may wait on a quiet
 * socket, and what could not be sent must be given again as it was. */
#include "unit/common/fetch/test_world.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proto/error_class.h"

struct tls_world {
    struct world *w;
    SSL_CTX *ctx;
    char ca[64];
};

/* A self-signed certificate for 127.0.0.1, trusted by way of a file. */
static void make_certificate(struct tls_world *t)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    (void)X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"upstream", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(cert, names, -1);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    (void)snprintf(t->ca, sizeof t->ca, "/tmp/fetch_tls_XXXXXX");
    int fd = mkstemp(t->ca);
    FILE *out = fdopen(fd, "w");
    assert_true(out && PEM_write_X509(out, cert));
    (void)fclose(out);
    t->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(t->ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(t->ctx, key), 1);
    X509_EXTENSION_free(names);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static struct fetch_origin *make_origin(const struct tls_world *t, const char *ca)
{
    char base[64];
    struct fetch_origin *o = NULL;
    (void)snprintf(base, sizeof base, "https://127.0.0.1:%u/v1", t->w->server.port);
    struct fetch_origin_spec spec = {.base_url = span_str(base),
                                     .key_header = t->w->key,
                                     .ca_file = ca,
                                     .private_network = true};
    assert_int_equal(fetch_origin_create(&spec, &o), OK);
    return o;
}

static int set_up(void **state)
{
    struct tls_world *t = calloc(1, sizeof *t);
    void *w = NULL;
    (void)world_set_up(&w);
    t->w = w;
    make_certificate(t);
    fetch_origin_destroy(&t->w->origin);
    t->w->origin = make_origin(t, t->ca);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct tls_world *t = *state;
    void *w = t->w;
    (void)world_tear_down(&w);
    SSL_CTX_free(t->ctx);
    (void)unlink(t->ca);
    free(t);
    return 0;
}

/* ---- the upstream's side ---- */

static SSL *accept_tls(struct tls_world *t)
{
    SSL *ssl = SSL_new(t->ctx);
    assert_int_equal(SSL_set_fd(ssl, test_accept(&t->w->server)), 1);
    int done = 0;
    for (int i = 0; i < TEST_PATIENCE && (done = SSL_accept(ssl)) != 1; i++)
        test_turn(&t->w->server);
    assert_int_equal(done, 1);
    return ssl;
}

static void close_tls(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    (void)close(fd);
}

static void say(SSL *ssl, const char *text)
{
    assert_int_equal(SSL_write(ssl, text, (int)strlen(text)), (int)strlen(text));
}

static void read_until(struct tls_world *t, SSL *ssl, struct buf *seen, const char *until)
{
    for (int i = 0; i < 10000; i++) {
        char *at = buf_reserve(seen, 16384);
        int n = SSL_read(ssl, at, 16384);
        seen->len += n > 0 ? (size_t)n : 0;
        size_t look = seen->len < 32768 ? 0 : seen->len - 32768;
        if (span_find_span(span_skip(buf_span(seen), look), span_str(until)) < seen->len - look)
            return;
        test_turn(&t->w->server);
    }
    fail_msg("%s did not come", until);
}

/* The request is sent and read; on `ssl`, or on a new connection for NULL. */
static SSL *ask(struct tls_world *t, struct heard *h, SSL *ssl)
{
    struct buf seen = {0};
    world_start(t->w, h, world_post(t->w, h, "{\"n\":1}"));
    if (!ssl)
        ssl = accept_tls(t);
    read_until(t, ssl, &seen, "{\"n\":1}");
    assert_true(span_find_span(buf_span(&seen), SPAN("Bearer sk-test\r\n")) < seen.len);
    buf_free(&seen);
    return ssl;
}

static void answer(struct tls_world *t, SSL *ssl, struct heard *h, const char *body)
{
    char text[128];
    (void)snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                   strlen(body), body);
    say(ssl, text);
    world_until_over(t->w, h);
    assert_int_equal(h->ends, 1);
    assert_true(span_is(buf_span(&h->body), body));
    buf_free(&h->body);
}

static bool hung_up(struct tls_world *t, SSL *ssl)
{
    char c[512];
    for (int i = 0; i < TEST_PATIENCE; i++) {
        int n = SSL_read(ssl, c, sizeof c), why = SSL_get_error(ssl, n);
        if (n <= 0 && why != SSL_ERROR_WANT_READ)
            return true;
        test_turn(&t->w->server);
    }
    return false;
}

/* ---- tests ---- */

static void a_connection_is_used_again(void **state)
{
    struct tls_world *t = *state;
    struct heard h[3] = {{0}};
    SSL *ssl = ask(t, &h[0], NULL);
    answer(t, ssl, &h[0], "first");
    for (int i = 1; i < 3; i++) {
        test_turn(&t->w->server);
        (void)ask(t, &h[i], ssl);
        answer(t, ssl, &h[i], "again");
    }
    assert_true(test_nobody_asks(&t->w->server));
    close_tls(ssl);
}

static void an_idle_connection_that_closes_is_closed_at_once(void **state)
{
    struct tls_world *t = *state;
    struct heard h = {0}, next = {0};
    SSL *ssl = ask(t, &h, NULL);
    answer(t, ssl, &h, "first");
    (void)SSL_shutdown(ssl);
    assert_true(hung_up(t, ssl));
    close_tls(ssl);
    ssl = ask(t, &next, NULL);
    answer(t, ssl, &next, "fresh");
    close_tls(ssl);
}

/* They are there already when the answer before them is read, and the socket stays quiet. */
static void bytes_behind_an_answer_are_nobodys(void **state)
{
    struct tls_world *t = *state;
    struct heard h = {0}, next = {0};
    SSL *ssl = ask(t, &h, NULL);
    say(ssl, TEST_OK_JSON);
    say(ssl, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nothers");
    world_until_over(t->w, &h);
    assert_int_equal(h.ends, 1);
    buf_free(&h.body);
    SSL *fresh = ask(t, &next, NULL);
    answer(t, fresh, &next, "its own");
    assert_true(hung_up(t, ssl));
    close_tls(ssl);
    close_tls(fresh);
}

static void a_large_request_arrives_whole_however_slowly_it_is_read(void **state)
{
    enum { LARGE = 12 << 20 };
    struct tls_world *t = *state;
    char *large = malloc(LARGE + 1);
    struct heard h = {0};
    struct buf seen = {0};
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)('a' + i % 23);
    memcpy(large + LARGE - 4, "END", 4);
    world_start(t->w, &h, world_post(t->w, &h, large));
    SSL *ssl = accept_tls(t);
    for (int i = 0; i < 20; i++) /* nobody reads: it must wait */
        test_turn(&t->w->server);
    read_until(t, ssl, &seen, "END");
    assert_true(seen.len > LARGE - 1);
    assert_memory_equal(seen.data + seen.len - (LARGE - 1), large, LARGE - 1);
    answer(t, ssl, &h, "all");
    buf_free(&seen);
    free(large);
    close_tls(ssl);
}

static void what_is_decrypted_is_read_when_a_pause_ends(void **state)
{
    struct tls_world *t = *state;
    struct heard h = {0};
    char record[10001];
    memset(record, 'x', 10000);
    record[10000] = '\0';
    SSL *ssl = ask(t, &h, NULL);
    say(ssl,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 30001\r\n\r\n!");
    world_until_body(t->w, &h, 1);
    fetch_pause(h.request);
    for (int i = 0; i < 3; i++)
        say(ssl, record);
    for (int i = 0; i < 10; i++)
        test_turn(&t->w->server);
    assert_int_equal(h.body.len, 1);
    fetch_resume(h.request);
    world_until_over(t->w, &h);
    assert_int_equal(h.ends, 1);
    assert_int_equal(h.body.len, 30001);
    buf_free(&h.body);
    close_tls(ssl);
}

/* More than one turn reads, and more than one record is there. */
static void a_large_answer_is_read_to_its_end(void **state)
{
    enum { RECORDS = 200, SIZE = 16000 };
    struct tls_world *t = *state;
    struct heard h = {0};
    static char record[SIZE];
    SSL *ssl = ask(t, &h, NULL);
    say(ssl,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 3200000\r\n\r\n");
    for (int i = 0; i < RECORDS;) {
        if (SSL_write(ssl, record, SIZE) == SIZE)
            i++;
        else
            test_turn(&t->w->server);
    }
    world_until_over(t->w, &h);
    assert_int_equal(h.ends, 1);
    assert_int_equal(h.body.len, (size_t)RECORDS * SIZE);
    buf_free(&h.body);
    close_tls(ssl);
}

/* Whether one without a length may end without close_notify, libcurl decides. */
static void a_body_of_known_length_that_is_cut_short_is_no_whole_one(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\n\r\nto the end",
        "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nto the end",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nto the end\r\n",
    };
    struct tls_world *t = *state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct heard h = {0};
        SSL *ssl = ask(t, &h, NULL);
        say(ssl, answers[i]);
        world_until_body(t->w, &h, 10);
        (void)SSL_shutdown(ssl);
        close_tls(ssl);
        world_until_over(t->w, &h);
        if (i == 0)
            assert_int_equal(h.ends, 1);
        else
            world_assert_failed(&h, ERROR_UPSTREAM_CLOSED, true);
        buf_free(&h.body);
    }
}

static void an_unknown_certificate_is_refused_and_nothing_was_sent(void **state)
{
    struct tls_world *t = *state;
    struct heard h = {0};
    struct fetch_origin *o = make_origin(t, NULL);
    struct fetch_spec spec = world_post(t->w, &h, "{}");
    spec.origin = o;
    world_start(t->w, &h, spec);
    SSL *ssl = SSL_new(t->ctx);
    (void)SSL_set_fd(ssl, test_accept(&t->w->server));
    for (int i = 0; i < TEST_PATIENCE && h.failures == 0; i++) {
        (void)SSL_accept(ssl);
        test_turn(&t->w->server);
    }
    world_assert_failed(&h, ERROR_UPSTREAM_TLS, false);
    fetch_origin_destroy(&o);
    close_tls(ssl);
}

/* More than libcurl keeps in one multi, in any order of their ends. */
static void many_at_once_are_each_their_own(void **state)
{
    enum { MANY = 70 };
    struct tls_world *t = *state;
    struct heard *h = calloc(MANY, sizeof *h);
    SSL *ssl[MANY];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            h[i] = (struct heard){0};
            if (round == 0)
                ssl[i] = ask(t, &h[i], NULL);
            else
                world_start(t->w, &h[i], world_post(t->w, &h[i], "{\"n\":1}"));
        }
        for (int i = 0; i < MANY; i++) {
            char body[16];
            int at = i * 37 % MANY;
            (void)snprintf(body, sizeof body, "answer %d", at);
            if (round == 0)
                answer(t, ssl[at], &h[at], body);
            else
                fetch_cancel(&h[at].request);
        }
    }
    assert_int_equal(fetch_running(t->w->up), 0);
    for (int i = 0; i < MANY; i++)
        close_tls(ssl[i]);
    free(h);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_connection_is_used_again),
        CASE(an_idle_connection_that_closes_is_closed_at_once),
        CASE(bytes_behind_an_answer_are_nobodys),
        CASE(a_large_request_arrives_whole_however_slowly_it_is_read),
        CASE(what_is_decrypted_is_read_when_a_pause_ends),
        CASE(a_large_answer_is_read_to_its_end),
        CASE(a_body_of_known_length_that_is_cut_short_is_no_whole_one),
        CASE(an_unknown_certificate_is_refused_and_nothing_was_sent),
        CASE(many_at_once_are_each_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
