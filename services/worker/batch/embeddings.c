#include "services/worker/batch/embeddings.h"

#include <stdlib.h>

#include "services/worker/neutral/splice.h"

enum { MAX_REST_BYTES = 64 << 10 };

/* ---- reading ---- */

enum input_kind { INPUT_NONE, INPUT_TEXT, INPUT_TOKENS };

static enum input_kind kind_of_item(struct json v)
{
    switch (json_type(v)) {
    case JSON_STRING:
        return INPUT_TEXT;
    case JSON_ARRAY:
        return json_count(v) ? INPUT_TOKENS : INPUT_NONE;
    case JSON_NONE:
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_NUMBER:
    case JSON_OBJECT:
        return INPUT_NONE;
    }
    return INPUT_NONE;
}

/* One text, one list of tokens, or a list of either. */
static bool is_one_input(struct json input)
{
    return json_type(input) == JSON_STRING || json_type(json_at(input, 0)) == JSON_NUMBER;
}

static enum input_kind kind_of_input(struct json input)
{
    if (is_one_input(input))
        return kind_of_item(input);
    enum input_kind kind = kind_of_item(json_at(input, 0));
    for (struct json_iter i = json_iter(input); json_next(&i);) {
        if (kind_of_item(i.value) != kind)
            return INPUT_NONE;
    }
    return json_type(input) == JSON_ARRAY ? kind : INPUT_NONE;
}

static void append_key(struct buf *key, struct json body, enum input_kind kind)
{
    buf_append_char(key, kind == INPUT_TEXT ? 't' : 'n');
    for (struct json_iter i = json_iter(body); json_next(&i);) {
        if (json_is(i.key, "input"))
            continue;
        buf_append(key, json_raw(i.key));
        buf_append_char(key, ':');
        json_append_compact(key, i.value);
        buf_append_char(key, '\n');
    }
}

enum err embeddings_part_read(struct embeddings_part *out, struct span body, struct buf *key_out)
{
    struct json_doc doc = {0};
    enum err err = json_parse(&doc, body, JSON_DEPTH_CLIENT);
    struct json root = json_root(&doc), input = json_get(root, "input");
    enum input_kind kind = err == OK ? kind_of_input(input) : INPUT_NONE;
    if (kind == INPUT_NONE || json_count_named(root, "input") != 1) {
        json_doc_free(&doc);
        return ERR_UNSUPPORTED;
    }
    *out = (struct embeddings_part){.body = body,
                                    .inputs = is_one_input(input) ? 1 : json_count(input),
                                    .bytes = json_raw(input).len};
    append_key(key_out, root, kind);
    json_doc_free(&doc);
    return buf_check(key_out);
}

/* ---- joining ---- */

static enum err append_inputs(const struct embeddings_part *part, struct json_writer *w)
{
    struct json_doc doc = {0};
    enum err err = json_parse(&doc, part->body, JSON_DEPTH_CLIENT);
    struct json input = json_get(json_root(&doc), "input");
    if (err == OK && is_one_input(input))
        jw_value(w, input);
    else if (err == OK) {
        for (struct json_iter i = json_iter(input); json_next(&i);)
            jw_value(w, i.value);
    }
    json_doc_free(&doc);
    return err;
}

static enum err write_joined(const struct embeddings_part *first, struct span inputs,
                             struct buf *out)
{
    struct json_doc doc = {0};
    enum err err = json_parse(&doc, first->body, JSON_DEPTH_CLIENT);
    if (err == OK) {
        struct splice s;
        splice_init(&s, first->body);
        splice_replace(&s, json_get(json_root(&doc), "input"), inputs);
        err = splice_write(&s, out);
    }
    json_doc_free(&doc);
    return err;
}

enum err embeddings_join(const struct embeddings_part *parts, size_t count, struct buf *out)
{
    struct buf inputs = {.max = out->max};
    struct json_writer w = {.out = &inputs};
    size_t total = 0;
    enum err err = OK;
    jw_array(&w);
    for (size_t i = 0; i < count && err == OK; i++) {
        total += parts[i].inputs;
        err = total > EMBEDDINGS_MAX_INPUTS ? ERR_TOO_BIG : append_inputs(&parts[i], &w);
    }
    jw_array_end(&w);
    if (err == OK)
        err = buf_check(&inputs);
    if (err == OK)
        err = write_joined(&parts[0], buf_span(&inputs), out);
    buf_free(&inputs);
    return err;
}

/* ---- taking apart ---- */

struct member_answer {
    struct json_doc doc;
    struct json root;
    struct json *items; /* by index */
};

/* Members beside the embeddings are told to every caller. */
static bool has_large_rest(struct json root)
{
    size_t bytes = 0;
    for (struct json_iter i = json_iter(root); json_next(&i);) {
        if (!json_is(i.key, "data"))
            bytes += json_raw(i.key).len + json_raw(i.value).len;
    }
    return bytes > MAX_REST_BYTES;
}

/* Each index once, none missing. */
static enum err read_answer(struct member_answer *a, struct span text, size_t inputs)
{
    if (json_parse(&a->doc, text, JSON_DEPTH_UPSTREAM))
        return ERR_INVALID;
    a->root = json_root(&a->doc);
    struct json data = json_get(a->root, "data");
    if (json_type(data) != JSON_ARRAY || json_count(data) != inputs || has_large_rest(a->root))
        return ERR_INVALID;
    a->items = calloc(inputs ? inputs : 1, sizeof *a->items);
    if (!a->items)
        return ERR_NOMEM;
    for (struct json_iter i = json_iter(data); json_next(&i);) {
        int64_t index;
        if (!json_i64(json_get(i.value, "index"), &index) || index < 0 || (size_t)index >= inputs ||
            json_type(a->items[index]) != JSON_NONE)
            return ERR_INVALID;
        a->items[index] = i.value;
    }
    return OK;
}

/* The item's bytes, but for the number of its index. */
static void append_item(struct json_writer *w, struct json item, size_t shown_index)
{
    struct json index = json_get(item, "index");
    size_t at = json_offset(index) - json_offset(item);
    jw_raw(w, span_first(json_raw(item), at));
    buf_append_u64(w->out, shown_index);
    buf_append(w->out, span_skip(json_raw(item), at + json_raw(index).len));
}

uint64_t embeddings_portion(uint64_t total, uint64_t upto, uint64_t sum)
{
    __extension__ typedef unsigned __int128 wide;
    return sum ? (uint64_t)((wide)total * upto / sum) : 0;
}

static uint64_t count_of(struct json usage, const char *name)
{
    int64_t v;
    return json_i64(json_get(usage, name), &v) && v > 0 ? (uint64_t)v : 0;
}

struct window {
    size_t first, inputs;        /* of the items */
    uint64_t before, after, sum; /* bytes */
};

static void append_usage(struct json_writer *w, struct json usage, const struct window *v,
                         uint64_t *tokens_out)
{
    static const char *const shared[] = {"prompt_tokens", "total_tokens"};
    jw_object(w);
    for (size_t i = 0; i < 2; i++) {
        uint64_t total = count_of(usage, shared[i]);
        uint64_t part = embeddings_portion(total, v->after, v->sum) -
                        embeddings_portion(total, v->before, v->sum);
        jw_key(w, shared[i]);
        jw_u64(w, part);
        if (i == 0)
            *tokens_out = part;
    }
    jw_object_end(w);
}

static enum err write_share(const struct member_answer *a, const struct window *v,
                            struct embeddings_share *out)
{
    struct json_writer w = {.out = &out->body};
    jw_object(&w);
    for (struct json_iter i = json_iter(a->root); json_next(&i);) {
        jw_key_text(&w, json_text(i.key));
        if (json_is(i.key, "usage")) {
            append_usage(&w, i.value, v, &out->tokens);
        } else if (json_is(i.key, "data")) {
            jw_array(&w);
            for (size_t k = 0; k < v->inputs; k++)
                append_item(&w, a->items[v->first + k], k);
            jw_array_end(&w);
        } else {
            jw_value(&w, i.value);
        }
    }
    jw_object_end(&w);
    return buf_check(&out->body);
}

enum err embeddings_split(const struct embeddings_part *parts, size_t count, struct span answer,
                          struct embeddings_share *shares_out)
{
    struct member_answer a = {.items = NULL};
    struct window v = {.first = 0};
    size_t inputs = 0;
    for (size_t i = 0; i < count; i++) {
        shares_out[i] = (struct embeddings_share){.tokens = 0};
        inputs += parts[i].inputs;
        v.sum += parts[i].bytes;
    }
    enum err err = read_answer(&a, answer, inputs);
    for (size_t i = 0; i < count && err == OK; i++) {
        v.inputs = parts[i].inputs;
        v.after = v.before + parts[i].bytes;
        err = write_share(&a, &v, &shares_out[i]);
        v.first += v.inputs;
        v.before = v.after;
    }
    free(a.items);
    json_doc_free(&a.doc);
    return err;
}
