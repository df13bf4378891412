#include "common/base/inflate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static const char text[] = "hello, hello, hello";

struct sample {
    enum coding coding;
    size_t len;
    unsigned char bytes[48];
};

static const struct sample samples[] = {
    {CODING_GZIP, 29, {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03,
                       0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7, 0x51, 0xc8, 0x40, 0xa2,
                       0x00, 0x9f, 0xa1, 0xca, 0x09, 0x13, 0x00, 0x00, 0x00}},
    {CODING_DEFLATE,
     17,
     {0x78, 0x9c, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7, 0x51, 0xc8, 0x40, 0xa2, 0x00, 0x44, 0x28,
      0x06, 0xd5}},
    {CODING_DEFLATE, 11, {0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xd7, 0x51, 0xc8, 0x40, 0xa2, 0x00}},
    {CODING_ZSTD, 26, {0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x6d, 0x00, 0x00,
                       0x38, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x2c, 0x20, 0x01,
                       0x00, 0xe2, 0x8a, 0x11, 0x75, 0xf3, 0x98, 0x8e}},
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };

static struct span bytes_of(const struct sample *s)
{
    return span_of(s->bytes, s->len);
}

static bool is_known(enum coding coding)
{
    return coding != CODING_ZSTD || coding_of(SPAN("zstd")) == CODING_ZSTD;
}

static void each_coding_is_taken_off_whole_and_byte_by_byte(void **state)
{
    (void)state;
    for (size_t n = 0; n < SAMPLES && is_known(samples[n].coding); n++) {
        struct span all = bytes_of(&samples[n]);
        struct inflate *i;
        char out[64];
        uint64_t bytes = 0;
        size_t len = 0;
        assert_int_equal(inflate_body(samples[n].coding, all, sizeof out, out, &bytes), OK);
        assert_true(span_is(span_of(out, (size_t)bytes), text));
        assert_int_equal(inflate_body(samples[n].coding, all, sizeof out, NULL, &bytes), OK);
        assert_int_equal(bytes, sizeof text - 1);
        assert_int_equal(inflate_create(&i, samples[n].coding), OK);
        for (size_t at = 0; at < all.len; at++) {
            struct span in = span_of(all.data + at, 1);
            size_t got = 0;
            assert_false(inflate_is_whole(i));
            assert_int_equal(inflate_next(i, &in, out + len, sizeof out - len, &got), OK);
            assert_int_equal(in.len, 0);
            len += got;
        }
        assert_true(inflate_is_whole(i));
        assert_true(span_is(span_of(out, len), text));
        inflate_destroy(&i);
    }
}

static void what_is_not_whole_or_not_of_the_coding_is_told(void **state)
{
    (void)state;
    char out[64];
    uint64_t bytes;
    for (size_t n = 0; n < SAMPLES && is_known(samples[n].coding); n++) {
        struct span all = bytes_of(&samples[n]);
        for (size_t len = 0; len < all.len; len++)
            assert_int_equal(
                inflate_body(samples[n].coding, span_first(all, len), sizeof out, out, &bytes),
                ERR_TRUNCATED);
        assert_int_equal(
            inflate_body(samples[n].coding, SPAN("\xff\xff{}"), sizeof out, out, &bytes),
            ERR_INVALID);
    }
}

/* RFC 1952 2.2: members may follow each other. */
static void members_may_follow_each_other_and_nothing_else_may(void **state)
{
    (void)state;
    char two[64], out[64];
    uint64_t bytes;
    struct span one = bytes_of(&samples[0]);
    memcpy(two, one.data, one.len);
    memcpy(two + one.len, one.data, one.len);
    assert_int_equal(inflate_body(CODING_GZIP, span_of(two, 2 * one.len), sizeof out, out, &bytes),
                     OK);
    assert_int_equal(bytes, 2 * (sizeof text - 1));
    two[one.len] = 'x';
    assert_int_equal(inflate_body(CODING_GZIP, span_of(two, one.len + 1), sizeof out, out, &bytes),
                     ERR_TRUNCATED);
    assert_int_equal(inflate_body(CODING_GZIP, span_of(two, one.len + 4), sizeof out, out, &bytes),
                     ERR_INVALID);
}

static void the_room_is_kept_exactly(void **state)
{
    (void)state;
    char out[64];
    uint64_t bytes;
    struct span all = bytes_of(&samples[0]);
    assert_int_equal(inflate_body(CODING_GZIP, all, sizeof text - 1, out, &bytes), OK);
    assert_int_equal(inflate_body(CODING_GZIP, all, sizeof text - 2, out, &bytes), ERR_TOO_BIG);
    assert_int_equal(inflate_body(CODING_GZIP, all, sizeof text - 2, NULL, &bytes), ERR_TOO_BIG);
    assert_int_equal(inflate_body(CODING_GZIP, all, 0, out, &bytes), ERR_TOO_BIG);
}

/* Stored blocks of zeros by hand would not be small: zstd's repeated byte is. */
static void a_few_bytes_that_stand_for_very_many_are_refused(void **state)
{
    (void)state;
    enum { BLOCKS = 1000, BLOCK = 128 << 10 };
    static const unsigned char head[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58}; /* window 2 MiB */
    static unsigned char bomb[sizeof head + 4 * BLOCKS];
    uint64_t bytes = 0;
    if (!is_known(CODING_ZSTD))
        skip();
    memcpy(bomb, head, sizeof head);
    for (size_t n = 0; n < BLOCKS; n++) {
        uint32_t header = BLOCK << 3 | 1 << 1 | (n == BLOCKS - 1);
        unsigned char *at = bomb + sizeof head + 4 * n;
        at[0] = (unsigned char)header;
        at[1] = (unsigned char)(header >> 8);
        at[2] = (unsigned char)(header >> 16);
        at[3] = 'x';
    }
    assert_int_equal(
        inflate_body(CODING_ZSTD, span_of(bomb, sizeof bomb), UINT64_MAX, NULL, &bytes),
        ERR_TOO_BIG);
    assert_true(bytes < 2 * INFLATE_FREE_BYTES);
}

static void a_window_that_is_too_large_is_refused(void **state)
{
    (void)state;
    static const char huge[] = {0x28, (char)0xb5, 0x2f, (char)0xfd, 0x00, (char)0xa0, 0x01, 0, 0};
    uint64_t bytes;
    if (!is_known(CODING_ZSTD))
        skip();
    assert_int_equal(inflate_body(CODING_ZSTD, span_of(huge, sizeof huge), 100, NULL, &bytes),
                     ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_coding_is_taken_off_whole_and_byte_by_byte),
        cmocka_unit_test(what_is_not_whole_or_not_of_the_coding_is_told),
        cmocka_unit_test(members_may_follow_each_other_and_nothing_else_may),
        cmocka_unit_test(the_room_is_kept_exactly),
        cmocka_unit_test(a_few_bytes_that_stand_for_very_many_are_refused),
        cmocka_unit_test(a_window_that_is_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
