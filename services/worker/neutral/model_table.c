#include "services/worker/neutral/model_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/json.h"

enum { FILE_MAX = 4 << 20 };

/* The rows of one provider, next to each other. */
struct provider_rows {
    const char *provider;
    size_t first, count;
};

enum { PROVIDERS_MAX = 256 };

struct model_table {
    struct arena arena; /* rows, their strings */
    struct model_row *rows;
    size_t count;
    struct provider_rows providers[PROVIDERS_MAX];
    size_t provider_count;
};

/* ---- one row ---- */

static bool read_count(struct json v, uint64_t *out)
{
    int64_t n;
    if (!json_i64(v, &n) || n < 0)
        return false;
    *out = (uint64_t)n;
    return true;
}

static bool read_price(struct model_table *t, struct json v, struct model_row *row)
{
    struct tariff *tariff = ARENA_NEW(&t->arena, struct tariff);
    row->tariff = tariff;
    return tariff && tariff_read(v, tariff);
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

static bool read_vision(struct json v, struct model_row *row)
{
    bool vision;
    if (!json_bool(v, &vision))
        return false;
    row->blind = !vision;
    return true;
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
                  : json_is(i.key, "vision")     ? read_vision(i.value, row)
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
                  : json_is(i.key, "exact")        ? json_bool(i.value, &row->exact)
                  : json_is(i.key, "price")        ? read_price(t, i.value, row)
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

static int by_provider(const void *a, const void *b)
{
    const struct model_row *x = a, *y = b;
    int order = strcmp(x->provider, y->provider);
    return order ? order : strcmp(x->pattern, y->pattern);
}

/* So that a request looks through the rows of its provider alone. */
static bool group_rows(struct model_table *t)
{
    qsort(t->rows, t->count, sizeof *t->rows, by_provider);
    for (size_t i = 0; i < t->count; i++) {
        struct provider_rows *last = &t->providers[t->provider_count ? t->provider_count - 1 : 0];
        if (t->provider_count && strcmp(last->provider, t->rows[i].provider) == 0) {
            last->count++;
            continue;
        }
        if (t->provider_count == PROVIDERS_MAX)
            return false;
        t->providers[t->provider_count++] = (struct provider_rows){t->rows[i].provider, i, 1};
    }
    return true;
}

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
    if (group_rows(t))
        return OK;
    buf_printf(error_out, "%s: more than %d providers", path, PROVIDERS_MAX);
    return ERR_INVALID;
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

static bool matches(const struct model_row *row, struct span model)
{
    const char *pattern = row->pattern;
    if (*pattern && (model.len == 0 || *pattern != *model.data))
        return false; /* most of the table */
    size_t n = strlen(pattern);
    if (!span_starts(model, pattern))
        return false;
    if (n == model.len)
        return true;
    if (row->exact)
        return false;
    if (n == 0 || !is_word(pattern[n - 1]))
        return true;
    return memchr("-@:/", model.data[n], 4) != NULL;
}

/* Of a provider the table knows nothing about: nothing is promised, nothing is refused. */
static const struct model_row unknown_row = {
    .pattern = "",
    .provider = "",
    .mode = "chat",
    .tools = true,
    .sampling = true,
};

static void override(struct model_row *row, const struct config_model *with)
{
    if (with->price.set)
        row->tariff = &with->price.tariff;
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

static const struct provider_rows *rows_of(const struct model_table *t, const char *provider)
{
    for (size_t i = 0; t && i < t->provider_count; i++) {
        if (strcmp(t->providers[i].provider, provider) == 0)
            return &t->providers[i];
    }
    return NULL;
}

/* Does the row stand behind the model in the order of by_provider? */
static bool is_behind(const struct model_row *row, struct span model)
{
    int order = strncmp(row->pattern, model.len ? model.data : "", model.len);
    return order ? order > 0 : strlen(row->pattern) > model.len;
}

/* The longest pattern that matches. All that could are beginnings of the model's name, so none
 * stands behind it, and a longer one stands behind the shorter ones. */
static const struct model_row *find(const struct model_table *t, const char *provider,
                                    struct span model)
{
    const struct provider_rows *rows = rows_of(t, provider);
    size_t low = 0, high = rows ? rows->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_behind(&t->rows[rows->first + middle], model))
            high = middle;
        else
            low = middle + 1;
    }
    while (low-- > 0) {
        const struct model_row *row = &t->rows[rows->first + low];
        if (matches(row, model))
            return row;
    }
    return NULL;
}

const struct model_row *model_table_find(const struct model_table *t, const char *provider,
                                         const char *protocol, struct span model,
                                         const struct config_model *overrides,
                                         struct model_row *scratch)
{
    const struct model_row *best = find(t, provider, model);
    if (!best && strcmp(provider, protocol) != 0)
        best = find(t, protocol, model);
    if (!best)
        best = &unknown_row;
    if (!overrides || (!overrides->price.set && !overrides->capabilities))
        return best;
    *scratch = *best;
    override(scratch, overrides);
    return scratch;
}
