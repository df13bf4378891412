#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/worker/attempt/settle.h"

struct sent {
    unsigned count;
    uint8_t attempt;
    uint64_t input_tokens;
    char model[16];
    enum err result;
};

static enum err record(void *ctx, struct header h, const struct settle *s)
{
    struct sent *t = ctx;
    t->count++;
    t->attempt = h.attempt;
    t->input_tokens = s->input_tokens;
    assert_true(s->model.len < sizeof t->model);
    memcpy(t->model, s->model.data, s->model.len);
    t->model[s->model.len] = '\0';
    return t->result;
}

static struct request_id id_of(unsigned n)
{
    struct request_id id = {{0}};
    memcpy(id.bytes, &n, sizeof n);
    return id;
}

static void add(struct settles *s, unsigned n, uint8_t attempt, uint64_t now_ms)
{
    char model[] = "gpt-4"; /* gone when this returns */
    struct request_id id = id_of(n);
    struct settle m = {.model = span_str(model), .input_tokens = n};
    assert_int_equal(settles_add(s, &id, attempt, &m, now_ms), OK);
    memset(model, 'x', sizeof model - 1);
}

static void it_is_sent_at_once_and_again_until_settled(void **state)
{
    (void)state;
    struct sent sent = {0};
    struct settles *s;
    struct request_id id = id_of(7);
    assert_int_equal(settles_create(&s, 10, record, &sent), OK);
    add(s, 7, 2, 5000);
    assert_int_equal(sent.count, 1);
    settles_tick(s, 5999);
    assert_int_equal(sent.count, 1);
    settles_tick(s, 6000);
    assert_int_equal(sent.count, 2);
    assert_string_equal(sent.model, "gpt-4");
    assert_int_equal(sent.input_tokens, 7);
    assert_int_equal(sent.attempt, 2);
    assert_false(settles_done(s, &id, 1));
    assert_true(settles_done(s, &id, 2));
    assert_false(settles_done(s, &id, 2));
    settles_tick(s, 9000);
    assert_int_equal(sent.count, 2);
    assert_int_equal(settles_pending(s), 0);
    settles_destroy(&s);
}

static void the_same_id_and_attempt_is_kept_once(void **state)
{
    (void)state;
    struct sent sent = {0};
    struct settles *s;
    assert_int_equal(settles_create(&s, 10, record, &sent), OK);
    add(s, 1, 1, 0);
    add(s, 1, 1, 0);
    add(s, 1, 2, 0);
    assert_int_equal(settles_pending(s), 2);
    settles_destroy(&s);
}

static void when_auth_is_back_everything_is_due(void **state)
{
    (void)state;
    struct sent sent = {0};
    struct settles *s;
    assert_int_equal(settles_create(&s, 5000, record, &sent), OK);
    for (unsigned i = 0; i < 1000; i++)
        add(s, i, 1, 10000);
    sent.count = 0;
    settles_tick(s, 10001);
    assert_int_equal(sent.count, 0);
    settles_due_now(s);
    settles_tick(s, 10001);
    assert_int_equal(sent.count, SETTLE_BATCH);
    settles_tick(s, 10001);
    assert_int_equal(sent.count, 1000);
    settles_tick(s, 10001);
    assert_int_equal(sent.count, 1000);
    settles_destroy(&s);
}

static void it_says_when_it_is_full_and_refuses_at_twice_that(void **state)
{
    (void)state;
    struct sent sent = {0};
    struct settles *s;
    struct settle m = {0};
    struct request_id id = id_of(99);
    assert_int_equal(settles_create(&s, 3, record, &sent), OK);
    add(s, 0, 1, 0);
    add(s, 1, 1, 0);
    assert_false(settles_full(s));
    for (unsigned i = 2; i < 6; i++)
        add(s, i, 1, 0);
    assert_true(settles_full(s));
    assert_int_equal(settles_add(s, &id, 1, &m, 0), ERR_TOO_BIG);
    settles_destroy(&s);
}

static void thousands_are_found_again_in_any_order(void **state)
{
    (void)state;
    struct sent sent = {0};
    struct settles *s;
    assert_int_equal(settles_create(&s, 10000, record, &sent), OK);
    for (unsigned i = 0; i < 3000; i++)
        add(s, i, 1, 0);
    for (unsigned i = 0; i < 3000; i++) {
        struct request_id id = id_of((i * 7) % 3000);
        assert_true(settles_done(s, &id, 1));
    }
    assert_int_equal(settles_pending(s), 0);
    settles_destroy(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_sent_at_once_and_again_until_settled),
        cmocka_unit_test(the_same_id_and_attempt_is_kept_once),
        cmocka_unit_test(when_auth_is_back_everything_is_due),
        cmocka_unit_test(it_says_when_it_is_full_and_refuses_at_twice_that),
        cmocka_unit_test(thousands_are_found_again_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
