#include "services/edge/leases/releases.h"
#include "common/base/clock.h"

#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct releases *releases;
    struct clock_fake clock;
    enum err answer;
    unsigned sent, gathered;
    struct request_id last;
    char last_model[32];
};

static enum err send_one(void *ctx, struct header h, const struct release *r)
{
    struct fixture *f = ctx;
    if (f->answer != OK)
        return f->answer;
    f->sent++;
    f->last = h.id;
    (void)snprintf(f->last_model, sizeof f->last_model, "%.*s", SPAN_ARG(r->model));
    return OK;
}

static void gather(void *ctx)
{
    ((struct fixture *)ctx)->gathered++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    clock_fake_init(&f->clock, 1000000, 0);
    *state = f;
    return releases_create(&f->releases, 4, send_one, gather, f) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    releases_destroy(&f->releases);
    free(f);
    return 0;
}

static uint64_t now(const struct fixture *f)
{
    return clock_mono_ms(&f->clock.clock);
}

static struct request_id id_of(uint8_t n)
{
    return (struct request_id){{n, n, n, n}};
}

static void add_one(struct fixture *f, uint8_t n, const char *model, bool urgent)
{
    char copy[32];
    (void)snprintf(copy, sizeof copy, "%s", model);
    struct request_id id = id_of(n);
    struct release r = {.model = span_str(copy), .key_id = SPAN("key_1")};
    releases_add(f->releases, &id, 2, &r, urgent, now(f));
    memset(copy, 'X', sizeof copy);
}

static void add(struct fixture *f, uint8_t n, const char *model)
{
    add_one(f, n, model, true);
}

static void those_nobody_waits_for_wait_for_company(void **state)
{
    struct fixture *f = *state;
    add_one(f, 1, "a", false);
    add_one(f, 2, "b", false);
    assert_int_equal(f->sent, 0);
    assert_int_equal(f->gathered, 2);
    releases_tick(f->releases, now(f));
    assert_int_equal(f->sent, 2);
    add_one(f, 3, "c", false);
    add_one(f, 4, "d", true); /* takes the other along */
    assert_int_equal(f->sent, 4);
    assert_int_equal(f->gathered, 3);
}

static void one_is_sent_again_until_it_is_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct request_id id = id_of(1);
    add(f, 1, "gpt-4");
    assert_int_equal(f->sent, 1);
    clock_fake_advance_ms(&f->clock, RELEASE_RESEND_MS - 1);
    releases_tick(f->releases, now(f));
    assert_int_equal(f->sent, 1);
    clock_fake_advance_ms(&f->clock, 1);
    releases_tick(f->releases, now(f));
    assert_int_equal(f->sent, 2);
    assert_string_equal(f->last_model, "gpt-4");
    releases_ack(f->releases, &id, 2);
    releases_ack(f->releases, &id, 2);
    assert_int_equal(releases_pending(f->releases), 0);
    clock_fake_advance_ms(&f->clock, 60000);
    releases_tick(f->releases, now(f));
    assert_int_equal(f->sent, 2);
}

static void what_could_not_be_sent_is_due_when_auth_is_back(void **state)
{
    struct fixture *f = *state;
    f->answer = ERR_CLOSED;
    add(f, 1, "a");
    add(f, 2, "b");
    releases_tick(f->releases, now(f));
    assert_int_equal(f->sent, 0);
    f->answer = OK;
    releases_due_now(f->releases);
    releases_tick(f->releases, now(f));
    assert_int_equal(f->sent, 2);
}

static void a_tick_sends_each_due_one_once(void **state)
{
    struct fixture *f = *state;
    for (uint8_t n = 1; n <= 4; n++)
        add(f, n, "m");
    clock_fake_advance_ms(&f->clock, 5000);
    releases_tick(f->releases, now(f));
    assert_int_equal(f->sent, 8);
    assert_int_equal(f->last.bytes[0], 4);
}

static void the_oldest_is_given_up_at_the_bound(void **state)
{
    struct fixture *f = *state;
    for (uint8_t n = 1; n <= 6; n++)
        add(f, n, "m");
    assert_int_equal(releases_pending(f->releases), 4);
    assert_int_equal(releases_dropped(f->releases), 2);
    struct request_id first = id_of(1), last = id_of(6);
    releases_ack(f->releases, &first, 2);
    assert_int_equal(releases_pending(f->releases), 4);
    releases_ack(f->releases, &last, 2);
    assert_int_equal(releases_pending(f->releases), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(those_nobody_waits_for_wait_for_company, setup, teardown),
        cmocka_unit_test_setup_teardown(one_is_sent_again_until_it_is_acknowledged, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_could_not_be_sent_is_due_when_auth_is_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_tick_sends_each_due_one_once, setup, teardown),
        cmocka_unit_test_setup_teardown(the_oldest_is_given_up_at_the_bound, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
