#include "services/simulator/answer.h"

#include "common/base/hash.h"

enum { MAX_ECHO = 4096, SCHEMA_DEPTH = 12, PIECE_BYTES = 16, MAX_PIECES = 64, SCHEMA_ITEMS = 1 };

uint64_t tokens_of(uint64_t bytes)
{
    return bytes < 4 ? 1 : (bytes + 3) / 4;
}

/* At most n bytes, not ending inside a UTF-8 sequence. */
static struct span clip(struct span s, size_t n)
{
    if (s.len <= n)
        return s;
    while (n && ((unsigned char)s.data[n] & 0xc0) == 0x80)
        n--;
    return span_first(s, n);
}

/* ---- JSON by schema ---- */

static struct json follow(struct json root, struct json schema)
{
    struct json ref = json_get(schema, "$ref");
    struct span path = json_text(ref);
    if (!span_starts(path, "#/"))
        return schema;
    path = span_skip(path, 2);
    struct json at = root;
    while (path.len) {
        struct span name = span_cut(&path, '/');
        char key[128];
        if (name.len >= sizeof key)
            return JSON_NOTHING;
        memcpy(key, name.data, name.len);
        key[name.len] = '\0';
        at = json_get(at, key);
    }
    return at;
}

static const char *type_of(struct json schema)
{
    static const char *const types[] = {"object", "array",   "string", "integer",
                                        "number", "boolean", "null"};
    struct json type = json_get(schema, "type");
    if (json_type(type) == JSON_ARRAY)
        type = json_at(type, 0);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (json_is(type, types[i]))
            return types[i];
    }
    return json_type(json_get(schema, "properties")) == JSON_OBJECT ? "object" : "string";
}

static bool sample_given(struct json schema, struct json_writer *w)
{
    struct json value = json_get(schema, "const");
    if (json_type(value) == JSON_NONE)
        value = json_at(json_get(schema, "enum"), 0);
    if (json_type(value) == JSON_NONE)
        value = json_get(schema, "default");
    if (json_type(value) == JSON_NONE)
        return false;
    jw_value(w, value);
    return true;
}

/* The depth is counted, so a schema that refers to itself ends. */
static void sample(struct json root, struct json schema, struct json_writer *w, unsigned depth)
{
    schema = follow(root, schema);
    if (depth >= SCHEMA_DEPTH || json_type(schema) != JSON_OBJECT) {
        jw_null(w);
        return;
    }
    static const char *const choices[] = {"anyOf", "oneOf", "allOf"};
    for (size_t i = 0; i < 3; i++) {
        struct json first = json_at(json_get(schema, choices[i]), 0);
        if (json_type(first) != JSON_NONE) {
            sample(root, first, w, depth + 1);
            return;
        }
    }
    if (sample_given(schema, w))
        return;
    const char *type = type_of(schema);
    int64_t least = 1;
    switch (type[0]) {
    case 'o':
        jw_object(w);
        for (struct json_iter i = json_iter(json_get(schema, "properties")); json_next(&i);) {
            jw_key_text(w, json_text(i.key));
            sample(root, i.value, w, depth + 1);
        }
        jw_object_end(w);
        return;
    case 'a':
        jw_array(w);
        if (json_type(json_get(schema, "items")) == JSON_OBJECT)
            sample(root, json_get(schema, "items"), w, depth + 1);
        jw_array_end(w);
        return;
    case 'i':
        (void)json_i64(json_get(schema, "minimum"), &least);
        jw_i64(w, least);
        return;
    case 'b':
        jw_bool(w, true);
        return;
    case 'n':
        if (type[2] == 'l')
            jw_null(w);
        else
            jw_raw(w, SPAN("1.5"));
        return;
    default:
        jw_str(w, "simulated");
        return;
    }
}

void schema_sample(struct json schema, struct json_writer *w)
{
    sample(schema, schema, w, 0);
}

/* ---- tool calls ---- */

/* The JSON object that stands behind `mark` in the text; SPAN_NONE when there is none. */
static struct span object_behind(struct ask *ask, struct span text, struct span mark)
{
    size_t at = span_find_span(text, mark);
    if (at == text.len)
        return SPAN_NONE;
    struct span rest = span_skip(text, at + mark.len);
    if (!span_starts(rest, "{"))
        return SPAN_NONE;
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < rest.len; i++) {
        char c = rest.data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && --depth == 0) {
            return arena_copy(&ask->sim->arena, span_first(rest, i + 1));
        }
    }
    return SPAN_NONE;
}

static struct span sample_args(struct ask *ask, struct json schema)
{
    struct buf out = {0};
    struct json_writer w = {.out = &out};
    if (json_type(schema) == JSON_OBJECT)
        schema_sample(schema, &w);
    if (!out.len || out.data[0] != '{') {
        buf_clear(&out);
        buf_append_str(&out, "{}");
    }
    struct span copy = arena_copy(&ask->sim->arena, buf_span(&out));
    buf_free(&out);
    return copy;
}

static const struct sim_tool *find_tool(const struct question *q, struct span name)
{
    for (unsigned i = 0; i < q->tool_count; i++) {
        if (span_equals(q->tools[i].name, name))
            return &q->tools[i];
    }
    return NULL;
}

static void add_call(struct ask *ask, struct sim_answer *a, const struct sim_tool *tool,
                     struct span about)
{
    struct span args = object_behind(ask, about, SPAN("args:"));
    a->calls[a->call_count].name = tool->name;
    a->calls[a->call_count++].args = args.len ? args : sample_args(ask, tool->schema);
}

static bool is_name_char(char c)
{
    return c == '_' || c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

static void make_calls(struct ask *ask, const struct question *q, struct sim_answer *a)
{
    struct span rest = ask->text;
    unsigned most = q->one_call ? 1 : ANSWER_MAX_CALLS;
    if (!q->tool_count || q->mode == TOOLS_NONE || q->after_result)
        return;
    if (q->mode == TOOLS_NAMED) {
        const struct sim_tool *tool = find_tool(q, q->named);
        if (tool)
            add_call(ask, a, tool, ask->text);
        return;
    }
    while (a->call_count < most) {
        size_t at = span_find_span(rest, SPAN("call:"));
        if (at == rest.len)
            break;
        rest = span_skip(rest, at + 5);
        size_t n = 0;
        while (n < rest.len && is_name_char(rest.data[n]))
            n++;
        const struct sim_tool *tool = find_tool(q, span_first(rest, n));
        rest = span_skip(rest, n);
        if (tool)
            add_call(ask, a, tool, span_first(rest, span_find_span(rest, SPAN("call:"))));
    }
    if (!a->call_count && q->mode == TOOLS_ANY)
        add_call(ask, a, &q->tools[0], ask->text);
}

/* ---- text ---- */

/* The user's text without its directives. */
static struct span without_directives(struct ask *ask)
{
    struct buf out = {0};
    struct span rest = ask->text;
    while (rest.len) {
        size_t at = span_find_span(rest, SPAN("[[sim"));
        buf_append(&out, span_first(rest, at));
        rest = span_skip(rest, at);
        size_t end = span_find_span(rest, SPAN("]]"));
        if (!rest.len || end == rest.len) {
            buf_append(&out, rest);
            break;
        }
        rest = span_skip(rest, end + 2);
    }
    struct span copy = arena_copy(&ask->sim->arena, clip(span_trim(buf_span(&out)), MAX_ECHO));
    buf_free(&out);
    return copy;
}

static struct span json_answer(struct ask *ask, const struct question *q)
{
    struct buf out = {0};
    struct json_writer w = {.out = &out};
    if (q->format == FORMAT_SCHEMA) {
        schema_sample(q->schema, &w);
    } else {
        jw_object(&w);
        jw_key(&w, "simulated");
        jw_bool(&w, true);
        jw_key(&w, "echo");
        jw_string(&w, without_directives(ask));
        jw_object_end(&w);
    }
    struct span copy = arena_copy(&ask->sim->arena, buf_span(&out));
    buf_free(&out);
    return copy;
}

static struct span plain_answer(struct ask *ask)
{
    struct span echo = ask->text;
    if (span_find_span(echo, SPAN("[[sim")) < echo.len)
        echo = without_directives(ask);
    echo = clip(echo, MAX_ECHO);
    static const char head[] = "[simulated] ";
    static const char filler[] = " and so on";
    size_t want = (size_t)ask->fault.tokens * 4;
    size_t least = sizeof head - 1 + echo.len + 3 + 16 + 1;
    char *said = arena_alloc(&ask->sim->arena, (want > least ? want : least) + 1);
    if (!said)
        return SPAN("[simulated]");
    size_t n = sizeof head - 1;
    memcpy(said, head, n);
    if (echo.len)
        memcpy(said + n, echo.data, echo.len);
    n += echo.len;
    memcpy(said + n, " (#", 3);
    n += 3;
    uint64_t hash = hash_bytes(HASH_NOTHING, ask->text);
    for (int shift = 60; shift >= 0; shift -= 4)
        said[n++] = "0123456789abcdef"[hash >> shift & 15];
    said[n++] = ')';
    for (size_t i = 0; n < want; i++)
        said[n++] = filler[i % (sizeof filler - 1)];
    return span_of(said, n);
}

static void apply_stop(struct sim_answer *a, struct span stop)
{
    size_t at = stop.len ? span_find_span(a->text, stop) : a->text.len;
    if (at >= a->text.len)
        return;
    a->text = span_first(a->text, at);
    a->finish = FINISH_SEQUENCE;
    a->sequence = stop;
}

static void apply_stops(struct ask *ask, struct json stops, struct sim_answer *a)
{
    if (json_type(stops) == JSON_STRING)
        apply_stop(a, json_string(stops, &ask->sim->arena));
    for (struct json_iter i = json_iter(stops); json_type(stops) == JSON_ARRAY && json_next(&i);)
        apply_stop(a, json_string(i.value, &ask->sim->arena));
}

void question_add_tool(struct ask *ask, struct question *q, struct span name, struct json schema)
{
    if (!q->tools)
        q->tools = ARENA_ARRAY(&ask->sim->arena, struct sim_tool, ANSWER_MAX_TOOLS);
    if (!q->tools || q->tool_count == ANSWER_MAX_TOOLS)
        return;
    q->tools[q->tool_count++] = (struct sim_tool){name, schema};
}

void answer_make(struct ask *ask, const struct question *q, struct sim_answer *a)
{
    *a = (struct sim_answer){.finish = FINISH_STOP};
    make_calls(ask, q, a);
    uint64_t out_bytes = 0;
    if (a->call_count) {
        a->finish = FINISH_TOOLS;
        for (unsigned i = 0; i < a->call_count; i++)
            out_bytes += a->calls[i].name.len + a->calls[i].args.len;
    } else {
        struct span given = object_behind(ask, ask->text, SPAN("json:"));
        if (given.len)
            a->text = given;
        else if (q->format != FORMAT_TEXT)
            a->text = json_answer(ask, q);
        else
            a->text = plain_answer(ask);
        apply_stops(ask, q->stops, a);
        if (q->max_tokens && tokens_of(a->text.len) > q->max_tokens) {
            a->text = clip(a->text, (size_t)q->max_tokens * 4);
            a->finish = FINISH_LENGTH;
        }
        out_bytes = a->text.len;
    }
    if (q->thinking || ask->fault.reasoning) {
        a->thinking = SPAN("Simulated thoughts: the question is read, and its echo prepared.");
        a->reasoning = tokens_of(a->thinking.len);
    }
    a->input = tokens_of(q->input_bytes);
    a->cached = ask->fault.cached < a->input ? ask->fault.cached : a->input;
    a->output = tokens_of(out_bytes) + a->reasoning;
    ask->reply->input = a->input;
    ask->reply->output = a->output;
    ask->reply->cached = a->cached;
    ask->reply->reports_usage = !ask->fault.no_usage;
}

struct span answer_piece(const struct ask *ask, struct span text, size_t *at)
{
    size_t pieces = ask->fault.chunks;
    if (!pieces) {
        pieces = text.len / PIECE_BYTES + 1;
        if (pieces > MAX_PIECES)
            pieces = MAX_PIECES;
    }
    size_t step = (text.len + pieces - 1) / pieces;
    size_t left = text.len - *at;
    size_t n = step && step < left ? step : left;
    while (n < left && n && ((unsigned char)text.data[*at + n] & 0xc0) == 0x80)
        n++;
    struct span piece = span_of(text.data + *at, n);
    *at += n;
    return piece;
}
