/* The tests iterate the tables: a new message arrives tested. */
#include "proto/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <msgpack.h>

static const char text[70000] = "text";

/* Fills every field of a message with values that take many sizes. */
static void fill(const struct message_info *info, void *message, unsigned seed)
{
    static const uint64_t numbers[] = {0, 1, 127, 128, 255, 256, 65535, 65536, UINT32_MAX};
    static const size_t lengths[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
    memset(message, 0, info->size);
    for (unsigned i = 0; i < info->field_count; i++) {
        void *at = (char *)message + info->fields[i].offset;
        uint64_t n = numbers[(seed + i) % 9];
        switch (info->fields[i].type) {
        case FIELD_BOOL:
            *(bool *)at = (seed + i) & 1;
            break;
        case FIELD_U32:
            *(uint32_t *)at = (uint32_t)n;
            break;
        case FIELD_U64:
            *(uint64_t *)at = seed % 2 ? n : UINT64_MAX - n;
            break;
        case FIELD_I64:
            *(int64_t *)at = seed % 2 ? (int64_t)n : -(int64_t)n;
            break;
        case FIELD_STR:
        case FIELD_BIN:
            *(struct span *)at = span_of(text, lengths[(seed + i) % 8]);
            break;
        }
    }
}

static void assert_same(const struct message_info *info, const void *a, const void *b)
{
    for (unsigned i = 0; i < info->field_count; i++) {
        const struct field_info *f = &info->fields[i];
        const char *x = (const char *)a + f->offset, *y = (const char *)b + f->offset;
        bool same = true;
        switch (f->type) {
        case FIELD_BOOL:
            same = *(const bool *)x == *(const bool *)y;
            break;
        case FIELD_U32:
            same = memcmp(x, y, 4) == 0;
            break;
        case FIELD_U64:
        case FIELD_I64:
            same = memcmp(x, y, 8) == 0;
            break;
        case FIELD_STR:
        case FIELD_BIN:
            same = span_equals(*(const struct span *)(const void *)x,
                               *(const struct span *)(const void *)y);
            break;
        }
        if (!same)
            fail_msg("%s.%s differs", info->name, f->name);
    }
}

static void every_message_survives_a_round_trip(void **state)
{
    (void)state;
    for (unsigned type = 0; type < MESSAGE_TYPES; type++) {
        const struct message_info *info = message_info(type);
        for (unsigned seed = 0; info && seed < 72; seed++) {
            union message_body in, out;
            fill(info, &in, seed);
            struct header h = {.type = (uint8_t)type,
                               .attempt = 2,
                               .flags = HEADER_LAST,
                               .seq = 77,
                               .epoch = 1ull << 40,
                               .deadline_ms = 1234},
                          back;
            memset(h.id.bytes, 0xab, sizeof h.id.bytes);
            size_t size = codec_size(type, &in);
            char *frame = malloc(size);
            codec_encode(&h, &in, frame);
            assert_int_equal(header_read(span_of(frame, size), &back), OK);
            assert_int_equal(back.type, type);
            assert_int_equal(back.seq, 77);
            assert_int_equal(back.epoch, 1ull << 40);
            assert_int_equal(back.deadline_ms, 1234);
            assert_true(request_id_equals(&back.id, &h.id));
            assert_int_equal(
                codec_decode(type, span_skip(span_of(frame, size), HEADER_BYTES), &out), OK);
            assert_same(info, &in, &out);
            free(frame);
        }
    }
}

static void what_is_written_is_msgpack(void **state)
{
    (void)state;
    for (unsigned type = 0; type < MESSAGE_TYPES; type++) {
        const struct message_info *info = message_info(type);
        if (!info)
            continue;
        union message_body in;
        fill(info, &in, type);
        size_t size = codec_size(type, &in), at = 0;
        char *frame = malloc(size);
        codec_encode(&(struct header){.type = (uint8_t)type}, &in, frame);
        msgpack_unpacked result;
        msgpack_unpacked_init(&result);
        assert_int_equal(
            msgpack_unpack_next(&result, frame + HEADER_BYTES, size - HEADER_BYTES, &at),
            MSGPACK_UNPACK_SUCCESS);
        assert_int_equal(at, size - HEADER_BYTES);
        assert_int_equal(result.data.via.array.size, info->field_count);
        msgpack_unpacked_destroy(&result);
        free(frame);
    }
}

static void every_truncation_of_every_message_is_refused(void **state)
{
    (void)state;
    for (unsigned type = 0; type < MESSAGE_TYPES; type++) {
        const struct message_info *info = message_info(type);
        if (!info)
            continue;
        union message_body in, out;
        fill(info, &in, 2);
        size_t size = codec_size(type, &in) - HEADER_BYTES;
        char *frame = malloc(size + HEADER_BYTES);
        codec_encode(&(struct header){.type = (uint8_t)type}, &in, frame);
        for (size_t n = 0; n < size; n = n < 300 || n + 300 > size ? n + 1 : n + 997) {
            char *exact = malloc(n ? n : 1);
            memcpy(exact, frame + HEADER_BYTES, n);
            assert_int_not_equal(codec_decode(type, span_of(exact, n), &out), OK);
            free(exact);
        }
        free(frame);
    }
}

/* Neighbours may differ by a minor version. */
static void missing_trailing_fields_are_zero_and_extra_ones_are_skipped(void **state)
{
    (void)state;
    struct settled none;
    struct ping ping;
    assert_int_equal(codec_decode(MESSAGE_PING, SPAN("\x90"), &ping), OK);
    assert_int_equal(ping.sent_us, 0);
    assert_int_equal(codec_decode(MESSAGE_PING, SPAN("\x93\x05\xa1x\xc4\x01y"), &ping), OK);
    assert_int_equal(ping.sent_us, 5);
    assert_int_equal(codec_decode(MESSAGE_SETTLED, SPAN("\x91\xcb\0\0\0\0\0\0\0\0"), &none), OK);
}

static void hostile_payloads_are_refused(void **state)
{
    (void)state;
    const struct span payloads[] = {
        SPAN(""),
        SPAN("\xdd\x0f\xff\xff\xff"), /* 268 million elements, in five bytes */
        SPAN("\xdc\xff\xff"),
        SPAN("\x91\xdb\xff\xff\xff\xff"),
        SPAN("\x91\xc6\x7f\xff\xff\xff"),
        SPAN("\x91\x91\x01"),
        SPAN("\x91\x80"),
        SPAN("\x81\x01\x01"),
        SPAN("\x91\xc1"),
        SPAN("\x91\xa1x"),
        SPAN("\x91\xff"),
        SPAN("\x91\x05junk"),
        SPAN("\x05"),
        SPAN("\xc0"),
    };
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        struct ping ping;
        if (codec_decode(MESSAGE_PING, payloads[i], &ping) == OK)
            fail_msg("payload %zu was accepted", i);
    }
    union message_body out;
    assert_int_equal(codec_decode(63, SPAN("\x90"), &out), ERR_UNSUPPORTED);
    assert_int_equal(codec_decode(200, SPAN("\x90"), &out), ERR_UNSUPPORTED);
}

static void a_short_or_foreign_header_is_refused(void **state)
{
    (void)state;
    char frame[HEADER_BYTES] = {0};
    struct header h;
    assert_int_equal(header_read(span_of(frame, HEADER_BYTES - 1), &h), ERR_TRUNCATED);
    assert_int_equal(header_read(span_of(frame, HEADER_BYTES), &h), ERR_VERSION);
}

static void names_are_unique(void **state)
{
    (void)state;
    for (unsigned a = 0; a < MESSAGE_TYPES; a++) {
        const struct message_info *info = message_info(a);
        for (unsigned b = 0; info && b < a; b++)
            assert_true(!message_info(b) || strcmp(message_info(b)->name, info->name) != 0);
        for (unsigned i = 0; info && i < info->field_count; i++) {
            for (unsigned j = 0; j < i; j++)
                assert_string_not_equal(info->fields[i].name, info->fields[j].name);
        }
        assert_true(!info || info->field_count <= CODEC_MAX_FIELDS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_survives_a_round_trip),
        cmocka_unit_test(what_is_written_is_msgpack),
        cmocka_unit_test(every_truncation_of_every_message_is_refused),
        cmocka_unit_test(missing_trailing_fields_are_zero_and_extra_ones_are_skipped),
        cmocka_unit_test(hostile_payloads_are_refused),
        cmocka_unit_test(a_short_or_foreign_header_is_refused),
        cmocka_unit_test(names_are_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
