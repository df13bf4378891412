/* The admin commands over a real store, and the socket that carries them. */
#include "unit/services/auth/test_support.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "services/auth/admin/admin.h"

static const uint8_t pepper[PEPPER_BYTES] = {3};
enum { WALL_S = 1790000000 };

struct fixture {
    char folder[64], path[128];
    struct store *store;
    struct limits limits;
    struct keys *keys;
    struct admin_host host;
    struct store_op op;
    bool submitted;
    enum err result; /* what the store says */
    unsigned revoked;
    struct buf answer;
    struct json_doc doc;
    struct arena arena; /* copies of what operations show, as the writer makes them */
};

static enum err submit(void *ctx, const struct store_op *op)
{
    struct fixture *f = ctx;
    f->op = *op;
    f->op.key.id = arena_copy(&f->arena, op->key.id);
    f->op.key.name = arena_copy(&f->arena, op->key.name);
    f->op.key.hint = arena_copy(&f->arena, op->key.hint);
    f->op.key.models = arena_copy(&f->arena, op->key.models);
    f->op.key.tags = arena_copy(&f->arena, op->key.tags);
    f->op.key.model_limits = arena_copy(&f->arena, op->key.model_limits);
    f->submitted = true;
    if (!f->result)
        assert_int_equal(store_apply(f->store, &f->op, 1), OK);
    return OK;
}

static enum err on_changed(void *ctx, struct key *key, const struct key_attributes *change,
                           unsigned fields)
{
    struct fixture *f = ctx;
    f->revoked += (fields & KEY_REVOKED) != 0;
    return keys_change(f->keys, key, change, fields, 0);
}

static void on_deleted(void *ctx, struct key *key)
{
    struct fixture *f = ctx;
    keys_delete(f->keys, &key, 1);
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    test_folder(f.folder);
    (void)snprintf(f.path, sizeof f.path, "%s/t.db", f.folder);
    assert_int_equal(store_sqlite_open(f.path, SPAN("check"), &f.store), OK);
    limits_init(&f.limits);
    assert_int_equal(keys_create(&f.keys, pepper, &f.limits), OK);
    f.host = (struct admin_host){&f, f.keys, submit, on_changed, on_deleted};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(&f->store);
    keys_destroy(&f->keys);
    limits_free(&f->limits);
    arena_free(&f->arena);
    buf_free(&f->answer);
    json_doc_free(&f->doc);
    test_folder_remove(f->folder);
    return 0;
}

/* Runs one command to its end; the answer's root. */
static struct json run(struct fixture *f, const char *line)
{
    struct admin_call call = {
        .host = &f->host, .wall_ms = (uint64_t)WALL_S * 1000, .answer = &f->answer, .tag = f};
    f->submitted = false;
    buf_clear(&f->answer);
    if (!admin_begin(&call, span_str(line)))
        admin_finish(&call, &f->op, f->result);
    admin_call_reset(&call);
    assert_int_equal(json_parse(&f->doc, buf_span(&f->answer), JSON_DEPTH_CLIENT), OK);
    return json_root(&f->doc);
}

static bool is_ok(struct json answer)
{
    bool ok = false;
    assert_true(json_bool(json_get(answer, "ok"), &ok));
    return ok;
}

static void a_created_key_opens_and_is_shown_once(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_BYTES];
    struct json a = run(
        f, "{\"command\":\"key.create\",\"name\":\"alice\",\"models\":\"gpt-*\",\"concurrent\":3}");
    assert_true(is_ok(a));
    struct span secret = json_text(json_get(a, "secret"));
    assert_int_equal(secret.len, 67);
    crypto_sha256(secret, digest);
    const struct key *key = keys_find_digest(f->keys, span_of(digest, SHA256_BYTES));
    assert_non_null(key);
    assert_int_equal(key->is.concurrent, 3);
    a = run(f, "{\"command\":\"key.show\",\"key\":\"alice\"}");
    assert_true(is_ok(a));
    assert_int_equal(json_type(json_get(a, "secret")), JSON_NONE);
    assert_true(json_is(json_get(json_get(a, "key"), "models"), "gpt-*"));
}

static void a_key_the_store_refused_does_not_exist(void **state)
{
    struct fixture *f = *state;
    f->result = ERR_IO;
    assert_false(is_ok(run(f, "{\"command\":\"key.create\",\"name\":\"alice\"}")));
    assert_int_equal(keys_count(f->keys), 0);
}

static void revoking_is_told_to_the_edges_once(void **state)
{
    struct fixture *f = *state;
    assert_true(is_ok(run(f, "{\"command\":\"key.create\",\"name\":\"alice\"}")));
    char line[128];
    (void)snprintf(line, sizeof line, "{\"command\":\"key.revoke\",\"key\":\"%.*s\"}",
                   SPAN_ARG(keys_first(f->keys)->is.id));
    struct json a = run(f, line);
    assert_true(is_ok(a));
    assert_true(json_is(json_get(json_get(a, "key"), "state"), "revoked"));
    assert_int_equal(f->revoked, 1);
    assert_true(is_ok(run(f, line))); /* again: nothing to do */
    assert_false(f->submitted);
    assert_int_equal(f->revoked, 1);
    assert_true(
        is_ok(run(f, "{\"command\":\"key.create\",\"name\":\"alice\"}"))); /* the name is free */
    assert_int_equal(json_count(json_get(run(f, "{\"command\":\"key.list\"}"), "keys")), 2);
}

static struct span text_of(struct json answer, const char *name)
{
    return json_text(json_get(json_get(answer, "key"), name));
}

static void a_key_is_changed_blocked_and_deleted(void **state)
{
    struct fixture *f = *state;
    assert_true(is_ok(run(f, "{\"command\":\"key.create\",\"name\":\"alice\",\"concurrent\":3}")));
    assert_true(is_ok(run(f, "{\"command\":\"key.create\",\"name\":\"bob\"}")));
    struct json a = run(f, "{\"command\":\"key.update\",\"key\":\"alice\",\"name\":\"eve\","
                           "\"requests_per_minute\":9,\"tags\":\"x, y\",\"expires_ms\":0}");
    assert_true(is_ok(a));
    assert_true(span_is(text_of(a, "tags"), "x, y"));
    const struct key *key = keys_find_name(f->keys, SPAN("eve"));
    assert_int_equal(key->is.requests_per_minute, 9);
    assert_int_equal(key->is.concurrent, 3);
    static const char *const bad[] = {
        "{\"command\":\"key.update\",\"key\":\"eve\",\"name\":\"bob\"}",
        "{\"command\":\"key.update\",\"key\":\"eve\",\"name\":\"\"}",
        "{\"command\":\"key.update\",\"key\":\"eve\",\"models\":7}",
        "{\"command\":\"key.update\",\"key\":\"eve\",\"tags\":\"a\\u0007\"}",
        "{\"command\":\"key.update\",\"key\":\"eve\",\"expires_ms\":1}",
        "{\"command\":\"key.update\",\"key\":\"eve\"}",
        "{\"command\":\"key.update\",\"key\":\"nobody\",\"concurrent\":1}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(is_ok(run(f, bad[i])));
    a = run(f, "{\"command\":\"key.block\",\"key\":\"eve\"}");
    assert_true(span_is(text_of(a, "state"), "blocked"));
    a = run(f, "{\"command\":\"key.list\",\"state\":\"blocked\"}");
    assert_int_equal(json_count(json_get(a, "keys")), 1);
    a = run(f, "{\"command\":\"key.list\",\"tag\":\"y\",\"name\":\"e*\"}");
    assert_int_equal(json_count(json_get(a, "keys")), 1);
    a = run(f, "{\"command\":\"key.unblock\",\"key\":\"eve\"}");
    assert_true(span_is(text_of(a, "state"), "valid"));
    assert_false(is_ok(run(f, "{\"command\":\"key.delete\",\"key\":\"eve\"}")));
    assert_true(is_ok(run(f, "{\"command\":\"key.revoke\",\"key\":\"eve\"}")));
    assert_true(is_ok(run(f, "{\"command\":\"key.delete\",\"key\":\"eve\"}")));
    assert_false(is_ok(run(f, "{\"command\":\"key.show\",\"key\":\"eve\"}")));
    assert_int_equal(keys_count(f->keys), 1);
}

static void a_rotation_shows_the_new_secret_once(void **state)
{
    struct fixture *f = *state;
    assert_true(is_ok(run(f, "{\"command\":\"key.create\",\"name\":\"alice\"}")));
    struct json a = run(f, "{\"command\":\"key.rotate\",\"key\":\"alice\",\"overlap_ms\":5000}");
    assert_int_equal(json_text(json_get(a, "secret")).len, 67);
    const struct key *key = keys_find_name(f->keys, SPAN("alice"));
    assert_int_equal(key->is.before_until_ms, (uint64_t)WALL_S * 1000 + 5000);
    assert_true(key->secrets[1].used);
    a = run(f, "{\"command\":\"key.show\",\"key\":\"alice\"}");
    assert_int_equal(json_type(json_get(a, "secret")), JSON_NONE);
    assert_false(is_ok(
        run(f, "{\"command\":\"key.rotate\",\"key\":\"alice\",\"overlap_ms\":99999999999999}")));
}

static void a_key_that_exists_elsewhere_is_taken_by_its_digest(void **state)
{
    struct fixture *f = *state;
    uint8_t digest[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1], line[256];
    crypto_sha256(SPAN("sk-mine"), digest);
    crypto_hex(digest, sizeof digest, hex);
    (void)snprintf(
        line, sizeof line,
        "{\"command\":\"key.create\",\"name\":\"m\",\"digest\":\"%s\",\"hint\":\"mine\"}", hex);
    struct json a = run(f, line);
    assert_true(is_ok(a));
    assert_int_equal(json_type(json_get(a, "secret")), JSON_NONE);
    assert_non_null(keys_find_digest(f->keys, span_of(digest, sizeof digest)));
    line[34] = 'n'; /* another name, the same secret */
    assert_false(is_ok(run(f, line)));
    assert_false(is_ok(run(f, "{\"command\":\"key.create\",\"name\":\"o\",\"digest\":\"12\"}")));
}

static void a_keys_debt_is_forgotten_when_told_to(void **state)
{
    struct fixture *f = *state;
    struct limit_set set;
    struct limit_refusal refusal;
    const uint64_t now_ns = 1000 * GCRA_SECOND;
    assert_true(is_ok(run(f, "{\"command\":\"key.create\",\"name\":\"alice\",\"tokens_per_minute\":"
                             "100,\"requests_per_minute\":5,\"model_limits\":\"gpt-*=2/hour\"}")));
    key_limits(keys_find_name(f->keys, SPAN("alice")), SPAN("gpt-4"), &set);
    assert_int_equal(set.count, 3);
    limit_set_charge(&f->limits, &set, now_ns, 50, UINT64_MAX);
    assert_false(limit_set_check(&set, now_ns, 1, 1, &refusal));
    struct limit_saved saved;
    while (limits_next_dirty(&f->limits, now_ns, &saved))
        ;
    assert_true(is_ok(run(f, "{\"command\":\"key.reset_limits\",\"key\":\"alice\"}")));
    assert_true(limit_set_check(&set, now_ns, 1, 1, &refusal));
    for (size_t i = 0; i < set.count; i++) { /* and over a restart */
        assert_non_null(limits_next_dirty(&f->limits, now_ns, &saved));
        assert_int_equal(saved.owed_ns, 0);
    }
    assert_false(is_ok(run(f, "{\"command\":\"key.reset_limits\",\"key\":\"bob\"}")));
}

static void usage_is_answered(void **state)
{
    struct fixture *f = *state;
    struct json a = run(f, "{\"command\":\"usage\",\"by\":[\"key\",\"day\"],\"since_day\":0}");
    assert_true(is_ok(a));
    assert_int_equal(json_type(json_get(a, "usage")), JSON_ARRAY);
    assert_int_equal(f->op.query.by, USAGE_BY_KEY | USAGE_BY_DAY);
}

static void bad_requests_are_refused_with_a_sentence(void **state)
{
    struct fixture *f = *state;
    static const char *const lines[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"command\":7}",
        "{\"command\":\"drop\"}",
        "{\"command\":\"key.create\"}",
        "{\"command\":\"key.create\",\"name\":7}",
        "{\"command\":\"key.create\",\"name\":\"\"}",
        "{\"command\":\"key.create\",\"name\":\"a\",\"concurrent\":-1}",
        "{\"command\":\"key.create\",\"name\":\"a\",\"requests_per_minute\":\"60\"}",
        "{\"command\":\"key.create\",\"name\":\"a\",\"tokens_per_minute\":1.5}",
        "{\"command\":\"key.create\",\"name\":\"a\",\"expires_ms\":1}",
        "{\"command\":\"key.create\",\"name\":\"a\",\"model_limits\":\"x\"}",
        "{\"command\":\"key.show\",\"key\":\"nobody\"}",
        "{\"command\":\"key.revoke\"}",
        "{\"command\":\"usage\",\"by\":[\"colour\"]}",
        "{\"command\":\"usage\",\"since_day\":-3}",
        "{\"command\":\"usage\",\"rows\":true,\"status\":\"5xxx\"}",
        "{\"command\":\"usage\",\"rows\":true,\"status\":\"99\"}",
        "{\"command\":\"usage\",\"rows\":true,\"status\":\"1xx,1xx,1xx,1xx,1xx,1xx,1xx,1xx,1xx\"}",
        "{\"command\":\"usage\",\"rows\":true,\"since_ms\":\"x\"}",
        "{\"command\":\"request\"}",
        "{\"command\":\"request\",\"id\":\"req_00\"}",
        "{\"command\":\"request\",\"id\":\"req_0000000000000000000000000000000g\"}",
        "{\"command\":\"usage\",\"key\":\"nobody\"}"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct json a = run(f, lines[i]);
        assert_false(is_ok(a));
        assert_true(json_text(json_get(a, "error")).len > 5);
        assert_false(f->submitted);
    }
    assert_int_equal(keys_count(f->keys), 0);
}

/* ---- the socket ---- */

static int dial(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    (void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static size_t read_some(struct loop *loop, int fd, char *out, size_t size)
{
    for (int i = 0; i < 200; i++) {
        assert_int_equal(loop_turn(loop, 5), OK);
        ssize_t n = recv(fd, out, size - 1, MSG_DONTWAIT);
        if (n >= 0) {
            out[n] = '\0';
            return (size_t)n;
        }
        assert_int_equal(errno, EAGAIN);
    }
    fail();
    return 0;
}

static void the_socket_answers_line_by_line(void **state)
{
    struct fixture *f = *state;
    struct loop *loop = NULL;
    struct admin *admin = NULL;
    struct stat st;
    char path[128], text[4096];
    (void)snprintf(path, sizeof path, "%s/admin.sock", f->folder);
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(admin_create(&admin, loop, path, &f->host), OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int fd = dial(path);
    static const char half[] = "{\"command\":\"pi", rest[] = "ng\"}\n";
    assert_true(send(fd, half, sizeof half - 1, 0) > 0);
    assert_int_equal(loop_turn(loop, 5), OK);
    assert_true(send(fd, rest, sizeof rest - 1, 0) > 0);
    assert_true(read_some(loop, fd, text, sizeof text) > 0);
    assert_non_null(strstr(text, "\"ok\":true"));
    /* one that needs the store, and one behind it that has to wait */
    static const char two[] =
        "{\"command\":\"key.create\",\"name\":\"a\"}\n{\"command\":\"key.list\"}\n";
    assert_true(send(fd, two, sizeof two - 1, 0) > 0);
    for (int i = 0; i < 100 && !f->submitted; i++)
        assert_int_equal(loop_turn(loop, 5), OK);
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), -1);
    admin_on_result(admin, &f->op, OK);
    assert_true(read_some(loop, fd, text, sizeof text) > 0);
    assert_non_null(strstr(text, "\"secret\":\"sk-"));
    assert_non_null(strstr(strchr(text, '\n') + 1, "\"keys\":["));
    (void)close(fd);
    admin_destroy(&admin);
    assert_int_equal(stat(path, &st), -1);
    loop_destroy(&loop);
}

static void a_client_that_left_before_its_answer_does_no_harm(void **state)
{
    struct fixture *f = *state;
    struct loop *loop = NULL;
    struct admin *admin = NULL;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/admin.sock", f->folder);
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(admin_create(&admin, loop, path, &f->host), OK);
    int fd = dial(path);
    static const char line[] = "{\"command\":\"key.create\",\"name\":\"a\"}\n";
    assert_true(send(fd, line, sizeof line - 1, 0) > 0);
    for (int i = 0; i < 100 && !f->submitted; i++)
        assert_int_equal(loop_turn(loop, 5), OK);
    (void)close(fd);
    assert_int_equal(loop_turn(loop, 5), OK);
    assert_int_equal(loop_turn(loop, 5), OK);
    admin_on_result(admin, &f->op, OK);
    admin_destroy(&admin);
    loop_destroy(&loop);
}

static void an_endless_line_is_hung_up_on(void **state)
{
    struct fixture *f = *state;
    struct loop *loop = NULL;
    struct admin *admin = NULL;
    char path[128], text[64];
    static char flood[ADMIN_LINE_MAX * 2];
    (void)snprintf(path, sizeof path, "%s/admin.sock", f->folder);
    assert_int_equal(loop_create(&loop, &clock_real), OK);
    assert_int_equal(admin_create(&admin, loop, path, &f->host), OK);
    int fd = dial(path);
    memset(flood, 'x', sizeof flood);
    for (size_t sent = 0; sent < sizeof flood;) {
        ssize_t n = send(fd, flood + sent, sizeof flood - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break;
        sent += n > 0 ? (size_t)n : 0;
        assert_int_equal(loop_turn(loop, 1), OK);
    }
    ssize_t n = -1;
    for (int i = 0; i < 100 && n < 0; i++) {
        assert_int_equal(loop_turn(loop, 1), OK);
        n = recv(fd, text, sizeof text, MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            n = 0;
    }
    assert_int_equal(n, 0);
    (void)close(fd);
    admin_destroy(&admin);
    loop_destroy(&loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_created_key_opens_and_is_shown_once),
        TEST(a_key_the_store_refused_does_not_exist),
        TEST(revoking_is_told_to_the_edges_once),
        TEST(a_key_is_changed_blocked_and_deleted),
        TEST(a_rotation_shows_the_new_secret_once),
        TEST(a_key_that_exists_elsewhere_is_taken_by_its_digest),
        TEST(a_keys_debt_is_forgotten_when_told_to),
        TEST(usage_is_answered),
        TEST(bad_requests_are_refused_with_a_sentence),
        TEST(the_socket_answers_line_by_line),
        TEST(a_client_that_left_before_its_answer_does_no_harm),
        TEST(an_endless_line_is_hung_up_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
