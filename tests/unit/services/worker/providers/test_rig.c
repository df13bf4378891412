#include "unit/services/worker/providers/test_rig.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define NOW_S 1792567680

static struct model_table *table;

const struct model_table *rig_table(void)
{
    if (!table) {
        struct buf error = {0};
        assert_int_equal(model_table_load(SOURCE_DIR "/share/models.json", &table, &error), OK);
        buf_free(&error);
    }
    return table;
}

void rig_table_free(void)
{
    model_table_destroy(&table);
}

/* ---- events as text ---- */

static void put_u64(struct buf *b, const char *name, uint64_t n)
{
    if (n == USAGE_UNKNOWN)
        buf_printf(b, " %s=?", name);
    else
        buf_printf(b, " %s=%llu", name, (unsigned long long)n);
}

static void put_usage(struct buf *b, const struct usage *u)
{
    put_u64(b, "in", u->input);
    put_u64(b, "cached", u->cached);
    put_u64(b, "written", u->cache_write);
    put_u64(b, "out", u->output);
    put_u64(b, "reasoning", u->reasoning);
}

static void put(struct buf *b, const char *word, struct span s)
{
    buf_append_str(b, word);
    buf_append(b, s);
}

static void on_event(void *ctx, const struct neutral_event *e)
{
    static const char *const stops[] = {"unknown", "end",  "sequence", "length",
                                        "context", "tool", "filter",   "pause"};
    struct rig *r = ctx;
    struct buf *b = &r->log;
    assert_int_equal(r->ends, 0); /* nothing follows the end */
    switch (e->kind) {
    case EVENT_START:
        put(b, "START ", e->id_text);
        put(b, " ", e->model_text);
        break;
    case EVENT_TEXT:
        put(b, "TEXT ", e->text);
        break;
    case EVENT_REFUSAL:
        put(b, "REFUSAL ", e->text);
        break;
    case EVENT_THINK:
        put(b, "THINK ", e->text);
        break;
    case EVENT_THINK_SIGNATURE:
        put(b, "SIGNATURE ", e->text);
        break;
    case EVENT_REDACTED:
        put(b, "REDACTED ", e->text);
        break;
    case EVENT_TOOL_BEGIN:
        buf_printf(b, "TOOL %u ", e->slot);
        put(b, "", e->id_text);
        put(b, " ", e->name_text);
        break;
    case EVENT_TOOL_ARGS:
        buf_printf(b, "ARGS %u ", e->slot);
        put(b, "", e->text);
        break;
    case EVENT_TOOL_END:
        buf_printf(b, "TOOLEND %u", e->slot);
        break;
    case EVENT_USAGE:
        buf_append_str(b, "USAGE");
        put_usage(b, &e->usage);
        break;
    case EVENT_STOP:
        buf_printf(b, "STOP %s", stops[e->stop]);
        if (e->stop_sequence_text.len)
            put(b, " ", e->stop_sequence_text);
        break;
    case EVENT_PING:
        buf_append_str(b, "PING");
        break;
    case EVENT_END:
        buf_append_str(b, "END");
        r->ends++;
        break;
    case EVENT_ERROR:
        buf_append_str(b, "ERROR ");
        for (const char *c = error_info(e->fault.error_class)->name; *c; c++)
            buf_append_char(b, *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c);
        buf_append_char(b, ' ');
        put(b, "", e->fault.message);
        r->ends++;
        break;
    }
    buf_append_char(b, '\n');
}

/* ---- the conversion ---- */

void rig_init(struct rig *r, const struct provider *provider, const char *model)
{
    *r = (struct rig){.provider = provider};
    arena_init(&r->arena, 0);
    r->pc = (struct conversion){
        .provider = provider,
        .request = &r->request,
        .target_model = span_str(model),
        .row = model_table_find(rig_table(), provider_protocol(provider),
                                provider_protocol(provider), span_str(model), NULL, &r->row),
        .compat = {.is_openai = true, .base_url = SPAN("https://api.example.com/v1")},
        .arena = &r->arena,
        .doc = &r->doc,
        .emit = on_event,
        .emit_ctx = r,
        .now_s = NOW_S,
    };
}

void rig_free(struct rig *r)
{
    buf_free(&r->log);
    json_doc_free(&r->body_doc);
    json_doc_free(&r->doc);
    arena_free(&r->arena);
}

enum err rig_build(struct rig *r, enum api api, struct span body)
{
    assert_int_equal(json_parse(&r->body_doc, body, JSON_DEPTH_CLIENT), OK);
    enum err e =
        api_find(api)->read_request(json_root(&r->body_doc), &r->arena, &r->request, &r->fault);
    if (e) {
        print_message("reader: %.*s\n", SPAN_ARG(r->fault.message));
        return e;
    }
    if (api == API_OPENAI_COMPLETIONS && !r->request.has_max_out) {
        r->request.has_max_out = true; /* as the pipeline does */
        r->request.max_out = 1000;
    }
    e = r->provider->build_request(&r->pc, &r->fault);
    if (!e && r->pc.next && r->pc.next->body.len) {
        struct json_doc check = {0};
        assert_int_equal(json_parse(&check, r->pc.next->body, JSON_DEPTH_CLIENT), OK);
        json_doc_free(&check);
    }
    return e;
}

void rig_build_refused(struct rig *r, enum api api, const char *body, unsigned error_class)
{
    assert_int_equal(rig_build(r, api, span_str(body)), ERR_INVALID);
    if (r->fault.error_class != error_class)
        fail_msg("%s: %.*s", error_info(r->fault.error_class)->name, SPAN_ARG(r->fault.message));
    assert_true(r->fault.message.len > 0);
}

const char *rig_member(const struct rig *r, const char *path)
{
    static struct buf text;
    struct json_doc doc = {0};
    assert_non_null(r->pc.next);
    assert_int_equal(json_parse(&doc, r->pc.next->body, JSON_DEPTH_CLIENT), OK);
    struct json at = json_root(&doc);
    struct span rest = span_str(path);
    while (rest.len) {
        struct span name = span_cut(&rest, '.');
        char key[64];
        uint64_t index;
        (void)snprintf(key, sizeof key, "%.*s", SPAN_ARG(name));
        at = json_type(at) == JSON_ARRAY && span_to_u64(name, &index) ? json_at(at, index)
                                                                      : json_get(at, key);
    }
    buf_free(&text);
    if (json_type(at) != JSON_NONE)
        json_append_compact(&text, at);
    buf_append_char(&text, '\0');
    json_doc_free(&doc);
    return text.data;
}

static enum err on_sse(void *ctx, const struct sse_event *e)
{
    struct rig *r = ctx;
    return r->provider->parse_event(&r->pc, r->pc.next, e);
}

enum err rig_stream(struct rig *r, struct span text, size_t cut)
{
    struct sse_reader reader = {0};
    enum err e = OK;
    for (size_t i = 0; !e && cut == SIZE_MAX && i < text.len; i++)
        e = sse_feed(&reader, span_of(text.data + i, 1), on_sse, r);
    if (cut != SIZE_MAX) {
        e = sse_feed(&reader, span_first(text, cut), on_sse, r);
        if (!e)
            e = sse_feed(&reader, span_skip(text, cut), on_sse, r);
    }
    if (!e)
        e = sse_finish(&reader, on_sse, r);
    sse_reader_free(&reader);
    return e ? e : r->provider->parse_end(&r->pc, r->pc.next);
}

enum err rig_answer(struct rig *r, const char *body)
{
    return r->provider->parse_response(&r->pc, r->pc.next, span_str(body));
}

const char *rig_events(struct rig *r)
{
    buf_append_char(&r->log, '\0');
    r->log.len--;
    return r->log.data;
}

static void once(const struct provider *provider, const char *model, enum api api,
                 const char *client_body, struct span stream, size_t cut, const char *events)
{
    struct rig r;
    rig_init(&r, provider, model);
    assert_int_equal(rig_build(&r, api, span_str(client_body)), OK);
    if (rig_stream(&r, stream, cut))
        buf_append_str(&r.log, "INVALID\n");
    assert_string_equal(rig_events(&r), events);
    rig_free(&r);
}

void rig_assert_stream(const struct provider *provider, const char *model, enum api api,
                       const char *client_body, struct span stream, const char *events)
{
    once(provider, model, api, client_body, stream, stream.len, events);
    once(provider, model, api, client_body, stream, SIZE_MAX, events);
    for (size_t cut = 1; cut < stream.len; cut += 7)
        once(provider, model, api, client_body, stream, cut, events);
}

void rig_assert_answer(const struct provider *provider, const char *model, enum api api,
                       const char *client_body, const char *answer, const char *events)
{
    struct rig r;
    rig_init(&r, provider, model);
    assert_int_equal(rig_build(&r, api, span_str(client_body)), OK);
    if (rig_answer(&r, answer))
        buf_append_str(&r.log, "INVALID\n");
    assert_string_equal(rig_events(&r), events);
    rig_free(&r);
}

/* ---- JSON by meaning ---- */

static bool same(struct json a, struct json b);

static bool same_members(struct json a, struct json b)
{
    if (json_count(a) != json_count(b))
        return false;
    for (struct json_iter i = json_iter(a); json_next(&i);) {
        char key[128];
        (void)snprintf(key, sizeof key, "%.*s", SPAN_ARG(json_text(i.key)));
        if (!same(i.value, json_get(b, key)))
            return false;
    }
    return true;
}

static bool same_elements(struct json a, struct json b)
{
    if (json_count(a) != json_count(b))
        return false;
    for (size_t i = 0; i < json_count(a); i++) {
        if (!same(json_at(a, i), json_at(b, i)))
            return false;
    }
    return true;
}

static bool same_strings(struct json a, struct json b)
{
    struct buf x = {0}, y = {0};
    json_text_decode(json_text(a), &x);
    json_text_decode(json_text(b), &y);
    bool equal = span_equals(buf_span(&x), buf_span(&y));
    buf_free(&x);
    buf_free(&y);
    return equal;
}

static bool same(struct json a, struct json b)
{
    double x, y;
    if (json_is(b, "*"))
        return true;
    if (json_type(a) != json_type(b))
        return false;
    switch (json_type(a)) {
    case JSON_OBJECT:
        return same_members(a, b);
    case JSON_ARRAY:
        return same_elements(a, b);
    case JSON_STRING:
        return same_strings(a, b);
    case JSON_NUMBER:
        return span_equals(json_raw(a), json_raw(b)) ||
               (json_double(a, &x) && json_double(b, &y) && fabs(x - y) < 1e-12 && fabs(x) < 1e9);
    case JSON_NONE:
    case JSON_NULL:
    case JSON_BOOL:
        return span_equals(json_raw(a), json_raw(b));
    }
    return false;
}

void assert_json_same(struct span got, struct span expected)
{
    struct json_doc a = {0}, b = {0};
    assert_int_equal(json_parse(&a, got, JSON_DEPTH_UPSTREAM), OK);
    assert_int_equal(json_parse(&b, expected, JSON_DEPTH_UPSTREAM), OK);
    if (!same(json_root(&a), json_root(&b)))
        fail_msg("got %.*s\nexpected %.*s", SPAN_ARG(got), SPAN_ARG(expected));
    json_doc_free(&a);
    json_doc_free(&b);
}

struct span rig_fixture(const char *path)
{
    char full[1024];
    (void)snprintf(full, sizeof full, SOURCE_DIR "/tests/fixtures/%s", path);
    FILE *f = fopen(full, "rb");
    if (!f)
        fail_msg("%s is missing", full);
    char *text = malloc(1 << 20);
    assert_non_null(text);
    size_t n = fread(text, 1, 1 << 20, f);
    fclose(f);
    return span_of(text, n);
}
