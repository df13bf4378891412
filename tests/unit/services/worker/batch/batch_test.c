/* Embeddings that go upstream together: through the real pipeline, provider and libcurl, to an
 * upstream the test plays. */
#include "services/worker/batch/batch.h"
#include "unit/common/fetch/test_upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/codec.h"
#include "services/worker/attempt/attempts.h"

enum { MAX_SAID = 16, WINDOW_MS = 50 };

struct said {
    struct header header;
    char *payload;
    union message_body body;
};

struct world {
    struct clock_fake clock;
    struct loop *loop;
    struct fetch *up;
    struct settles *settles;
    struct model_table *table;
    struct setup *setup;
    struct attempts *attempts;
    struct test_server server;
    struct said said[MAX_SAID];
    unsigned said_count;
    struct settle settled[MAX_SAID]; /* numbers only */
    unsigned settle_count;
    char config_path[64];
    struct buf seen;
};

static char peer_bytes[2];
static struct bus_peer *peer(unsigned n)
{
    return (struct bus_peer *)(void *)&peer_bytes[n];
}

/* ---- what the worker sends ---- */

static enum err hear(void *ctx, struct bus_peer *to, struct header h, enum message_type type,
                     const void *message)
{
    struct world *w = ctx;
    assert_ptr_equal(to, peer(0));
    assert_true(w->said_count < MAX_SAID);
    struct said *s = &w->said[w->said_count++];
    size_t size = codec_size(type, message);
    s->payload = malloc(size);
    h.version = PROTO_MAJOR;
    h.type = (uint8_t)type;
    codec_encode(&h, message, s->payload);
    s->header = h;
    assert_int_equal(
        codec_decode(type, span_of(s->payload + HEADER_BYTES, size - HEADER_BYTES), &s->body), OK);
    return OK;
}

static enum err hear_settle(void *ctx, struct header h, const struct settle *m)
{
    struct world *w = ctx;
    (void)h;
    assert_true(w->settle_count < MAX_SAID);
    w->settled[w->settle_count++] = *m;
    return OK;
}

static void until_said(struct world *w, unsigned count)
{
    for (int i = 0; i < TEST_PATIENCE && w->said_count < count; i++)
        test_turn(&w->server);
    assert_int_equal(w->said_count, count);
}

/* What was said about this request. */
static const struct said *of(const struct world *w, unsigned n, enum message_type type)
{
    for (unsigned i = 0; i < w->said_count; i++) {
        if (memcmp(w->said[i].header.id.bytes, &n, sizeof n) != 0)
            continue;
        assert_int_equal(w->said[i].header.type, type);
        return &w->said[i];
    }
    fail();
    return NULL;
}

/* ---- what the broker sends ---- */

static struct header header_of(unsigned n)
{
    struct header h = {.attempt = 1, .deadline_ms = 30000};
    memcpy(h.id.bytes, &n, sizeof n);
    return h;
}

static void dispatch_for(struct world *w, unsigned n, const char *key_id, const char *body)
{
    union message_body m = {.dispatch = {.api = API_OPENAI_EMBEDDINGS,
                                         .model = SPAN("emb"),
                                         .key_id = span_str(key_id),
                                         .input_tokens = 5,
                                         .timeout_ms = 1000,
                                         .operation = OPERATION_EMBEDDINGS,
                                         .body = span_str(body)}};
    struct bus_message message = {.header = header_of(n), .body = &m};
    assert_true(attempts_dispatch(w->attempts, w->setup, peer(0), &message, NULL));
}

#define ASK(input) "{\"model\":\"emb\",\"input\":" input "}"

static void dispatch(struct world *w, unsigned n, const char *body)
{
    dispatch_for(w, n, "key_1", body);
}

static void cancel(struct world *w, unsigned n)
{
    struct bus_message m = {.header = header_of(n)};
    attempts_cancel(w->attempts, peer(0), &m);
}

/* ---- what the upstream sees and answers ---- */

static void window_passes(struct world *w)
{
    clock_fake_advance_ms(&w->clock, WINDOW_MS);
    test_turn(&w->server);
}

/* One more upstream request, whose body ends with this. */
static int upstream_gets(struct world *w, const char *end_of_body)
{
    int fd = test_accept(&w->server);
    buf_clear(&w->seen);
    test_read_until(&w->server, fd, &w->seen, end_of_body);
    return fd;
}

static void answer(int fd, const char *status, const char *body)
{
    char text[2048];
    (void)snprintf(text, sizeof text,
                   "HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   status, strlen(body), body);
    test_answer(fd, text);
    (void)close(fd);
}

#define ITEM(index, numbers)                                                                       \
    "{\"object\":\"embedding\",\"index\":" index ",\"embedding\":" numbers "}"
#define LIST(items, tokens)                                                                        \
    "{\"object\":\"list\",\"data\":[" items                                                        \
    "],\"model\":\"emb-1\",\"usage\":{\"prompt_tokens\":" tokens ",\"total_tokens\":" tokens "}}"

static void assert_idle(struct world *w)
{
    assert_int_equal(attempts_running(w->attempts), 0);
    for (int i = 0; i < TEST_PATIENCE && !attempts_quiet(w->attempts); i++)
        test_turn(&w->server);
    assert_true(attempts_quiet(w->attempts));
    assert_int_equal(endpoints_at(w->setup->endpoints, 0)->running, 0);
}

/* ---- fixture ---- */

static void write_config(struct world *w)
{
    char text[512];
    int n =
        snprintf(text, sizeof text,
                 "providers:\n"
                 "  sim: { type: openai, endpoints: [\"http://127.0.0.1:%u/v1\"], private: true }\n"
                 "models:\n"
                 "  emb: { targets: [{provider: sim}], price: {input: 1, output: 2} }\n"
                 "worker: { embeddings_window: %ums }\n",
                 w->server.port, (unsigned)WINDOW_MS);
    (void)snprintf(w->config_path, sizeof w->config_path, "/tmp/batch_test.XXXXXX");
    int fd = mkstemp(w->config_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, (size_t)n), n);
    (void)close(fd);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct fetch_options options = {2, 64, 2000, 1 << 20};
    struct config_paths paths = {"/tmp", "/tmp"};
    struct buf error = {0};
    clock_fake_init(&w->clock, 1000000, 1700000000000);
    assert_int_equal(loop_create(&w->loop, &w->clock.clock), OK);
    test_server_open(&w->server, w->loop);
    write_config(w);
    assert_int_equal(fetch_create(&w->up, w->loop, &options), OK);
    assert_int_equal(settles_create(&w->settles, 100, hear_settle, w), OK);
    assert_int_equal(model_table_load(SOURCE_DIR "/share/models.json", &w->table, &error), OK);
    assert_int_equal(setup_create(&w->setup, w->config_path, &paths, "sim"), OK);
    struct attempt_env env = {.batching = &embeddings_batching,
                              .loop = w->loop,
                              .fetch = w->up,
                              .settles = w->settles,
                              .table = w->table,
                              .ctx = w,
                              .send = hear};
    assert_int_equal(attempts_create(&w->attempts, &env), OK);
    buf_free(&error);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    while (w->said_count)
        free(w->said[--w->said_count].payload);
    attempts_destroy(&w->attempts);
    fetch_destroy(&w->up);
    setup_unref(&w->setup);
    settles_destroy(&w->settles);
    model_table_destroy(&w->table);
    test_server_close(&w->server);
    loop_destroy(&w->loop);
    (void)unlink(w->config_path);
    buf_free(&w->seen);
    free(w);
    return 0;
}

/* ---- tests ---- */

static void calls_of_one_window_are_one_upstream_and_two_answers(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, ASK("\"aa\""));
    dispatch(w, 2, ASK("[\"bb\",\"cccc\"]"));
    assert_true(test_nobody_asks(&w->server));
    window_passes(w);
    int fd = upstream_gets(w, "}");
    assert_true(span_ends(buf_span(&w->seen), ASK("[\"aa\",\"bb\",\"cccc\"]")));
    answer(fd, "200 OK",
           LIST(ITEM("2", "[3.50]") "," ITEM("0", "[1e0]") "," ITEM("1", "[2]"), "19"));
    until_said(w, 2);
    const struct reply *a = &of(w, 1, MESSAGE_REPLY)->body.reply;
    const struct reply *b = &of(w, 2, MESSAGE_REPLY)->body.reply;
    /* 4 and 13 bytes of input: 19 tokens are 4 and 15 */
    assert_true(span_is(a->body, LIST(ITEM("0", "[1e0]"), "4")));
    assert_true(span_is(b->body, LIST(ITEM("0", "[2]") "," ITEM("1", "[3.50]"), "15")));
    assert_int_equal(a->input_tokens, 4);
    assert_int_equal(b->input_tokens, 15);
    assert_int_equal(a->cost_nano + b->cost_nano, 19000);
    assert_true(a->estimated && b->estimated);
    assert_true(span_is(a->headers, "x-tollgate-usage: estimated\n"));
    assert_int_equal(w->settle_count, 2);
    assert_int_equal(w->settled[0].input_tokens + w->settled[1].input_tokens, 19);
    assert_true(w->settled[0].estimated && w->settled[1].estimated);
    assert_idle(w);
}

static void a_call_without_company_goes_as_it_is(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, ASK("\"aa\""));
    window_passes(w);
    int fd = upstream_gets(w, "}");
    assert_true(span_ends(buf_span(&w->seen), ASK("\"aa\"")));
    answer(fd, "200 OK", LIST(ITEM("0", "[1]"), "3"));
    until_said(w, 1);
    const struct reply *r = &of(w, 1, MESSAGE_REPLY)->body.reply;
    assert_true(span_is(r->body, LIST(ITEM("0", "[1]"), "3")));
    assert_false(r->estimated);
    assert_idle(w);
}

static void others_do_not_go_with_it(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, ASK("\"aa\""));
    dispatch_for(w, 2, "key_2", ASK("\"aa\""));
    dispatch(w, 3, "{\"model\":\"emb\",\"input\":\"aa\",\"dimensions\":2}");
    window_passes(w);
    for (unsigned i = 0; i < 3; i++) {
        int fd = upstream_gets(w, "}");
        assert_true(span_find_span(buf_span(&w->seen), SPAN("\"input\":\"aa\"")) < w->seen.len);
        answer(fd, "200 OK", LIST(ITEM("0", "[1]"), "3"));
        until_said(w, i + 1);
    }
    /* tokens do not even wait */
    dispatch(w, 4, ASK("[1,2]"));
    answer(upstream_gets(w, "}"), "200 OK", LIST(ITEM("0", "[1]"), "2"));
    until_said(w, 4);
    assert_idle(w);
}

static void after_a_refusal_each_goes_alone(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, ASK("\"aa\""));
    dispatch(w, 2, ASK("\"bb\""));
    window_passes(w);
    answer(upstream_gets(w, "}"), "400 Bad Request", "{\"error\":{\"message\":\"no\"}}");
    for (unsigned i = 0; i < 2; i++) {
        int fd = upstream_gets(w, "}");
        bool first = span_find_span(buf_span(&w->seen), SPAN("\"aa\"")) < w->seen.len;
        if (first)
            answer(fd, "200 OK", LIST(ITEM("0", "[1]"), "3"));
        else
            answer(fd, "400 Bad Request", "{\"error\":{\"message\":\"yours is bad\"}}");
        until_said(w, i + 1);
    }
    assert_int_equal(of(w, 1, MESSAGE_REPLY)->body.reply.input_tokens, 3);
    assert_int_equal(of(w, 2, MESSAGE_FAIL)->body.fail.error_class, ERROR_UPSTREAM_BAD_REQUEST);
    assert_idle(w);
}

static void an_answer_that_does_not_fit_sends_each_alone(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, ASK("\"aa\""));
    dispatch(w, 2, ASK("\"bb\""));
    window_passes(w);
    answer(upstream_gets(w, "}"), "200 OK", LIST(ITEM("0", "[1]"), "3"));
    for (unsigned i = 0; i < 2; i++) {
        answer(upstream_gets(w, "}"), "200 OK", LIST(ITEM("0", "[1]"), "3"));
        until_said(w, i + 1);
    }
    assert_int_equal(of(w, 1, MESSAGE_REPLY)->body.reply.input_tokens, 3);
    assert_int_equal(of(w, 2, MESSAGE_REPLY)->body.reply.input_tokens, 3);
    assert_idle(w);
}

static void what_meets_all_is_said_to_all(void **state)
{
    static const struct {
        const char *status;
        unsigned error_class;
    } cases[] = {
        {"503 Service Unavailable", ERROR_UPSTREAM_OVERLOADED},
        {"429 Too Many Requests", ERROR_UPSTREAM_RATE_LIMITED},
        {"401 Unauthorized", ERROR_UPSTREAM_AUTH},
    };
    struct world *w = *state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dispatch(w, 2 * i, ASK("\"aa\""));
        dispatch(w, 2 * i + 1, ASK("\"bb\""));
        window_passes(w);
        answer(upstream_gets(w, "}"), cases[i].status, "{\"error\":{\"message\":\"no\"}}");
        until_said(w, 2 * i + 2);
        for (unsigned k = 0; k < 2; k++) {
            const struct fail *f = &of(w, 2 * i + k, MESSAGE_FAIL)->body.fail;
            assert_int_equal(f->error_class, cases[i].error_class);
            assert_true(f->sent);
        }
        assert_int_equal(attempts_running(w->attempts), 0);
    }
    assert_true(test_nobody_asks(&w->server));
    assert_int_equal(w->settle_count, 0);
}

static void one_that_leaves_before_is_not_sent(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, ASK("\"aa\""));
    dispatch(w, 2, ASK("\"bb\""));
    dispatch(w, 3, ASK("\"cc\""));
    cancel(w, 1);
    assert_int_equal(w->settle_count, 1);
    assert_int_equal(w->settled[0].status, 499);
    window_passes(w);
    int fd = upstream_gets(w, "}");
    assert_true(span_ends(buf_span(&w->seen), ASK("[\"bb\",\"cc\"]")));
    answer(fd, "200 OK", LIST(ITEM("0", "[1]") "," ITEM("1", "[2]"), "6"));
    until_said(w, 2);
    assert_int_equal(of(w, 2, MESSAGE_REPLY)->body.reply.input_tokens, 3);
    assert_int_equal(of(w, 3, MESSAGE_REPLY)->body.reply.input_tokens, 3);
    assert_idle(w);
}

static void one_that_leaves_in_flight_does_not_shift_the_others(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, ASK("\"aa\""));
    dispatch(w, 2, ASK("\"bb\""));
    dispatch(w, 3, ASK("\"cc\""));
    window_passes(w);
    int fd = upstream_gets(w, "}");
    cancel(w, 2);
    answer(fd, "200 OK", LIST(ITEM("0", "[1]") "," ITEM("1", "[2]") "," ITEM("2", "[3]"), "9"));
    until_said(w, 2);
    assert_true(span_is(of(w, 1, MESSAGE_REPLY)->body.reply.body, LIST(ITEM("0", "[1]"), "3")));
    assert_true(span_is(of(w, 3, MESSAGE_REPLY)->body.reply.body, LIST(ITEM("0", "[3]"), "3")));
    assert_idle(w);
}

static void when_all_have_left_the_upstream_is_let_go(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, ASK("\"aa\""));
    dispatch(w, 2, ASK("\"bb\""));
    window_passes(w);
    int fd = upstream_gets(w, "}");
    cancel(w, 1);
    cancel(w, 2);
    assert_true(test_hung_up(&w->server, fd));
    (void)close(fd);
    assert_int_equal(w->said_count, 0);
    /* and so is a batch that only gathers */
    dispatch(w, 3, ASK("\"aa\""));
    cancel(w, 3);
    window_passes(w);
    assert_true(test_nobody_asks(&w->server));
    assert_idle(w);
}

static void a_deadline_is_its_own_caller_s(void **state)
{
    struct world *w = *state;
    union message_body m = {.dispatch = {.api = API_OPENAI_EMBEDDINGS,
                                         .model = SPAN("emb"),
                                         .key_id = SPAN("key_1"),
                                         .timeout_ms = 1000,
                                         .operation = OPERATION_EMBEDDINGS,
                                         .body = SPAN(ASK("\"aa\""))}};
    struct bus_message message = {.header = header_of(1), .body = &m};
    message.header.deadline_ms = 200;
    assert_true(attempts_dispatch(w->attempts, w->setup, peer(0), &message, NULL));
    dispatch(w, 2, ASK("\"bb\""));
    window_passes(w);
    int fd = upstream_gets(w, "}");
    clock_fake_advance_ms(&w->clock, 200);
    until_said(w, 1);
    assert_int_equal(of(w, 1, MESSAGE_FAIL)->body.fail.error_class, ERROR_DEADLINE);
    answer(fd, "200 OK", LIST(ITEM("0", "[1]") "," ITEM("1", "[2]"), "6"));
    until_said(w, 2);
    assert_true(span_is(of(w, 2, MESSAGE_REPLY)->body.reply.body, LIST(ITEM("0", "[2]"), "3")));
    assert_idle(w);
}

static void too_many_inputs_do_not_wait_for_the_window(void **state)
{
    enum { INPUTS = 1500 };
    struct world *w = *state;
    struct buf body = {0};
    buf_append_str(&body, "{\"model\":\"emb\",\"input\":[\"x\"");
    for (unsigned i = 1; i < INPUTS; i++)
        buf_append_str(&body, ",\"x\"");
    buf_append_str(&body, "]}");
    buf_append_char(&body, '\0');
    dispatch(w, 1, body.data);
    dispatch(w, 2, body.data); /* the first leaves at once, this one has a window of its own */
    int fd = upstream_gets(w, "]}");
    assert_int_equal(attempts_running(w->attempts), 2);
    cancel(w, 1);
    cancel(w, 2);
    (void)close(fd);
    buf_free(&body);
    assert_idle(w);
}

static void a_worker_that_stops_says_of_each_whether_it_was_sent(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, ASK("\"aa\""));
    dispatch(w, 2, ASK("\"bb\""));
    window_passes(w);
    int fd = upstream_gets(w, "}");
    dispatch(w, 3, ASK("\"cc\"")); /* waits for others */
    attempts_stop(w->attempts);
    for (unsigned n = 1; n <= 3; n++) {
        const struct fail *f = &of(w, n, MESSAGE_FAIL)->body.fail;
        assert_int_equal(f->error_class, ERROR_WORKER_LOST);
        assert_int_equal(f->sent, n < 3);
    }
    assert_int_equal(w->said_count, 3);
    assert_int_equal(attempts_running(w->attempts), 0);
    (void)close(fd);
}

static void shutdown_ends_batches_without_a_word(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, ASK("\"aa\""));
    dispatch(w, 2, ASK("\"bb\""));
    window_passes(w);
    int fd = upstream_gets(w, "}");
    dispatch(w, 3, ASK("\"cc\""));
    attempts_destroy(&w->attempts);
    (void)close(fd);
    assert_int_equal(w->said_count, 0);
    assert_int_equal(endpoints_at(w->setup->endpoints, 0)->running, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(calls_of_one_window_are_one_upstream_and_two_answers),
        CASE(a_call_without_company_goes_as_it_is),
        CASE(others_do_not_go_with_it),
        CASE(after_a_refusal_each_goes_alone),
        CASE(an_answer_that_does_not_fit_sends_each_alone),
        CASE(what_meets_all_is_said_to_all),
        CASE(one_that_leaves_before_is_not_sent),
        CASE(one_that_leaves_in_flight_does_not_shift_the_others),
        CASE(when_all_have_left_the_upstream_is_let_go),
        CASE(a_deadline_is_its_own_caller_s),
        CASE(too_many_inputs_do_not_wait_for_the_window),
        CASE(a_worker_that_stops_says_of_each_whether_it_was_sent),
        CASE(shutdown_ends_batches_without_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
