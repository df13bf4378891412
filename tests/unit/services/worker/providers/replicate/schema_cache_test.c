/* What Replicate's models take, kept over calls. */
#include "services/worker/providers/replicate/schema_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct scene {
    struct schema_cache *cache;
    struct arena arena;
    char folder[64];
};

static int enter(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    if (!s)
        return -1;
    (void)snprintf(s->folder, sizeof s->folder, "/tmp/schema_cache_test.XXXXXX");
    if (!mkdtemp(s->folder))
        return -1;
    s->cache = schema_cache_create(s->folder);
    arena_init(&s->arena, 0);
    *state = s;
    return s->cache ? 0 : -1;
}

static int leave(void **state)
{
    struct scene *s = *state;
    char path[128];
    static const char *const names[] = {"o/n.json", "o/bad.json", "o/list.json", "o"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", s->folder, names[i]);
        (void)remove(path);
    }
    (void)rmdir(s->folder);
    schema_cache_destroy(&s->cache);
    arena_free(&s->arena);
    free(s);
    return 0;
}

static void write_file(const struct scene *s, const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/o", s->folder);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/o/%s.json", s->folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    (void)fputs(text, f);
    fclose(f);
}

static void what_was_learned_stays_an_hour(void **state)
{
    struct scene *s = *state;
    schema_cache_put(s->cache, SPAN("a/b"), 1000, SPAN("{\"x\":1}"));
    assert_true(span_is(schema_cache_get(s->cache, SPAN("a/b"), 4600, &s->arena), "{\"x\":1}"));
    assert_int_equal(schema_cache_get(s->cache, SPAN("a/c"), 4600, &s->arena).len, 0);
    assert_int_equal(schema_cache_get(s->cache, SPAN("a/b"), 4601, &s->arena).len, 0);
    schema_cache_put(s->cache, SPAN("a/b"), 5000, SPAN("{\"x\":2}"));
    assert_true(span_is(schema_cache_get(s->cache, SPAN("a/b"), 5000, &s->arena), "{\"x\":2}"));
}

static void the_oldest_goes_when_there_are_too_many(void **state)
{
    struct scene *s = *state;
    char name[32];
    for (unsigned i = 0; i <= SCHEMA_CACHE_MAX_MODELS; i++) {
        (void)snprintf(name, sizeof name, "a/%u", i);
        schema_cache_put(s->cache, span_str(name), 1000 + i, SPAN("{}"));
    }
    assert_int_equal(schema_cache_get(s->cache, SPAN("a/0"), 1200, &s->arena).len, 0);
    assert_true(span_is(schema_cache_get(s->cache, SPAN("a/1"), 1200, &s->arena), "{}"));
    assert_true(span_is(schema_cache_get(s->cache, span_str(name), 1200, &s->arena), "{}"));
}

static void what_is_too_long_is_not_kept(void **state)
{
    struct scene *s = *state;
    char *text = calloc(1, SCHEMA_CACHE_MAX_BYTES + 1);
    assert_non_null(text);
    schema_cache_put(s->cache, SPAN("a/b"), 1, span_of(text, SCHEMA_CACHE_MAX_BYTES + 1));
    assert_int_equal(schema_cache_get(s->cache, SPAN("a/b"), 1, &s->arena).len, 0);
    free(text);
}

static void a_file_goes_before_asking(void **state)
{
    struct scene *s = *state;
    write_file(s, "n", " {\"prompt\":{}} ");
    assert_true(span_is(schema_cache_get(s->cache, SPAN("o/n:0123"), 1, &s->arena),
                        "{\"Input\":{\"properties\":{\"prompt\":{}}}}"));
    write_file(s, "n", "{\"Input\":{\"properties\":{}}}");
    assert_true(span_is(schema_cache_get(s->cache, SPAN("o/n"), 1, &s->arena),
                        "{\"Input\":{\"properties\":{}}}"));
    write_file(s, "bad", "{");
    assert_int_equal(schema_cache_get(s->cache, SPAN("o/bad"), 1, &s->arena).len, 0);
    write_file(s, "list", "[]");
    assert_int_equal(schema_cache_get(s->cache, SPAN("o/list"), 1, &s->arena).len, 0);
}

static void no_name_leaves_the_folder(void **state)
{
    struct scene *s = *state;
    static const char *const names[] = {
        "../n",  "o/../n", "../../etc/passwd", "o/n/x", "/n", "o/", ".o/n", "o/.n", "o", "",
        "o/n\n", "o/a b"};
    write_file(s, "n", "{}");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(schema_cache_get(s->cache, span_str(names[i]), 1, &s->arena).len, 0);
}

static void no_cache_knows_nothing(void **state)
{
    struct scene *s = *state;
    schema_cache_put(NULL, SPAN("a/b"), 1, SPAN("{}"));
    assert_int_equal(schema_cache_get(NULL, SPAN("a/b"), 1, &s->arena).len, 0);
    struct schema_cache *plain = schema_cache_create(NULL);
    assert_int_equal(schema_cache_get(plain, SPAN("o/n"), 1, &s->arena).len, 0);
    schema_cache_destroy(&plain);
    schema_cache_destroy(&plain);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)
    const struct CMUnitTest tests[] = {
        TEST(what_was_learned_stays_an_hour), TEST(the_oldest_goes_when_there_are_too_many),
        TEST(what_is_too_long_is_not_kept),   TEST(a_file_goes_before_asking),
        TEST(no_name_leaves_the_folder),      TEST(no_cache_knows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
