#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/fetch/request_head.h"

struct target_case {
    const char *base, *path, *url;
    const char *line, *host; /* NULL = it is left to libcurl */
};

static const struct target_case targets[] = {
    {"https://api.openai.com/v1", "/x", "", "GET /v1/x HTTP/1.1\r\n", "Host: api.openai.com\r\n"},
    {"https://api.openai.com:443/v1", "/x", "", "GET /v1/x HTTP/1.1\r\n",
     "Host: api.openai.com\r\n"},
    {"https://api.openai.com:80/v1", "/x", "", "GET /v1/x HTTP/1.1\r\n",
     "Host: api.openai.com:80\r\n"},
    {"http://h:80", "/x", "", "GET /x HTTP/1.1\r\n", "Host: h\r\n"},
    {"http://[::1]:8080/v1", "/x?y=%20", "", "GET /v1/x?y=%20 HTTP/1.1\r\n",
     "Host: [::1]:8080\r\n"},
    {"http://h:", "", "", "GET / HTTP/1.1\r\n", "Host: h\r\n"},
    {"http://h", "?y=z", "", "GET /?y=z HTTP/1.1\r\n", "Host: h\r\n"},
    {"http://h/v1", "/x", "http://other:81?y=z", "GET /?y=z HTTP/1.1\r\n", "Host: other:81\r\n"},
    {"http://h/v1", "/../x", "", NULL, NULL},
    {"http://h/v1", "/a b", "", NULL, NULL},
    {"http://h/v1", "/a\r\nb", "", NULL, NULL},
    {"http://h/v1", "/a#b", "", NULL, NULL},
    {"http://h/v1", "/\xc3\xa9", "", NULL, NULL},
    {"http://[fe80::1%25eth0]/v1", "/x", "", NULL, NULL},
};

static void a_target_and_its_host_are_written_or_left_to_libcurl(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        const struct target_case *t = &targets[i];
        struct fetch_origin_spec o = {.base_url = span_str(t->base), .private_network = true};
        struct fetch_spec spec = {
            .method = "GET", .path = span_str(t->path), .url = span_str(t->url)};
        struct request_target target;
        struct buf out = {0};
        assert_int_equal(fetch_origin_create(&o, &spec.origin), OK);
        assert_int_equal(request_target_of(&spec, &target), t->line != NULL);
        if (t->line) {
            request_head_write(&out, &spec, &target);
            if (!span_starts(buf_span(&out), t->line) ||
                span_find_span(buf_span(&out), span_str(t->host)) == out.len)
                fail_msg("%s %s: %.*s", t->base, t->path, (int)out.len, out.data);
            assert_true(span_ends(buf_span(&out), "\r\n\r\n"));
        }
        buf_free(&out);
        fetch_origin_destroy(&spec.origin);
    }
}

static void a_query_of_the_origin_stands_behind_every_path_and_no_whole_url(void **state)
{
    static const struct {
        const char *path, *url, *line;
    } cases[] = {{"/x", "", "GET /d/x?v=1&w=%20 HTTP/1.1\r\n"},
                 {"/x?y=z", "", "GET /d/x?y=z&v=1&w=%20 HTTP/1.1\r\n"},
                 {"", "http://h/other", "GET /other HTTP/1.1\r\n"}};
    struct fetch_origin_spec o = {
        .base_url = SPAN("http://h/d"), .query = SPAN("v=1&w=%20"), .private_network = true};
    struct fetch_spec spec = {.method = "GET"};
    (void)state;
    assert_int_equal(fetch_origin_create(&o, &spec.origin), OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request_target target;
        struct buf out = {0};
        spec.path = span_str(cases[i].path);
        spec.url = span_str(cases[i].url);
        assert_true(request_target_of(&spec, &target));
        request_head_write(&out, &spec, &target);
        assert_true(span_starts(buf_span(&out), cases[i].line));
        buf_free(&out);
    }
    fetch_origin_destroy(&spec.origin);
    o.query = SPAN("a b");
    assert_int_equal(fetch_origin_create(&o, &spec.origin), ERR_INVALID);
}

static void a_configured_field_stands_instead_of_the_key(void **state)
{
    struct span defaults[] = {SPAN("authorization: Basic abc")};
    struct secret *key;
    struct request_target target;
    struct buf out = {0};
    struct fetch_spec spec = {.method = "GET", .path = SPAN("/x")};
    (void)state;
    assert_int_equal(secret_create(SPAN("Authorization: Bearer "), SPAN("k"), &key), OK);
    struct fetch_origin_spec o = {.base_url = SPAN("http://h"),
                                  .key_header = key,
                                  .default_headers = defaults,
                                  .default_header_count = 1,
                                  .private_network = true};
    assert_int_equal(fetch_origin_create(&o, &spec.origin), OK);
    assert_true(request_target_of(&spec, &target));
    request_head_write(&out, &spec, &target);
    assert_true(span_find_span(buf_span(&out), SPAN("authorization: Basic abc\r\n")) < out.len);
    assert_int_equal(span_find_span(buf_span(&out), SPAN("Bearer")), out.len);
    buf_free(&out);
    fetch_origin_destroy(&spec.origin);
    secret_destroy(&key);
}

/* The framing is ours, whatever is configured. */
static void fields_of_the_framing_are_left_out_and_a_host_replaces_ours(void **state)
{
    struct span defaults[] = {SPAN("Transfer-Encoding: chunked"), SPAN("Expect: 100-continue"),
                              SPAN("Host: tenant.example"), SPAN("X-Team: ml")};
    struct fetch_origin_spec o = {.base_url = SPAN("http://h/v1"),
                                  .default_headers = defaults,
                                  .default_header_count = 4,
                                  .private_network = true};
    struct fetch_spec spec = {.method = "POST",
                              .path = SPAN("/x"),
                              .headers =
                                  SPAN("content-length: 7\nconnection: close\nx-team: own\n"),
                              .body = SPAN("{}")};
    struct request_target target;
    struct buf out = {0};
    (void)state;
    assert_int_equal(fetch_origin_create(&o, &spec.origin), OK);
    assert_true(request_target_of(&spec, &target));
    request_head_write(&out, &spec, &target);
    buf_append_char(&out, '\0');
    assert_string_equal(out.data, "POST /v1/x HTTP/1.1\r\nHost: tenant.example\r\n"
                                  "Accept: application/json\r\nContent-Type: application/json\r\n"
                                  "x-team: own\r\nUser-Agent: tollgate/" TOLLGATE_VERSION
                                  "\r\nAccept-Encoding: identity\r\nContent-Length: 2\r\n\r\n");
    buf_free(&out);
    fetch_origin_destroy(&spec.origin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_and_its_host_are_written_or_left_to_libcurl),
        cmocka_unit_test(a_query_of_the_origin_stands_behind_every_path_and_no_whole_url),
        cmocka_unit_test(a_configured_field_stands_instead_of_the_key),
        cmocka_unit_test(fields_of_the_framing_are_left_out_and_a_host_replaces_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
