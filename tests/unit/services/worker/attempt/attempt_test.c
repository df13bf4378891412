/* Dispatches through the real pipeline, provider and libcurl, to an upstream the test plays. */
#include "unit/common/fetch/test_upstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/codec.h"
#include "services/worker/attempt/attempts.h"

enum { MAX_SAID = 64, MANY = 8 };

struct said {
    struct header header;
    char *payload;
    union message_body body;
};

struct world {
    struct clock_fake clock;
    struct loop *loop;
    struct fetch *up;
    struct helper *helper;
    struct settles *settles;
    struct model_table *table;
    struct setup *setup;
    struct attempts *attempts;
    struct speeds speeds;
    struct test_server server;
    struct said said[MAX_SAID];
    unsigned said_count;
    struct settle settle; /* the last one; of its texts only the model */
    char settle_model[32];
    struct header settle_header;
    unsigned settle_count;
    char config_path[64];
    struct buf seen;
    enum err send_result;
    unsigned over_count;
    struct gate_grant *over_grant; /* the last one's */
};

/* Peers are only passed on: two names for nobody. */
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
    (void)to;
    if (w->send_result != OK)
        return w->send_result;
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

static void hear_over(void *ctx, struct attempt *attempt)
{
    struct world *w = ctx;
    w->over_count++;
    w->over_grant = attempt_links(attempt)->grant;
}

static enum err hear_settle(void *ctx, struct header h, const struct settle *m)
{
    struct world *w = ctx;
    w->settle = *m;
    (void)snprintf(w->settle_model, sizeof w->settle_model, "%.*s", SPAN_ARG(m->model));
    w->settle.model = span_str(w->settle_model);
    w->settle_header = h;
    w->settle_count++;
    return OK;
}

static const struct said *only(struct world *w, enum message_type type)
{
    assert_int_equal(w->said_count, 1);
    assert_int_equal(w->said[0].header.type, type);
    return &w->said[0];
}

static void until_said(struct world *w, unsigned count)
{
    for (int i = 0; i < TEST_PATIENCE && w->said_count < count; i++)
        test_turn(&w->server);
    assert_int_equal(w->said_count, count);
}

static void forget_said(struct world *w)
{
    while (w->said_count)
        free(w->said[--w->said_count].payload);
}

/* ---- what the edge sends ---- */

static struct dispatch chat(const char *body)
{
    return (struct dispatch){.api = API_OPENAI_CHAT,
                             .model = SPAN("gpt-test"),
                             .key_id = SPAN("key_1"),
                             .key_name = SPAN("ann"),
                             .input_tokens = 5,
                             .timeout_ms = 1000,
                             .operation = OPERATION_CHAT,
                             .body = span_str(body)};
}

static struct header header_of(unsigned n, uint8_t attempt)
{
    struct header h = {.attempt = attempt, .deadline_ms = 30000};
    memcpy(h.id.bytes, &n, sizeof n);
    return h;
}

static void dispatch(struct world *w, unsigned n, struct dispatch d)
{
    union message_body body = {.dispatch = d};
    struct bus_message m = {.header = header_of(n, 1), .body = &body};
    if (span_find_span(d.body, SPAN("\"stream\":true")) < d.body.len)
        m.header.flags = HEADER_STREAM;
    bool begun = attempts_dispatch(w->attempts, w->setup, peer(0), &m, NULL);
    assert_true(begun || w->said_count > 0);
}

static void cancel(struct world *w, unsigned n)
{
    struct bus_message m = {.header = header_of(n, 0)};
    attempts_cancel(w->attempts, peer(0), &m);
}

static void grant(struct world *w, unsigned n, uint32_t bytes)
{
    struct bus_message m = {.header = header_of(n, 0)};
    attempts_credit(w->attempts, peer(0), &m, bytes);
}

#define ASK "{\"model\":\"gpt-test\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"
#define ASK_STREAM                                                                                 \
    "{\"model\":\"gpt-test\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}" \
    "]}"
#define ANSWER                                                                                     \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"gpt-test-"    \
    "0613\",\"choices\":[{"                                                                        \
    "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"yes\"},\"finish_reason\":"      \
    "\"stop\"}],\"usage\":{"                                                                       \
    "\"prompt_tokens\":11,\"completion_tokens\":3,\"total_tokens\":14}}"
#define CHUNK(text)                                                                                \
    "data: "                                                                                       \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-"   \
    "test\","                                                                                      \
    "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":null}]}\n\n"
#define LAST_CHUNKS                                                                                \
    "data: "                                                                                       \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-"   \
    "test\","                                                                                      \
    "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"                     \
    "data: "                                                                                       \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-"   \
    "test\","                                                                                      \
    "\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":2,\"total_tokens\":13}}" \
    "\n\n"                                                                                         \
    "data: [DONE]\n\n"
#define STREAM_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

static void answer_json(int fd, const char *status, const char *headers, const char *body)
{
    char text[2048];
    (void)snprintf(
        text, sizeof text,
        "HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s", status,
        headers, strlen(body), body);
    test_answer(fd, text);
}

/* Dispatches and lets the upstream read it. */
static int dispatched(struct world *w, unsigned n, struct dispatch d)
{
    dispatch(w, n, d);
    int fd = test_accept(&w->server);
    buf_clear(&w->seen);
    test_read_until(&w->server, fd, &w->seen, "}]");
    return fd;
}

static void assert_quiet(struct world *w)
{
    assert_int_equal(attempts_running(w->attempts), 0);
    assert_int_equal(endpoints_at(w->setup->endpoints, 0)->running, 0);
}

/* ---- fixture ---- */

static void write_config(struct world *w)
{
    char text[1024];
    int n = snprintf(
        text, sizeof text,
        "providers:\n"
        "  sim: { type: openai, endpoints: [\"http://127.0.0.1:%u/v1\"], private: true }\n"
        "  twice: { type: openai, endpoints: [\"http://127.0.0.1:%u/v1\"], private: true,\n"
        "           api_keys: [sk-1, sk-2] }\n"
        "worker: {max_response: 1MiB, max_answer_memory: 4MiB}\n"
        "models:\n"
        "  gpt-test: { targets: [{provider: sim}], price: {input: 1, output: 2} }\n",
        w->server.port, w->server.port);
    (void)snprintf(w->config_path, sizeof w->config_path, "/tmp/job_test.XXXXXX");
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
    assert_int_equal(helper_create(&w->helper, w->loop), OK);
    assert_int_equal(settles_create(&w->settles, 100, hear_settle, w), OK);
    assert_int_equal(model_table_load(SOURCE_DIR "/share/models.json", &w->table, &error), OK);
    assert_int_equal(setup_create(&w->setup, w->config_path, &paths, "sim"), OK);
    struct attempt_env env = {.loop = w->loop,
                              .fetch = w->up,
                              .helper = w->helper,
                              .settles = w->settles,
                              .table = w->table,
                              .speeds = &w->speeds,
                              .ctx = w,
                              .send = hear,
                              .on_over = hear_over};
    assert_int_equal(attempts_create(&w->attempts, &env), OK);
    buf_free(&error);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    forget_said(w);
    attempts_destroy(&w->attempts);
    helper_destroy(&w->helper);
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

static void a_unary_answer_is_one_reply_and_one_settlement(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, chat(ASK));
    assert_int_equal(attempts_running(w->attempts), 1);
    answer_json(fd, "200 OK", "", ANSWER);
    until_said(w, 1);
    const struct said *s = only(w, MESSAGE_REPLY);
    assert_int_equal(s->header.attempt, 1);
    assert_true(s->header.flags & HEADER_LAST);
    assert_int_equal(s->body.reply.status, 200);
    assert_true(span_is(s->body.reply.body, ANSWER));
    assert_true(span_is(s->body.reply.provider, "sim"));
    assert_int_equal(s->body.reply.input_tokens, 11);
    assert_int_equal(s->body.reply.output_tokens, 3);
    assert_int_equal(s->body.reply.cost_nano, 11 * 1000 + 3 * 2000);
    assert_false(s->body.reply.estimated);
    assert_int_equal(w->settle_count, 1);
    assert_int_equal(w->settle.input_tokens, 11);
    assert_int_equal(w->settle.output_tokens, 3);
    assert_int_equal(w->settle.cost_nano, 17000);
    assert_int_equal(w->settle.status, 200);
    assert_int_equal(w->settle.started_ms, 1700000000000);
    assert_int_equal(w->settle_header.attempt, 1);
    assert_quiet(w);
    assert_true(attempts_quiet(w->attempts));
    (void)close(fd);
}

static void a_fallback_is_settled_by_its_own_name(void **state)
{
    struct world *w = *state;
    struct dispatch d = chat(ASK);
    d.model = SPAN("asked");
    d.route = SPAN("gpt-test");
    int fd = dispatched(w, 1, d);
    answer_json(fd, "200 OK", "", ANSWER);
    until_said(w, 1);
    assert_true(span_is(w->settle.model, "gpt-test"));
    assert_int_equal(w->settle.cost_nano, 17000);
    (void)close(fd);
}

static struct dispatch stream_with_credit(uint32_t credit);

/* ---- memory of answers ---- */

enum { LARGE = 700 << 10, LARGE_ANSWERS = 5, LIMIT = 4 << 20 };

struct large_answer {
    int fd;
    size_t sent;
};

static void make_large(struct buf *out)
{
    struct buf body = {0};
    buf_append_str(&body, "{\"id\":\"c\",\"choices\":[{\"index\":0,\"message\":{\"content\":\"");
    while (body.len < LARGE)
        buf_append_str(&body, "abcdefgh");
    buf_append_str(&body, "\"},\"finish_reason\":\"stop\"}]}");
    buf_printf(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: "
        "close\r\n\r\n",
        body.len);
    buf_append(out, buf_span(&body));
    buf_free(&body);
}

static unsigned said_of(const struct world *w, enum message_type type)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->said_count; i++)
        n += w->said[i].header.type == type;
    return n;
}

/* All upstreams send what the worker takes, until so many attempts, each with a key of its own,
 * have been answered; the most memory that their answers took. */
static uint64_t answer_all(struct world *w, struct dispatch d, unsigned until)
{
    struct large_answer answers[LARGE_ANSWERS] = {{0}};
    struct buf all = {0};
    uint64_t most = 0;
    unsigned done = 0;
    make_large(&all);
    for (unsigned i = 0; i < LARGE_ANSWERS; i++) {
        d.key_id = span_of(&"abcde"[i], 1);
        answers[i].fd = dispatched(w, i + 1, d);
    }
    for (int turn = 0; turn < 10 * TEST_PATIENCE && done < until; turn++) {
        for (unsigned i = 0; i < LARGE_ANSWERS; i++) {
            struct span rest = span_skip(buf_span(&all), answers[i].sent);
            ssize_t n = send(answers[i].fd, rest.data, rest.len, MSG_DONTWAIT | MSG_NOSIGNAL);
            answers[i].sent += n > 0 ? (size_t)n : 0;
        }
        test_turn(&w->server);
        if (attempts_answer_bytes(w->attempts) > most)
            most = attempts_answer_bytes(w->attempts);
        done = said_of(w, MESSAGE_REPLY) + said_of(w, MESSAGE_HEAD) + said_of(w, MESSAGE_FAIL);
    }
    assert_int_equal(done, until);
    for (unsigned i = 0; i < LARGE_ANSWERS; i++)
        (void)close(answers[i].fd);
    buf_free(&all);
    return most;
}

static void large_answers_are_read_one_after_the_other(void **state)
{
    struct world *w = *state;
    uint64_t most = answer_all(w, chat(ASK), LARGE_ANSWERS);
    assert_int_equal(said_of(w, MESSAGE_REPLY), LARGE_ANSWERS);
    for (unsigned i = 0; i < LARGE_ANSWERS; i++)
        assert_true(w->said[i].body.reply.body.len >= LARGE);
    assert_true(most > LARGE && most <= LIMIT);
    assert_int_equal(attempts_answer_bytes(w->attempts), 0);
}

/* Whole answers that go as streams to clients who don't read: nobody waits for those. */
static void answers_that_nobody_takes_are_not_waited_for(void **state)
{
    struct world *w = *state;
    uint64_t most = answer_all(w, stream_with_credit(10), LARGE_ANSWERS);
    assert_true(most <= LIMIT + 2 * LARGE);
    assert_true(said_of(w, MESSAGE_HEAD) > 0 && said_of(w, MESSAGE_FAIL) > 0);
    for (unsigned i = 0; i < w->said_count; i++) {
        if (w->said[i].header.type == MESSAGE_FAIL)
            assert_int_equal(w->said[i].body.fail.error_class, ERROR_OVERLOADED);
    }
    for (unsigned i = 0; i < LARGE_ANSWERS; i++)
        cancel(w, i + 1);
}

static void a_whole_answer_larger_than_its_credit_goes_in_pieces(void **state)
{
    struct world *w = *state;
    struct dispatch d = chat(ASK);
    struct buf all = {0};
    size_t bytes = strlen(ANSWER);
    d.credit = 100;
    int fd = dispatched(w, 1, d);
    answer_json(fd, "200 OK", "", ANSWER);
    until_said(w, 2);
    assert_int_equal(w->said[0].header.type, MESSAGE_HEAD);
    assert_int_equal(w->said[0].body.head.whole_bytes, bytes);
    assert_int_equal(w->said[0].body.head.cost_nano, 17000);
    assert_int_equal(w->said[1].body.data.bytes.len, 100);
    assert_int_equal(w->settle_count, 0);
    grant(w, 1, 50);
    until_said(w, 3);
    assert_int_equal(w->said[2].body.data.bytes.len, 50);
    grant(w, 1, 100000);
    until_said(w, 5);
    for (unsigned i = 1; i < 4; i++)
        buf_append(&all, w->said[i].body.data.bytes);
    assert_true(span_is(buf_span(&all), ANSWER));
    assert_int_equal(w->said[4].header.type, MESSAGE_END);
    assert_int_equal(w->said[4].body.end.output_tokens, 3);
    assert_int_equal(w->settle_count, 1);
    assert_false(w->settle.estimated);
    buf_free(&all);
    (void)close(fd);
}

static void who_leaves_while_a_whole_answer_comes_pays_what_it_cost(void **state)
{
    struct world *w = *state;
    struct dispatch d = chat(ASK);
    d.credit = 100;
    int fd = dispatched(w, 1, d);
    answer_json(fd, "200 OK", "", ANSWER);
    until_said(w, 2);
    cancel(w, 1);
    assert_int_equal(w->settle_count, 1);
    assert_int_equal(w->settle.output_tokens, 3);
    assert_false(w->settle.estimated);
    assert_int_equal(attempts_running(w->attempts), 0);
    (void)close(fd);
}

/* Of 4 MiB a key's answers that stand still have 2. */
static void answers_that_nobody_takes_leave_room_to_other_keys(void **state)
{
    struct world *w = *state;
    struct dispatch mine = chat(ASK), other = chat(ASK);
    struct large_answer answers[LARGE_ANSWERS + 1] = {{0}};
    struct buf all = {0};
    make_large(&all);
    mine.credit = 10;
    other.key_id = SPAN("key_2");
    for (unsigned i = 0; i < LARGE_ANSWERS; i++)
        answers[i].fd = dispatched(w, i + 1, mine);
    for (unsigned at = LARGE_ANSWERS, turn = 0; turn < 10 * TEST_PATIENCE; turn++) {
        if (at == LARGE_ANSWERS && said_of(w, MESSAGE_HEAD) == 2) {
            answers[at].fd = dispatched(w, at + 1, other);
            at++;
        }
        for (unsigned i = 0; i < at; i++) {
            struct span rest = span_skip(buf_span(&all), answers[i].sent);
            ssize_t n = send(answers[i].fd, rest.data, rest.len, MSG_DONTWAIT | MSG_NOSIGNAL);
            answers[i].sent += n > 0 ? (size_t)n : 0;
        }
        test_turn(&w->server);
        if (said_of(w, MESSAGE_REPLY))
            break;
    }
    assert_int_equal(said_of(w, MESSAGE_REPLY), 1); /* the other key's */
    assert_in_range(said_of(w, MESSAGE_HEAD), 2, 3);
    for (unsigned i = 0; i < LARGE_ANSWERS; i++) {
        cancel(w, i + 1);
        (void)close(answers[i].fd);
    }
    (void)close(answers[LARGE_ANSWERS].fd);
    buf_free(&all);
}

/* ---- large work, beside the loop ---- */

/* ASK, or what is no JSON, with so much white space that the helper gets it. */
static char *large(const char *text)
{
    size_t n = strlen(text);
    char *body = malloc(HELPER_WORTH_BYTES + n + 1);
    assert_non_null(body);
    memset(body, ' ', HELPER_WORTH_BYTES);
    memcpy(body + HELPER_WORTH_BYTES, text, n + 1);
    return body;
}

static void dispatch_large(struct world *w, unsigned n, const char *text)
{
    char *body = large(text);
    dispatch(w, n, chat(body));
    free(body);
}

static void a_large_request_and_its_answer_go_their_way(void **state)
{
    struct world *w = *state;
    for (unsigned n = 1; n <= 3; n++) {
        forget_said(w);
        dispatch_large(w, n, ASK);
        assert_int_equal(attempts_running(w->attempts), 1);
        assert_int_equal(w->said_count, 0);
        int fd = test_accept(&w->server);
        buf_clear(&w->seen);
        test_read_until(&w->server, fd, &w->seen, "}]");
        assert_true(w->seen.len > HELPER_WORTH_BYTES);
        answer_json(fd, "200 OK", "Connection: close\r\n", ANSWER);
        until_said(w, 1);
        assert_true(span_is(only(w, MESSAGE_REPLY)->body.reply.body, ANSWER));
        assert_int_equal(w->settle_count, n);
        assert_int_equal(w->settle.output_tokens, 3);
        assert_quiet(w);
        (void)close(fd);
    }
}

static void a_large_request_that_is_wrong_fails(void **state)
{
    struct world *w = *state;
    dispatch_large(w, 1, "{\"model\":");
    until_said(w, 1);
    assert_int_equal(only(w, MESSAGE_FAIL)->body.fail.error_class, ERROR_INVALID_JSON);
    assert_quiet(w);
    assert_int_equal(w->over_count, 1);
}

static void a_large_request_that_is_cancelled_while_it_is_read_sends_nothing(void **state)
{
    struct world *w = *state;
    dispatch_large(w, 1, ASK);
    cancel(w, 1);
    grant(w, 1, 1000);
    for (int i = 0; i < TEST_PATIENCE && !w->over_count; i++)
        test_turn(&w->server);
    assert_int_equal(w->over_count, 1);
    assert_int_equal(w->said_count, 0);
    assert_quiet(w);
    assert_true(attempts_quiet(w->attempts));
}

static void a_deadline_passes_while_a_large_request_is_read(void **state)
{
    struct world *w = *state;
    dispatch_large(w, 1, ASK);
    clock_fake_advance_ms(&w->clock, 31000);
    until_said(w, 1);
    assert_int_equal(only(w, MESSAGE_FAIL)->body.fail.error_class, ERROR_DEADLINE);
    assert_quiet(w);
}

static void stopping_waits_for_what_is_read(void **state)
{
    struct world *w = *state;
    dispatch_large(w, 1, ASK);
    dispatch_large(w, 2, ASK);
    attempts_stop(w->attempts);
    assert_int_equal(w->said_count, 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(w->said[i].body.fail.error_class, ERROR_WORKER_LOST);
    assert_int_equal(attempts_running(w->attempts), 0);
}

static struct dispatch stream_with_credit(uint32_t credit)
{
    struct dispatch d = chat(ASK_STREAM);
    d.credit = credit;
    return d;
}

static void a_stream_is_head_data_end_in_order(void **state)
{
    struct world *w = *state;
    struct buf text = {0};
    int fd = dispatched(w, 1, stream_with_credit(100000));
    test_answer(fd, STREAM_HEAD CHUNK("a"));
    until_said(w, 2);
    test_answer(fd, CHUNK("b") LAST_CHUNKS);
    (void)close(fd);
    for (int i = 0; i < TEST_PATIENCE && w->said[w->said_count - 1].header.type != MESSAGE_END; i++)
        test_turn(&w->server);
    assert_int_equal(w->said[0].header.type, MESSAGE_HEAD);
    assert_int_equal(w->said[0].body.head.status, 200);
    assert_true(span_starts(w->said[0].body.head.content_type, "text/event-stream"));
    for (unsigned i = 1; i + 1 < w->said_count; i++) {
        assert_int_equal(w->said[i].header.type, MESSAGE_DATA);
        assert_int_equal(w->said[i].header.seq, i - 1);
        buf_append(&text, w->said[i].body.data.bytes);
    }
    const struct said *end = &w->said[w->said_count - 1];
    assert_int_equal(end->header.type, MESSAGE_END);
    assert_true(end->header.flags & HEADER_LAST);
    assert_true(end->header.flags & HEADER_STREAM);
    assert_int_equal(end->body.end.input_tokens, 11);
    assert_int_equal(end->body.end.output_tokens, 2);
    assert_true(span_starts(buf_span(&text), CHUNK("a") CHUNK("b")));
    assert_true(span_ends(buf_span(&text), "data: [DONE]\n\n"));
    assert_int_equal(w->settle_count, 1);
    assert_true(w->settle.stream);
    assert_int_equal(w->settle.output_tokens, 2);
    assert_quiet(w);
    buf_free(&text);
}

static size_t data_bytes(const struct world *w)
{
    size_t n = 0;
    for (unsigned i = 0; i < w->said_count; i++)
        if (w->said[i].header.type == MESSAGE_DATA)
            n += w->said[i].body.data.bytes.len;
    return n;
}

static void a_stream_without_credit_waits_for_it(void **state)
{
    struct world *w = *state;
    size_t chunk = strlen(CHUNK("a"));
    int fd = dispatched(w, 1, stream_with_credit(100));
    test_answer(fd, STREAM_HEAD CHUNK("a"));
    until_said(w, 2);
    assert_int_equal(data_bytes(w), 100);
    test_answer(fd, CHUNK("b"));
    for (int i = 0; i < 10; i++)
        test_turn(&w->server);
    assert_int_equal(data_bytes(w), 100);
    grant(w, 1, (uint32_t)chunk - 100);
    assert_int_equal(data_bytes(w), chunk);
    grant(w, 1, 50);
    for (int i = 0; i < TEST_PATIENCE && data_bytes(w) < chunk + 50; i++)
        test_turn(&w->server);
    assert_int_equal(data_bytes(w), chunk + 50);
    test_answer(fd, LAST_CHUNKS);
    (void)close(fd);
    grant(w, 1, 100000);
    for (int i = 0; i < TEST_PATIENCE && w->said[w->said_count - 1].header.type != MESSAGE_END; i++)
        test_turn(&w->server);
    assert_int_equal(w->said[w->said_count - 1].header.type, MESSAGE_END);
    assert_quiet(w);
}

static void the_end_waits_for_the_last_bytes(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, stream_with_credit(10));
    test_answer(fd, STREAM_HEAD CHUNK("a") LAST_CHUNKS);
    (void)close(fd);
    for (int i = 0; i < 20; i++)
        test_turn(&w->server);
    assert_int_equal(data_bytes(w), 10);
    assert_int_equal(w->settle_count, 0);
    grant(w, 1, 100000);
    for (int i = 0; i < TEST_PATIENCE && w->settle_count == 0; i++)
        test_turn(&w->server);
    assert_int_equal(w->said[w->said_count - 1].header.type, MESSAGE_END);
    assert_quiet(w);
}

static void an_upstream_that_limits_is_reported_with_its_wait(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, chat(ASK));
    answer_json(fd, "429 Too Many", "Retry-After: 7\r\n",
                "{\"error\":{\"message\":\"slow "
                "down\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}");
    until_said(w, 1);
    const struct fail *f = &only(w, MESSAGE_FAIL)->body.fail;
    assert_int_equal(f->error_class, ERROR_UPSTREAM_RATE_LIMITED);
    assert_int_equal(f->retry_after_ms, 7000);
    assert_int_equal(f->upstream_status, 429);
    assert_true(f->sent);
    assert_true(span_is(f->message, "slow down"));
    assert_int_equal(w->settle_count, 0);
    assert_true(endpoints_at(w->setup->endpoints, 0)->rest_until_ms > 0);
    assert_quiet(w);
    (void)close(fd);
}

static void an_unreachable_upstream_fails_unsent(void **state)
{
    struct world *w = *state;
    test_server_close(&w->server);
    dispatch(w, 1, chat(ASK));
    until_said(w, 1);
    const struct fail *f = &only(w, MESSAGE_FAIL)->body.fail;
    assert_int_equal(f->error_class, ERROR_UPSTREAM_UNREACHABLE);
    assert_false(f->sent);
    assert_false(f->settles);
    assert_int_equal(w->settle_count, 0);
    assert_quiet(w);
}

static void a_request_that_cannot_be_served_fails_at_once(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, chat("{\"model\":"));
    const struct fail *f = &only(w, MESSAGE_FAIL)->body.fail;
    assert_int_equal(error_info(f->error_class)->retry, RETRY_NEVER);
    assert_false(f->sent);
    assert_quiet(w);
    assert_true(test_nobody_asks(&w->server));
}

static void a_broken_stream_ends_in_fail_after_its_data_and_is_settled(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, stream_with_credit(100000));
    test_answer(
        fd,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99999\r\n\r\n" CHUNK(
            "a"));
    until_said(w, 2);
    (void)close(fd);
    until_said(w, 3);
    assert_int_equal(w->said[2].header.type, MESSAGE_FAIL);
    assert_int_equal(w->said[2].body.fail.error_class, ERROR_UPSTREAM_CLOSED);
    assert_int_equal(w->settle_count, 1);
    assert_true(w->settle.estimated);
    assert_int_equal(w->settle.status, 502);
    assert_quiet(w);
}

static void a_cancel_stops_the_upstream_and_settles_as_499(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, stream_with_credit(100000));
    test_answer(fd, STREAM_HEAD CHUNK("a"));
    until_said(w, 2);
    cancel(w, 1);
    assert_int_equal(w->said_count, 2);
    assert_int_equal(w->settle_count, 1);
    assert_int_equal(w->settle.status, 499);
    assert_true(w->settle.estimated);
    assert_true(w->settle.input_tokens > 0);
    assert_true(test_hung_up(&w->server, fd));
    assert_quiet(w);
    assert_true(attempts_quiet(w->attempts));
    (void)close(fd);
}

static void a_deadline_ends_it(void **state)
{
    struct world *w = *state;
    struct dispatch d = stream_with_credit(100000);
    d.timeout_ms = 5000;
    int fd = dispatched(w, 1, d);
    test_answer(fd, STREAM_HEAD CHUNK("a"));
    until_said(w, 2);
    for (int i = 0; i < 31; i++) { /* no silence */
        clock_fake_advance_ms(&w->clock, 1000);
        test_answer(fd, ": ping\n\n");
        test_turn(&w->server);
    }
    until_said(w, 3);
    assert_int_equal(w->said[2].header.type, MESSAGE_FAIL);
    assert_int_equal(w->said[2].body.fail.error_class, ERROR_DEADLINE);
    assert_true(test_hung_up(&w->server, fd));
    assert_quiet(w);
    (void)close(fd);
}

static void silence_is_a_timeout_after_the_models_time(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, chat(ASK));
    clock_fake_advance_ms(&w->clock, 1001);
    until_said(w, 1);
    const struct fail *f = &only(w, MESSAGE_FAIL)->body.fail;
    assert_int_equal(f->error_class, ERROR_UPSTREAM_TIMEOUT);
    assert_true(f->sent);
    assert_quiet(w);
    (void)close(fd);
}

static void an_answer_in_one_piece_has_its_deadline_alone(void **state)
{
    struct world *w = *state;
    struct dispatch d = chat(ASK);
    d.timeout_ms = 0;
    int fd = dispatched(w, 1, d);
    clock_fake_advance_ms(&w->clock, 29000); /* of 30 s */
    for (int i = 0; i < 10; i++)
        test_turn(&w->server);
    assert_int_equal(w->said_count, 0);
    answer_json(fd, "200 OK", "", ANSWER);
    until_said(w, 1);
    (void)only(w, MESSAGE_REPLY);
    (void)close(fd);
}

static void events_without_content_do_not_put_a_streams_time_off(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, stream_with_credit(100000));
    test_answer(fd, STREAM_HEAD);
    for (int i = 0; i < 10 && w->said_count == 0; i++) {
        clock_fake_advance_ms(&w->clock, 300);
        test_answer(fd, ": ping\n\n");
        test_turn(&w->server);
        test_turn(&w->server);
    }
    const struct fail *f = &only(w, MESSAGE_FAIL)->body.fail;
    assert_int_equal(f->error_class, ERROR_UPSTREAM_TIMEOUT);
    assert_quiet(w);
    (void)close(fd);
}

static void between_two_pieces_of_a_stream_the_models_time_holds(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, stream_with_credit(100000));
    test_answer(fd, STREAM_HEAD CHUNK("a"));
    until_said(w, 2);
    clock_fake_advance_ms(&w->clock, 1001);
    until_said(w, 3);
    assert_int_equal(w->said[2].body.fail.error_class, ERROR_UPSTREAM_TIMEOUT);
    (void)close(fd);
}

/* ---- nothing is free ---- */

static struct dispatch capped(uint64_t output_tokens)
{
    struct dispatch d = chat(ASK);
    d.input_tokens = 500;
    d.output_tokens = output_tokens;
    d.timeout_ms = 20000;
    return d;
}

static void assert_booked(const struct world *w, unsigned status, uint64_t output_tokens)
{
    assert_int_equal(w->settle_count, 1);
    assert_int_equal(w->settle.status, status);
    assert_true(w->settle.estimated);
    assert_int_equal(w->settle.input_tokens, 500);
    assert_int_equal(w->settle.output_tokens, output_tokens);
    assert_int_equal(w->settle.cost_nano, 500 * 1000 + output_tokens * 2000);
}

static void who_leaves_before_the_first_byte_pays_for_what_may_have_been_made(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, capped(1000));
    clock_fake_advance_ms(&w->clock, 2000);
    test_turn(&w->server);
    cancel(w, 1);
    assert_booked(w, 499, 2 * API_TOKENS_PER_S);
    (void)close(fd);
}

static void what_may_have_been_made_is_at_most_the_cap(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, capped(30));
    clock_fake_advance_ms(&w->clock, 10000);
    test_turn(&w->server);
    cancel(w, 1);
    assert_booked(w, 499, 30);
    (void)close(fd);
}

static void what_may_have_been_made_follows_the_models_speed(void **state)
{
    struct world *w = *state;
    speeds_learn(&w->speeds, SPAN("gpt-test"), 1000, 10000);
    int fd = dispatched(w, 1, capped(1000));
    clock_fake_advance_ms(&w->clock, 2000);
    test_turn(&w->server);
    cancel(w, 1);
    assert_booked(w, 499, 200);
    (void)close(fd);
}

static void an_answer_teaches_the_models_speed(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, chat(ASK));
    clock_fake_advance_ms(&w->clock, 500);
    answer_json(fd, "200 OK", "",
                "{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"gpt-test\",\"choices\":[{"
                "\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"yes\"},"
                "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1,"
                "\"completion_tokens\":100,\"total_tokens\":101}}");
    until_said(w, 1);
    assert_int_equal(speeds_tokens(&w->speeds, SPAN("gpt-test"), 1000), 200);
    (void)close(fd);
}

static void silence_after_the_request_was_sent_is_booked(void **state)
{
    struct world *w = *state;
    struct dispatch d = capped(1000);
    d.timeout_ms = 1000;
    int fd = dispatched(w, 1, d);
    clock_fake_advance_ms(&w->clock, 1000);
    until_said(w, 1);
    assert_true(only(w, MESSAGE_FAIL)->body.fail.settles);
    assert_booked(w, 504, API_TOKENS_PER_S);
    (void)close(fd);
}

static void a_connection_lost_before_an_answer_is_booked(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, capped(1000));
    (void)close(fd);
    until_said(w, 1);
    assert_int_equal(only(w, MESSAGE_FAIL)->body.fail.error_class, ERROR_UPSTREAM_RESET);
    assert_true(only(w, MESSAGE_FAIL)->body.fail.settles);
    assert_booked(w, 502, 0);
}

static void a_deadline_before_the_first_byte_is_booked(void **state)
{
    struct world *w = *state;
    struct dispatch d = capped(1000);
    d.timeout_ms = 60000;
    int fd = dispatched(w, 1, d);
    clock_fake_advance_ms(&w->clock, 30000);
    until_said(w, 1);
    assert_int_equal(only(w, MESSAGE_FAIL)->body.fail.error_class, ERROR_DEADLINE);
    assert_booked(w, 504, 1000);
    (void)close(fd);
}

static void what_the_upstream_says_no_to_costs_nothing(void **state)
{
    static const char *const words[] = {"400 Bad Request", "500 Internal Server Error",
                                        "503 Service Unavailable"};
    struct world *w = *state;
    for (unsigned i = 0; i < 3; i++) {
        int fd = dispatched(w, i, capped(1000));
        answer_json(fd, words[i], "Connection: close\r\n",
                    "{\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}");
        until_said(w, i + 1);
        assert_false(w->said[i].body.fail.settles);
        (void)close(fd);
    }
    assert_int_equal(w->settle_count, 0);
}

static void a_background_response_is_booked_before_it_is_made(void **state)
{
    static const struct {
        uint64_t cap, booked;
        const char *status;
    } cases[] = {{0, 10000, "queued"}, {700, 700, "in_progress"}, {700, 0, "completed"}};
    struct world *w = *state;
    for (unsigned i = 0; i < 3; i++) {
        char answer[256];
        struct dispatch d = capped(cases[i].cap);
        d.api = API_OPENAI_RESPONSES;
        d.operation = OPERATION_RESPONSE;
        d.body = SPAN("{\"model\":\"gpt-test\",\"background\":true,\"input\":[{\"content\":[]}]}");
        int fd = dispatched(w, i, d);
        (void)snprintf(answer, sizeof answer,
                       "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"%s\","
                       "\"output\":[],\"usage\":null}",
                       cases[i].status);
        answer_json(fd, "200 OK", "Connection: close\r\n", answer);
        until_said(w, i + 1);
        assert_int_equal(w->settle_count, i + 1);
        assert_true(w->settle.estimated);
        assert_int_equal(w->settle.input_tokens, 500);
        assert_int_equal(w->settle.output_tokens, cases[i].booked);
        (void)close(fd);
    }
}

static void what_was_never_sent_costs_nothing(void **state)
{
    struct world *w = *state;
    dispatch(w, 1, capped(1000));
    clock_fake_advance_ms(&w->clock, 2000);
    cancel(w, 1); /* before the loop has turned: no connection yet */
    assert_int_equal(w->settle_count, 1);
    assert_int_equal(w->settle.input_tokens + w->settle.output_tokens, 0);
}

static bool dispatch_attempt(struct world *w, uint8_t attempt, unsigned from)
{
    union message_body body = {.dispatch = chat(ASK)};
    struct bus_message m = {.header = header_of(1, attempt), .body = &body};
    return attempts_dispatch(w->attempts, w->setup, peer(from), &m, NULL);
}

static void a_later_attempt_replaces_the_one_that_runs(void **state)
{
    struct world *w = *state;
    struct header first = header_of(1, 1), second = header_of(1, 2), other = header_of(2, 1);
    int fd = dispatched(w, 1, chat(ASK));
    assert_true(attempts_has(w->attempts, &first));
    assert_false(attempts_has(w->attempts, &second) || attempts_has(w->attempts, &other));
    assert_true(dispatch_attempt(w, 2, 0));
    assert_int_equal(attempts_running(w->attempts), 1);
    assert_true(attempts_has(w->attempts, &first) && attempts_has(w->attempts, &second));
    assert_int_equal(w->over_count, 1);
    assert_true(test_hung_up(&w->server, fd));
    (void)close(fd);
}

static void a_late_cancel_of_an_attempt_leaves_the_next_one_alone(void **state)
{
    struct world *w = *state;
    struct bus_message second = {.header = header_of(1, 2)}, late = {.header = header_of(1, 1)};
    attempts_cancel(w->attempts, peer(0), &late); /* of one that has ended */
    assert_true(dispatch_attempt(w, 2, 0));
    assert_int_equal(attempts_running(w->attempts), 1);
    attempts_cancel(w->attempts, peer(0), &late);
    assert_int_equal(attempts_running(w->attempts), 1);
    attempts_cancel(w->attempts, peer(0), &second);
    assert_int_equal(attempts_running(w->attempts), 0);
}

static void an_attempt_is_its_own_edges_to_cancel(void **state)
{
    struct world *w = *state;
    struct bus_message m = {.header = header_of(1, 1)};
    assert_true(dispatch_attempt(w, 1, 0));
    attempts_cancel(w->attempts, peer(1), &m);
    attempts_credit(w->attempts, peer(1), &m, 1 << 20);
    assert_int_equal(attempts_running(w->attempts), 1);
    attempts_cancel(w->attempts, peer(0), &m);
    assert_int_equal(attempts_running(w->attempts), 0);
}

static void an_edge_that_is_gone_takes_its_attempts_along(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < MANY; i++)
        dispatch(w, i, chat(ASK));
    attempts_cancel_peer(w->attempts, peer(1));
    assert_int_equal(attempts_running(w->attempts), MANY);
    attempts_cancel_peer(w->attempts, peer(0));
    assert_int_equal(w->said_count, 0);
    assert_int_equal(w->over_count, MANY);
    assert_int_equal(w->settle_count, MANY);
    assert_quiet(w);
}

static void the_end_of_an_attempt_names_its_grant(void **state)
{
    struct world *w = *state;
    static char grant_byte;
    struct gate_grant *grant = (struct gate_grant *)(void *)&grant_byte;
    union message_body body = {.dispatch = chat(ASK)};
    struct bus_message m = {.header = header_of(1, 1), .body = &body};
    assert_true(attempts_dispatch(w->attempts, w->setup, peer(0), &m, grant));
    assert_int_equal(w->over_count, 0);
    cancel(w, 1);
    assert_int_equal(w->over_count, 1);
    assert_ptr_equal(w->over_grant, grant);
    body.dispatch.body = SPAN("{\"model\":"); /* ends within its beginning */
    m.header = header_of(2, 1);
    w->over_grant = NULL;
    assert_true(attempts_dispatch(w->attempts, w->setup, peer(0), &m, grant));
    assert_int_equal(w->over_count, 2);
    assert_ptr_equal(w->over_grant, grant);
}

static void what_is_not_let_in_fails_unsent_with_the_free_slots(void **state)
{
    struct world *w = *state;
    struct bus_message m = {.header = header_of(1, 3)};
    m.header.flags = HEADER_STREAM;
    attempts_refuse(w->attempts, peer(0), &m, SPAN("expired"), 5);
    const struct said *s = only(w, MESSAGE_FAIL);
    assert_int_equal(s->header.attempt, 3);
    assert_int_equal(s->header.flags, HEADER_LAST | HEADER_STREAM);
    assert_int_equal(s->body.fail.error_class, ERROR_WORKER_REFUSED);
    assert_int_equal(s->body.fail.free, 5);
    assert_true(span_is(s->body.fail.message, "expired"));
    assert_false(s->body.fail.sent);
    assert_int_equal(w->over_count, 0);
}

static void a_worker_that_stops_tells_of_what_still_runs(void **state)
{
    struct world *w = *state;
    struct header silent = header_of(2, 1), streaming = header_of(1, 1);
    int fd = dispatched(w, 1, stream_with_credit(100000));
    test_answer(fd, STREAM_HEAD CHUNK("a"));
    until_said(w, 2);
    dispatch(w, 2, chat(ASK)); /* the network has not taken it yet */
    attempts_stop(w->attempts);
    assert_int_equal(w->said_count, 4);
    for (unsigned i = 2; i < 4; i++) {
        const struct said *s = &w->said[i];
        bool was_sent = request_id_equals(&s->header.id, &streaming.id);
        assert_true(was_sent || request_id_equals(&s->header.id, &silent.id));
        assert_int_equal(s->header.type, MESSAGE_FAIL);
        assert_true(s->header.flags & HEADER_LAST);
        assert_int_equal(s->body.fail.error_class, ERROR_WORKER_LOST);
        assert_int_equal(s->body.fail.sent, was_sent);
    }
    assert_int_equal(w->settle_count, 2);
    assert_int_equal(w->settle.status, 499);
    assert_int_equal(w->over_count, 2);
    assert_quiet(w);
    (void)close(fd);
}

static void a_worker_that_stops_leaves_what_has_ended_alone(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, stream_with_credit(100000));
    test_answer(fd, STREAM_HEAD CHUNK("a") LAST_CHUNKS);
    for (int i = 0; i < TEST_PATIENCE && w->settle_count == 0; i++)
        test_turn(&w->server); /* the connection stays open: it lingers */
    unsigned said = w->said_count;
    assert_int_equal(w->said[said - 1].header.type, MESSAGE_END);
    attempts_stop(w->attempts);
    assert_int_equal(w->said_count, said);
    assert_int_equal(w->settle_count, 1);
    (void)close(fd);
}

static void a_stream_nobody_takes_is_stopped(void **state)
{
    struct world *w = *state;
    int fd = dispatched(w, 1, stream_with_credit(100000));
    w->send_result = ERR_CLOSED;
    test_answer(fd, STREAM_HEAD CHUNK("a"));
    assert_true(test_hung_up(&w->server, fd));
    assert_quiet(w);
    (void)close(fd);
}

static void attempts_keep_the_setup_they_began_with(void **state)
{
    struct world *w = *state;
    struct config_paths paths = {"/tmp", "/tmp"};
    struct setup *fresh = NULL;
    int fd = dispatched(w, 1, chat(ASK));
    assert_int_equal(setup_create(&fresh, w->config_path, &paths, "sim"), OK);
    setup_unref(&w->setup);
    w->setup = fresh;
    answer_json(fd, "200 OK", "", ANSWER);
    until_said(w, 1);
    (void)only(w, MESSAGE_REPLY);
    (void)close(fd);
}

static void what_is_asked_of_a_stored_response_goes_where_it_was_made(void **state)
{
    struct world *w = *state;
    struct config_paths paths = {"/tmp", "/tmp"};
    setup_unref(&w->setup);
    assert_int_equal(setup_create(&w->setup, w->config_path, &paths, "twice"), OK);
    for (unsigned i = 0; i < 4; i++) {
        struct dispatch d = {.api = API_OPENAI_RESPONSES,
                             .model = SPAN("gpt-test"),
                             .key_id = SPAN("key_1"),
                             .timeout_ms = 1000,
                             .operation = OPERATION_RESPONSE,
                             .body = SPAN("{\"model\":\"gpt-test\",\"input\":[\"hi\"]}")};
        if (i % 2)
            d.response_id = SPAN("resp_1");
        dispatch(w, i, d);
        /* two endpoints take turns, but for those that name what the first one made */
        assert_int_equal(endpoints_at(w->setup->endpoints, i != 2)->running, 1);
        int fd = test_accept(&w->server);
        buf_clear(&w->seen);
        test_read_until(&w->server, fd, &w->seen, "]");
        answer_json(fd, "200 OK", "Connection: close\r\n",
                    i == 0
                        ? "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\","
                          "\"output\":[],"
                          "\"usage\":{\"input_tokens\":1,\"output_tokens\":1,\"total_tokens\":2}}"
                        : "{\"id\":\"resp_x\",\"object\":\"response\",\"status\":\"completed\","
                          "\"output\":[],"
                          "\"usage\":{\"input_tokens\":1,\"output_tokens\":1,\"total_tokens\":2}}");
        until_said(w, i + 1);
        assert_int_equal(w->said[i].header.type, MESSAGE_REPLY);
        assert_int_equal(w->said[i].body.reply.endpoint, i != 2);
        assert_true(w->said[i].body.reply.upstream_id.len > 0);
        (void)close(fd);
    }
}

static void a_stored_response_of_another_key_is_not_found(void **state)
{
    struct world *w = *state;
    stored_responses_remember(&w->setup->responses, SPAN("resp_1"), SPAN("key_1"),
                              (struct stored_response){.endpoint = 1}, 0);
    struct dispatch d = {.api = API_OPENAI_RESPONSES,
                         .key_id = SPAN("key_2"),
                         .operation = OPERATION_RESPONSE_READ,
                         .response_id = SPAN("resp_1")};
    dispatch(w, 1, d);
    const struct fail *f = &only(w, MESSAGE_FAIL)->body.fail;
    assert_int_equal(f->error_class, ERROR_NOT_FOUND);
    assert_false(f->sent);
    assert_int_equal(attempts_running(w->attempts), 0);
}

/* Whatever a peer says, a provider is asked nothing but what the table of routes has. */
static void a_path_that_is_no_route_reaches_no_provider(void **state)
{
    struct world *w = *state;
    const struct dispatch cases[] = {
        {.api = API_OPENAI_RESPONSES,
         .operation = OPERATION_RESPONSE_READ,
         .response_id = SPAN("../files")},
        {.api = API_OPENAI_RESPONSES,
         .operation = OPERATION_RESPONSE_DELETE,
         .response_id = SPAN("..")},
        {.api = API_OPENAI_RESPONSES, .operation = OPERATION_RESPONSE_READ},
        {.api = API_OPENAI_RESPONSES, .operation = 999, .response_id = SPAN("resp_1")},
        {.api = API_OPENAI_CHAT, .operation = OPERATION_EMBEDDINGS, .body = SPAN(ASK)},
        {.api = API_OPENAI_CHAT,
         .operation = OPERATION_CHAT,
         .query = SPAN("a HTTP/1.1\r\nHost: x"),
         .body = SPAN(ASK)},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        forget_said(w);
        dispatch(w, 100 + i, cases[i]);
        const struct fail *f = &only(w, MESSAGE_FAIL)->body.fail;
        assert_int_equal(f->error_class, ERROR_BAD_REQUEST);
        assert_false(f->sent);
        assert_int_equal(attempts_running(w->attempts), 0);
    }
}

static void the_edge_may_name_the_endpoint(void **state)
{
    struct world *w = *state;
    struct config_paths paths = {"/tmp", "/tmp"};
    setup_unref(&w->setup);
    assert_int_equal(setup_create(&w->setup, w->config_path, &paths, "twice"), OK);
    for (uint32_t at = 1; at <= 3; at++) {
        struct dispatch d = {.api = API_OPENAI_RESPONSES,
                             .key_id = SPAN("key_1"),
                             .timeout_ms = 1000,
                             .operation = OPERATION_RESPONSE_READ,
                             .response_id = SPAN("resp_9"),
                             .stored_endpoint = at};
        dispatch(w, at, d);
        /* one beyond the last is no at: the less busy one */
        for (unsigned i = 0; i < 2 && at < 3; i++)
            assert_int_equal(endpoints_at(w->setup->endpoints, i)->running, i == at - 1);
        cancel(w, at);
    }
}

static void reading_a_stored_response_costs_nothing(void **state)
{
    struct world *w = *state;
    struct dispatch d = {.api = API_OPENAI_RESPONSES,
                         .timeout_ms = 1000,
                         .operation = OPERATION_RESPONSE_READ,
                         .response_id = SPAN("resp_1"),
                         .query = SPAN("stream=false")};
    dispatch(w, 1, d);
    int fd = test_accept(&w->server);
    test_read_until(&w->server, fd, &w->seen, "\r\n\r\n");
    assert_true(
        span_starts(buf_span(&w->seen), "GET /v1/responses/resp_1?stream=false HTTP/1.1\r\n"));
    answer_json(
        fd, "200 OK", "",
        "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"model\":\"gpt-4o\","
        "\"output\":[],\"usage\":{\"input_tokens\":5,\"output_tokens\":6,\"total_tokens\":11}}");
    until_said(w, 1);
    const struct reply *r = &only(w, MESSAGE_REPLY)->body.reply;
    assert_int_equal(r->status, 200);
    assert_int_equal(r->input_tokens, 0);
    assert_int_equal(r->output_tokens, 0);
    assert_int_equal(r->cost_nano, 0);
    assert_true(w->settle.of_response); /* no row of its own */
    (void)close(fd);
}

static void what_a_response_has_used_is_settled_when_it_is_seen(void **state)
{
    static const char *const usages[] = {
        "null", "{\"input_tokens\":5,\"output_tokens\":6,\"total_tokens\":11}"};
    struct world *w = *state;
    for (unsigned i = 0; i < 2; i++) {
        char answer[256];
        struct dispatch d = {.api = API_OPENAI_RESPONSES,
                             .key_id = SPAN("key_1"),
                             .timeout_ms = 1000,
                             .operation = OPERATION_RESPONSE_READ,
                             .response_id = SPAN("resp_1")};
        dispatch(w, i, d);
        int fd = test_accept(&w->server);
        buf_clear(&w->seen);
        test_read_until(&w->server, fd, &w->seen, "\r\n\r\n");
        (void)snprintf(answer, sizeof answer,
                       "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\","
                       "\"model\":\"gpt-test-0613\",\"output\":[],\"usage\":%s}",
                       usages[i]);
        answer_json(fd, "200 OK", "Connection: close\r\n", answer);
        until_said(w, i + 1);
        assert_int_equal(w->said[i].body.reply.cost_nano, 0);
        assert_int_equal(w->settle_count, i);
        (void)close(fd);
    }
    assert_true(w->settle.of_response);
    assert_int_equal(w->settle.input_tokens, 5);
    assert_int_equal(w->settle.output_tokens, 6);
    assert_int_equal(w->settle.cost_nano, 5 * 1000 + 6 * 2000); /* as its model's entry has it */
}

static void an_unknown_provider_is_no_setup(void **state)
{
    struct world *w = *state;
    struct config_paths paths = {"/tmp", "/tmp"};
    struct setup *none = NULL;
    assert_int_equal(setup_create(&none, w->config_path, &paths, "nobody"), ERR_NOT_FOUND);
    assert_null(none);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_unary_answer_is_one_reply_and_one_settlement),
        CASE(a_fallback_is_settled_by_its_own_name),
        CASE(large_answers_are_read_one_after_the_other),
        CASE(a_whole_answer_larger_than_its_credit_goes_in_pieces),
        CASE(who_leaves_while_a_whole_answer_comes_pays_what_it_cost),
        CASE(answers_that_nobody_takes_leave_room_to_other_keys),
        CASE(answers_that_nobody_takes_are_not_waited_for),
        CASE(a_large_request_and_its_answer_go_their_way),
        CASE(a_large_request_that_is_wrong_fails),
        CASE(a_large_request_that_is_cancelled_while_it_is_read_sends_nothing),
        CASE(a_deadline_passes_while_a_large_request_is_read),
        CASE(stopping_waits_for_what_is_read),
        CASE(a_stream_is_head_data_end_in_order),
        CASE(a_stream_without_credit_waits_for_it),
        CASE(the_end_waits_for_the_last_bytes),
        CASE(an_upstream_that_limits_is_reported_with_its_wait),
        CASE(an_unreachable_upstream_fails_unsent),
        CASE(a_request_that_cannot_be_served_fails_at_once),
        CASE(a_broken_stream_ends_in_fail_after_its_data_and_is_settled),
        CASE(a_cancel_stops_the_upstream_and_settles_as_499),
        CASE(a_deadline_ends_it),
        CASE(silence_is_a_timeout_after_the_models_time),
        CASE(an_answer_in_one_piece_has_its_deadline_alone),
        CASE(events_without_content_do_not_put_a_streams_time_off),
        CASE(between_two_pieces_of_a_stream_the_models_time_holds),
        CASE(who_leaves_before_the_first_byte_pays_for_what_may_have_been_made),
        CASE(what_may_have_been_made_is_at_most_the_cap),
        CASE(what_may_have_been_made_follows_the_models_speed),
        CASE(an_answer_teaches_the_models_speed),
        CASE(silence_after_the_request_was_sent_is_booked),
        CASE(a_connection_lost_before_an_answer_is_booked),
        CASE(a_deadline_before_the_first_byte_is_booked),
        CASE(what_the_upstream_says_no_to_costs_nothing),
        CASE(a_background_response_is_booked_before_it_is_made),
        CASE(what_was_never_sent_costs_nothing),
        CASE(a_later_attempt_replaces_the_one_that_runs),
        CASE(an_attempt_is_its_own_edges_to_cancel),
        CASE(a_late_cancel_of_an_attempt_leaves_the_next_one_alone),
        CASE(an_edge_that_is_gone_takes_its_attempts_along),
        CASE(the_end_of_an_attempt_names_its_grant),
        CASE(what_is_not_let_in_fails_unsent_with_the_free_slots),
        CASE(a_worker_that_stops_tells_of_what_still_runs),
        CASE(a_worker_that_stops_leaves_what_has_ended_alone),
        CASE(a_stream_nobody_takes_is_stopped),
        CASE(attempts_keep_the_setup_they_began_with),
        CASE(what_is_asked_of_a_stored_response_goes_where_it_was_made),
        CASE(a_stored_response_of_another_key_is_not_found),
        CASE(a_path_that_is_no_route_reaches_no_provider),
        CASE(the_edge_may_name_the_endpoint),
        CASE(reading_a_stored_response_costs_nothing),
        CASE(what_a_response_has_used_is_settled_when_it_is_seen),
        CASE(an_unknown_provider_is_no_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
