/* A name server that hangs: the time to connect holds all the same, and nobody waits for its
 * answer. The resolver is the test's own. */
#include "unit/common/fetch/test_world.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "proto/error_class.h"

enum { PATIENCE_S = 20 }; /* of a test that fails */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool answers;
static unsigned asked, left;

/* Stands before the library's own. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    (void)node, (void)service, (void)hints;
    *out = NULL;
    (void)pthread_mutex_lock(&lock);
    asked++;
    while (!answers)
        (void)pthread_cond_wait(&changed, &lock);
    left++;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
    return EAI_AGAIN;
}

/* Threads that still wait must not outlive the test's memory. */
static void let_it_answer(void)
{
    (void)pthread_mutex_lock(&lock);
    answers = true;
    (void)pthread_cond_broadcast(&changed);
    while (left < asked)
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
}

static void point_to_a_name(struct world *w)
{
    char base[64];
    fetch_origin_destroy(&w->origin);
    (void)snprintf(base, sizeof base, "http://hangs.example:%u%s/v1", w->server.port,
                   world_by_libcurl ? "/." : "");
    w->origin = world_make_origin(w, base, true);
}

static void a_resolver_that_hangs_does_not_outlast_the_time_to_connect(void **state)
{
    struct world *w = *state;
    struct fetch_options options = {4, 64, 50, WORLD_MAX_RESPONSE};
    answers = false;
    fetch_destroy(&w->up);
    assert_int_equal(fetch_create(&w->up, w->loop, &options), OK);
    point_to_a_name(w);
    struct fetch_spec spec = world_post(w, &w->heard, "{}");
    spec.first_byte_ms = 0; /* so that nothing else ends it */
    world_start(w, &w->heard, spec);
    for (int i = 0; i < TEST_PATIENCE && asked == left;
         i++) /* the clock stands until it is asked */
        test_turn(&w->server);
    for (time_t until = time(NULL) + PATIENCE_S; time(NULL) < until && !w->heard.failures;) {
        clock_fake_advance_ms(&w->clock, 1); /* the loop's; libcurl has its own */
        test_turn(&w->server);
    }
    world_assert_failed(&w->heard, ERROR_UPSTREAM_CONNECT_TIMEOUT, false);
    assert_int_equal(asked, left + 1); /* it hangs still */
    let_it_answer();
}

static void a_resolver_that_hangs_does_not_outlast_the_time_to_the_first_byte(void **state)
{
    struct world *w = *state;
    answers = false;
    point_to_a_name(w);
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    for (int i = 0; i < TEST_PATIENCE && asked == left; i++)
        test_turn(&w->server);
    clock_fake_advance_ms(&w->clock, 1001);
    world_until_over(w, &w->heard);
    world_assert_failed(&w->heard, ERROR_UPSTREAM_CONNECT_TIMEOUT, false);
    assert_int_equal(asked, left + 1);
    let_it_answer();
}

static void a_request_may_be_cancelled_while_its_resolver_hangs(void **state)
{
    struct world *w = *state;
    answers = false;
    point_to_a_name(w);
    world_start(w, &w->heard, world_post(w, &w->heard, "{}"));
    for (int i = 0; i < TEST_PATIENCE && asked == left; i++)
        test_turn(&w->server);
    fetch_cancel(&w->heard.request);
    assert_int_equal(asked, left + 1);
    assert_int_equal(fetch_running(w->up), 0);
    let_it_answer();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_CASE(a_resolver_that_hangs_does_not_outlast_the_time_to_connect),
        WORLD_CASE(a_resolver_that_hangs_does_not_outlast_the_time_to_the_first_byte),
        WORLD_CASE(a_request_may_be_cancelled_while_its_resolver_hangs),
    };
    int failed = cmocka_run_group_tests_name("our own client", tests, NULL, NULL);
    world_by_libcurl = true;
    return failed + cmocka_run_group_tests_name("libcurl", tests, NULL, NULL);
}
