/* H001 for every stream we have: whole, byte by byte and cut in two at every offset, the events and
 * the client's bytes are the same. The golden streams always; the recorded ones when they are
 * there. */
#include "contract/test_support.h"

#include <stdio.h>

#include "unit/services/worker/response_stream.h"

/* ---- the reader alone ---- */

static enum err write_down(void *ctx, const struct sse_event *e)
{
    struct buf *out = ctx;
    buf_printf(out, "(%.*s|%d|%.*s|", SPAN_ARG(e->name), e->has_data, SPAN_ARG(e->id));
    buf_append(out, e->data);
    buf_append_char(out, '|');
    buf_append(out, e->raw);
    buf_append_char(out, ')');
    return OK;
}

static void read_pieces(struct span in, size_t first, size_t step, struct buf *out)
{
    struct sse_reader reader = {0};
    buf_clear(out);
    assert_int_equal(sse_feed(&reader, span_first(in, first), write_down, out), OK);
    for (size_t at = first; at < in.len; at += step)
        assert_int_equal(sse_feed(&reader, span_first(span_skip(in, at), step), write_down, out),
                         OK);
    assert_int_equal(sse_finish(&reader, write_down, out), OK);
    sse_reader_free(&reader);
}

static void check_reader(const char *path, struct span in)
{
    struct buf whole = {0}, pieces = {0};
    read_pieces(in, in.len, 1, &whole);
    assert_true(whole.len > 0);
    read_pieces(in, 0, 1, &pieces);
    if (!span_equals(buf_span(&whole), buf_span(&pieces)))
        fail_msg("%s read byte by byte has other events", path);
    for (size_t k = 1; k < in.len; k++) {
        read_pieces(in, k, in.len, &pieces);
        if (!span_equals(buf_span(&whole), buf_span(&pieces)))
            fail_msg("%s cut at %zu has other events", path, k);
    }
    buf_free(&whole);
    buf_free(&pieces);
}

/* ---- through a pipeline ---- */

#define ASK                                                                                        \
    "{\"model\":\"m\",\"max_tokens\":5000,\"stream\":true,\"messages\":[{\"role\":\"user\","       \
    "\"content\":\"hi\"}]}"
#define ASK_RESPONSE                                                                               \
    "{\"model\":\"m\",\"stream\":true,\"input\":\"hi\",\"reasoning\":{\"summary\":\"auto\"}}"
#define PREDICTION                                                                                 \
    "{\"id\":\"p1\",\"model\":\"meta/"                                                             \
    "x\",\"version\":\"v\",\"input\":{},\"logs\":\"\",\"error\":null,\"urls\":{\"get\":"           \
    "\"https://api.replicate.com/v1/predictions/p1\",\"cancel\":\"https://api.replicate.com/v1/"   \
    "predictions/p1/cancel\","                                                                     \
    "\"stream\":\"https://stream.replicate.com/v1/streams/p1\"}"

/* Replicate: the schema, the creation, then the stream. Returns the transfer whose answer streams.
 */
static size_t open_stream(struct driver *d)
{
    if (d->spec.provider != &provider_replicate)
        return 0;
    contract_answer(d, 0, 200,
                    SPAN("{\"latest_version\":{\"id\":\"v\",\"openapi_schema\":{\"components\":{"
                         "\"schemas\":{\"Input\":{"
                         "\"properties\":{\"prompt\":{\"type\":\"string\"}}},\"Output\":{\"type\":"
                         "\"array\",\"items\":{\"type\":"
                         "\"string\"},\"x-cog-array-type\":\"iterator\",\"x-cog-array-display\":"
                         "\"concatenate\"}}}}}}"));
    contract_answer(d, 1, 201, SPAN(PREDICTION ",\"status\":\"starting\",\"output\":null}"));
    assert_int_equal(d->sent_count, 3);
    assert_true(d->sent[2]->expects_stream);
    return 2;
}

/* What the client has in the end, whatever else is asked upstream. */
static void run(enum api api, const struct provider *provider, struct span in, struct cut cut,
                bool translated, struct buf *out)
{
    struct driver d;
    contract_init(&d, api, provider, provider == &provider_replicate ? "meta/x" : "m");
    if (translated)
        contract_chat_only(&d);
    contract_start(&d, translated ? ASK_RESPONSE : ASK);
    size_t at = open_stream(&d);
    contract_stream(&d, at, in, cut);
    while (pipeline_state(d.pipeline) == PIPELINE_RUNNING && ++at < d.sent_count)
        contract_answer(
            &d, at, 200,
            SPAN(PREDICTION
                 ",\"status\":\"succeeded\",\"output\":[],\"metrics\":{\"input_token_count\":3,"
                 "\"output_token_count\":4}}"));
    buf_clear(out);
    buf_append(out, contract_output(&d));
    const char *complaint = translated && pipeline_committed(d.pipeline)
                                ? response_stream_complaint(buf_span(out), false)
                                : NULL;
    if (complaint)
        fail_msg("%s in\n%.*s", complaint, SPAN_ARG(buf_span(out)));
    const struct pipeline_result *r = pipeline_result(d.pipeline);
    buf_printf(out, "\n%d %llu/%llu/%llu", pipeline_state(d.pipeline),
               (unsigned long long)r->usage.input, (unsigned long long)r->usage.output,
               (unsigned long long)r->usage.cached);
    driver_done(&d);
}

static void check_call(const char *path, enum api api, const struct provider *provider,
                       struct span in, bool translated)
{
    struct buf whole = {0}, pieces = {0};
    run(api, provider, in, (struct cut){CUT_NONE, 0}, translated, &whole);
    run(api, provider, in, (struct cut){CUT_BYTES, 0}, translated, &pieces);
    if (!span_equals(buf_span(&whole), buf_span(&pieces)))
        fail_msg("%s byte by byte gives\n%.*s\ninstead of\n%.*s", path, SPAN_ARG(buf_span(&pieces)),
                 SPAN_ARG(buf_span(&whole)));
    /* the cuts of chat's reader are the same reader's */
    for (size_t k = 1; k < in.len; k += translated ? 16 : 1) {
        run(api, provider, in, (struct cut){CUT_TWO, k}, translated, &pieces);
        if (!span_equals(buf_span(&whole), buf_span(&pieces)))
            fail_msg("%s cut at %zu gives\n%.*s\ninstead of\n%.*s", path, k,
                     SPAN_ARG(buf_span(&pieces)), SPAN_ARG(buf_span(&whole)));
    }
    buf_free(&whole);
    buf_free(&pieces);
}

/* ---- files ---- */

static const struct provider *provider_of(const char *path)
{
    struct span p = span_str(path);
    if (span_find_span(p, SPAN("/anthropic/")) < p.len ||
        span_find_span(p, SPAN("stream_a2o")) < p.len)
        return &provider_anthropic;
    if (span_find_span(p, SPAN("/replicate/")) < p.len)
        return &provider_replicate;
    return &provider_openai;
}

static bool is_responses(const char *path)
{
    return span_find_span(span_str(path), SPAN("responses.")) < strlen(path);
}

static void check_file(const char *path)
{
    struct span in = file_read("%s", path);
    assert_non_null(in.data);
    check_reader(path, in);
    if (is_responses(path)) {
        check_call(path, API_OPENAI_RESPONSES, &provider_openai, in, false);
    } else {
        check_call(path, API_OPENAI_CHAT, provider_of(path), in, false);
        check_call(path, API_ANTHROPIC_MESSAGES, provider_of(path), in, false);
        check_call(path, API_OPENAI_RESPONSES, provider_of(path), in, true);
    }
    file_free(in);
}

static void check_folder(const char *folder, const char *suffix)
{
    struct file_list list = {0};
    file_list_add(&list, folder, suffix);
    assert_true(list.count > 0);
    for (size_t i = 0; i < list.count; i++)
        check_file(list.paths[i]);
    file_list_free(&list);
}

static void golden_streams_do_not_care_how_they_are_cut(void **state)
{
    (void)state;
    check_folder(GOLDEN, "in.sse");
}

/* What we write is fed to ourselves too. */
static void golden_outputs_read_the_same_however_they_are_cut(void **state)
{
    (void)state;
    struct file_list list = {0};
    file_list_add(&list, GOLDEN, "out.sse");
    for (size_t i = 0; i < list.count; i++) {
        struct span in = file_read("%s", list.paths[i]);
        check_reader(list.paths[i], in);
        file_free(in);
    }
    file_list_free(&list);
}

static void check_recorded(const char *folder)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", RECORDED, folder);
    if (!file_exists("%s", path))
        skip();
    check_folder(path, ".sse");
}

static void recorded_anthropic_streams(void **state)
{
    (void)state;
    check_recorded("anthropic");
}

static void recorded_openai_streams(void **state)
{
    (void)state;
    check_recorded("openai");
}

static void recorded_replicate_streams(void **state)
{
    (void)state;
    check_recorded("replicate");
}

/* H085 and H100 name two of them. */
static void recorded_streams_have_the_expected_outcome(void **state)
{
    (void)state;
    static const struct {
        const char *path, *end;
    } cases[] = {
        {"openai/stream/text_plain.sse", " -0 delta=end_turn(14/30) stop"},
        {"openai/stream/refusal.sse", " -0 delta=refusal("},
    };
    if (!file_exists("%s", RECORDED))
        skip();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct span in = file_read("%s/%s", RECORDED, cases[i].path);
        struct driver d;
        contract_init(&d, API_ANTHROPIC_MESSAGES, &provider_openai, "m");
        contract_start(&d, ASK);
        contract_stream(&d, 0, in, (struct cut){CUT_NONE, 0});
        struct buf digest = stream_digest(contract_output(&d), true);
        struct span text = buf_span(&digest);
        assert_true(span_starts(text, "start ping +0text text="));
        if (span_find_span(text, span_str(cases[i].end)) == text.len)
            fail_msg("%s: %.*s", cases[i].path, SPAN_ARG(text));
        buf_free(&digest);
        driver_done(&d);
        file_free(in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_streams_do_not_care_how_they_are_cut),
        cmocka_unit_test(golden_outputs_read_the_same_however_they_are_cut),
        cmocka_unit_test(recorded_anthropic_streams),
        cmocka_unit_test(recorded_openai_streams),
        cmocka_unit_test(recorded_replicate_streams),
        cmocka_unit_test(recorded_streams_have_the_expected_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
