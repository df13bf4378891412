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
        cmocka_unit_test(fields_of_the_framing_are_left_out_and_a_host_replaces_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
