/* The tests iterate the table: a new field is copied, and tested, without a line here. */
#include "proto/message_copy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TEXT_BYTES = 63 };

static bool is_text(const struct field_info *f)
{
    return f->type == FIELD_STR || f->type == FIELD_BIN;
}

static struct span *text_at(void *message, const struct field_info *f)
{
    return (struct span *)(void *)((char *)message + f->offset);
}

/* Every byte of the struct is set; string i shows i + 1 bytes of `text`. */
static void fill(const struct message_info *info, void *message, const char *text)
{
    memset(message, 1, info->size);
    for (unsigned i = 0; i < info->field_count; i++)
        if (is_text(&info->fields[i]))
            *text_at(message, &info->fields[i]) = span_of(text + i, i + 1);
}

static void assert_is_copy(const struct message_info *info, void *copy, const char *text)
{
    union message_body expected;
    fill(info, &expected, text);
    for (unsigned i = 0; i < info->field_count; i++) {
        const struct field_info *f = &info->fields[i];
        struct span *s = text_at(copy, f);
        if (!is_text(f)) {
            assert_memory_equal((char *)copy + f->offset, (char *)&expected + f->offset, 1);
        } else if (!span_equals(*s, *text_at(&expected, f)) ||
                   (s->data >= text && s->data < text + TEXT_BYTES)) {
            fail_msg("%s.%s is not copied", info->name, f->name);
        }
    }
}

static void every_string_of_every_message_is_copied(void **state)
{
    static const char text[TEXT_BYTES] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    (void)state;
    for (unsigned type = 0; type < MESSAGE_TYPES; type++) {
        const struct message_info *info = message_info(type);
        union message_body in;
        if (!info)
            continue;
        assert_true(info->field_count < TEXT_BYTES / 2);
        fill(info, &in, text);
        void *copy = message_copy(type, &in);
        assert_non_null(copy);
        assert_is_copy(info, copy, text);
        free(copy);

        char *strings = malloc(message_text_bytes(type, &in) + 1);
        assert_ptr_equal(message_own_text(type, &in, strings),
                         strings + message_text_bytes(type, &in));
        assert_is_copy(info, &in, text);
        free(strings);
    }
}

static void a_message_without_strings_has_no_bytes_of_text(void **state)
{
    union message_body empty = {0};
    (void)state;
    for (unsigned type = 0; type < MESSAGE_TYPES; type++) {
        assert_int_equal(message_text_bytes(type, &empty), 0);
        void *copy = message_copy(type, &empty);
        assert_true(!copy == !message_info(type));
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_string_of_every_message_is_copied),
        cmocka_unit_test(a_message_without_strings_has_no_bytes_of_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
