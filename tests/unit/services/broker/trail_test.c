#include "unit/services/broker/test_core.h"

#include <stdlib.h>

static const struct trail full = {
    .config = 0x1122334455667788,
    .tried = 0x8000000000000001,
    .barred = 0x0102030405060708,
    .avoid = 0xfedcba9876543210,
    .candidate = 0x1234,
    .avoid_of = 0x4321,
    .probe = true,
    .has_avoid = true,
    .ambiguous_used = true,
    .missed = 200,
    .cause = 2,
};

static struct span bytes_of(const uint8_t *bytes, size_t n)
{
    return span_of((const char *)bytes, n);
}

static bool same(const struct trail *a, const struct trail *b)
{
    return a->config == b->config && a->tried == b->tried && a->barred == b->barred &&
           a->avoid == b->avoid && a->candidate == b->candidate && a->avoid_of == b->avoid_of &&
           a->probe == b->probe && a->has_avoid == b->has_avoid &&
           a->ambiguous_used == b->ambiguous_used && a->missed == b->missed && a->cause == b->cause;
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    struct trail cases[5] = {full, full, full, full, {.config = 9}};
    cases[1].probe = false;
    cases[2].has_avoid = false;
    cases[3].ambiguous_used = false;
    for (unsigned i = 0; i < 5; i++) {
        uint8_t bytes[TRAIL_BYTES];
        trail_write(&cases[i], bytes);
        struct trail t = trail_read(bytes_of(bytes, sizeof bytes), cases[i].config);
        assert_true(t.known && same(&t, &cases[i]));
    }
}

static void anything_of_another_length_is_an_empty_trail(void **state)
{
    (void)state;
    const struct trail empty = {.config = full.config};
    uint8_t bytes[TRAIL_BYTES + 1] = {0};
    trail_write(&full, bytes);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        if (n == TRAIL_BYTES)
            continue;
        uint8_t *exact = malloc(n ? n : 1); /* reading past it is found out by the sanitizer */
        memcpy(exact, bytes, n);
        struct trail t = trail_read(bytes_of(exact, n), full.config);
        assert_true(!t.known && same(&t, &empty));
        free(exact);
    }
    struct trail t = trail_read(SPAN_NONE, full.config);
    assert_true(!t.known && same(&t, &empty));
}

static void another_version_is_an_empty_trail(void **state)
{
    (void)state;
    const struct trail empty = {.config = full.config};
    for (unsigned version = 0; version <= UINT8_MAX; version++) {
        uint8_t bytes[TRAIL_BYTES];
        trail_write(&full, bytes);
        if (bytes[0] == version)
            continue;
        bytes[0] = (uint8_t)version;
        struct trail t = trail_read(bytes_of(bytes, sizeof bytes), full.config);
        assert_true(!t.known && same(&t, &empty));
    }
}

static void of_another_configuration_only_what_does_not_depend_on_it_counts(void **state)
{
    (void)state;
    const struct trail left = {.config = 42, .ambiguous_used = true, .missed = 200, .cause = 2};
    uint8_t bytes[TRAIL_BYTES];
    trail_write(&full, bytes);
    struct trail t = trail_read(bytes_of(bytes, sizeof bytes), 42);
    assert_true(!t.known && same(&t, &left));
    /* A garbled configuration is another one. */
    for (unsigned i = 0; i < 64; i++) {
        trail_write(&full, bytes);
        bytes[1 + i / 8] ^= (uint8_t)(1 << i % 8);
        t = trail_read(bytes_of(bytes, sizeof bytes), full.config);
        assert_true(!t.known && !t.tried && !t.barred && !t.avoid && !t.candidate);
        assert_true(t.ambiguous_used && t.missed == 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(anything_of_another_length_is_an_empty_trail),
        cmocka_unit_test(another_version_is_an_empty_trail),
        cmocka_unit_test(of_another_configuration_only_what_does_not_depend_on_it_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
