#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "bench/answer_reader.h"
#include "bench/histogram.h"

static const struct {
    const char *bytes;
    int status;
    uint64_t events;
    enum answer_phase phase;
} answers[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, 0, ANSWER_DONE},
    {"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", 204, 0, ANSWER_DONE},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\nContent-Length: 1\r\n\r\nx", 503, 0,
     ANSWER_DONE},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: a\n\r\n9;x=y\r\n\ndata: "
     "b\n\r\n0\r\nT: u\r\n\r\n",
     200, 2, ANSWER_DONE},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n: x\r\n3\r\n\nda\r\na\r\nta: x "
     "data\r\n",
     200, 1, ANSWER_CHUNK_SIZE},
    {"HTTP/1.1 200 OK\r\n\r\nto the end", 200, 0, ANSWER_BODY},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 200, 0, ANSWER_BAD},
    {"garbage\r\n", 0, 0, ANSWER_BAD},
};

static void an_answer_is_the_same_whole_and_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        size_t len = strlen(answers[i].bytes);
        for (int bytewise = 0; bytewise < 2; bytewise++) {
            struct answer_reader r;
            answer_reader_reset(&r);
            for (size_t at = 0; at < len; at += bytewise ? 1 : len)
                (void)answer_reader_feed(&r, answers[i].bytes + at, bytewise ? 1 : len);
            assert_int_equal(r.phase, answers[i].phase);
            assert_int_equal(r.status, answers[i].status);
            assert_int_equal(r.events, answers[i].events);
        }
    }
}

static void bytes_behind_an_answer_are_left(void **state)
{
    (void)state;
    static const char two[] = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1";
    struct answer_reader r;
    answer_reader_reset(&r);
    assert_int_equal(answer_reader_feed(&r, two, sizeof two - 1), sizeof two - 1 - 8);
    assert_int_equal(r.phase, ANSWER_DONE);
}

static void only_an_answer_without_length_ends_with_its_connection(void **state)
{
    (void)state;
    static const char open_end[] = "HTTP/1.1 200 OK\r\n\r\nabc",
                      cut[] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    struct answer_reader r;
    answer_reader_reset(&r);
    (void)answer_reader_feed(&r, open_end, sizeof open_end - 1);
    assert_true(answer_reader_end(&r));
    answer_reader_reset(&r);
    (void)answer_reader_feed(&r, cut, sizeof cut - 1);
    assert_false(answer_reader_end(&r));
}

static void a_quantile_is_within_a_hundredth(void **state)
{
    (void)state;
    static struct histogram h;
    assert_true(histogram_quantile_us(&h, 0.5) == 0);
    for (uint64_t us = 1; us <= 10000; us++)
        histogram_add(&h, us * 1000);
    static const double shares[] = {0.01, 0.5, 0.99, 0.999};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        double got = histogram_quantile_us(&h, shares[i]), wanted = shares[i] * 10000;
        assert_true(got > wanted * 0.99 && got < wanted * 1.01 + 1);
    }
    histogram_add(&h, UINT64_MAX);
    assert_int_equal(h.max_ns, UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_the_same_whole_and_byte_by_byte),
        cmocka_unit_test(bytes_behind_an_answer_are_left),
        cmocka_unit_test(only_an_answer_without_length_ends_with_its_connection),
        cmocka_unit_test(a_quantile_is_within_a_hundredth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
