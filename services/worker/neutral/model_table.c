#include "services/worker/neutral/model_table.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/json.h"

enum { FILE_MAX = 4 << 20 };

struct model_table {
    struct arena arena; /* rows, their strings */
    struct model_row *rows;
    size_t count;
};

/* ---- one row ---- */

static bool read_nano(struct json v, uint64_t *out)
{
    double dollars;
    if (!json_double(v, &dollars) || !(dollars >= 0) || dollars > 1e9)
        return false;
    *out = (uint64_t)llround(dollars * 1000);
    return true;
}

static bool read_count(struct json v, uint64_t *out)
{
    int64_t n;
    if (!json_i64(v, &n) || n < 0)
        return false;
    *out = (uint64_t)n;
    return true;
}

static bool read_long(struct json v, struct model_row *row)
{
    row->long_cached_nano = row->long_cache_write_nano = UINT64_MAX;
    for (struct json_iter i = json_iter(v); json_next(&i);) {
        bool ok = json_is(i.key, "over")          ? read_count(i.value, &row->long_over)
                  : json_is(i.key, "input")       ? read_nano(i.value, &row->long_input_nano)
                  : json_is(i.key, "output")      ? read_nano(i.value, &row->long_output_nano)
                  : json_is(i.key, "cached")      ? read_nano(i.value, &row->long_cached_nano)
                  : json_is(i.key, "cache_write") ? read_nano(i.value, &row->long_cache_write_nano)
                                                  : false;
        if (!ok)
            return false;
    }
    if (row->long_cached_nano == UINT64_MAX)
        row->long_cached_nano = row->long_input_nano;
    if (row->long_cache_write_nano == UINT64_MAX)
        row->long_cache_write_nano = row->long_input_nano;
    return row->long_over > 0;
}

static bool read_price(struct json v, struct model_row *row)
{
    uint64_t input = UINT64_MAX, output = UINT64_MAX, cached = UINT64_MAX, written = UINT64_MAX;
    for (struct json_iter i = json_iter(v); json_next(&i);) {
        bool ok = json_is(i.key, "input")         ? read_nano(i.value, &input)
                  : json_is(i.key, "output")      ? read_nano(i.value, &output)
                  : json_is(i.key, "cached")      ? read_nano(i.value, &cached)
                  : json_is(i.key, "cache_write") ? read_nano(i.value, &written)
                  : json_is(i.key, "long")        ? read_long(i.value, row)
                                                  : false;
        if (!ok)
            return false;
    }
    row->priced = true;
    row->input_nano = input;
    row->output_nano = output;
    row->cached_nano = cached == UINT64_MAX ? input : cached;
    row->cache_write_nano = written == UINT64_MAX ? input : written;
    return input != UINT64_MAX && output != UINT64_MAX;
}

static bool read_sampling(struct json v, struct model_row *row)
{
    row->sampling_one_only = json_is(v, "one");
    if (row->sampling_one_only) {
        row->sampling = true;
        return true;
    }
    return json_bool(v, &row->sampling);
}

static bool read_thinking(struct json v, struct model_row *row)
{
    static const char *const names[] = {
        [THINKING_STYLE_NONE] = "none",
        [THINKING_STYLE_BUDGET] = "budget",
        [THINKING_STYLE_ADAPTIVE] = "adaptive",
    };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (json_is(v, names[i])) {
            row->thinking = (enum thinking_style)i;
            return true;
        }
    }
    return false;
}

static bool read_effort(struct json v, struct model_row *row)
{
    static const struct {
        const char *word;
        unsigned bit;
    } words[] = {
        {"none", EFFORT_NONE},  {"minimal", EFFORT_MINIMAL}, {"low", EFFORT_LOW},
        {"medium", EFFORT_LOW}, {"high", EFFORT_LOW},        {"xhigh", EFFORT_XHIGH},
        {"max", EFFORT_MAX},
    };
    enum { WORDS = sizeof words / sizeof words[0] };
    if (json_type(v) != JSON_ARRAY)
        return false;
    row->efforts = 0;
    for (struct json_iter i = json_iter(v); json_next(&i);) {
        size_t w = 0;
        while (w < WORDS && !json_is(i.value, words[w].word))
            w++;
        if (w == WORDS)
            return false;
        row->efforts |= words[w].bit;
    }
    return true;
}

static bool *flag(struct model_row *row, struct json key)
{
    const struct {
        const char *name;
        bool *at;
    } flags[] = {
        {"vision", &row->vision},
        {"tools", &row->tools},
        {"json_schema", &row->json_schema},
        {"pdf", &row->pdf},
        {"reasoning", &row->reasoning},
        {"prefill", &row->prefill},
        {"thinking_default_on", &row->thinking_default_on},
        {"system_in_place", &row->system_in_place},
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (json_is(key, flags[i].name))
            return flags[i].at;
    }
    return NULL;
}

/* Only the members present change the row; so the same reads the table and a configuration's
 * override. */
static bool read_capabilities(struct json v, struct model_row *row)
{
    if (json_type(v) != JSON_OBJECT)
        return false;
    for (struct json_iter i = json_iter(v); json_next(&i);) {
        bool *at = flag(row, i.key);
        bool ok = at                             ? json_bool(i.value, at)
                  : json_is(i.key, "sampling")   ? read_sampling(i.value, row)
                  : json_is(i.key, "thinking")   ? read_thinking(i.value, row)
                  : json_is(i.key, "effort")     ? read_effort(i.value, row)
                  : json_is(i.key, "context")    ? read_count(i.value, &row->context)
                  : json_is(i.key, "max_output") ? read_count(i.value, &row->max_out)
                                                 : false;
        if (!ok)
            return false;
    }
    return true;
}

static bool read_word(struct model_table *t, struct json v, const char **out)
{
    if (json_type(v) != JSON_STRING)
        return false;
    *out = arena_strdup(&t->arena, json_string(v, &t->arena));
    return *out != NULL;
}

static bool read_row(struct model_table *t, struct json v, struct model_row *row)
{
    row->mode = "chat";
    for (struct json_iter i = json_iter(v); json_next(&i);) {
        bool ok = json_is(i.key, "match")          ? read_word(t, i.value, &row->pattern)
                  : json_is(i.key, "provider")     ? read_word(t, i.value, &row->provider)
                  : json_is(i.key, "mode")         ? read_word(t, i.value, &row->mode)
                  : json_is(i.key, "price")        ? read_price(i.value, row)
                  : json_is(i.key, "context")      ? read_count(i.value, &row->context)
                  : json_is(i.key, "max_output")   ? read_count(i.value, &row->max_out)
                  : json_is(i.key, "capabilities") ? read_capabilities(i.value, row)
                                                   : false;
        if (!ok)
            return false;
    }
    return row->pattern && row->provider;
}

/* ---- the file ---- */

static enum err read_rows(struct model_table *t, struct json models, const char *path,
                          struct buf *error_out)
{
    if (json_type(models) != JSON_ARRAY) {
        buf_printf(error_out, "%s: no list \"models\"", path);
        return ERR_INVALID;
    }
    t->rows = ARENA_ARRAY(&t->arena, struct model_row, json_count(models) + 1);
    if (!t->rows)
        return ERR_NOMEM;
    for (struct json_iter i = json_iter(models); json_next(&i);) {
        if (!read_row(t, i.value, &t->rows[t->count])) {
            struct span raw = span_first(json_raw(i.value), 60);
            buf_printf(error_out, "%s: row %zu is not right: %.*s…", path, t->count + 1,
                       SPAN_ARG(raw));
            return ERR_INVALID;
        }
        t->count++;
    }
    return OK;
}

static enum err read_file(const char *path, struct buf *text, struct buf *error_out)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        enum err e = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
        buf_printf(error_out, "%s: %s", path, strerrordesc_np(errno));
        return e;
    }
    size_t n = 1;
    while (n > 0) {
        char *at = buf_reserve(text, 4096);
        n = at ? fread(at, 1, 4096, f) : 0;
        text->len += n;
    }
    enum err e = ferror(f) ? ERR_IO : buf_check(text);
    if (e)
        buf_printf(error_out, "%s: %s", path, err_name(e));
    (void)fclose(f);
    return e;
}

enum err model_table_load(const char *path, struct model_table **out, struct buf *error_out)
{
    *out = NULL;
    struct buf text = {.max = FILE_MAX};
    struct json_doc doc = {0};
    struct model_table *t = calloc(1, sizeof *t);
    enum err e = t ? read_file(path, &text, error_out) : ERR_NOMEM;
    if (e)
        goto out;
    arena_init(&t->arena, 0);
    e = json_parse(&doc, buf_span(&text), JSON_DEPTH_CLIENT);
    if (e)
        buf_printf(error_out, "%s: byte %zu: %s", path, doc.error_at, doc.error);
    else
        e = read_rows(t, json_get(json_root(&doc), "models"), path, error_out);
out:
    json_doc_free(&doc);
    buf_free(&text);
    if (e)
        model_table_destroy(&t);
    *out = t;
    return e;
}

void model_table_destroy(struct model_table **t)
{
    if (!*t)
        return;
    arena_free(&(*t)->arena);
    free(*t);
    *t = NULL;
}

/* ---- looking up ---- */

static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool matches(const char *pattern, struct span model)
{
    if (*pattern && (model.len == 0 || *pattern != *model.data))
        return false; /* most of the table */
    size_t n = strlen(pattern);
    if (!span_starts(model, pattern))
        return false;
    if (n == 0 || n == model.len || !is_word(pattern[n - 1]))
        return true;
    return memchr("-@:/", model.data[n], 4) != NULL;
}

/* Of a provider the table knows nothing about: nothing is promised, nothing is refused. */
static const struct model_row unknown_row = {
    .pattern = "",
    .provider = "",
    .mode = "chat",
    .vision = true,
    .tools = true,
    .sampling = true,
};

static void override(struct model_row *row, const struct config_model *with)
{
    if (with->price.set) {
        row->priced = true;
        row->input_nano = with->price.input_nano;
        row->output_nano = with->price.output_nano;
        row->cached_nano =
            with->price.cached_nano == UINT64_MAX ? row->input_nano : with->price.cached_nano;
        row->cache_write_nano = with->price.cache_write_nano == UINT64_MAX
                                    ? row->input_nano
                                    : with->price.cache_write_nano;
        row->long_over = 0;
    }
    if (with->capabilities) {
        struct json_doc doc = {0};
        struct model_row changed = *row;
        /* the configuration's own check has said what is wrong with a bad one; half of it is never
         * used */
        if (!json_parse(&doc, span_str(with->capabilities), JSON_DEPTH_CLIENT) &&
            read_capabilities(json_root(&doc), &changed))
            *row = changed;
        json_doc_free(&doc);
    }
}

const struct model_row *model_table_find(const struct model_table *t, const char *provider_type,
                                         struct span model, const struct config_model *overrides,
                                         struct model_row *scratch)
{
    const struct model_row *best = &unknown_row;
    bool found = false;
    for (size_t i = 0; t && i < t->count; i++) {
        const struct model_row *row = &t->rows[i];
        if (!matches(row->pattern, model) || strcmp(row->provider, provider_type) != 0)
            continue;
        if (!found || strlen(row->pattern) > strlen(best->pattern))
            best = row;
        found = true;
    }
    if (!overrides || (!overrides->price.set && !overrides->capabilities))
        return best;
    *scratch = *best;
    override(scratch, overrides);
    return scratch;
}

/* ---- money ---- */

static uint64_t add_cost(uint64_t sum, uint64_t tokens, uint64_t nano)
{
    uint64_t cost;
    if (__builtin_mul_overflow(tokens, nano, &cost) || __builtin_add_overflow(sum, cost, &sum))
        return UINT64_MAX;
    return sum;
}

uint64_t model_row_cost(const struct model_row *row, uint64_t input_tokens, uint64_t cached_tokens,
                        uint64_t cache_write_tokens, uint64_t output_tokens)
{
    if (!row->priced)
        return 0;
    /* an upstream's own numbers may disagree: never bill less than nothing */
    uint64_t cached = cached_tokens < input_tokens ? cached_tokens : input_tokens;
    uint64_t rest = input_tokens - cached;
    uint64_t written = cache_write_tokens < rest ? cache_write_tokens : rest;
    bool dear = row->long_over && input_tokens > row->long_over;
    uint64_t cost = add_cost(0, rest - written, dear ? row->long_input_nano : row->input_nano);
    cost = add_cost(cost, cached, dear ? row->long_cached_nano : row->cached_nano);
    cost = add_cost(cost, written, dear ? row->long_cache_write_nano : row->cache_write_nano);
    return add_cost(cost, output_tokens, dear ? row->long_output_nano : row->output_nano);
}
