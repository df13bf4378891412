#include "services/edge/grants/grants.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LIFE_MS = 900, MANY = 2500, MOST_ENTRIES = 4096 };

static const uint64_t start_ms = 5000;

/* The keeper, and what a broker that hears its reports knows. */
struct fixture {
    struct grants *g;
    struct buf out;
    uint32_t seq; /* of the last report */
    struct grant_report entry[MOST_ENTRIES];
    unsigned count;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    return grants_create(&f->g) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    grants_destroy(&f->g);
    assert_null(f->g);
    grants_destroy(&f->g);
    buf_free(&f->out);
    free(f);
    return 0;
}

static struct grant message(uint64_t number, const char *model, uint32_t slots)
{
    static const char token[GRANT_TOKEN_BYTES] = {7};
    return (struct grant){.number = number,
                          .token = span_of(token, sizeof token),
                          .standing = slots > 0,
                          .slots = slots ? slots : 1,
                          .valid_ms = LIFE_MS,
                          .worker = SPAN("worker-1"),
                          .worker_epoch = 77,
                          .address = SPAN("ipc:///w"),
                          .model = span_str(model)};
}

/* A standing grant of so many slots. */
static struct held_grant *put(struct fixture *f, unsigned broker, uint64_t number,
                              const char *model, uint32_t slots, uint64_t now_ms)
{
    struct grant m = message(number, model, slots);
    return grants_put(f->g, broker, &m, now_ms);
}

static struct held_grant *put_once(struct fixture *f, uint64_t number, uint64_t now_ms)
{
    return put(f, 0, number, "", 0, now_ms);
}

/* The next report to this broker; how many entries it has. */
static unsigned report(struct fixture *f, unsigned broker, uint64_t now_ms)
{
    f->count = 0;
    buf_clear(&f->out);
    if (!grants_report(f->g, broker, f->seq + 1, now_ms, &f->out))
        return 0;
    f->seq++;
    struct span entries = buf_span(&f->out);
    while (entries.len)
        assert_int_equal(grant_report_next(&entries, &f->entry[f->count++]), OK);
    assert_true(f->count > 0);
    return f->count;
}

static void heard(struct fixture *f, unsigned broker)
{
    grants_reported(f->g, broker, f->seq);
}

static struct grants_stats stats(const struct fixture *f)
{
    return grants_stats(f->g);
}

static void assert_counts(const struct fixture *f, uint64_t started, uint64_t committed,
                          uint64_t ok, uint64_t failed, uint64_t canceled)
{
    const struct grant_report *r = &f->entry[0];
    assert_int_equal(r->started, started);
    assert_int_equal(r->committed, committed);
    assert_int_equal(r->ok, ok);
    assert_int_equal(r->failed, failed);
    assert_int_equal(r->canceled, canceled);
}

/* Is a renewal due? Closes what has expired. */
static bool renewal(struct fixture *f, uint64_t now_ms, uint32_t *wanted)
{
    unsigned broker;
    struct span model;
    return grants_renewal(f->g, now_ms, &broker, &model, wanted);
}

/* ---- requests ---- */

static void wanted_is_what_runs_and_waits_of_a_model(void **state)
{
    struct fixture *f = *state;
    struct model_use *a = grants_enter(f->g, SPAN("m"));
    struct model_use *b = grants_enter(f->g, SPAN("m"));
    struct model_use *c = grants_enter(f->g, SPAN("other"));
    assert_ptr_equal(a, b);
    assert_int_equal(grants_wanted(a), 2);
    assert_int_equal(grants_wanted(c), 1);
    grants_leave(f->g, &b);
    assert_null(b);
    assert_int_equal(grants_wanted(a), 1);
    grants_leave(f->g, &b);
    grants_leave(f->g, &a);
    grants_leave(f->g, &c);
}

static void a_model_without_a_name_and_one_too_long(void **state)
{
    struct fixture *f = *state;
    char name[2048];
    memset(name, 'm', sizeof name);
    struct model_use *use = grants_enter(f->g, SPAN_NONE);
    assert_non_null(use);
    grants_leave(f->g, &use);
    assert_null(grants_enter(f->g, span_of(name, sizeof name)));
}

static void a_standing_grant_serves_as_many_at_once_as_it_has_slots(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct model_use *other = grants_enter(f->g, SPAN("other"));
    assert_null(grants_take(f->g, use, start_ms));
    struct held_grant *g = put(f, 0, 1, "m", 2, start_ms);
    assert_non_null(g);
    assert_null(grants_take(f->g, other, start_ms));
    assert_ptr_equal(grants_take(f->g, use, start_ms), g);
    assert_ptr_equal(grants_take(f->g, use, start_ms), g);
    assert_null(grants_take(f->g, use, start_ms));
    assert_false(grants_start(f->g, g, start_ms));
    assert_int_equal(stats(f).running, 2);
    grants_end(f->g, g, GRANT_OK, start_ms);
    assert_ptr_equal(grants_take(f->g, use, start_ms), g);
    grants_end(f->g, g, GRANT_OK, start_ms);
    grants_end(f->g, g, GRANT_OK, start_ms);
    assert_int_equal(stats(f).running, 0);
    assert_int_equal(stats(f).slots, 2);
    grants_leave(f->g, &use);
    grants_leave(f->g, &other);
}

static void standing_grants_are_taken_in_turn(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    unsigned taken[4] = {0};
    for (uint64_t n = 1; n <= 3; n++)
        assert_non_null(put(f, n == 3, n, "m", 4, start_ms));
    for (int i = 0; i < 6; i++)
        taken[grants_take(f->g, use, start_ms)->m.number]++;
    assert_int_equal(taken[1], 2);
    assert_int_equal(taken[2], 2);
    assert_int_equal(taken[3], 2);
    grants_leave(f->g, &use);
}

static void the_less_busy_of_standing_grants_are_taken_first(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct held_grant *old = put(f, 0, 1, "m", 8, start_ms), *g;
    for (int i = 0; i < 6; i++)
        assert_ptr_equal(grants_take(f->g, use, start_ms), old);
    assert_non_null(put(f, 0, 2, "m", 8, start_ms)); /* a new worker */
    /* One ends at the old one, and the next begins: at the new one, until it has as many. */
    for (int i = 0; i < 3; i++) {
        grants_end(f->g, old, GRANT_OK, start_ms);
        g = grants_take(f->g, use, start_ms);
        assert_int_equal(g->m.number, 2);
    }
    unsigned taken[3] = {0};
    for (int i = 0; i < 4; i++)
        taken[grants_take(f->g, use, start_ms)->m.number]++;
    assert_int_equal(taken[1], 2);
    assert_int_equal(taken[2], 2);
    grants_leave(f->g, &use);
}

static void what_a_grant_says_is_the_keepers_own_copy(void **state)
{
    struct fixture *f = *state;
    char model[] = "m", token[GRANT_TOKEN_BYTES];
    struct grant m = message(1, model, 1);
    memset(token, 9, sizeof token);
    m.token = span_of(token, sizeof token);
    struct held_grant *g = grants_put(f->g, 0, &m, start_ms);
    memset(model, 'X', 1);
    memset(token, 'X', sizeof token);
    assert_true(span_is(g->m.model, "m"));
    assert_int_equal(g->m.token.data[0], 9);
    assert_true(span_is(g->m.worker, "worker-1"));
    assert_int_equal(g->broker, 0);
}

static void a_grant_for_one_attempt_is_used_once_and_by_no_other(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN(""));
    struct held_grant *g = put_once(f, 1, start_ms);
    assert_null(grants_take(f->g, use, start_ms));
    assert_true(grants_start(f->g, g, start_ms));
    assert_false(grants_start(f->g, g, start_ms));
    assert_int_equal(stats(f).slots, 0);
    grants_end(f->g, g, GRANT_OK, start_ms);
    assert_int_equal(report(f, 0, start_ms + GRANTS_REPORT_MS), 1);
    assert_counts(f, 1, 0, 1, 0, 0);
    assert_true(f->entry[0].closed);
    heard(f, 0);
    assert_int_equal(stats(f).held, 0);
    grants_leave(f->g, &use);
}

static void a_grant_that_nobody_waits_for_goes_back_at_once(void **state)
{
    struct fixture *f = *state;
    struct held_grant *g = put_once(f, 1, start_ms);
    grants_return(f->g, g, start_ms);
    assert_int_equal(report(f, 0, start_ms), 1);
    assert_counts(f, 0, 0, 0, 0, 0);
    assert_true(f->entry[0].closed);
    heard(f, 0);
    assert_int_equal(stats(f).held, 0);
}

static void a_resting_grant_is_not_taken_until_it_is_renewed(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct held_grant *g = put(f, 0, 1, "m", 2, start_ms);
    assert_ptr_equal(grants_take(f->g, use, start_ms), g);
    grants_rest(f->g, g);
    grants_end(f->g, g, GRANT_CANCELED, start_ms);
    assert_null(grants_take(f->g, use, start_ms));
    assert_ptr_equal(put(f, 0, 1, "m", 2, start_ms + 450), g);
    assert_ptr_equal(grants_take(f->g, use, start_ms + 450), g);
    grants_leave(f->g, &use);
}

/* ---- the end of a grant ---- */

static void nothing_is_started_under_an_expired_grant(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct held_grant *once = put_once(f, 2, start_ms);
    assert_false(grants_start(f->g, once, start_ms + LIFE_MS));
    assert_non_null(put(f, 0, 1, "m", 2, start_ms));
    assert_non_null(grants_take(f->g, use, start_ms + LIFE_MS - 1));
    assert_null(grants_take(f->g, use, start_ms + LIFE_MS));
    assert_int_equal(stats(f).slots, 1); /* of the other one, until time is looked at */
    grants_leave(f->g, &use);
}

static void what_runs_under_an_expired_grant_is_reported_to_its_end(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct held_grant *g = put(f, 0, 1, "m", 2, start_ms);
    uint64_t end_ms = start_ms + LIFE_MS;
    uint32_t wanted;
    assert_ptr_equal(grants_take(f->g, use, end_ms - 1), g);
    while (renewal(f, end_ms, &wanted))
        ;
    assert_int_equal(report(f, 0, end_ms), 1);
    assert_true(f->entry[0].closed);
    assert_counts(f, 1, 0, 0, 0, 0);
    heard(f, 0);
    assert_int_equal(stats(f).held, 1);
    grants_commit(f->g, g, end_ms + 500);
    grants_end(f->g, g, GRANT_OK, end_ms + 700);
    assert_int_equal(report(f, 0, end_ms + 700), 1);
    assert_counts(f, 1, 1, 1, 0, 0);
    heard(f, 0);
    assert_int_equal(stats(f).held, 0);
    grants_leave(f->g, &use);
}

static void an_unused_grant_expires_and_is_told_closed(void **state)
{
    struct fixture *f = *state;
    uint32_t wanted;
    assert_non_null(put(f, 0, 1, "m", 2, start_ms));
    assert_non_null(put_once(f, 2, start_ms));
    assert_false(renewal(f, start_ms + LIFE_MS, &wanted));
    assert_int_equal(stats(f).slots, 0);
    assert_int_equal(report(f, 0, start_ms + LIFE_MS), 2);
    assert_true(f->entry[0].closed && f->entry[1].closed);
    heard(f, 0);
    assert_int_equal(stats(f).held, 0);
}

static void a_revoked_grant_ends_and_unknown_ones_do_nothing(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    assert_non_null(put(f, 0, 1, "m", 2, start_ms));
    grants_revoke(f->g, 0, 2, start_ms);
    grants_revoke(f->g, 1, 1, start_ms);
    struct held_grant *g = grants_take(f->g, use, start_ms);
    assert_non_null(g);
    grants_revoke(f->g, 0, 1, start_ms);
    assert_null(grants_take(f->g, use, start_ms));
    assert_int_equal(stats(f).slots, 0);
    assert_int_equal(report(f, 0, start_ms), 1);
    assert_true(f->entry[0].closed);
    heard(f, 0);
    grants_revoke(f->g, 0, 1, start_ms); /* it may not have heard */
    assert_int_equal(report(f, 0, start_ms), 1);
    heard(f, 0);
    grants_end(f->g, g, GRANT_OK, start_ms);
    assert_int_equal(report(f, 0, start_ms + GRANTS_REPORT_MS), 1);
    heard(f, 0);
    assert_int_equal(stats(f).held, 0);
    grants_leave(f->g, &use);
}

static void a_lost_workers_grants_of_all_brokers_end(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct grant other = message(9, "m", 3);
    other.worker_epoch = 78;
    assert_non_null(put(f, 0, 1, "m", 2, start_ms));
    assert_non_null(put(f, 1, 1, "m", 2, start_ms));
    struct held_grant *left = grants_put(f->g, 1, &other, start_ms);
    grants_worker_down(f->g, 77, start_ms);
    assert_int_equal(stats(f).slots, 3);
    assert_ptr_equal(grants_take(f->g, use, start_ms), left);
    assert_ptr_equal(grants_take(f->g, use, start_ms), left);
    assert_int_equal(report(f, 0, start_ms), 1);
    assert_int_equal(report(f, 1, start_ms), 2);
    grants_leave(f->g, &use);
}

/* ---- what makes no sense ---- */

static void a_grant_that_makes_no_sense_is_not_held(void **state)
{
    struct fixture *f = *state;
    struct grant m = message(1, "m", 1);
    m.slots = 0;
    assert_null(grants_put(f->g, 0, &m, start_ms));
    m = message(1, "m", 1);
    m.worker_epoch = 0;
    assert_null(grants_put(f->g, 0, &m, start_ms));
    m = message(1, "m", 1);
    m.token = SPAN("short");
    assert_null(grants_put(f->g, 0, &m, start_ms));
    m = message(1, "m", 1);
    m.model = SPAN_NONE;
    assert_null(grants_put(f->g, 0, &m, start_ms));
    m = message(1, "m", 1);
    assert_null(grants_put(f->g, GRANTS_MAX_BROKERS, &m, start_ms));
    assert_int_equal(stats(f).held, 0);
}

static void a_renewal_that_crosses_the_end_is_not_taken(void **state)
{
    struct fixture *f = *state;
    struct held_grant *g = put(f, 0, 1, "m", 2, start_ms);
    grants_return(f->g, g, start_ms);
    assert_int_equal(report(f, 0, start_ms), 1);
    assert_null(put(f, 0, 1, "m", 2, start_ms));
    assert_int_equal(report(f, 0, start_ms), 1); /* said once more, at once */
    assert_true(f->entry[0].closed);
    heard(f, 0);
    assert_int_equal(stats(f).held, 0);
}

static void a_renewal_for_another_worker_is_not_taken(void **state)
{
    struct fixture *f = *state;
    struct grant m = message(1, "m", 2);
    assert_non_null(grants_put(f->g, 0, &m, start_ms));
    m.worker_epoch = 78;
    assert_null(grants_put(f->g, 0, &m, start_ms));
    assert_int_equal(stats(f).slots, 2);
}

/* ---- reports ---- */

static void counts_are_gathered_and_cumulative(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    assert_int_equal(report(f, 0, start_ms), 0);
    struct held_grant *g = put(f, 0, 1, "m", 4, start_ms);
    assert_ptr_equal(grants_take(f->g, use, start_ms), g);
    assert_int_equal(report(f, 0, start_ms + GRANTS_REPORT_MS - 1), 0);
    grants_commit(f->g, g, start_ms + 30);
    grants_end(f->g, g, GRANT_OK, start_ms + 30);
    assert_ptr_equal(grants_take(f->g, use, start_ms + 40), g);
    assert_int_equal(report(f, 0, start_ms + GRANTS_REPORT_MS), 1);
    assert_int_equal(f->entry[0].number, 1);
    assert_counts(f, 2, 1, 1, 0, 0);
    assert_false(f->entry[0].closed);
    heard(f, 0);
    grants_commit(f->g, g, start_ms + 60);
    grants_end(f->g, g, GRANT_OK, start_ms + 60);
    assert_int_equal(report(f, 0, start_ms + 60 + GRANTS_REPORT_MS), 1);
    assert_counts(f, 2, 2, 2, 0, 0);
    grants_leave(f->g, &use);
}

static void failures_and_cancels_are_told_at_once(void **state)
{
    static const enum grant_outcome outcomes[] = {GRANT_FAILED, GRANT_CANCELED};
    for (unsigned i = 0; i < 2; i++) {
        struct fixture *f = *state;
        struct model_use *use = grants_enter(f->g, SPAN("m"));
        struct held_grant *g = put(f, 0, 1 + i, "m", 4, start_ms);
        assert_true(grants_start(f->g, g, start_ms));
        grants_end(f->g, g, outcomes[i], start_ms + 1);
        assert_int_equal(grants_next_due_ms(f->g), 0);
        assert_int_equal(report(f, 0, start_ms + 1), 1);
        assert_counts(f, 1, 0, 0, outcomes[i] == GRANT_FAILED, outcomes[i] == GRANT_CANCELED);
        heard(f, 0);
        grants_return(f->g, g, start_ms + 1);
        assert_int_equal(report(f, 0, start_ms + 1), 1);
        heard(f, 0);
        grants_leave(f->g, &use);
    }
}

static void all_of_them_are_told_once_a_second(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(grants_next_due_ms(f->g), UINT64_MAX);
    struct grant m = message(1, "m", 2);
    m.valid_ms = 60000;
    for (m.number = 1; m.number <= 3; m.number++)
        assert_non_null(grants_put(f->g, 0, &m, start_ms));
    uint64_t now = start_ms;
    while (!report(f, 0, now))
        now++;
    assert_int_equal(f->count, 3);
    heard(f, 0);
    assert_int_equal(report(f, 0, now + 900), 0);
    unsigned entries = 0;
    for (uint64_t at = now + 900; at <= now + 1000 + GRANTS_REPORT_MS; at++)
        entries += report(f, 0, at);
    assert_int_equal(entries, 3);
    assert_int_equal(report(f, 1, now + 5000), 0);
}

static void a_lost_report_is_repeated_with_the_others(void **state)
{
    struct fixture *f = *state;
    struct held_grant *g = put(f, 0, 1, "m", 2, start_ms);
    grants_return(f->g, g, start_ms);
    assert_int_equal(report(f, 0, start_ms), 1); /* and nobody hears it */
    struct held_grant *h = put(f, 0, 2, "m", 2, start_ms);
    grants_return(f->g, h, start_ms);
    assert_int_equal(report(f, 0, start_ms), 1);
    assert_int_equal(f->entry[0].number, 2);
    heard(f, 0);
    assert_int_equal(stats(f).held, 1); /* the first is not acknowledged by the second report */
    unsigned again = 0;
    for (uint64_t at = start_ms; at <= start_ms + 1000 + GRANTS_REPORT_MS; at += 10)
        again += report(f, 0, at);
    assert_int_equal(again, 1);
    assert_int_equal(f->count ? f->entry[0].number : 1, 1);
    heard(f, 0);
    assert_int_equal(stats(f).held, 0);
}

static void an_acknowledgement_counts_for_its_own_report_only(void **state)
{
    struct fixture *f = *state;
    struct held_grant *g = put(f, 0, 1, "m", 2, start_ms);
    assert_true(grants_start(f->g, g, start_ms));
    assert_int_equal(report(f, 0, start_ms + GRANTS_REPORT_MS), 1);
    grants_reported(f->g, 0, f->seq + 1); /* of a report that was never sent */
    grants_end(f->g, g, GRANT_FAILED, start_ms + 60);
    heard(f, 0); /* what it acknowledges is older than the failure */
    grants_reported(f->g, 1, f->seq);
    assert_int_equal(report(f, 0, start_ms + 60), 1);
    assert_counts(f, 1, 0, 0, 1, 0);
    heard(f, 0);
    heard(f, 0);
    assert_int_equal(stats(f).held, 1);
}

static void report_numbers_may_wrap(void **state)
{
    struct fixture *f = *state;
    f->seq = UINT32_MAX - 1;
    for (uint64_t n = 1; n <= 4; n++) {
        struct held_grant *g = put(f, 0, n, "m", 1, start_ms);
        grants_return(f->g, g, start_ms);
        assert_int_equal(report(f, 0, start_ms), 1);
        heard(f, 0);
        assert_int_equal(stats(f).held, 0);
    }
    assert_int_equal(f->seq, 2);
}

static void many_grants_go_in_several_reports(void **state)
{
    struct fixture *f = *state;
    for (uint64_t n = 1; n <= MANY; n++)
        grants_return(f->g, put_once(f, n, start_ms), start_ms);
    unsigned entries = 0, reports = 0;
    while (report(f, 0, start_ms)) {
        assert_in_range(f->count, 1, GRANTS_PER_REPORT);
        entries += f->count;
        reports++;
    }
    assert_int_equal(entries, MANY);
    assert_int_equal(reports, 3);
    for (uint32_t seq = 1; seq <= 3; seq++)
        grants_reported(f->g, 0, seq);
    assert_int_equal(stats(f).held, 0);
}

/* ---- brokers that are lost ---- */

static void a_lost_brokers_grants_hold_but_it_hears_nothing(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct held_grant *g = put(f, 0, 1, "m", 2, start_ms);
    grants_broker_down(f->g, 0);
    assert_ptr_equal(grants_take(f->g, use, start_ms + 100), g);
    grants_end(f->g, g, GRANT_FAILED, start_ms + 200);
    uint32_t wanted;
    assert_false(renewal(f, start_ms + 500, &wanted));
    assert_int_equal(report(f, 0, start_ms + 500), 0);
    assert_ptr_equal(grants_take(f->g, use, start_ms + LIFE_MS - 1), g);
    assert_false(renewal(f, start_ms + LIFE_MS, &wanted));
    assert_int_equal(stats(f).held, 1);
    /* nothing is due for as long as it runs */
    assert_int_equal(grants_next_due_ms(f->g), UINT64_MAX);
    assert_int_equal(report(f, 0, start_ms + 5000), 0);
    grants_end(f->g, g, GRANT_OK, start_ms + 6000);
    assert_int_equal(stats(f).held, 0);
    grants_leave(f->g, &use);
}

static void a_lost_broker_frees_what_waited_for_it_alone(void **state)
{
    struct fixture *f = *state;
    struct held_grant *g = put(f, 0, 1, "m", 2, start_ms);
    struct held_grant *sent = put(f, 0, 2, "m", 2, start_ms);
    struct held_grant *other = put(f, 1, 1, "m", 2, start_ms);
    grants_return(f->g, sent, start_ms);
    assert_int_equal(report(f, 0, start_ms + GRANTS_REPORT_MS), 2);
    grants_return(f->g, g, start_ms);
    grants_broker_down(f->g, 0);
    grants_broker_down(f->g, 0);
    assert_int_equal(stats(f).held, 1);
    heard(f, 0);
    grants_return(f->g, other, start_ms);
    assert_int_equal(report(f, 1, start_ms + GRANTS_REPORT_MS), 1);
}

static void numbers_begin_anew_with_another_life_of_a_broker(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct held_grant *old = put(f, 0, 1, "m", 1, start_ms);
    assert_ptr_equal(grants_take(f->g, use, start_ms), old);
    grants_broker_down(f->g, 0);
    struct held_grant *young = put(f, 0, 1, "m", 1, start_ms + 100);
    assert_non_null(young);
    assert_ptr_not_equal(young, old);
    assert_ptr_equal(grants_take(f->g, use, start_ms + 100), young);
    grants_end(f->g, old, GRANT_FAILED, start_ms + 100);
    assert_int_equal(report(f, 0, start_ms + 100 + GRANTS_REPORT_MS), 1);
    assert_counts(f, 1, 0, 0, 0, 0);
    grants_revoke(f->g, 0, 1, start_ms + 200);
    grants_end(f->g, young, GRANT_OK, start_ms + 200);
    /* the old one is still there, free, until it expires */
    assert_ptr_equal(grants_take(f->g, use, start_ms + 200), old);
    grants_end(f->g, old, GRANT_OK, start_ms + 200);
    grants_leave(f->g, &use);
}

/* ---- renewals ---- */

static void a_used_grant_is_renewed_half_way_with_the_peak(void **state)
{
    struct fixture *f = *state;
    struct model_use *uses[3];
    for (int i = 0; i < 3; i++)
        uses[i] = grants_enter(f->g, SPAN("m"));
    struct held_grant *g = put(f, 2, 1, "m", 2, start_ms);
    assert_ptr_equal(grants_take(f->g, uses[0], start_ms), g);
    grants_end(f->g, g, GRANT_OK, start_ms + 1);
    grants_leave(f->g, &uses[2]);
    grants_leave(f->g, &uses[1]);
    unsigned broker = 0;
    struct span model;
    uint32_t wanted = 0;
    assert_false(grants_renewal(f->g, start_ms + LIFE_MS / 2 - 1, &broker, &model, &wanted));
    assert_true(grants_next_due_ms(f->g) <= start_ms + LIFE_MS / 2);
    assert_true(grants_renewal(f->g, start_ms + LIFE_MS / 2, &broker, &model, &wanted));
    assert_int_equal(broker, 2);
    assert_true(span_is(model, "m"));
    assert_int_equal(wanted, 3);
    assert_false(grants_renewal(f->g, start_ms + LIFE_MS / 2, &broker, &model, &wanted));
    /* the broker's answer: a later expiry, other slots */
    assert_ptr_equal(put(f, 2, 1, "m", 5, start_ms + 460), g);
    assert_int_equal(stats(f).slots, 5);
    assert_int_equal(stats(f).held, 1);
    assert_ptr_equal(grants_take(f->g, uses[0], start_ms + LIFE_MS + 10), g);
    assert_true(renewal(f, start_ms + LIFE_MS + 10, &wanted));
    assert_int_equal(wanted, 1); /* the peak since then */
    grants_end(f->g, g, GRANT_OK, start_ms + LIFE_MS + 10);
    grants_leave(f->g, &uses[0]);
}

static void an_unused_grant_is_not_renewed(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct held_grant *g = put(f, 0, 1, "m", 2, start_ms);
    uint32_t wanted;
    assert_ptr_equal(grants_take(f->g, use, start_ms), g);
    grants_end(f->g, g, GRANT_OK, start_ms);
    assert_true(renewal(f, start_ms + 450, &wanted));
    assert_non_null(put(f, 0, 1, "m", 2, start_ms + 450));
    assert_false(renewal(f, start_ms + 900, &wanted));
    assert_int_equal(stats(f).slots, 2);
    assert_false(renewal(f, start_ms + 450 + LIFE_MS, &wanted));
    assert_int_equal(stats(f).slots, 0);
    grants_leave(f->g, &use);
}

static void one_ask_renews_all_of_a_model_from_a_broker(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct model_use *other = grants_enter(f->g, SPAN("other"));
    for (uint64_t n = 1; n <= 3; n++)
        assert_non_null(put(f, 0, n, "m", 1, start_ms));
    assert_non_null(put(f, 1, 1, "m", 1, start_ms));
    assert_non_null(put(f, 0, 4, "other", 1, start_ms));
    for (int i = 0; i < 4; i++)
        assert_non_null(grants_take(f->g, use, start_ms));
    assert_non_null(grants_take(f->g, other, start_ms));
    unsigned of_m = 0, of_other = 0, broker, brokers = 0;
    struct span model;
    uint32_t wanted;
    while (grants_renewal(f->g, start_ms + 450, &broker, &model, &wanted)) {
        of_m += span_is(model, "m");
        of_other += span_is(model, "other");
        brokers |= 1u << broker;
    }
    assert_int_equal(of_m, 2);
    assert_int_equal(of_other, 1);
    assert_int_equal(brokers, 3);
    grants_leave(f->g, &use);
    grants_leave(f->g, &other);
}

static void fewer_slots_than_run_let_nothing_more_start(void **state)
{
    struct fixture *f = *state;
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct held_grant *g = put(f, 0, 1, "m", 3, start_ms);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(grants_take(f->g, use, start_ms), g);
    assert_ptr_equal(put(f, 0, 1, "m", 1, start_ms + 450), g);
    assert_int_equal(stats(f).slots, 1);
    grants_end(f->g, g, GRANT_OK, start_ms + 460);
    grants_end(f->g, g, GRANT_OK, start_ms + 460);
    assert_null(grants_take(f->g, use, start_ms + 460));
    grants_end(f->g, g, GRANT_OK, start_ms + 470);
    assert_ptr_equal(grants_take(f->g, use, start_ms + 470), g);
    grants_leave(f->g, &use);
}

static void a_model_is_known_as_long_as_its_grants(void **state)
{
    struct fixture *f = *state;
    assert_non_null(put(f, 0, 1, "m", 1, start_ms)); /* nobody is there */
    struct model_use *use = grants_enter(f->g, SPAN("m"));
    struct held_grant *g = grants_take(f->g, use, start_ms);
    assert_non_null(g);
    grants_leave(f->g, &use); /* before what it started has ended */
    grants_end(f->g, g, GRANT_OK, start_ms);
    use = grants_enter(f->g, SPAN("m"));
    assert_non_null(grants_take(f->g, use, start_ms));
    grants_leave(f->g, &use);
}

static void when_something_is_due_is_known(void **state)
{
    struct fixture *f = *state;
    uint32_t wanted;
    struct grant m = message(1, "m", 1);
    struct held_grant *g = grants_put(f->g, 3, &m, start_ms);
    for (uint64_t now = start_ms; now < start_ms + 3000;) {
        while (renewal(f, now, &wanted))
            ;
        while (report(f, 3, now))
            heard(f, 3);
        uint64_t due = grants_next_due_ms(f->g);
        assert_true(due > now); /* or the edge would turn for nothing */
        if (due == UINT64_MAX)
            break;
        now = due;
    }
    (void)g;
    assert_int_equal(stats(f).held, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(wanted_is_what_runs_and_waits_of_a_model),
        T(a_model_without_a_name_and_one_too_long),
        T(a_standing_grant_serves_as_many_at_once_as_it_has_slots),
        T(standing_grants_are_taken_in_turn),
        T(the_less_busy_of_standing_grants_are_taken_first),
        T(what_a_grant_says_is_the_keepers_own_copy),
        T(a_grant_for_one_attempt_is_used_once_and_by_no_other),
        T(a_grant_that_nobody_waits_for_goes_back_at_once),
        T(a_resting_grant_is_not_taken_until_it_is_renewed),
        T(nothing_is_started_under_an_expired_grant),
        T(what_runs_under_an_expired_grant_is_reported_to_its_end),
        T(an_unused_grant_expires_and_is_told_closed),
        T(a_revoked_grant_ends_and_unknown_ones_do_nothing),
        T(a_lost_workers_grants_of_all_brokers_end),
        T(a_grant_that_makes_no_sense_is_not_held),
        T(a_renewal_that_crosses_the_end_is_not_taken),
        T(a_renewal_for_another_worker_is_not_taken),
        T(counts_are_gathered_and_cumulative),
        T(failures_and_cancels_are_told_at_once),
        T(all_of_them_are_told_once_a_second),
        T(a_lost_report_is_repeated_with_the_others),
        T(an_acknowledgement_counts_for_its_own_report_only),
        T(report_numbers_may_wrap),
        T(many_grants_go_in_several_reports),
        T(a_lost_brokers_grants_hold_but_it_hears_nothing),
        T(a_lost_broker_frees_what_waited_for_it_alone),
        T(numbers_begin_anew_with_another_life_of_a_broker),
        T(a_used_grant_is_renewed_half_way_with_the_peak),
        T(an_unused_grant_is_not_renewed),
        T(one_ask_renews_all_of_a_model_from_a_broker),
        T(fewer_slots_than_run_let_nothing_more_start),
        T(a_model_is_known_as_long_as_its_grants),
        T(when_something_is_due_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
