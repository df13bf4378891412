#include "common/runtime/bus/key_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#define EDGE_KEY "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define AUTH_KEY "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define AUTH_SECRET "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"

static void services_have_roles_and_providers(void **state)
{
    (void)state;
    static const struct {
        const char *text, *role, *provider;
    } cases[] = {
        {"edge", "edge", ""},
        {"ctl", "ctl", ""},
        {"worker-openai", "worker", "openai"},
        {"worker-a.b_c-9", "worker", "a.b_c-9"},
        {"worker", NULL, NULL},
        {"worker-", NULL, NULL},
        {"worker-a/b", NULL, NULL},
        {"worker-a b", NULL, NULL},
        {"edges", NULL, NULL},
        {"", NULL, NULL},
        {"worker-12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct span s = span_str(cases[i].text);
        assert_int_equal(service_is_known(s), cases[i].role != NULL);
        if (!cases[i].role)
            continue;
        char again[SERVICE_BYTES];
        assert_true(span_is(service_role(s), cases[i].role));
        assert_true(span_is(service_provider(s), cases[i].provider));
        service_of(cases[i].role, cases[i].provider, again);
        assert_string_equal(again, cases[i].text);
    }
}

static void a_list_says_whose_each_key_is(void **state)
{
    (void)state;
    struct key_list list;
    struct buf errors = {0};
    struct span text = SPAN("# who\n\nedge   " EDGE_KEY "\r\n\tworker-openai\t" AUTH_KEY "  ");
    assert_int_equal(key_list_read(text, "l", &list, &errors), OK);
    assert_int_equal(list.count, 2);
    assert_string_equal(key_list_find(&list, SPAN(AUTH_KEY))->service, "worker-openai");
    assert_string_equal(key_list_of(&list, "edge", 0)->key, EDGE_KEY);
    assert_null(key_list_of(&list, "edge", 1));
    assert_null(key_list_of(&list, "auth", 0));
    assert_null(key_list_find(&list, SPAN(AUTH_SECRET)));
    key_list_remove(&list, SPAN(EDGE_KEY));
    assert_int_equal(list.count, 1);
    assert_int_equal(key_list_count(&list, "edge"), 0);
    key_list_free(&list);
}

static void every_bad_line_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *problem;
    } cases[] = {
        {"edge\n", "l:1: no key"},
        {"edge short\n", "l:1: no key"},
        {"\nedge " EDGE_KEY "x\n", "l:2: no key"},
        {"edge %%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%\n", "l:1: no key"},
        {"edge \\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\n",
         "l:1: no key"},
        {"nobody " EDGE_KEY, "l:1: no service"},
        {"edge " EDGE_KEY " since\n", "l:1: a service and its key"},
        {"edge " EDGE_KEY "\nauth " EDGE_KEY "\n", "l:2: the key stands here twice"},
        {"edge " EDGE_KEY "\nedge " AUTH_KEY "\nedge " AUTH_SECRET "\n",
         "l:3: the service has two keys already"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct key_list list;
        struct buf errors = {0};
        enum err e = key_list_read(span_str(cases[i].text), "l", &list, &errors);
        if (e != ERR_INVALID || !span_starts(buf_span(&errors), cases[i].problem))
            fail_msg("case %zu: %s: %.*s", i, err_name(e), (int)errors.len, errors.data);
        assert_int_equal(list.count, 0);
        buf_free(&errors);
    }
}

static void a_list_that_is_written_reads_the_same(void **state)
{
    (void)state;
    struct key_list list = {0}, again;
    struct buf text = {0}, errors = {0};
    for (unsigned i = 0; i < KEY_LIST_MAX / 2; i++) {
        char service[SERVICE_BYTES], key[KEY_TEXT] = EDGE_KEY;
        (void)snprintf(service, sizeof service, "worker-p%u", i);
        (void)snprintf(key, sizeof key, "%05u%s", i, &EDGE_KEY[5]);
        assert_int_equal(key_list_add(&list, span_str(service), span_str(key)), OK);
    }
    key_list_write(&list, &text);
    assert_int_equal(key_list_read(buf_span(&text), "l", &again, &errors), OK);
    assert_int_equal(again.count, list.count);
    assert_memory_equal(again.items, list.items, list.count * sizeof *list.items);
    key_list_free(&list);
    key_list_free(&again);
    buf_free(&text);
}

static void a_pair_is_read_when_both_belong_together(void **state)
{
    (void)state;
    struct key_pair made, other, read;
    struct buf text = {0};
    assert_int_equal(key_pair_make(&made), OK);
    assert_int_equal(key_pair_make(&other), OK);
    key_pair_write(&made, "edge", &text);
    assert_int_equal(key_pair_read(buf_span(&text), &read), OK);
    assert_memory_equal(&read, &made, sizeof read);
    /* as czmq writes one, and as people do */
    buf_clear(&text);
    buf_printf(&text, "curve\n    public-key = \"%s\"\n    secret-key=\"%s\"\n", made.public_key,
               made.secret_key);
    assert_int_equal(key_pair_read(buf_span(&text), &read), OK);
    buf_clear(&text);
    buf_printf(&text, "public-key = \"%s\"\nsecret-key = \"%s\"\n", made.public_key,
               other.secret_key);
    assert_int_equal(key_pair_read(buf_span(&text), &read), ERR_INVALID);
    assert_int_equal(key_pair_read(SPAN("public-key = \"" EDGE_KEY "\""), &read), ERR_INVALID);
    assert_int_equal(key_pair_read(SPAN(""), &read), ERR_INVALID);
    buf_free(&text);
}

/* ---- files ---- */

struct folder {
    char path[64];
    struct key_pair edge, auth;
};

static void write_file(const struct folder *f, const char *name, struct span text, unsigned mode)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", f->path, name);
    assert_int_equal(key_file_write(path, text, mode), OK);
}

static void write_secret(const struct folder *f, const char *service, const struct key_pair *pair,
                         unsigned mode)
{
    struct buf text = {0};
    char name[SERVICE_BYTES + 16];
    (void)snprintf(name, sizeof name, "%s.secret", service);
    key_pair_write(pair, service, &text);
    write_file(f, name, buf_span(&text), mode);
    buf_free(&text);
}

static void write_list(const struct folder *f, const char *first, const char *second)
{
    struct buf text = {0};
    buf_printf(&text, "edge %s\nauth %s\n", first, second);
    write_file(f, "public.keys", buf_span(&text), 0444);
    buf_free(&text);
}

static int setup(void **state)
{
    struct folder *f = calloc(1, sizeof *f);
    (void)snprintf(f->path, sizeof f->path, "/tmp/tollgate-keys-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    assert_int_equal(key_pair_make(&f->edge), OK);
    assert_int_equal(key_pair_make(&f->auth), OK);
    write_list(f, f->edge.public_key, f->auth.public_key);
    write_secret(f, "edge", &f->edge, 0400);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct folder *f = *state;
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", f->path);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static void a_daemons_keys_are_its_pair_and_the_list(void **state)
{
    const struct folder *f = *state;
    struct bus_keys keys;
    struct buf errors = {0};
    assert_int_equal(bus_keys_load(&keys, f->path, "edge", &errors), OK);
    assert_memory_equal(&keys.own, &f->edge, sizeof keys.own);
    assert_int_equal(keys.list.count, 2);
    write_list(f, f->edge.public_key, AUTH_KEY);
    assert_int_equal(bus_keys_reload(&keys, &errors), OK);
    assert_non_null(key_list_find(&keys.list, SPAN(AUTH_KEY)));
    assert_null(key_list_find(&keys.list, span_str(f->auth.public_key)));
    /* one that would shut ourselves out, or is broken, is not taken */
    write_list(f, EDGE_KEY, AUTH_KEY);
    assert_int_equal(bus_keys_reload(&keys, &errors), ERR_INVALID);
    write_file(f, "public.keys", SPAN("nonsense\n"), 0444);
    assert_int_equal(bus_keys_reload(&keys, &errors), ERR_INVALID);
    assert_non_null(key_list_find(&keys.list, span_str(f->edge.public_key)));
    bus_keys_reset(&keys);
    buf_free(&errors);
}

static void what_is_wrong_with_a_folder_is_said(void **state)
{
    const struct folder *f = *state;
    struct bus_keys keys;
    struct buf errors = {0};
    assert_int_equal(bus_keys_load(&keys, "/nowhere", "edge", &errors), ERR_NOT_FOUND);
    assert_int_equal(bus_keys_load(&keys, f->path, "auth", &errors), ERR_NOT_FOUND);
    buf_clear(&errors);
    write_secret(f, "auth", &f->auth, 0404);
    assert_int_equal(bus_keys_load(&keys, f->path, "auth", &errors), ERR_DENIED);
    assert_true(span_find_span(buf_span(&errors), SPAN("others may read")) < errors.len);
    write_secret(f, "auth", &f->auth, 0440); /* a group of one service's own is fine */
    assert_int_equal(bus_keys_load(&keys, f->path, "auth", &errors), OK);
    bus_keys_reset(&keys);
    write_secret(f, "auth", &f->edge, 0400); /* another's */
    assert_int_equal(bus_keys_load(&keys, f->path, "auth", &errors), ERR_INVALID);
    write_file(f, "auth.secret", SPAN("nothing"), 0400);
    assert_int_equal(bus_keys_load(&keys, f->path, "auth", &errors), ERR_INVALID);
    buf_free(&errors);
}

static void a_command_takes_any_pair_that_it_can_read(void **state)
{
    const struct folder *f = *state;
    struct bus_keys keys;
    struct buf errors = {0};
    assert_int_equal(bus_keys_load_any(&keys, f->path, &errors), OK);
    assert_string_equal(keys.service, "edge");
    assert_int_equal(errors.len, 0);
    bus_keys_reset(&keys);
    assert_int_equal(bus_keys_load_any(&keys, "/nowhere", &errors), ERR_NOT_FOUND);
    assert_true(errors.len > 0);
    buf_free(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_have_roles_and_providers),
        cmocka_unit_test(a_list_says_whose_each_key_is),
        cmocka_unit_test(every_bad_line_is_named),
        cmocka_unit_test(a_list_that_is_written_reads_the_same),
        cmocka_unit_test(a_pair_is_read_when_both_belong_together),
        cmocka_unit_test_setup_teardown(a_daemons_keys_are_its_pair_and_the_list, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_with_a_folder_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(a_command_takes_any_pair_that_it_can_read, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
