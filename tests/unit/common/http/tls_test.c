#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "unit/common/http/test_server.h"

struct files {
    char dir[64], cert[96], key[96];
};

static void make_files(struct files *f)
{
    (void)snprintf(f->dir, sizeof f->dir, "/tmp/http_tls_XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->cert, sizeof f->cert, "%s/cert.pem", f->dir);
    (void)snprintf(f->key, sizeof f->key, "%s/key.pem", f->dir);
}

static void remove_files(struct files *f)
{
    unlink(f->cert);
    unlink(f->key);
    rmdir(f->dir);
}

/* A self-signed certificate with this serial number. */
static void write_certificate(const struct files *f, long serial)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509_set_pubkey(cert, key);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *out = fopen(f->cert, "w");
    assert_true(out && PEM_write_X509(out, cert));
    fclose(out);
    out = fopen(f->key, "w");
    assert_int_equal(chmod(f->key, 0600), 0);
    assert_true(out && PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL));
    fclose(out);
    X509_free(cert);
    EVP_PKEY_free(key);
}

struct tls_client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
};

static struct tls_client tls_open(struct test_server *t)
{
    struct tls_client c = {.fd = client_open(t), .ctx = SSL_CTX_new(TLS_client_method())};
    assert_int_equal(fcntl(c.fd, F_SETFL, O_NONBLOCK), 0);
    c.ssl = SSL_new(c.ctx);
    SSL_set_fd(c.ssl, c.fd);
    int done = 0;
    for (int i = 0; i < 3000 && (done = SSL_connect(c.ssl)) != 1; i++)
        test_turns(t, 1);
    assert_int_equal(done, 1);
    return c;
}

static long tls_serial(const struct tls_client *c)
{
    X509 *cert = SSL_get1_peer_certificate(c->ssl);
    long serial = ASN1_INTEGER_get(X509_get_serialNumber(cert));
    X509_free(cert);
    return serial;
}

static void tls_close(struct tls_client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    close(c->fd);
}

static void tls_read(struct tls_client *c, struct buf *into)
{
    char *to = buf_reserve(into, 65536);
    int n = SSL_read(c->ssl, to, 65536);
    if (n > 0)
        into->len += (size_t)n;
}

static void tls_expect(struct test_server *t, struct tls_client *c, struct buf *into,
                       const char *text)
{
    for (int i = 0; i < 3000 && !count_of(into, text); i++) {
        test_turns(t, 1);
        tls_read(c, into);
    }
    if (!count_of(into, text))
        fail_msg("expected '%s' in '%.*s'", text, SPAN_ARG(buf_span(into)));
}

static void tls_send(struct tls_client *c, const char *text)
{
    assert_int_equal(SSL_write(c->ssl, text, (int)strlen(text)), (int)strlen(text));
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void start(struct test_server *t, struct files *f, enum test_mode mode)
{
    make_files(f);
    write_certificate(f, 1);
    struct http_config config = test_config();
    config.tls_cert = f->cert;
    config.tls_key = f->key;
    t->mode = mode;
    test_server_start(t, &config);
}

static void a_key_that_everybody_may_read_is_refused(void **state)
{
    (void)state;
    struct files f;
    struct http_server *server = NULL;
    struct loop *loop;
    const struct http_handler handler = {.ctx = NULL};
    make_files(&f);
    write_certificate(&f, 1);
    struct http_config config = test_config();
    config.tls_cert = f.cert;
    config.tls_key = f.key;
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(chmod(f.key, 0644), 0);
    assert_int_equal(http_server_create(&server, loop, &config, &handler), ERR_INVALID);
    assert_int_equal(chmod(f.key, 0640), 0); /* a group of those who serve is fine */
    assert_int_equal(http_server_create(&server, loop, &config, &handler), OK);
    assert_int_equal(chmod(f.key, 0644), 0);
    assert_int_equal(http_server_reload_tls(server), ERR_INVALID);
    http_server_destroy(&server);
    loop_destroy(&loop);
    remove_files(&f);
}

/* One cipher of TLS 1.2 is all the client offers. */
static bool agrees_on(struct test_server *t, const char *cipher)
{
    struct tls_client c = {.fd = client_open(t), .ctx = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_security_level(c.ctx, 0);
    assert_int_equal(SSL_CTX_set_max_proto_version(c.ctx, TLS1_2_VERSION), 1);
    assert_int_equal(SSL_CTX_set_cipher_list(c.ctx, cipher), 1);
    assert_int_equal(fcntl(c.fd, F_SETFL, O_NONBLOCK), 0);
    c.ssl = SSL_new(c.ctx);
    SSL_set_fd(c.ssl, c.fd);
    int done = 0;
    for (int i = 0; i < 3000 && done != 1; i++) {
        done = SSL_connect(c.ssl);
        if (done != 1 && SSL_get_error(c.ssl, done) != SSL_ERROR_WANT_READ)
            break;
        test_turns(t, 1);
    }
    tls_close(&c);
    return done == 1;
}

static void ciphers_have_forward_secrecy_and_authenticate_what_they_carry(void **state)
{
    (void)state;
    static const char *const good[] = {"ECDHE-ECDSA-AES128-GCM-SHA256",
                                       "ECDHE-ECDSA-AES256-GCM-SHA384",
                                       "ECDHE-ECDSA-CHACHA20-POLY1305"};
    static const char *const bad[] = {"ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384",
                                      "ECDHE-ECDSA-AES128-CCM8", "AES128-GCM-SHA256", "AES128-SHA"};
    struct test_server t;
    struct files f;
    start(&t, &f, ANSWER_NOW);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(agrees_on(&t, good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(agrees_on(&t, bad[i]));
    test_server_stop(&t);
    remove_files(&f);
}

static void requests_are_answered_over_tls(void **state)
{
    (void)state;
    struct test_server t;
    struct files f;
    struct buf got = {0};
    start(&t, &f, ANSWER_NOW);
    struct tls_client c = tls_open(&t);
    for (unsigned i = 0; i < 3; i++) {
        buf_clear(&got);
        tls_send(&c, "POST /tls HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
        tls_expect(&t, &c, &got, "POST /tls 5");
        TURN_UNTIL(&t, t.done_sent == i + 1);
    }
    tls_close(&c);
    TURN_UNTIL(&t, http_server_stats(t.http).connections == 0);
    buf_free(&got);
    test_server_stop(&t);
    remove_files(&f);
}

static void streams_flow_over_tls_with_room_bounded(void **state)
{
    (void)state;
    struct test_server t;
    struct files f;
    struct buf got = {0};
    start(&t, &f, STREAM_NOW);
    struct tls_client c = tls_open(&t);
    tls_send(&c, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 1);
    tls_expect(&t, &c, &got, "Transfer-Encoding: chunked");
    assert_int_equal(http_stream_write(t.kept[0], SPAN("first")), OK);
    tls_expect(&t, &c, &got, "first");
    assert_int_equal(http_stream_write(t.kept[0], SPAN("second")), OK);
    tls_expect(&t, &c, &got, "second");
    static char block[1 << 20];
    memset(block, 'z', sizeof block);
    for (int i = 0; i < 4; i++)
        assert_int_equal(http_stream_write(t.kept[0], span_of(block, sizeof block)), OK);
    http_stream_end(t.kept[0]);
    tls_expect(&t, &c, &got, "\r\n0\r\n\r\n");
    size_t zs = 0;
    for (size_t i = 0; i < got.len; i++)
        zs += got.data[i] == 'z';
    assert_int_equal(zs, 4u << 20);
    TURN_UNTIL(&t, t.done_sent == 1);
    tls_close(&c);
    buf_free(&got);
    test_server_stop(&t);
    remove_files(&f);
}

static void a_held_upload_is_refused_over_tls(void **state)
{
    (void)state;
    struct test_server t;
    struct files f;
    struct buf got = {0};
    start(&t, &f, HOLD_HEAD);
    struct tls_client c = tls_open(&t);
    tls_send(&c, "POST /u HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    TURN_UNTIL(&t, t.held_count == 1);
    tls_send(&c, "some of it");
    test_turns(&t, 3);
    http_respond(t.held[0], 401, SPAN("who are you"));
    tls_expect(&t, &c, &got, "who are you");
    assert_int_equal(count_of(&got, "HTTP/1.1 401 "), 1);
    TURN_UNTIL(&t, t.done == 1);
    tls_close(&c);
    buf_free(&got);
    test_server_stop(&t);
    remove_files(&f);
}

static void a_departure_is_seen_over_tls(void **state)
{
    (void)state;
    struct test_server t;
    struct files f;
    start(&t, &f, ANSWER_LATER);
    struct tls_client c = tls_open(&t);
    tls_send(&c, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 1);
    tls_close(&c);
    TURN_UNTIL(&t, t.done == 1);
    assert_int_equal(t.gone, 1);
    test_server_stop(&t);
    remove_files(&f);
}

static void new_files_serve_new_connections_and_cut_none(void **state)
{
    (void)state;
    struct test_server t;
    struct files f;
    struct buf got = {0};
    start(&t, &f, STREAM_NOW);
    struct tls_client old = tls_open(&t);
    assert_int_equal(tls_serial(&old), 1);
    tls_send(&old, GET("/"));
    TURN_UNTIL(&t, t.kept_count == 1);

    FILE *out = fopen(f.cert, "w"); /* broken files change nothing */
    fputs("no certificate", out);
    fclose(out);
    assert_int_equal(http_server_reload_tls(t.http), ERR_INVALID);
    struct tls_client between = tls_open(&t);
    assert_int_equal(tls_serial(&between), 1);

    write_certificate(&f, 2);
    assert_int_equal(http_server_reload_tls(t.http), OK);
    struct tls_client new = tls_open(&t);
    assert_int_equal(tls_serial(&new), 2);
    assert_int_equal(http_stream_write(t.kept[0], SPAN("still here")), OK);
    tls_expect(&t, &old, &got, "still here");
    http_stream_end(t.kept[0]);
    tls_expect(&t, &old, &got, "\r\n0\r\n\r\n");
    TURN_UNTIL(&t, t.done_sent == 1);
    tls_send(&old, GET("/again"));
    TURN_UNTIL(&t, t.kept_count == 2);
    tls_close(&old);
    tls_close(&between);
    TURN_UNTIL(&t, http_server_stats(t.http).connections == 1);
    tls_close(&new);
    buf_free(&got);
    test_server_stop(&t);
    remove_files(&f);
}

static void a_head_that_never_comes_over_tls_ends(void **state)
{
    (void)state;
    struct test_server t;
    struct files f;
    struct buf got = {0};
    start(&t, &f, ANSWER_NOW);
    int silent = client_open(&t);
    struct tls_client slow = tls_open(&t);
    tls_send(&slow, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow");
    test_turns(&t, 3);
    test_pass(&t, 11000);
    client_expect_close(&t, silent, &got);
    client_expect_close(&t, slow.fd, &got);
    TURN_UNTIL(&t, http_server_stats(t.http).connections == 0);
    close(silent);
    tls_close(&slow);
    buf_free(&got);
    test_server_stop(&t);
    remove_files(&f);
}

static void bad_files_are_refused_at_start(void **state)
{
    (void)state;
    struct files f;
    make_files(&f);
    struct http_config config = test_config();
    const struct http_handler handler = {0};
    struct loop *loop;
    struct http_server *server;
    config.tls_cert = f.cert;
    config.tls_key = f.key;
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(http_server_create(&server, loop, &config, &handler), ERR_INVALID);
    config.tls_key = "";
    assert_int_equal(http_server_create(&server, loop, &config, &handler), ERR_INVALID);
    loop_destroy(&loop);
    remove_files(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_that_everybody_may_read_is_refused),
        cmocka_unit_test(ciphers_have_forward_secrecy_and_authenticate_what_they_carry),
        cmocka_unit_test(requests_are_answered_over_tls),
        cmocka_unit_test(streams_flow_over_tls_with_room_bounded),
        cmocka_unit_test(a_held_upload_is_refused_over_tls),
        cmocka_unit_test(a_departure_is_seen_over_tls),
        cmocka_unit_test(new_files_serve_new_connections_and_cut_none),
        cmocka_unit_test(a_head_that_never_comes_over_tls_ends),
        cmocka_unit_test(bad_files_are_refused_at_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
