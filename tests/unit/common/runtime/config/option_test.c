#include "common/runtime/config/option.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/runtime/config/value.h"

static const struct config_paths paths = {"/run/t", "/var/t"};

static bool is_numeric(const struct option_row *row)
{
    return row->limits.least &&
           (row->type == OPTION_U32 || row->type == OPTION_SIZE || row->type == OPTION_MS);
}

static bool in_section(const struct option_row *row)
{
    for (const struct option_group *g = option_groups; g->name; g++) {
        if (strcmp(g->name, row->group) == 0)
            return g->is_section;
    }
    return false;
}

static bool is_taken(const struct option_row *row, const char *value)
{
    struct config *c;
    struct buf errors = {0};
    char text[200];
    (void)snprintf(text, sizeof text, "%s: {%s: %s}\n", row->group, row->name, value);
    enum err e = config_read(span_str(text), "t.yaml", &paths, &c, &errors);
    if (e) {
        (void)snprintf(text, sizeof text, "t.yaml:1: %s.%s: %s is out of range: ", row->group,
                       row->name, value);
        if (!span_starts(buf_span(&errors), text))
            fail_msg("%.*s", SPAN_ARG(buf_span(&errors)));
    }
    config_destroy(&c);
    buf_free(&errors);
    return e == OK;
}

/* The value itself, and one unit above or below it. */
static const char *text_of(const struct option_row *row, const char *limit, int64_t more,
                           char out[static 48])
{
    uint64_t v = 0;
    if (row->type == OPTION_U32) {
        uint32_t small;
        assert_true(value_u32(limit, &small));
        v = small;
    } else {
        assert_true(row->type == OPTION_MS ? value_duration_ms(limit, &v) : value_size(limit, &v));
    }
    v += (uint64_t)more;
    (void)snprintf(out, 48, row->type == OPTION_MS && v ? "%lums" : "%lu", (unsigned long)v);
    return out;
}

static void every_bound_is_taken_and_what_is_beyond_it_refused(void **state)
{
    (void)state;
    char text[48];
    unsigned rows = 0;
    for (const struct option_row *row = option_rows; row->name; row++) {
        const struct option_limits *l = &row->limits;
        if (!in_section(row) || !is_numeric(row))
            continue;
        rows++;
        bool zero = l->off || strcmp(l->least, "0") == 0;
        bool below_is_zero = strcmp(text_of(row, l->least, -1, text), "0") == 0;
        if (!is_taken(row, text_of(row, l->least, 0, text)) ||
            !is_taken(row, text_of(row, l->most, 0, text)) ||
            is_taken(row, text_of(row, l->most, 1, text)) ||
            is_taken(row, text_of(row, l->least, -1, text)) != (below_is_zero && zero) ||
            is_taken(row, "0") != zero)
            fail_msg("%s.%s", row->group, row->name);
    }
    assert_true(rows > 40);
}

static void every_number_has_bounds_and_every_zero_a_meaning(void **state)
{
    (void)state;
    for (const struct option_row *row = option_rows; row->name; row++) {
        bool number = row->type == OPTION_U32 || row->type == OPTION_U64 ||
                      row->type == OPTION_SIZE || row->type == OPTION_MS ||
                      row->type == OPTION_PRICE;
        if (number && !row->limits.least)
            fail_msg("%s.%s has no bounds", row->group, row->name);
        if (row->limits.off && !strstr(row->help, "0 = "))
            fail_msg("%s.%s does not say what 0 means", row->group, row->name);
    }
}

static void every_default_is_within_its_bounds(void **state)
{
    (void)state;
    for (const struct option_row *row = option_rows; row->name; row++) {
        struct buf why = {0};
        bool checkable = row->def && *row->def != '=' && row->type != OPTION_LIST;
        if (checkable && (!option_parse(row, row->def, NULL) || !*row->group))
            fail_msg("%s.%s", row->group, row->name);
        if (checkable)
            option_check_limits(row, row->def, &why);
        if (why.len)
            fail_msg("%s.%s: %.*s", row->group, row->name, SPAN_ARG(buf_span(&why)));
    }
}

static void no_group_has_too_many_rows_or_a_name_twice(void **state)
{
    (void)state;
    for (const struct option_group *g = option_groups; g->name; g++) {
        size_t n = 0;
        for (const struct option_row *row = option_first(g->name); row;
             row = option_next(row), n++) {
            for (const struct option_row *o = option_next(row); o; o = option_next(o))
                assert_string_not_equal(row->name, o->name);
        }
        assert_in_range(n, 1, OPTION_GROUP_MAX - 16);
    }
}

static void the_committed_document_is_what_the_tables_say(void **state)
{
    (void)state;
    struct buf made = {0}, kept = {0};
    FILE *file = fopen(SOURCE_DIR "/docs/configuration.md", "r");
    assert_non_null(file);
    for (size_t n = 1; n > 0;) {
        char *at = buf_reserve(&kept, 4096);
        n = fread(at, 1, 4096, file);
        kept.len += n;
    }
    (void)fclose(file);
    config_print_markdown(&made);
    if (!span_equals(buf_span(&made), buf_span(&kept)))
        fail_msg("docs/configuration.md is not what the tables say: "
                 "tollgate check --defaults --markdown >docs/configuration.md");
    buf_free(&made);
    buf_free(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bound_is_taken_and_what_is_beyond_it_refused),
        cmocka_unit_test(every_number_has_bounds_and_every_zero_a_meaning),
        cmocka_unit_test(every_default_is_within_its_bounds),
        cmocka_unit_test(no_group_has_too_many_rows_or_a_name_twice),
        cmocka_unit_test(the_committed_document_is_what_the_tables_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
