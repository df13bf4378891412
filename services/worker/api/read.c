#include "services/worker/api/read.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- faults ---- */

enum { PATH_DEPTH = 16, MESSAGE_MAX = 512, DROPPED_NAME_MAX = 80 };

/* "messages[2].content[0].text" */
static struct span render(struct arena *arena, const struct where *at)
{
    const struct where *steps[PATH_DEPTH] = {NULL};
    size_t depth = 0;
    for (; at && depth < PATH_DEPTH; at = at->up)
        steps[depth++] = at;
    char path[MESSAGE_MAX / 2];
    size_t len = 0;
    while (depth-- > 0 && len < sizeof path) {
        const struct where *step = steps[depth];
        int n = step->name
                    ? snprintf(path + len, sizeof path - len, "%s%s", len ? "." : "", step->name)
                    : snprintf(path + len, sizeof path - len, "[%zu]", step->index);
        len += n > 0 ? (size_t)n : 0;
    }
    return arena_copy(arena, span_of(path, len < sizeof path ? len : sizeof path - 1));
}

enum err read_fault(struct reader *r, const struct where *at, unsigned error_class,
                    const char *format, ...)
{
    char text[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;
    *r->fault = (struct api_error){
        .error_class = error_class,
        .message = arena_copy(r->arena, span_of(text, len)),
        .param = render(r->arena, at),
    };
    return ERR_INVALID;
}

enum err read_too_large(struct reader *r)
{
    *r->fault = (struct api_error){
        .error_class = ERROR_REQUEST_TOO_LARGE,
        .message = SPAN("the request needs more memory than one request may use")};
    return ERR_INVALID;
}

enum err read_wrong_type(struct reader *r, const struct where *at, struct json v,
                         const char *expected)
{
    static const char *const names[] = {
        [JSON_NONE] = "missing",     [JSON_NULL] = "null",       [JSON_BOOL] = "a boolean",
        [JSON_NUMBER] = "a number",  [JSON_STRING] = "a string", [JSON_ARRAY] = "an array",
        [JSON_OBJECT] = "an object",
    };
    struct span path = render(r->arena, at);
    return read_fault(r, at, ERROR_INVALID_VALUE, "'%.*s' must be %s, not %s.", SPAN_ARG(path),
                      expected, names[json_type(v)]);
}

/* ---- values ---- */

enum err read_text(struct reader *r, const struct where *at, struct json v, struct span *out)
{
    if (json_type(v) != JSON_STRING)
        return read_wrong_type(r, at, v, "a string");
    *out = json_text(v);
    return OK;
}

enum err read_integer(struct reader *r, const struct where *at, struct json v, int64_t min,
                      int64_t max, int64_t *out)
{
    if (json_type(v) != JSON_NUMBER)
        return read_wrong_type(r, at, v, "an integer");
    if (!json_i64(v, out))
        return read_fault(r, at, ERROR_INVALID_VALUE, "'%s' must be an integer.", at->name);
    if (*out < min || *out > max) {
        const char *name = at->name;
        if (max == INT64_MAX)
            return read_fault(r, at, ERROR_INVALID_VALUE, "'%s' must be at least %lld.", name,
                              (long long)min);
        return read_fault(r, at, ERROR_INVALID_VALUE, "'%s' must be between %lld and %lld.", name,
                          (long long)min, (long long)max);
    }
    return OK;
}

enum err read_ignored_text(struct reader *r, const struct where *at, struct json v, void *into)
{
    (void)into;
    struct span ignored;
    return read_text(r, at, v, &ignored);
}

static enum err store(struct reader *r, const struct where *at, struct json v,
                      const struct member *m, void *into)
{
    char *field = (char *)into + m->offset;
    enum json_type type = json_type(v);
    switch (m->kind) {
    case MEMBER_KNOWN:
        return OK;
    case MEMBER_TEXT:
        return read_text(r, at, v, (struct span *)(void *)field);
    case MEMBER_NUMBER:
        if (type != JSON_NUMBER)
            return read_wrong_type(r, at, v, "a number");
        break;
    case MEMBER_BOOL:
        return json_bool(v, (bool *)field) ? OK : read_wrong_type(r, at, v, "a boolean");
    case MEMBER_FLAG:
        if (type != JSON_BOOL)
            return read_wrong_type(r, at, v, "a boolean");
        break;
    case MEMBER_OBJECT:
        if (type != JSON_OBJECT)
            return read_wrong_type(r, at, v, "an object");
        break;
    case MEMBER_JSON:
        break;
    case MEMBER_FN:
        return m->fn(r, at, v, into);
    }
    *(struct span *)(void *)field = json_raw(v);
    return OK;
}

/* ---- members ---- */

static enum err add_extra(struct reader *r, const char *name, struct json value, struct json object)
{
    struct neutral_request *out = r->out;
    for (size_t i = 0; i < out->extra_count && i < MEMBERS_MAX; i++) {
        if (strcmp(out->extras[i].name, name) == 0) {
            out->extras[i].json = json_raw(value);
            return OK;
        }
    }
    if (!out->extras)
        out->extras = ARENA_ARRAY(r->arena, struct extra, json_count(object));
    if (!out->extras)
        return read_too_large(r);
    out->extras[out->extra_count++] = (struct extra){name, json_raw(value)};
    return OK;
}

/* Deeper down a name is only told of: it needs no memory, however many a client invents. */
static void drop_unknown(struct reader *r, struct json key, const char *path)
{
    char name[DROPPED_NAME_MAX];
    (void)snprintf(name, sizeof name, "%s.%.*s", path,
                   SPAN_ARG(span_first(json_text(key), sizeof name)));
    neutral_drop(r->out, name);
}

static enum err keep_unknown(struct reader *r, const struct json_iter *i, struct json object,
                             const struct shape *shape)
{
    if (json_absent(i->value))
        return OK;
    if (shape->path) {
        drop_unknown(r, i->key, shape->path);
        return OK;
    }
    struct span bytes = json_string(i->key, r->arena);
    char *name = bytes.data ? arena_strdup(r->arena, bytes) : NULL;
    return name ? add_extra(r, name, i->value, object) : read_too_large(r);
}

static size_t find_member(const struct shape *shape, struct json key)
{
    for (size_t i = 0; i < shape->count; i++) {
        if (json_is(key, shape->members[i].name))
            return i;
    }
    return shape->count;
}

enum err read_object(struct reader *r, const struct where *at, struct json v,
                     const struct shape *shape, void *into)
{
    struct json values[MEMBERS_MAX] = {JSON_NOTHING};
    if (json_type(v) != JSON_OBJECT)
        return read_wrong_type(r, at, v, "an object");
    for (struct json_iter i = json_iter(v); json_next(&i);) {
        size_t k = find_member(shape, i.key);
        enum err e = OK;
        if (k < shape->count)
            values[k] = i.value;
        else
            e = keep_unknown(r, &i, v, shape);
        if (e)
            return e;
    }
    for (size_t k = 0; k < shape->count; k++) {
        const struct member *m = &shape->members[k];
        struct where here = {.up = at, .name = m->name};
        if (json_absent(values[k])) {
            if (m->required)
                return read_fault(r, &here, ERROR_INVALID_VALUE,
                                  "Missing required parameter: '%s'.", m->name);
            continue;
        }
        enum err e = store(r, &here, values[k], m, into);
        if (e)
            return e;
    }
    return OK;
}

enum err read_array(struct reader *r, const struct where *at, struct json v, member_fn fn,
                    void *into)
{
    if (json_type(v) != JSON_ARRAY)
        return read_wrong_type(r, at, v, "an array");
    struct where here = {.up = at};
    for (struct json_iter i = json_iter(v); json_next(&i); here.index++) {
        enum err e = fn(r, &here, i.value, into);
        if (e)
            return e;
    }
    return OK;
}

static enum err read_stop_element(struct reader *r, const struct where *at, struct json v,
                                  void *into)
{
    struct neutral_request *out = into;
    return read_text(r, at, v, &out->stop_text[out->stop_count++]);
}

enum err read_stop_array(struct reader *r, const struct where *at, struct json v, void *into)
{
    struct neutral_request *out = into;
    if (json_type(v) != JSON_ARRAY)
        return read_wrong_type(r, at, v, "an array");
    if (json_count(v) > STOPS_MAX)
        return read_fault(r, at, ERROR_INVALID_VALUE, "At most %d stop sequences may be given.",
                          STOPS_MAX);
    out->stop_text = ARENA_ARRAY(r->arena, struct span, json_count(v));
    return out->stop_text ? read_array(r, at, v, read_stop_element, out) : read_too_large(r);
}

enum err read_stop_string_or_array(struct reader *r, const struct where *at, struct json v,
                                   void *into)
{
    struct neutral_request *out = into;
    if (json_type(v) == JSON_ARRAY)
        return read_stop_array(r, at, v, into);
    if (json_type(v) != JSON_STRING)
        return read_wrong_type(r, at, v, "a string or an array");
    out->stop_text = ARENA_NEW(r->arena, struct span);
    return out->stop_text ? read_stop_element(r, at, v, into) : read_too_large(r);
}

enum err read_refuse_doubled(struct reader *r, struct json body, const char *const *names)
{
    for (; *names; names++) {
        struct where at = {.name = *names};
        if (json_count_named(body, *names) > 1)
            return read_fault(r, &at, ERROR_INVALID_VALUE, "'%s' is given more than once.", *names);
    }
    return OK;
}

/* ---- turns and parts ---- */

bool read_reserve_turns(struct reader *r, size_t more)
{
    struct neutral_request *out = r->out;
    if (out->turn_count + more <= r->turn_cap)
        return true;
    struct turn *grown = ARENA_ARRAY(r->arena, struct turn, out->turn_count + more);
    if (!grown)
        return false;
    if (out->turn_count)
        memcpy(grown, out->turns, out->turn_count * sizeof *grown);
    out->turns = grown;
    r->turn_cap = out->turn_count + more;
    return true;
}

struct turn *read_add_turn(struct reader *r, enum role role, size_t index)
{
    struct neutral_request *out = r->out;
    if (out->turn_count == r->turn_cap && !read_reserve_turns(r, out->turn_count + 1))
        return NULL;
    struct turn *turn = &out->turns[out->turn_count++];
    *turn = (struct turn){.role = role, .index = (unsigned)index};
    return turn;
}

bool read_reserve_parts(struct reader *r, struct part_list *list, size_t more)
{
    if (list->count + more <= list->cap)
        return true;
    struct part *grown = ARENA_ARRAY(r->arena, struct part, list->count + more);
    if (!grown)
        return false;
    if (list->count)
        memcpy(grown, list->items, list->count * sizeof *grown);
    list->items = grown;
    list->cap = list->count + more;
    return true;
}

struct part *read_add_part(struct reader *r, struct part_list *list, enum part_kind kind)
{
    if (list->count == list->cap && !read_reserve_parts(r, list, list->count + 1))
        return NULL;
    struct part *part = &list->items[list->count++];
    *part = (struct part){.kind = kind};
    return part;
}

struct span read_to_text(struct reader *r, struct span bytes)
{
    struct buf escaped = {0};
    json_append_text(&escaped, bytes);
    struct span text = escaped.failed ? SPAN_NONE : arena_copy(r->arena, buf_span(&escaped));
    buf_free(&escaped);
    return text;
}

struct span read_to_bytes(struct reader *r, struct span text)
{
    if (span_find(text, '\\') == text.len)
        return text;
    struct buf decoded = {0};
    json_text_decode(text, &decoded);
    struct span bytes = decoded.failed ? SPAN_NONE : arena_copy(r->arena, buf_span(&decoded));
    buf_free(&decoded);
    return bytes;
}

/* ---- tools ---- */

enum err read_count_tool_call(struct reader *r, const struct where *at)
{
    if (r->tool_calls++ < TOOL_CALLS_MAX)
        return OK;
    return read_fault(r, at, ERROR_INVALID_VALUE,
                      "At most %d tool calls may stand in the messages.", TOOL_CALLS_MAX);
}

static bool is_tool_name(struct span name, size_t max)
{
    if (name.len == 0 || name.len > max)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-'))
            return false;
    }
    return true;
}

enum err read_check_tool_name(struct reader *r, const struct where *at, struct span name,
                              size_t max)
{
    if (is_tool_name(name, max))
        return OK;
    return read_fault(
        r, at, ERROR_INVALID_VALUE,
        "A tool's name must be 1 to %zu characters of a-z, A-Z, 0-9, underscore and dash.", max);
}

enum err read_check_tool_choice(struct reader *r, const struct where *at)
{
    const struct neutral_request *out = r->out;
    if (out->tool_mode != TOOLS_NAMED)
        return OK;
    for (size_t i = 0; i < out->tool_count; i++) {
        if (span_equals(out->tools[i].name_text, out->tool_name_text))
            return OK;
    }
    return read_fault(r, at, ERROR_INVALID_VALUE,
                      "'%s' names the tool '%.*s', which is not among the tools given.", at->name,
                      SPAN_ARG(span_first(out->tool_name_text, 128)));
}
