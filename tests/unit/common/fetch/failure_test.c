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
            fetch_failure_of(cases[i].code, cases[i].sent, cases[i].headed, cases[i].os_errno);
        if (f.error_class != cases[i].error_class)
            fail_msg("case %zu is %s", i, error_info(f.error_class)->name);
        assert_true(f.message.len > 0);
        /* nothing unsent may look as if it had been sent */
        assert_true(cases[i].sent || error_info(f.error_class)->retry != RETRY_AMBIGUOUS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_have_the_class_that_says_what_may_be_retried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
