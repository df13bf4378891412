#include "unit/services/auth/test_support.h"

#include <stdio.h>

struct fixture {
    struct limits limits;
    struct keys *keys;
};

static const uint8_t pepper[PEPPER_BYTES] = "0123456789abcdef0123456789abcde";

static int setup(void **state)
{
    static struct fixture f;
    limits_init(&f.limits);
    assert_int_equal(keys_create(&f.keys, pepper, &f.limits), OK);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    keys_destroy(&f->keys);
    limits_free(&f->limits);
    return 0;
}

static void a_new_key_is_found_by_the_digest_of_its_text(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_BYTES];
    struct key *key = test_key(f->keys, (struct key_attributes){.name = SPAN("a")}, digest);
    for (int i = 0; i < 3; i++) /* by HMAC first, by its digest then */
        assert_ptr_equal(keys_find_digest(f->keys, span_of(digest, SHA256_BYTES)), key);
}

static void a_wrong_digest_finds_nothing(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_BYTES];
    (void)test_key(f->keys, (struct key_attributes){.name = SPAN("a")}, digest);
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        digest[i] ^= 1;
        assert_null(keys_find_digest(f->keys, span_of(digest, SHA256_BYTES)));
        digest[i] ^= 1;
    }
    assert_null(keys_find_digest(f->keys, span_of(digest, SHA256_BYTES - 1)));
    assert_null(keys_find_digest(f->keys, SPAN_NONE));
}

static void key_texts_have_the_documented_form_and_differ(void **state)
{
    struct fixture *f = *state;
    char first[KEY_TEXT_BYTES], second[KEY_TEXT_BYTES], id[KEY_ID_BYTES], hint[KEY_HINT_BYTES];
    struct key_attributes a = {.name = SPAN("a")};
    keys_new_id(&a, id);
    keys_new_secret(f->keys, &a, first, hint);
    keys_new_secret(f->keys, &a, second, hint);
    assert_int_equal(strlen(first), 67);
    assert_memory_equal(first, "sk-", 3);
    assert_string_not_equal(first, second);
    assert_string_equal(hint, second + 63);
    assert_memory_equal(id, "key_", 4);
}

static void what_is_stored_depends_on_the_pepper(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_BYTES];
    const struct key *key = test_key(f->keys, (struct key_attributes){.name = SPAN("a")}, digest);
    struct keys *others = NULL;
    const uint8_t other[PEPPER_BYTES] = {1};
    assert_int_equal(keys_create(&others, other, &f->limits), OK);
    assert_int_equal(keys_add(others, &key->is), OK);
    assert_null(keys_find_digest(others, span_of(digest, SHA256_BYTES)));
    keys_destroy(&others);
}

static void patterns_match_as_expected(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {{"gpt-4", "gpt-4", true},
                 {"gpt-4", "gpt-4o", false},
                 {"gpt-*", "gpt-4o", true},
                 {"*", "", true},
                 {"*", "anything", true},
                 {"", "", true},
                 {"", "x", false},
                 {"*-mini", "gpt-4o-mini", true},
                 {"*-mini", "gpt-4o", false},
                 {"a*b*c", "axxbyyc", true},
                 {"a*b*c", "axxbyy", false},
                 {"**", "x", true},
                 {"meta/*", "meta/llama", true},
                 {"gpt-*", "gpt", false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(pattern_matches(span_str(cases[i].pattern), span_str(cases[i].text)),
                         cases[i].matches);
}

static void a_key_with_a_list_of_models_may_use_those_only(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_BYTES];
    const struct key *key = test_key(
        f->keys, (struct key_attributes){.name = SPAN("a"), .models = SPAN("gpt-4, claude-*")},
        digest);
    assert_true(key_may_use(key, SPAN("gpt-4")));
    assert_true(key_may_use(key, SPAN("claude-3")));
    assert_false(key_may_use(key, SPAN("gpt-4o")));
}

static void rules_add_limits_for_the_models_they_match(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_BYTES];
    struct key_attributes a = {.name = SPAN("a"),
                               .requests_per_minute = 60,
                               .tokens_per_minute = 1000,
                               .model_limits = SPAN("gpt-4=5/minute,gpt-*=100/hour")};
    const struct key *key = test_key(f->keys, a, digest);
    struct limit_set set;
    key_limits(key, SPAN("claude-3"), &set);
    assert_int_equal(set.count, 2);
    key_limits(key, SPAN("gpt-4"), &set);
    assert_int_equal(set.count, 4);
    assert_int_equal(limit_set_remaining(&set, START, LIMIT_REQUESTS), 5);
    assert_non_null(key->tokens);
}

static void attributes_are_checked(void **state)
{
    (void)state;
    char long_name[KEY_NAME_MAX + 2];
    memset(long_name, 'a', sizeof long_name);
    const struct key_attributes bad[] = {
        {.name = SPAN_NONE},
        {.name = {long_name, KEY_NAME_MAX + 1}},
        {.name = SPAN("a\nb")},
        {.name = SPAN("a"), .models = SPAN("gpt\x01")},
        {.name = SPAN("a"), .tags = SPAN("a,b\x1b")},
        {.name = SPAN("a"), .tags = SPAN("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17")},
        {.name = SPAN("a"), .model_limits = SPAN("gpt-4")},
        {.name = SPAN("a"), .model_limits = SPAN("gpt-4=5/year")},
        {.name = SPAN("a"), .model_limits = SPAN("=5/s")},
        {.name = SPAN("a"), .model_limits = SPAN("a=1/s,b=1/s,c=1/s,d=1/s,e=1/s")}};
    const char *why = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(keys_check(&bad[i], &why), ERR_INVALID);
        assert_non_null(why);
    }
    const struct key_attributes good = {.name = {long_name, KEY_NAME_MAX},
                                        .model_limits = SPAN("gpt-4=5/s")};
    assert_int_equal(keys_check(&good, &why), OK);
}

static void a_revoked_key_frees_its_name(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_BYTES];
    struct key *key = test_key(f->keys, (struct key_attributes){.name = SPAN("a")}, digest);
    assert_ptr_equal(keys_find_name(f->keys, SPAN("a")), key);
    const struct key_attributes revoked = {.revoked_ms = 77, .changed_ms = 77};
    assert_int_equal(keys_change(f->keys, key, &revoked, KEY_REVOKED, 0), OK);
    assert_null(keys_find_name(f->keys, SPAN("a")));
    assert_int_equal(keys_last_changed_ms(f->keys), 77);
    assert_int_equal(keys_find_digest(f->keys, span_of(digest, SHA256_BYTES))->is.revoked_ms, 77);
}

static const struct key_secret *secret_of(struct fixture *f, const uint8_t digest[SHA256_BYTES])
{
    return keys_find_secret(f->keys, span_of(digest, SHA256_BYTES));
}

static void a_change_leaves_what_it_does_not_name(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_BYTES];
    const uint64_t now_ns = 50 * GCRA_SECOND;
    struct key *key = test_key(f->keys,
                               (struct key_attributes){.name = SPAN("a"),
                                                       .models = SPAN("gpt-*"),
                                                       .requests_per_minute = 5,
                                                       .tokens_per_minute = 9},
                               digest);
    limit_set_charge(&f->limits, &key->limits, now_ns, 5, 0);
    const struct key_attributes change = {
        .requests_per_minute = 50, .tags = SPAN("x,y"), .changed_ms = 3};
    assert_int_equal(keys_change(f->keys, key, &change, KEY_PER_MINUTE | KEY_TAGS, now_ns), OK);
    assert_true(span_is(key->is.name, "a"));
    assert_true(span_is(key->is.models, "gpt-*"));
    assert_int_equal(key->is.tokens_per_minute, 9);
    assert_non_null(key->tokens);
    assert_true(span_is(keys_tags(f->keys, key->is.id), "x,y"));
    assert_int_equal(limit_set_remaining(&key->limits, now_ns, LIMIT_REQUESTS), 45);
    assert_ptr_equal(keys_find_id(f->keys, key->is.id), key);
    const struct key_attributes none = {.changed_ms = 4};
    assert_int_equal(keys_change(f->keys, key, &none, KEY_TOKENS | KEY_TAGS | KEY_MODELS, now_ns),
                     OK);
    assert_null(key->tokens);
    assert_int_equal(keys_tags(f->keys, key->is.id).len, 0);
    assert_true(key_may_use(key, SPAN("claude")));
}

static void a_rotated_key_is_opened_by_its_last_two_secrets(void **state)
{
    struct fixture *f = *state;
    uint8_t digests[3][SHA256_BYTES];
    char text[KEY_TEXT_BYTES], hint[KEY_HINT_BYTES];
    struct key *key = test_key(f->keys, (struct key_attributes){.name = SPAN("a")}, digests[0]);
    assert_non_null(secret_of(f, digests[0]));
    for (int i = 1; i < 3; i++) {
        struct key_attributes change = {.before_until_ms = 100, .changed_ms = 5};
        keys_new_secret(f->keys, &change, text, hint);
        crypto_sha256(span_str(text), digests[i]);
        assert_int_equal(keys_change(f->keys, key, &change, KEY_SECRET, 0), OK);
        assert_false(key_secret_is_old(secret_of(f, digests[i])));
        assert_true(key_secret_is_old(secret_of(f, digests[i - 1])));
        assert_ptr_equal(secret_of(f, digests[i - 1])->key, key);
        assert_true(span_is(key->is.hint, hint));
    }
    assert_null(secret_of(f, digests[0]));
    struct key_attributes change = {.changed_ms = 6};
    keys_new_secret(f->keys, &change, text, hint);
    assert_int_equal(keys_change(f->keys, key, &change, KEY_SECRET, 0), OK);
    assert_null(secret_of(f, digests[1])); /* without an overlap */
    assert_null(secret_of(f, digests[2]));
}

static void a_deleted_key_is_gone(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_BYTES], other[SHA256_BYTES];
    struct key *key =
        test_key(f->keys, (struct key_attributes){.name = SPAN("a"), .tags = SPAN("t")}, digest);
    (void)test_key(f->keys, (struct key_attributes){.name = SPAN("b")}, other);
    keys_delete(f->keys, &key, 99);
    assert_null(key);
    assert_null(secret_of(f, digest));
    assert_non_null(secret_of(f, other));
    assert_null(keys_find_name(f->keys, SPAN("a")));
    assert_int_equal(keys_count(f->keys), 1);
    assert_int_equal(keys_last_changed_ms(f->keys), 99);
}

static void many_keys_are_all_found(void **state)
{
    struct fixture *f = *state;
    enum { MANY = 500 };
    static uint8_t digests[MANY][SHA256_BYTES];
    char name[20];
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "key %d", i);
        (void)test_key(f->keys, (struct key_attributes){.name = span_str(name)}, digests[i]);
    }
    assert_int_equal(keys_count(f->keys), MANY);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "key %d", i);
        const struct key *key = keys_find_digest(f->keys, span_of(digests[i], SHA256_BYTES));
        assert_non_null(key);
        assert_true(span_is(key->is.name, name));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_key_is_found_by_the_digest_of_its_text, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_wrong_digest_finds_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(key_texts_have_the_documented_form_and_differ, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_stored_depends_on_the_pepper, setup, teardown),
        cmocka_unit_test(patterns_match_as_expected),
        cmocka_unit_test_setup_teardown(a_key_with_a_list_of_models_may_use_those_only, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(rules_add_limits_for_the_models_they_match, setup,
                                        teardown),
        cmocka_unit_test(attributes_are_checked),
        cmocka_unit_test_setup_teardown(a_change_leaves_what_it_does_not_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_rotated_key_is_opened_by_its_last_two_secrets, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_deleted_key_is_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_revoked_key_frees_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(many_keys_are_all_found, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
