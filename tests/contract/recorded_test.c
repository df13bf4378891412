/* Real transfers, recorded elsewhere, go through unharmed: byte for byte on their own protocol,
 * whole in meaning on the other one. Skipped where the recordings are not there. */
#include "contract/test_support.h"

#include <stdio.h>

#define ASK_CHAT                                                                                   \
    "{\"model\":\"m\",\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

struct recording {
    struct span file;
    struct json_doc doc;
    struct json request, response; /* bodies, or nothing */
    int64_t status;
};

/* {"body":…} of one direction per file, or {"request":…,"response":…}, or a bare answer. */
static bool open_recording(struct recording *r, const char *path)
{
    *r = (struct recording){.file = file_read("%s", path), .status = 200};
    if (json_parse(&r->doc, r->file, JSON_DEPTH_MAX))
        return false;
    struct json root = json_root(&r->doc), body = json_get(root, "body");
    (void)json_i64(json_get(root, "status"), &r->status);
    r->request = json_get(root, "request");
    r->response = json_get(root, "response");
    if (json_type(body) == JSON_OBJECT && json_type(json_get(body, "messages")) == JSON_ARRAY)
        r->request = body;
    else if (json_type(body) == JSON_OBJECT)
        r->response = body;
    else if (json_type(json_get(root, "choices")) == JSON_ARRAY)
        r->response = root;
    return true;
}

static void close_recording(struct recording *r)
{
    json_doc_free(&r->doc);
    file_free(r->file);
}

static char *copy_of(struct json v)
{
    struct span raw = json_raw(v);
    return strndup(raw.data, raw.len);
}

static void model_of(struct json request, char *out, size_t size)
{
    (void)snprintf(out, size, "%.*s", SPAN_ARG(json_text(json_get(request, "model"))));
}

/* ---- requests ---- */

static void check_request(const char *path, struct json request)
{
    char model[128];
    model_of(request, model, sizeof model);
    char *body = copy_of(request);

    struct driver d;
    contract_init(&d, API_ANTHROPIC_MESSAGES, &provider_anthropic, model);
    contract_start(&d, body);
    if (!span_is(contract_sent(&d, 0), body))
        fail_msg("%s is not passed on as it is", path);
    driver_done(&d);

    contract_init(&d, API_ANTHROPIC_MESSAGES, &provider_openai, "gpt-4o");
    if (driver_start(&d, body) == OK) {
        struct json_doc doc = {0};
        assert_int_equal(json_parse(&doc, contract_sent(&d, 0), JSON_DEPTH_MAX), OK);
        assert_true(json_count(json_get(json_root(&doc), "messages")) >=
                    json_count(json_get(request, "messages")));
        assert_true(json_is(json_get(json_root(&doc), "model"), "gpt-4o"));
        json_doc_free(&doc);
    } else {
        /* only with a reason that names the member */
        assert_int_equal(error_status(d.fault.error_class, API_ANTHROPIC_MESSAGES), 400);
        assert_true(d.fault.message.len > 0);
    }
    driver_done(&d);
    free(body);
}

/* ---- answers ---- */

static void append_texts(struct buf *out, struct json response)
{
    for (struct json_iter i = json_iter(json_get(response, "content")); json_next(&i);) {
        if (json_is(json_get(i.value, "type"), "text"))
            json_text_decode(json_text(json_get(i.value, "text")), out);
    }
    struct json message = json_get(json_at(json_get(response, "choices"), 0), "message");
    json_text_decode(json_text(json_get(message, "content")), out);
    json_text_decode(json_text(json_get(message, "refusal")), out);
}

static int64_t count_of(struct json usage, const char *name)
{
    int64_t v = 0;
    (void)json_i64(json_get(usage, name), &v);
    return v;
}

static void check_translated(const char *path, enum api api, const struct provider *provider,
                             struct json response)
{
    struct driver d;
    struct json_doc doc = {0};
    struct buf said = {0}, heard = {0};
    contract_init(&d, api, provider, "m");
    contract_start(&d, ASK_CHAT);
    contract_answer(&d, 0, 200, json_raw(response));
    assert_int_equal(json_parse(&doc, contract_output(&d), JSON_DEPTH_MAX), OK);
    append_texts(&said, response);
    append_texts(&heard, json_root(&doc));
    if (pipeline_state(d.pipeline) != PIPELINE_DONE ||
        !span_equals(buf_span(&said), buf_span(&heard)))
        fail_msg("%s becomes %.*s", path, SPAN_ARG(buf_span(&d.output)));
    struct json usage = json_get(response, "usage");
    const struct pipeline_result *r = pipeline_result(d.pipeline);
    int64_t input = count_of(usage, "prompt_tokens") + count_of(usage, "input_tokens") +
                    count_of(usage, "cache_read_input_tokens") +
                    count_of(usage, "cache_creation_input_tokens");
    assert_int_equal(r->usage.input, input);
    assert_int_equal(r->usage.output,
                     count_of(usage, "completion_tokens") + count_of(usage, "output_tokens"));
    buf_free(&said);
    buf_free(&heard);
    json_doc_free(&doc);
    driver_done(&d);
}

static void check_passed(const char *path, enum api api, const struct provider *provider,
                         struct json response)
{
    struct driver d;
    contract_init(&d, api, provider, "m");
    contract_start(&d, ASK_CHAT);
    contract_answer(&d, 0, 200, json_raw(response));
    if (!span_equals(contract_output(&d), json_raw(response)))
        fail_msg("%s comes back as %.*s", path, SPAN_ARG(buf_span(&d.output)));
    driver_done(&d);
}

static void check_error(struct json response, int64_t status)
{
    struct driver d;
    contract_init(&d, API_OPENAI_CHAT, &provider_anthropic, "m");
    contract_start(&d, ASK_CHAT);
    contract_answer(&d, 0, (unsigned)status, json_raw(response));
    assert_int_equal(pipeline_state(d.pipeline), PIPELINE_FAILED);
    assert_int_equal(pipeline_result(d.pipeline)->status, status);
    struct span message = json_text(json_get(json_get(response, "error"), "message"));
    assert_true(span_equals(pipeline_fault(d.pipeline)->message, message));
    driver_done(&d);
}

/* ---- files ---- */

static size_t check_file(const char *path, enum api own, const struct provider *provider)
{
    enum api other = own == API_OPENAI_CHAT ? API_ANTHROPIC_MESSAGES : API_OPENAI_CHAT;
    struct recording r;
    size_t checked = 0;
    if (open_recording(&r, path)) {
        if (json_type(r.request) == JSON_OBJECT && own == API_ANTHROPIC_MESSAGES && ++checked)
            check_request(path, r.request);
        if (json_type(r.response) == JSON_OBJECT && r.status == 200 && ++checked) {
            check_passed(path, own, provider, r.response);
            check_translated(path, other, provider, r.response);
        } else if (json_type(r.response) == JSON_OBJECT && ++checked) {
            check_error(r.response, r.status);
        }
    }
    close_recording(&r);
    return checked;
}

static void check_folder(const char *folder, enum api own, const struct provider *provider)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", RECORDED, folder);
    if (!file_exists("%s", path))
        skip();
    struct file_list list = {0};
    file_list_add(&list, path, ".json");
    size_t checked = 0;
    for (size_t i = 0; i < list.count; i++)
        checked += check_file(list.paths[i], own, provider);
    assert_true(checked > 0);
    file_list_free(&list);
}

static void recorded_anthropic_exchanges_are_unharmed(void **state)
{
    (void)state;
    check_folder("anthropic", API_ANTHROPIC_MESSAGES, &provider_anthropic);
}

static void recorded_openai_answers_are_unharmed(void **state)
{
    (void)state;
    check_folder("openai/chat", API_OPENAI_CHAT, &provider_openai);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_anthropic_exchanges_are_unharmed),
        cmocka_unit_test(recorded_openai_answers_are_unharmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
