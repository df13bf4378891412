#include "services/ctl/certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct home {
    char root[64], folder[96];
    struct buf error;
};

static int setup(void **state)
{
    struct home *h = calloc(1, sizeof *h);
    (void)snprintf(h->root, sizeof h->root, "/tmp/tollgate-certs-XXXXXX");
    assert_non_null(mkdtemp(h->root));
    (void)snprintf(h->folder, sizeof h->folder, "%s/bus", h->root);
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    struct home *h = *state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", h->root);
    assert_int_equal(system(command), 0);
    buf_free(&h->error);
    free(h);
    return 0;
}

static void open_certs(struct home *h, struct certs *c)
{
    assert_int_equal(certs_open(c, h->folder, &h->error), OK);
}

static unsigned mode_of(const char *folder, const char *name)
{
    char path[160];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &st) == 0 ? (unsigned)st.st_mode & 0777 : 0;
}

static void make(struct home *h, const char *service, enum err expected)
{
    struct certs c;
    open_certs(h, &c);
    assert_int_equal(certs_make(&c, service, &h->error), expected);
    certs_close(&c);
}

static void every_service_gets_a_secret_and_a_line(void **state)
{
    struct home *h = *state;
    struct bus_keys keys;
    make(h, "edge", OK);
    make(h, "worker-openai", OK);
    make(h, "edge", ERR_EXISTS);
    make(h, "nobody", ERR_INVALID);
    make(h, "worker-../x", ERR_INVALID);
    assert_int_equal(mode_of(h->folder, "edge.secret"), 0400);
    assert_int_equal(mode_of(h->folder, "worker-openai.secret"), 0400);
    assert_int_equal(mode_of(h->folder, "public.keys"), 0444);
    assert_int_equal(bus_keys_load(&keys, h->folder, "worker-openai", &h->error), OK);
    assert_int_equal(keys.list.count, 2);
    bus_keys_reset(&keys);
}

static void a_making_that_was_interrupted_is_finished(void **state)
{
    struct home *h = *state;
    struct bus_keys keys;
    char path[160];
    make(h, "edge", OK);
    (void)snprintf(path, sizeof path, "%s/public.keys", h->folder);
    assert_int_equal(unlink(path), 0);
    make(h, "edge", ERR_EXISTS);
    assert_int_equal(bus_keys_load(&keys, h->folder, "edge", &h->error), OK);
    bus_keys_reset(&keys);
}

static void a_broken_list_is_left_alone(void **state)
{
    struct home *h = *state;
    struct certs c;
    char path[160];
    make(h, "edge", OK);
    (void)snprintf(path, sizeof path, "%s/public.keys", h->folder);
    assert_int_equal(key_file_write(path, SPAN("nonsense\n"), 0444), OK);
    assert_int_equal(certs_open(&c, h->folder, &h->error), ERR_INVALID);
    certs_close(&c);
}

static enum certs_step rotate(struct home *h, const char *service)
{
    struct certs c;
    enum certs_step step = CERTS_LISTED;
    open_certs(h, &c);
    assert_int_equal(certs_rotate(&c, service, &step, &h->error), OK);
    certs_close(&c);
    return step;
}

static void load(struct home *h, struct bus_keys *keys)
{
    bus_keys_reset(keys);
    assert_int_equal(bus_keys_load(keys, h->folder, "auth", &h->error), OK);
}

static void a_key_changes_in_three_steps_and_is_listed_at_each(void **state)
{
    struct home *h = *state;
    struct bus_keys keys = {0};
    char first[KEY_TEXT], second[KEY_TEXT];
    make(h, "auth", OK);
    make(h, "edge", OK);
    load(h, &keys);
    memcpy(first, keys.own.public_key, sizeof first);
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(rotate(h, "auth"), CERTS_LISTED);
        load(h, &keys);
        assert_string_equal(keys.own.public_key, first);
        assert_int_equal(key_list_count(&keys.list, "auth"), 2);
        assert_int_equal(mode_of(h->folder, "auth.secret.next"), 0400);
        assert_int_equal(rotate(h, "auth"), CERTS_SWITCHED);
        load(h, &keys);
        memcpy(second, keys.own.public_key, sizeof second);
        assert_string_not_equal(second, first);
        assert_non_null(key_list_find(&keys.list, span_str(first)));
        assert_int_equal(rotate(h, "auth"), CERTS_DROPPED);
        load(h, &keys);
        assert_string_equal(keys.own.public_key, second);
        assert_int_equal(key_list_count(&keys.list, "auth"), 1);
        assert_int_equal(key_list_count(&keys.list, "edge"), 1);
        memcpy(first, second, sizeof first);
    }
    bus_keys_reset(&keys);
    struct certs c;
    enum certs_step step;
    open_certs(h, &c);
    assert_int_equal(certs_rotate(&c, "metrics", &step, &h->error), ERR_NOT_FOUND);
    certs_close(&c);
}

static void each_service_is_handed_its_own_secret_alone(void **state)
{
    struct home *h = *state;
    struct bus_keys keys;
    struct certs c;
    char to[96], edge[128];
    unsigned count;
    make(h, "edge", OK);
    make(h, "auth", OK);
    (void)snprintf(to, sizeof to, "%s/out", h->root);
    (void)snprintf(edge, sizeof edge, "%s/edge", to);
    assert_int_equal(mkdir(to, 0755), 0);
    assert_int_equal(mkdir(edge, 0750), 0);
    for (unsigned i = 0; i < 2; i++) {
        open_certs(h, &c);
        assert_int_equal(certs_hand_out(&c, to, &count, &h->error), OK);
        certs_close(&c);
        assert_int_equal(count, 1);
        assert_int_equal(mode_of(edge, "edge.secret"), 0440);
        assert_int_equal(mode_of(edge, "auth.secret"), 0);
        assert_int_equal(bus_keys_load(&keys, edge, "edge", &h->error), OK);
        assert_int_equal(keys.list.count, 2);
        bus_keys_reset(&keys);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_service_gets_a_secret_and_a_line),
        CASE(a_making_that_was_interrupted_is_finished),
        CASE(a_broken_list_is_left_alone),
        CASE(a_key_changes_in_three_steps_and_is_listed_at_each),
        CASE(each_service_is_handed_its_own_secret_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
