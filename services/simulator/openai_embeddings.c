#include <stdio.h>

#include "common/base/hash.h"
#include "services/simulator/openai.h"

enum { DEFAULT_DIMENSIONS = 64, MAX_DIMENSIONS = 4096, MAX_INPUTS = 2048 };

/* Component i of the vector for a text: from its hash alone, in [-0.5, 0.5). */
static float component(uint64_t hash, unsigned i)
{
    uint64_t h = (hash ^ (i * 0x9e3779b97f4a7c15u)) * 0xbf58476d1ce4e5b9u;
    h ^= h >> 31;
    return (float)(h & 0xffff) / 65536.0f - 0.5f;
}

static void write_base64(struct json_writer *w, uint64_t hash, unsigned n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t word = 0;
    unsigned held = 0;
    jw_string_begin(w);
    for (unsigned i = 0; i < n; i++) {
        float f = component(hash, i);
        unsigned char bytes[4];
        memcpy(bytes, &f, 4); /* little-endian, as the format asks */
        for (int b = 0; b < 4; b++) {
            word = word << 8 | bytes[b];
            if (++held < 3)
                continue;
            const char four[4] = {digits[word >> 18 & 63], digits[word >> 12 & 63],
                                  digits[word >> 6 & 63], digits[word & 63]};
            jw_string_text(w, span_of(four, 4));
            word = held = 0;
        }
    }
    if (held == 1) {
        const char four[4] = {digits[word >> 2 & 63], digits[(word << 4) & 63], '=', '='};
        jw_string_text(w, span_of(four, 4));
    } else if (held == 2) {
        const char four[4] = {digits[word >> 10 & 63], digits[word >> 4 & 63],
                              digits[(word << 2) & 63], '='};
        jw_string_text(w, span_of(four, 4));
    }
    jw_string_end(w);
}

static void write_floats(struct json_writer *w, uint64_t hash, unsigned n)
{
    jw_array(w);
    for (unsigned i = 0; i < n; i++) {
        char text[32];
        int len = snprintf(text, sizeof text, "%.9g", (double)component(hash, i));
        jw_raw(w, span_of(text, len > 0 ? (size_t)len : 0));
    }
    jw_array_end(w);
}

struct inputs {
    struct span text[MAX_INPUTS];
    unsigned count;
};

static bool add_input(struct ask *ask, struct inputs *in, struct json v)
{
    struct span text = json_type(v) == JSON_STRING ? json_string(v, &ask->sim->arena) : json_raw(v);
    bool empty = json_type(v) == JSON_STRING ? !text.len : !json_count(v);
    if (empty || in->count == MAX_INPUTS)
        return false;
    in->text[in->count++] = text;
    return true;
}

static bool read_inputs(struct ask *ask, struct inputs *in)
{
    struct json input = json_get(ask->body, "input");
    in->count = 0;
    if (json_type(input) == JSON_STRING || json_type(json_at(input, 0)) == JSON_NUMBER)
        return add_input(ask, in, input);
    for (struct json_iter i = json_iter(input); json_type(input) == JSON_ARRAY && json_next(&i);) {
        if (!add_input(ask, in, i.value))
            return false;
    }
    return in->count > 0;
}

static void write_answer(struct ask *ask, const struct inputs *in, bool base64, unsigned dimensions)
{
    struct json_writer w = reply_json(ask->reply, 200);
    uint64_t tokens = 0;
    jw_object(&w);
    jw_key(&w, "object");
    jw_str(&w, "list");
    jw_key(&w, "data");
    jw_array(&w);
    for (unsigned i = 0; i < in->count; i++) {
        uint64_t hash = hash_bytes(HASH_NOTHING, in->text[i]);
        tokens += tokens_of(in->text[i].len);
        jw_object(&w);
        jw_key(&w, "object");
        jw_str(&w, "embedding");
        jw_key(&w, "index");
        jw_u64(&w, i);
        jw_key(&w, "embedding");
        (base64 ? write_base64 : write_floats)(&w, hash, dimensions);
        jw_object_end(&w);
    }
    jw_array_end(&w);
    jw_key(&w, "model");
    jw_string(&w, ask->model);
    jw_key(&w, "usage");
    jw_object(&w);
    jw_key(&w, "prompt_tokens");
    jw_u64(&w, tokens);
    jw_key(&w, "total_tokens");
    jw_u64(&w, tokens);
    jw_object_end(&w);
    jw_object_end(&w);
    ask->reply->input = tokens;
    ask->reply->reports_usage = true;
}

void openai_embeddings(struct ask *ask)
{
    struct inputs *in = ARENA_NEW(&ask->sim->arena, struct inputs);
    int64_t dimensions = DEFAULT_DIMENSIONS;
    struct json format = json_get(ask->body, "encoding_format");
    if (!in || !read_inputs(ask, in)) {
        openai_error(ask, 400, "invalid_request_error", "invalid_value", "input",
                     "'input' must be a non-empty string or array (simulated)");
        return;
    }
    (void)json_i64(json_get(ask->body, "dimensions"), &dimensions);
    if (dimensions < 1 || dimensions > MAX_DIMENSIONS ||
        (!json_absent(format) && !json_is(format, "float") && !json_is(format, "base64"))) {
        openai_error(ask, 400, "invalid_request_error", "invalid_value", NULL,
                     "dimensions or encoding_format is not valid (simulated)");
        return;
    }
    ask->text = in->text[0];
    ask->marker = json_string(json_get(ask->body, "user"), &ask->sim->arena);
    ask_gather_faults(ask);
    if (!openai_fault(ask))
        write_answer(ask, in, json_is(format, "base64"), (unsigned)dimensions);
}
