#include "unit/services/worker/api/test_api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

char *test_quoted(const char *text)
{
    char *copy = strdup(text);
    for (char *c = copy; c && *c; c++)
        *c = *c == '\'' ? '"' : *c;
    return copy;
}

static char *take(struct buf *b)
{
    char *copy = strndup(b->data ? b->data : "", b->len);
    buf_free(b);
    return copy;
}

/* ---- the neutral form in lines ---- */

static void field(struct buf *b, const char *name, struct span s)
{
    if (s.data && s.len)
        buf_printf(b, " %s=%.*s", name, SPAN_ARG(s));
}

static void dump_part(struct buf *b, const struct part *p)
{
    static const char *const kinds[] = {
        [PART_TEXT] = "text",          [PART_REFUSAL] = "refusal",   [PART_IMAGE] = "image",
        [PART_DOCUMENT] = "document",  [PART_SEARCH] = "search",     [PART_TOOL_CALL] = "call",
        [PART_TOOL_RESULT] = "result", [PART_THINKING] = "thinking", [PART_REDACTED] = "redacted",
        [PART_OPAQUE] = "opaque",
    };
    buf_printf(b, " (%s", kinds[p->kind]);
    field(b, "id", p->id_text);
    field(b, "name", p->name_text);
    field(b, "text", p->text);
    field(b, "url", p->url_text);
    field(b, "media", p->media_type_text);
    field(b, "data", p->data_text);
    field(b, "title", p->title_text);
    field(b, "context", p->context_text);
    if (p->args_text.data)
        buf_printf(b, " args=%.*s", SPAN_ARG(p->args_text));
    field(b, "input", p->args_json);
    field(b, "signature", p->signature_text);
    field(b, "raw", p->raw_json);
    field(b, "cache", p->cache_json);
    field(b, "detail", p->detail_text);
    if (p->is_error)
        buf_append_str(b, " error");
    if (p->legacy_function)
        buf_append_str(b, " legacy");
}

/* Parts nest two deep. */
static void dump_parts(struct buf *b, const struct part_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct part *p = &list->items[i];
        dump_part(b, p);
        for (size_t k = 0; p->parts && k < p->parts->count; k++) {
            dump_part(b, &p->parts->items[k]);
            buf_append_char(b, ')');
        }
        buf_append_char(b, ')');
    }
    buf_append_char(b, '\n');
}

static void dump_tools(struct buf *b, const struct neutral_request *r)
{
    static const char *const modes[] = {"unset", "auto", "any", "none", "named"};
    for (size_t i = 0; i < r->tool_count; i++) {
        const struct tool *t = &r->tools[i];
        buf_printf(b, "tool%s%s", t->server ? " server" : "", t->custom ? " custom" : "");
        field(b, "name", t->name_text);
        field(b, "description", t->description_text);
        field(b, "schema", t->schema_json);
        field(b, "strict", t->strict_json);
        field(b, "cache", t->cache_json);
        field(b, "raw", t->raw_json);
        buf_append_char(b, '\n');
    }
    if (r->tool_mode != TOOLS_UNSET || r->parallel_tools != UNSET || r->legacy_functions) {
        buf_printf(b, "choice %s", modes[r->tool_mode]);
        field(b, "name", r->tool_name_text);
        buf_append_str(b, r->parallel_tools == NO    ? " serial"
                          : r->parallel_tools == YES ? " parallel"
                                                     : "");
        buf_append_str(b, r->legacy_functions ? " legacy\n" : "\n");
    }
}

static void dump_settings(struct buf *b, const struct neutral_request *r)
{
    static const char *const thinking[] = {"", " thinking=off", " thinking=budget",
                                           " thinking=adaptive"};
    static const char *const formats[] = {"", " format=json", " format=schema"};
    struct buf s = {0};
    if (r->has_max_out)
        buf_printf(&s, " max_out=%lld", (long long)r->max_out);
    field(&s, "temperature", r->temperature_json);
    field(&s, "top_p", r->top_p_json);
    field(&s, "top_k", r->top_k_json);
    field(&s, "frequency_penalty", r->frequency_penalty_json);
    field(&s, "presence_penalty", r->presence_penalty_json);
    field(&s, "seed", r->seed_json);
    for (size_t i = 0; i < r->stop_count; i++)
        buf_printf(&s, " stop=%.*s", SPAN_ARG(r->stop_text[i]));
    field(&s, "effort", r->effort_text);
    buf_append_str(&s, thinking[r->thinking]);
    if (r->thinking_budget)
        buf_printf(&s, "/%lld", (long long)r->thinking_budget);
    buf_append_str(&s, formats[r->format]);
    field(&s, "name", r->format_name_text);
    field(&s, "schema", r->format_schema_json);
    field(&s, "strict", r->format_strict_json);
    field(&s, "user", r->user_text);
    field(&s, "tier", r->service_tier_text);
    field(&s, "cache", r->cache_json);
    if (r->n != 1)
        buf_printf(&s, " n=%lld", (long long)r->n);
    buf_append_str(&s, r->logprobs ? " logprobs" : "");
    buf_append_str(&s, r->echo ? " echo" : "");
    buf_append_str(&s, r->stream ? " stream" : "");
    buf_append_str(&s, r->want_usage ? " want_usage" : "");
    if (s.len)
        buf_printf(b, "set%.*s\n", (int)s.len, s.data);
    buf_free(&s);
}

static void dump(struct buf *b, const struct neutral_request *r)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    dump_settings(b, r);
    if (r->system.count) {
        buf_append_str(b, "top");
        dump_parts(b, &r->system);
    }
    for (size_t i = 0; i < r->turn_count; i++) {
        const struct turn *t = &r->turns[i];
        buf_printf(b, "%u %s%s", t->index, roles[t->role], t->plain ? " plain" : "");
        field(b, "name", t->name_text);
        dump_parts(b, &t->parts);
    }
    dump_tools(b, r);
    for (size_t i = 0; i < r->prompt_count; i++)
        buf_printf(b, "prompt %.*s\n", SPAN_ARG(r->prompts_text[i]));
    for (size_t i = 0; i < r->extra_count; i++)
        buf_printf(b, "extra %s=%.*s\n", r->extras[i].name, SPAN_ARG(r->extras[i].json));
    for (size_t i = 0; i < r->dropped_count; i++)
        buf_printf(b, "dropped %s\n", r->dropped[i]);
}

/* ---- reading ---- */

static char *read_with(const struct api_ops *api, struct span body, bool message)
{
    struct arena arena;
    struct json_doc doc = {0};
    struct neutral_request request;
    struct api_error fault = {0};
    struct buf out = {0};
    arena_init(&arena, 0);
    enum err e = json_parse(&doc, body, JSON_DEPTH_CLIENT);
    if (e)
        buf_printf(&out, "not JSON: %s", doc.error);
    else
        e = api->read_request(json_root(&doc), &arena, &request, &fault);
    if (!e && !message)
        dump(&out, &request);
    else if (fault.error_class && message)
        buf_append(&out, fault.message);
    else if (fault.error_class)
        buf_printf(&out, "%s %.*s", error_info(fault.error_class)->name, SPAN_ARG(fault.param));
    json_doc_free(&doc);
    arena_free(&arena);
    return take(&out);
}

void test_read_bounded(const struct api_ops *api, const char *body)
{
    struct json_doc doc = {0};
    char *json = test_quoted(body);
    enum err e = ERR_INVALID;
    assert_int_equal(json_parse(&doc, span_str(json), JSON_DEPTH_CLIENT), OK);
    for (size_t bytes = 8; e; bytes += 8) {
        struct arena arena;
        struct neutral_request request;
        struct api_error fault = {0};
        arena_init(&arena, bytes);
        e = api->read_request(json_root(&doc), &arena, &request, &fault);
        assert_int_equal(e, e ? ERR_INVALID : OK);
        assert_int_equal(fault.error_class, e ? ERROR_REQUEST_TOO_LARGE : ERROR_NONE);
        arena_free(&arena);
    }
    json_doc_free(&doc);
    free(json);
}

char *test_read_raw(const struct api_ops *api, struct span body)
{
    return read_with(api, body, false);
}

char *test_read(const struct api_ops *api, const char *body)
{
    char *json = test_quoted(body);
    char *text = read_with(api, span_str(json), false);
    free(json);
    return text;
}

char *test_read_message(const struct api_ops *api, const char *body)
{
    char *json = test_quoted(body);
    char *text = read_with(api, span_str(json), true);
    free(json);
    return text;
}

/* ---- writing ---- */

char *test_play(const struct test_play *p, const struct neutral_event *events, size_t count)
{
    struct arena arena;
    struct buf out = {0};
    struct neutral_request request = p->request;
    arena_init(&arena, p->arena_bytes);
    request.api = p->api == &api_anthropic_messages ? API_ANTHROPIC_MESSAGES
                  : p->api == &api_openai_chat      ? API_OPENAI_CHAT
                  : p->api == &api_openai_responses ? API_OPENAI_RESPONSES
                                                    : API_OPENAI_COMPLETIONS;
    struct answer_options options = {
        .arena = &arena,
        .out = &out,
        .request = &request,
        .input_tokens = p->input_tokens,
        .request_id = span_str(p->request_id ? p->request_id : "req_x"),
        .model = span_str(p->model ? p->model : "asked-model"),
    };
    struct answer_writer *w = p->api->writer_create(&options);
    for (size_t i = 0; w && i < count; i++)
        p->api->write(w, &events[i]);
    arena_free(&arena);
    if (!w || buf_check(&out)) {
        buf_free(&out);
        return strdup("FAILED");
    }
    return take(&out);
}

void test_play_bounded(const struct test_play *p, const struct neutral_event *events, size_t count)
{
    struct test_play bounded = *p;
    char *whole = test_play(p, events, count);
    for (bool same = false; !same;) {
        bounded.arena_bytes += 8;
        char *got = test_play(&bounded, events, count);
        same = strcmp(got, whole) == 0;
        if (!same)
            assert_string_equal(got, "FAILED");
        free(got);
    }
    free(whole);
}

char *test_golden(const char *name)
{
    struct buf path = {0}, text = {0}, compact = {0};
    buf_printf(&path, "%s/tests/fixtures/golden/%s", SOURCE_DIR, name);
    buf_append_char(&path, '\0');
    FILE *f = fopen(path.data, "rb");
    char *at;
    size_t n = 0;
    while (f && (at = buf_reserve(&text, 4096)) && (n = fread(at, 1, 4096, f)) > 0)
        text.len += n;
    if (f)
        fclose(f);
    struct json_doc doc = {0};
    if (json_parse(&doc, buf_span(&text), JSON_DEPTH_CLIENT) == OK) {
        json_append_compact(&compact, json_root(&doc));
        buf_free(&text);
        text = compact;
    }
    json_doc_free(&doc);
    buf_free(&path);
    return take(&text);
}
