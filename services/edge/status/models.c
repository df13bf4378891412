#include "services/edge/status/models.h"

#include "common/base/json.h"
#include "services/edge/http/fields.h"
#include "services/edge/http/pattern.h"

enum { LIMIT_DEFAULT = 20, LIMIT_MOST = 1000 };

static void write_openai(struct json_writer *w, const struct models_query *q, struct span id,
                         const struct config_model *m)
{
    jw_object(w);
    jw_key(w, "id");
    jw_string(w, id);
    jw_key(w, "object");
    jw_str(w, "model");
    jw_key(w, "created");
    jw_u64(w, q->created_ms / 1000);
    jw_key(w, "owned_by");
    jw_str(w, m->target_count ? m->targets[0].provider->name : "tollgate");
    jw_object_end(w);
}

static void write_anthropic(struct json_writer *w, const struct models_query *q, struct span id)
{
    struct field_text time;
    jw_object(w);
    jw_key(w, "type");
    jw_str(w, "model");
    jw_key(w, "id");
    jw_string(w, id);
    jw_key(w, "display_name");
    jw_string(w, id);
    jw_key(w, "created_at");
    jw_string(w, field_time(&time, q->created_ms));
    jw_key(w, "lifecycle");
    jw_str(w, "active");
    jw_object_end(w);
}

static void write_model(struct json_writer *w, const struct models_query *q, struct span id,
                        const struct config_model *m)
{
    if (q->anthropic)
        write_anthropic(w, q, id);
    else
        write_openai(w, q, id, m);
}

static bool is_listed(const struct models_query *q, const struct config_model *m)
{
    return !strchr(m->name, '*') && pattern_list_matches(q->allowed, span_str(m->name));
}

/* The listed model at or behind `at`; model_count when there is none. */
static size_t next_listed(const struct models_query *q, size_t at)
{
    while (at < q->config->model_count && !is_listed(q, &q->config->models[at]))
        at++;
    return at;
}

static struct span parameter(struct span query, const char *name)
{
    while (query.len > 0) {
        struct span value = span_cut(&query, '&');
        if (span_is(span_cut(&value, '='), name))
            return value;
    }
    return SPAN_NONE;
}

static size_t find_listed(const struct models_query *q, struct span id)
{
    for (size_t i = next_listed(q, 0); i < q->config->model_count; i = next_listed(q, i + 1))
        if (span_is(id, q->config->models[i].name))
            return i;
    return q->config->model_count;
}

/* A page of Anthropic's list: [from, to) by index of the configuration, at most `limit` listed
 * models of it. */
struct page {
    size_t from, to;
    uint64_t limit;
};

static enum err read_page(const struct models_query *q, struct page *p)
{
    struct span limit = parameter(q->query, "limit");
    struct span after = parameter(q->query, "after_id");
    struct span before = parameter(q->query, "before_id");
    size_t count = q->config->model_count;
    *p = (struct page){0, count, LIMIT_DEFAULT};
    if (limit.data && (!span_to_u64(limit, &p->limit) || p->limit < 1 || p->limit > LIMIT_MOST))
        return ERR_INVALID;
    if (after.len) {
        p->from = find_listed(q, after);
        if (p->from == count)
            return ERR_INVALID;
        p->from++;
    }
    if (before.len) {
        p->to = find_listed(q, before);
        if (p->to == count)
            return ERR_INVALID;
    }
    return OK;
}

static void write_id_or_null(struct json_writer *w, const char *key, const struct config_model *m)
{
    jw_key(w, key);
    if (m)
        jw_str(w, m->name);
    else
        jw_null(w);
}

static enum err write_page(const struct models_query *q, struct json_writer *w)
{
    struct page page;
    enum err e = read_page(q, &page);
    if (e != OK)
        return e;
    const struct config_model *first = NULL, *last = NULL;
    size_t i = next_listed(q, page.from);
    jw_object(w);
    jw_key(w, "data");
    jw_array(w);
    for (; i < page.to && page.limit > 0; i = next_listed(q, i + 1), page.limit--) {
        last = &q->config->models[i];
        first = first ? first : last;
        write_anthropic(w, q, span_str(last->name));
    }
    jw_array_end(w);
    jw_key(w, "has_more");
    jw_bool(w, i < page.to);
    write_id_or_null(w, "first_id", first);
    write_id_or_null(w, "last_id", last);
    jw_object_end(w);
    return OK;
}

enum err models_write_list(const struct models_query *q, struct buf *out)
{
    struct json_writer w = {.out = out};
    if (q->anthropic)
        return write_page(q, &w);
    jw_object(&w);
    jw_key(&w, "object");
    jw_str(&w, "list");
    jw_key(&w, "data");
    jw_array(&w);
    for (size_t i = next_listed(q, 0); i < q->config->model_count; i = next_listed(q, i + 1))
        write_openai(&w, q, span_str(q->config->models[i].name), &q->config->models[i]);
    jw_array_end(&w);
    jw_object_end(&w);
    return buf_check(out);
}

enum err models_write_one(const struct models_query *q, struct span id, struct buf *out)
{
    const struct config_model *m = config_find_model(q->config, id);
    if (!m || memchr(id.data, '*', id.len) || !pattern_list_matches(q->allowed, id))
        return ERR_NOT_FOUND;
    struct json_writer w = {.out = out};
    write_model(&w, q, id, m);
    return buf_check(out);
}
