/* Every one of the 132 hard cases has a test of its number: here, or, for the three that are about
 * HTTP itself, in tests/system. */
#include "contract/test_support.h"

#include <stdio.h>

/* What only real daemons can show. */
static const char *const on_the_wire[] = {"H128", "H129", "H130"};

static bool is_on_the_wire(const char *id)
{
    for (size_t i = 0; i < sizeof on_the_wire / sizeof *on_the_wire; i++) {
        if (strcmp(id, on_the_wire[i]) == 0)
            return true;
    }
    return false;
}

static void append_sources(struct buf *out, const char *folder, const char *suffix)
{
    struct file_list list = {0};
    file_list_add(&list, folder, suffix);
    for (size_t i = 0; i < list.count; i++) {
        struct span file = file_read("%s", list.paths[i]);
        /* not this file's own list */
        if (!span_ends(span_str(list.paths[i]), "hard_index_test.c"))
            buf_append(out, file);
        file_free(file);
    }
    file_list_free(&list);
}

static void every_hard_case_has_a_test_of_its_number(void **state)
{
    (void)state;
    struct buf sources = {0};
    append_sources(&sources, SOURCE_DIR "/tests/contract", "_test.c");
    struct span cases = file_read(SOURCE_DIR "/tests/fixtures/hard_cases.jsonl");
    assert_non_null(cases.data);
    size_t count = 0;
    for (struct span rest = cases; rest.len;) {
        struct span line = span_trim(span_cut(&rest, '\n'));
        struct json_doc doc = {0};
        if (line.len == 0)
            continue;
        assert_int_equal(json_parse(&doc, line, 16), OK);
        char id[8], name[16];
        (void)snprintf(id, sizeof id, "%.*s", SPAN_ARG(json_text(json_get(json_root(&doc), "id"))));
        (void)snprintf(name, sizeof name, "\"%s ", id);
        count++;
        if (!is_on_the_wire(id) &&
            span_find_span(buf_span(&sources), span_str(name)) == sources.len)
            fail_msg("%s has no test", id);
        json_doc_free(&doc);
    }
    assert_int_equal(count, 132);
    file_free(cases);
    buf_free(&sources);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_hard_case_has_a_test_of_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
