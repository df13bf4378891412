#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "common/fetch/failure.h"

static void failures_have_the_class_that_says_what_may_be_retried(void **state)
{
    static const struct {
        CURLcode code;
        bool sent, headed;
        long os_errno;
        unsigned error_class;
    } cases[] = {
        {CURLE_COULDNT_RESOLVE_HOST, false, false, 0, ERROR_UPSTREAM_UNREACHABLE},
        {CURLE_COULDNT_CONNECT, false, false, ECONNREFUSED, ERROR_UPSTREAM_UNREACHABLE},
        {CURLE_OPERATION_TIMEDOUT, false, false, 0, ERROR_UPSTREAM_CONNECT_TIMEOUT},
        {CURLE_OPERATION_TIMEDOUT, true, false, 0, ERROR_UPSTREAM_TIMEOUT},
        {CURLE_PEER_FAILED_VERIFICATION, false, false, 0, ERROR_UPSTREAM_TLS},
        {CURLE_SSL_CONNECT_ERROR, false, false, 0, ERROR_UPSTREAM_TLS},
        {CURLE_SSL_CONNECT_ERROR, false, false, ECONNRESET, ERROR_UPSTREAM_UNREACHABLE},
        {CURLE_SEND_ERROR, false, false, 0, ERROR_UPSTREAM_UNREACHABLE},
        {CURLE_SEND_ERROR, true, false, 0, ERROR_UPSTREAM_RESET},
        {CURLE_GOT_NOTHING, true, false, 0, ERROR_UPSTREAM_RESET},
        {CURLE_SEND_FAIL_REWIND, true, false, 0, ERROR_UPSTREAM_RESET},
        {CURLE_ABORTED_BY_CALLBACK, true, false, 0, ERROR_UPSTREAM_RESET},
        {CURLE_RECV_ERROR, true, true, 0, ERROR_UPSTREAM_CLOSED},
        {CURLE_PARTIAL_FILE, true, true, 0, ERROR_UPSTREAM_CLOSED},
        {CURLE_HTTP2_STREAM, true, true, 0, ERROR_UPSTREAM_CLOSED},
        {CURLE_UNSUPPORTED_PROTOCOL, true, false, 0, ERROR_UPSTREAM_PROTOCOL},
        {CURLE_WEIRD_SERVER_REPLY, true, false, 0, ERROR_UPSTREAM_PROTOCOL},
        {CURLE_OUT_OF_MEMORY, false, false, 0, ERROR_UPSTREAM_UNREACHABLE},
        {CURLE_TFTP_ILLEGAL, true, false, 0, ERROR_UPSTREAM_RESET}, /* whatever it may mean */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fetch_failure f =
            fetch_failure_of(cases[i].code, cases[i].sent, cases[i].headed,
                             (struct fetch_facts){.os_errno = cases[i].os_errno});
        if (f.error_class != cases[i].error_class)
            fail_msg("case %zu is %s", i, error_info(f.error_class)->name);
        assert_true(f.message.len > 0);
        /* nothing unsent may look as if it had been sent */
        assert_true(cases[i].sent || error_info(f.error_class)->retry != RETRY_AMBIGUOUS);
    }
}

static void failures_to_connect_have_a_reason_for_the_operator(void **state)
{
    enum { SELF_SIGNED = 18, NO_ISSUER = 20, EXPIRED = 10, NOT_YET = 9, HOSTNAME = 62 };
    static const struct {
        CURLcode code;
        struct fetch_facts facts;
        enum reason reason;
    } cases[] = {
        {CURLE_COULDNT_RESOLVE_HOST, {0}, REASON_DNS},
        {CURLE_COULDNT_CONNECT, {.os_errno = ECONNREFUSED}, REASON_REFUSED},
        {CURLE_COULDNT_CONNECT, {.os_errno = EHOSTUNREACH}, REASON_NO_ROUTE},
        {CURLE_COULDNT_CONNECT, {.os_errno = ETIMEDOUT}, REASON_SLOW_CONNECT},
        {CURLE_SSL_CONNECT_ERROR, {.os_errno = ECONNRESET}, REASON_RESET},
        {CURLE_OPERATION_TIMEDOUT, {0}, REASON_SLOW_CONNECT},
        {CURLE_COULDNT_RESOLVE_PROXY, {.by_proxy = true}, REASON_PROXY_DNS},
        {CURLE_COULDNT_RESOLVE_HOST, {.by_proxy = true}, REASON_DNS},
        {CURLE_COULDNT_CONNECT, {.by_proxy = true, .os_errno = ECONNREFUSED}, REASON_PROXY_REFUSED},
        {CURLE_COULDNT_CONNECT, {.by_proxy = true}, REASON_PROXY_UNREACHABLE},
        {CURLE_OPERATION_TIMEDOUT, {.by_proxy = true}, REASON_PROXY_UNREACHABLE},
        {CURLE_RECV_ERROR, {.by_proxy = true, .connect_code = 407}, REASON_PROXY_DENIED},
        {CURLE_PEER_FAILED_VERIFICATION, {.verify_result = SELF_SIGNED}, REASON_TLS_UNTRUSTED},
        {CURLE_PEER_FAILED_VERIFICATION, {.verify_result = NO_ISSUER}, REASON_TLS_UNTRUSTED},
        {CURLE_PEER_FAILED_VERIFICATION, {.verify_result = EXPIRED}, REASON_TLS_EXPIRED},
        {CURLE_PEER_FAILED_VERIFICATION, {.verify_result = NOT_YET}, REASON_TLS_NOT_YET_VALID},
        {CURLE_PEER_FAILED_VERIFICATION, {.verify_result = HOSTNAME}, REASON_TLS_WRONG_NAME},
        {CURLE_PEER_FAILED_VERIFICATION, {.verify_result = 1}, REASON_TLS_WRONG_NAME},
        {CURLE_SSL_CACERT_BADFILE, {0}, REASON_TLS_CA_FILE},
        {CURLE_SSL_CONNECT_ERROR, {0}, REASON_TLS_HANDSHAKE},
        {CURLE_OUT_OF_MEMORY, {0}, REASON_OURS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fetch_failure f = fetch_failure_of(cases[i].code, false, false, cases[i].facts);
        if (f.reason != cases[i].reason)
            fail_msg("case %zu is %s", i, reason_word(f.reason));
        assert_true(*reason_text(span_str(reason_word(f.reason))));
    }
    assert_string_equal(reason_word(REASON_COUNT), "");
    assert_string_equal(reason_text(SPAN("no such word")), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_have_the_class_that_says_what_may_be_retried),
        cmocka_unit_test(failures_to_connect_have_a_reason_for_the_operator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
