#include "contract/test_support.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

/* ---- files ---- */

__attribute__((format(printf, 3, 0))) static void format_path(char *path, size_t size,
                                                              const char *format, va_list args)
{
    int n = vsnprintf(path, size, format, args);
    assert_true(n > 0 && (size_t)n < size);
}

struct span file_read(const char *path_format, ...)
{
    char path[1024];
    va_list args;
    va_start(args, path_format);
    format_path(path, sizeof path, path_format, args);
    va_end(args);
    FILE *f = fopen(path, "rb");
    if (!f)
        return SPAN_NONE;
    struct stat st;
    assert_int_equal(fstat(fileno(f), &st), 0);
    char *data = malloc((size_t)st.st_size + 1);
    assert_non_null(data);
    size_t n = fread(data, 1, (size_t)st.st_size, f);
    data[n] = 0;
    (void)fclose(f);
    return span_of(data, n);
}

void file_free(struct span file)
{
    free((char *)(uintptr_t)file.data);
}

bool file_exists(const char *path_format, ...)
{
    char path[1024];
    va_list args;
    va_start(args, path_format);
    format_path(path, sizeof path, path_format, args);
    va_end(args);
    struct stat st;
    return stat(path, &st) == 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void add_path(struct file_list *list, const char *path)
{
    list->paths = realloc(list->paths, (list->count + 1) * sizeof *list->paths);
    assert_non_null(list->paths);
    list->paths[list->count++] = strdup(path);
}

/* Folders still to be read are kept in a list of their own. */
void file_list_add(struct file_list *list, const char *folder, const char *suffix)
{
    struct file_list folders = {0};
    add_path(&folders, folder);
    for (size_t i = 0; i < folders.count; i++) {
        DIR *dir = opendir(folders.paths[i]);
        for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
            char path[1024];
            if (e->d_name[0] == '.')
                continue;
            int n = snprintf(path, sizeof path, "%s/%s", folders.paths[i], e->d_name);
            struct stat st;
            if (n < 0 || (size_t)n >= sizeof path || stat(path, &st) != 0)
                continue;
            if (S_ISDIR(st.st_mode))
                add_path(&folders, path);
            else if (span_ends(span_str(path), suffix))
                add_path(list, path);
        }
        if (dir)
            (void)closedir(dir);
    }
    file_list_free(&folders);
    qsort(list->paths, list->count, sizeof *list->paths, compare_paths);
}

void file_list_free(struct file_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->paths[i]);
    free(list->paths);
    *list = (struct file_list){0};
}

const struct model_table *test_models(void)
{
    static struct model_table *table;
    if (!table) {
        struct buf error = {0};
        if (model_table_load(SOURCE_DIR "/share/models.json", &table, &error))
            fail_msg("%.*s", SPAN_ARG(buf_span(&error)));
        buf_free(&error);
    }
    return table;
}

/* ---- comparing JSON ---- */

struct comparison {
    const char *what;
    unsigned flags;
    char path[512];
    size_t path_len;
    struct span actual, expected; /* whole texts, for the message */
};

static void differ(const struct comparison *c, const char *how, struct span actual,
                   struct span expected)
{
    fail_msg("%s: at %s %s\n  is       %.*s\n  expected %.*s\n  in %.*s", c->what,
             c->path_len ? c->path : "the top", how, SPAN_ARG(actual), SPAN_ARG(expected),
             SPAN_ARG(c->actual));
}

static size_t push_path(struct comparison *c, struct span name)
{
    size_t old = c->path_len;
    int n = snprintf(c->path + old, sizeof c->path - old, "%s%.*s", old ? "." : "", SPAN_ARG(name));
    if (n > 0 && old + (size_t)n < sizeof c->path)
        c->path_len = old + (size_t)n;
    return old;
}

static void pop_path(struct comparison *c, size_t old)
{
    c->path_len = old;
    c->path[old] = 0;
}

static bool last_is(const struct comparison *c, const char *name)
{
    struct span path = span_of(c->path, c->path_len);
    size_t n = strlen(name);
    return span_ends(path, name) && (path.len == n || path.data[path.len - n - 1] == '.');
}

/* Numbers the gateway computes. */
static bool by_value(const struct comparison *c)
{
    return span_ends(span_of(c->path, c->path_len), "_tokens") || last_is(c, "temperature") ||
           last_is(c, "top_p");
}

static bool is_masked(const struct comparison *c, struct json expected)
{
    if (json_is(expected, "*") || last_is(c, "created") || last_is(c, "request_id"))
        return true;
    return (c->flags & COMPARE_MASK_INPUT_TOKENS) &&
           span_is(span_of(c->path, c->path_len), "message.usage.input_tokens");
}

/* Strings are the same when their UTF-16 units are: escaped or not, whole or half a pair. */
static size_t next_unit(struct span text, size_t at, uint32_t *unit)
{
    const unsigned char *s = (const unsigned char *)text.data + at;
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    if (s[0] != '\\') {
        *unit = s[0];
        return 1;
    }
    if (s[1] == 'u') {
        char digits[5] = {(char)s[2], (char)s[3], (char)s[4], (char)s[5], 0};
        *unit = (uint32_t)strtoul(digits, NULL, 16);
        if (*unit >= 0x80)
            *unit |= 0x10000; /* not a byte of UTF-8 */
        return 6;
    }
    const char *found = strchr(from, (char)s[1]);
    *unit = (uint32_t)(found ? to[found - from] : (char)s[1]);
    return 2;
}

static bool same_string(struct span a, struct span b)
{
    size_t i = 0, k = 0;
    while (i < a.len && k < b.len) {
        uint32_t x, y;
        i += next_unit(a, i, &x);
        k += next_unit(b, k, &y);
        if (x != y)
            return false;
    }
    return i == a.len && k == b.len;
}

static bool same_text(struct json a, struct json b)
{
    if (span_equals(json_text(a), json_text(b)) || same_string(json_text(a), json_text(b)))
        return true;
    struct arena arena;
    arena_init(&arena, 0);
    /* é and \u00e9; halves of a pair differ, as both would become U+FFFD */
    struct span x = json_string(a, &arena), y = json_string(b, &arena);
    bool same = span_equals(x, y) && span_find_span(x, SPAN("\xef\xbf\xbd")) == x.len;
    arena_free(&arena);
    return same;
}

static void compare(struct comparison *c, struct json actual, struct json expected);

static void compare_objects(struct comparison *c, struct json actual, struct json expected)
{
    char name[256];
    for (struct json_iter i = json_iter(expected); json_next(&i);) {
        struct span key = json_text(i.key);
        (void)snprintf(name, sizeof name, "%.*s", SPAN_ARG(key));
        size_t old = push_path(c, key);
        if (json_type(json_get(actual, name)) == JSON_NONE)
            differ(c, "nothing", SPAN_NONE, json_raw(i.value));
        compare(c, json_get(actual, name), i.value);
        pop_path(c, old);
    }
    for (struct json_iter i = json_iter(actual); json_next(&i);) {
        (void)snprintf(name, sizeof name, "%.*s", SPAN_ARG(json_text(i.key)));
        size_t old = push_path(c, json_text(i.key));
        if (json_type(json_get(expected, name)) == JSON_NONE && !last_is(c, "request_id"))
            differ(c, "too much", json_raw(i.value), SPAN_NONE);
        pop_path(c, old);
    }
}

static void compare_arrays(struct comparison *c, struct json actual, struct json expected)
{
    size_t n = json_count(expected);
    if (json_count(actual) != n)
        differ(c, "another length", json_raw(actual), json_raw(expected));
    for (size_t i = 0; i < n; i++) {
        char index[24];
        (void)snprintf(index, sizeof index, "%zu", i);
        size_t old = push_path(c, span_str(index));
        compare(c, json_at(actual, i), json_at(expected, i));
        pop_path(c, old);
    }
}

static void compare_numbers(struct comparison *c, struct json actual, struct json expected)
{
    double x, y;
    if (span_equals(json_raw(actual), json_raw(expected)))
        return;
    if (by_value(c) && json_double(actual, &x) && json_double(expected, &y) && !(x < y) && !(x > y))
        return;
    differ(c, "another number", json_raw(actual), json_raw(expected));
}

/* Fixtures are ours and shallow: recursion is bounded by their depth. */
static void compare(struct comparison *c, struct json actual, struct json expected)
{
    if (is_masked(c, expected))
        return;
    if (json_type(actual) != json_type(expected))
        differ(c, "another type", json_raw(actual), json_raw(expected));
    switch (json_type(expected)) {
    case JSON_OBJECT:
        compare_objects(c, actual, expected);
        break;
    case JSON_ARRAY:
        compare_arrays(c, actual, expected);
        break;
    case JSON_NUMBER:
        compare_numbers(c, actual, expected);
        break;
    case JSON_STRING:
        if (!same_text(actual, expected))
            differ(c, "another text", json_raw(actual), json_raw(expected));
        break;
    case JSON_NONE:
    case JSON_NULL:
        break;
    case JSON_BOOL:
        if (!span_equals(json_raw(actual), json_raw(expected)))
            differ(c, "another truth", json_raw(actual), json_raw(expected));
        break;
    }
}

static void parse(struct json_doc *doc, struct span text, const char *what)
{
    if (json_parse(doc, text, JSON_DEPTH_MAX))
        fail_msg("%s: %s at byte %zu of %.*s", what, doc->error, doc->error_at, SPAN_ARG(text));
}

void expect_json(struct span actual, struct span expected, const char *what, unsigned flags)
{
    struct json_doc a = {0}, e = {0};
    struct comparison c = {.what = what, .flags = flags, .actual = actual, .expected = expected};
    parse(&a, actual, what);
    parse(&e, expected, what);
    compare(&c, json_root(&a), json_root(&e));
    json_doc_free(&a);
    json_doc_free(&e);
}

static struct json find(struct json_doc *doc, struct span json, const char *path)
{
    parse(doc, json, path);
    struct json v = json_root(doc);
    struct span rest = span_str(path);
    while (rest.len) {
        struct span step = span_cut(&rest, '.');
        char name[128];
        (void)snprintf(name, sizeof name, "%.*s", SPAN_ARG(step));
        uint64_t index;
        v = json_type(v) == JSON_ARRAY && span_to_u64(step, &index) ? json_at(v, index)
                                                                    : json_get(v, name);
    }
    return v;
}

void expect_at(struct span json, const char *path, const char *raw)
{
    struct json_doc doc = {0};
    struct span found = json_raw(find(&doc, json, path));
    if (!span_is(found, raw))
        fail_msg("%s is %.*s, not %s, in %.*s", path, SPAN_ARG(found), raw, SPAN_ARG(json));
    json_doc_free(&doc);
}

void expect_nothing_at(struct span json, const char *path)
{
    struct json_doc doc = {0};
    struct json v = find(&doc, json, path);
    if (json_type(v) != JSON_NONE)
        fail_msg("%s is %.*s, in %.*s", path, SPAN_ARG(json_raw(v)), SPAN_ARG(json));
    json_doc_free(&doc);
}

/* ---- comparing streams ---- */

struct event_list {
    struct {
        struct span name, data;
    } items[4096];
    size_t count;
    struct arena arena;
};

static enum err keep_event(void *ctx, const struct sse_event *e)
{
    struct event_list *list = ctx;
    if (!e->has_data || list->count == sizeof list->items / sizeof *list->items)
        return OK;
    list->items[list->count].name = arena_copy(&list->arena, e->name);
    list->items[list->count++].data = arena_copy(&list->arena, e->data);
    return OK;
}

/* {"…","delta":{"type":"input_json_delta","partial_json":"…"}}: the pieces' sizes are free. */
static bool is_partial_json(struct span data)
{
    return span_find_span(data, SPAN("\"input_json_delta\"")) < data.len;
}

static struct span join_partial(struct event_list *list, struct span first, struct span second)
{
    struct json_doc a = {0}, b = {0};
    parse(&a, first, "delta");
    parse(&b, second, "delta");
    struct json index_a = json_get(json_root(&a), "index"),
                index_b = json_get(json_root(&b), "index");
    struct span joined = SPAN_NONE;
    if (span_equals(json_raw(index_a), json_raw(index_b))) {
        struct span x = json_text(json_get(json_get(json_root(&a), "delta"), "partial_json"));
        struct span y = json_text(json_get(json_get(json_root(&b), "delta"), "partial_json"));
        joined = arena_printf(&list->arena,
                              "{\"type\":\"content_block_delta\",\"index\":%.*s,\"delta\":{"
                              "\"type\":\"input_json_delta\","
                              "\"partial_json\":\"%.*s%.*s\"}}",
                              SPAN_ARG(json_raw(index_a)), SPAN_ARG(x), SPAN_ARG(y));
    }
    json_doc_free(&a);
    json_doc_free(&b);
    return joined;
}

static struct event_list *read_events(struct span stream, const char *what)
{
    struct event_list *list = calloc(1, sizeof *list);
    assert_non_null(list);
    arena_init(&list->arena, 0);
    struct sse_reader reader = {0};
    if (sse_feed(&reader, stream, keep_event, list) || sse_finish(&reader, keep_event, list))
        fail_msg("%s: not a stream: %.*s", what, SPAN_ARG(stream));
    sse_reader_free(&reader);
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct span joined = SPAN_NONE;
        if (kept && is_partial_json(list->items[kept - 1].data) &&
            is_partial_json(list->items[i].data))
            joined = join_partial(list, list->items[kept - 1].data, list->items[i].data);
        if (joined.len)
            list->items[kept - 1].data = joined;
        else
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
    return list;
}

static void free_events(struct event_list *list)
{
    arena_free(&list->arena);
    free(list);
}

void expect_stream(struct span actual, struct span expected, const char *what, unsigned flags)
{
    struct event_list *a = read_events(actual, what), *e = read_events(expected, what);
    for (size_t i = 0; i < a->count && i < e->count; i++) {
        char where[256];
        (void)snprintf(where, sizeof where, "%s, event %zu", what, i);
        if (!span_equals(a->items[i].name, e->items[i].name))
            fail_msg("%s: name is %.*s, not %.*s\n%.*s", where, SPAN_ARG(a->items[i].name),
                     SPAN_ARG(e->items[i].name), SPAN_ARG(actual));
        if (span_is(span_trim(e->items[i].data), "[DONE]") ||
            span_is(span_trim(a->items[i].data), "[DONE]"))
            assert_true(span_equals(span_trim(a->items[i].data), span_trim(e->items[i].data)));
        else
            expect_json(a->items[i].data, e->items[i].data, where, flags);
    }
    if (a->count != e->count)
        fail_msg("%s: %zu events, not %zu:\n%.*s", what, a->count, e->count, SPAN_ARG(actual));
    free_events(a);
    free_events(e);
}

/* ---- streams in short ---- */

static void put_word(struct buf *out, const char *word, struct json value)
{
    buf_append_char(out, ' ');
    buf_append_str(out, word);
    buf_append(out, json_type(value) == JSON_STRING ? json_text(value) : json_raw(value));
}

static void put_text(struct buf *out, const char *word, struct json value)
{
    if (!json_absent(value) && !json_is(value, ""))
        put_word(out, word, value);
}

static void put_counts(struct buf *out, struct json in, struct json out_tokens)
{
    buf_append(out, json_raw(in));
    buf_append_char(out, '/');
    buf_append(out, json_raw(out_tokens));
}

static void put_tool_delta(struct buf *out, struct json pipeline)
{
    struct json function = json_get(pipeline, "function");
    put_word(out, "tool", json_get(pipeline, "index"));
    if (!json_absent(json_get(pipeline, "id"))) {
        buf_append_char(out, '(');
        buf_append(out, json_text(json_get(pipeline, "id")));
        buf_append_char(out, ',');
        buf_append(out, json_text(json_get(function, "name")));
        buf_append_char(out, ')');
    }
    buf_append_char(out, '=');
    buf_append(out, json_text(json_get(function, "arguments")));
}

static void put_choice(struct buf *out, struct json choice)
{
    struct json delta = json_get(choice, "delta"), index = json_get(choice, "index");
    if (!json_absent(index) && !span_is(json_raw(index), "0"))
        put_word(out, "#", index);
    if (!json_absent(json_get(delta, "role")))
        buf_append_str(out, " role");
    put_text(out, "content=", json_get(delta, "content"));
    put_text(out, "text=", json_get(choice, "text"));
    put_text(out, "refusal=", json_get(delta, "refusal"));
    put_text(out, "think=", json_get(delta, "reasoning_content"));
    put_text(out, "blocks=", json_get(delta, "thinking_blocks"));
    for (struct json_iter i = json_iter(json_get(delta, "tool_calls")); json_next(&i);)
        put_tool_delta(out, i.value);
    put_text(out, "call=", json_get(delta, "function_call"));
    put_text(out, "finish=", json_get(choice, "finish_reason"));
}

static void digest_openai(struct buf *out, struct json event)
{
    struct json usage = json_get(event, "usage");
    if (!json_absent(json_get(event, "error")))
        put_word(out, "error=", json_get(json_get(event, "error"), "code"));
    for (struct json_iter i = json_iter(json_get(event, "choices")); json_next(&i);)
        put_choice(out, i.value);
    if (json_absent(usage))
        return;
    struct json cached = json_get(json_get(usage, "prompt_tokens_details"), "cached_tokens");
    buf_append_str(out, " usage=");
    put_counts(out, json_get(usage, "prompt_tokens"), json_get(usage, "completion_tokens"));
    if (!json_absent(cached) && !span_is(json_raw(cached), "0"))
        put_word(out, "cached=", cached);
}

static void digest_block(struct buf *out, struct json event)
{
    struct json block = json_get(event, "content_block");
    put_word(out, "+", json_get(event, "index"));
    buf_append(out, json_text(json_get(block, "type")));
    if (json_is(json_get(block, "type"), "tool_use")) {
        buf_append_char(out, '(');
        buf_append(out, json_text(json_get(block, "id")));
        buf_append_char(out, ',');
        buf_append(out, json_text(json_get(block, "name")));
        buf_append_char(out, ')');
    }
}

static void digest_anthropic(struct buf *out, struct json event, struct span name)
{
    struct json type = json_get(event, "type"), delta = json_get(event, "delta"),
                usage = json_get(event, "usage");
    /* the SDK drops events without a name */
    if (!span_equals(json_text(type), name))
        buf_append_str(out, " UNNAMED");
    if (json_is(type, "message_start"))
        buf_append_str(out, " start");
    else if (json_is(type, "ping"))
        buf_append_str(out, " ping");
    else if (json_is(type, "content_block_start"))
        digest_block(out, event);
    else if (json_is(type, "content_block_stop"))
        put_word(out, "-", json_get(event, "index"));
    else if (json_is(type, "message_stop"))
        buf_append_str(out, " stop");
    else if (json_is(type, "error"))
        put_word(out, "error=", json_get(json_get(event, "error"), "type"));
    if (json_is(type, "message_delta")) {
        put_word(out, "delta=", json_get(delta, "stop_reason"));
        buf_append_char(out, '(');
        put_counts(out, json_get(usage, "input_tokens"), json_get(usage, "output_tokens"));
        buf_append_char(out, ')');
    }
    put_text(out, "text=", json_get(delta, "text"));
    put_text(out, "think=", json_get(delta, "thinking"));
    put_text(out, "sig=", json_get(delta, "signature"));
    put_text(out, "json=", json_get(delta, "partial_json"));
}

struct buf stream_digest(struct span stream, bool anthropic)
{
    struct buf out = {0};
    struct event_list *list = read_events(stream, "stream");
    for (size_t i = 0; i < list->count; i++) {
        struct span data = span_trim(list->items[i].data);
        struct json_doc doc = {0};
        if (span_is(data, "[DONE]")) {
            buf_append_str(&out, " DONE");
            continue;
        }
        parse(&doc, data, "event");
        if (anthropic)
            digest_anthropic(&out, json_root(&doc), list->items[i].name);
        else
            digest_openai(&out, json_root(&doc));
        json_doc_free(&doc);
    }
    free_events(list);
    buf_consume(&out, out.len ? 1 : 0);
    buf_append_char(&out, 0);
    return out;
}

/* ---- driving ---- */

void contract_init(struct driver *d, enum api api, const struct provider *provider,
                   const char *model)
{
    static const char *const paths[API_COUNT] = {
        [API_OPENAI_CHAT] = "/chat/completions",
        [API_OPENAI_COMPLETIONS] = "/completions",
        [API_OPENAI_EMBEDDINGS] = "/embeddings",
        [API_OPENAI_RESPONSES] = "/responses",
        [API_ANTHROPIC_MESSAGES] = "/messages",
        [API_ANTHROPIC_COUNT_TOKENS] = "/messages/count_tokens",
    };
    driver_init(d, provider, api, paths[api]);
    d->spec.base_url = span_str(provider_info_find(provider_protocol(provider))->base_url);
    d->spec.model = d->spec.target_model = span_str(model);
    d->spec.table = test_models();
    d->spec.request_id = SPAN("req_x");
}

void contract_chat_only(struct driver *d)
{
    static const char *marks[] = {"chat_only"};
    static const struct config_provider config = {.compat = {marks, 1}};
    d->spec.provider_config = &config;
}

void contract_start(struct driver *d, const char *body)
{
    if (driver_start(d, body))
        fail_msg("refused: %s: %.*s (%.*s) for %s", error_info(d->fault.error_class)->name,
                 SPAN_ARG(d->fault.message), SPAN_ARG(d->fault.param), body);
}

void contract_feed(struct driver *d, size_t sent, struct span bytes, struct cut cut)
{
    switch (cut.kind) {
    case CUT_NONE:
        driver_bytes(d, sent, bytes);
        break;
    case CUT_BYTES:
        for (size_t i = 0; i < bytes.len; i++)
            driver_bytes(d, sent, span_of(bytes.data + i, 1));
        break;
    case CUT_TWO:
        driver_bytes(d, sent, span_first(bytes, cut.at));
        driver_bytes(d, sent, span_skip(bytes, cut.at));
        break;
    }
}

/* What the edge does with a stream that failed after its commit. */
static void add_in_band_error(struct driver *d)
{
    const struct api_error *f = pipeline_fault(d->pipeline);
    uint64_t events = 0;
    for (struct span rest = buf_span(&d->output); rest.len;)
        events += span_starts(span_cut(&rest, '\n'), "event: ");
    if (pipeline_committed(d->pipeline))
        api_error_write_event(&d->output, d->spec.api, f, d->spec.request_id, events);
    else
        api_error_write_body(&d->output, d->spec.api, f, d->spec.request_id);
}

void contract_stream(struct driver *d, size_t sent, struct span bytes, struct cut cut)
{
    driver_stream_head(d, sent);
    contract_feed(d, sent, bytes, cut);
    driver_end(d, sent);
}

void contract_answer(struct driver *d, size_t sent, unsigned status, struct span body)
{
    driver_head(d, sent, status, "content-type: application/json\n");
    driver_bytes(d, sent, body);
    driver_end(d, sent);
}

struct span contract_output(struct driver *d)
{
    if (pipeline_state(d->pipeline) == PIPELINE_FAILED)
        add_in_band_error(d);
    assert_int_not_equal(pipeline_state(d->pipeline), PIPELINE_RUNNING);
    return buf_span(&d->output);
}

struct span contract_sent(const struct driver *d, size_t sent)
{
    assert_true(sent < d->sent_count);
    return d->sent[sent]->body;
}
