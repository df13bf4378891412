#include "services/edge/status/models.h"

#include <stdlib.h>

#include "common/base/arena.h"
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

/* ---- what is listed ---- */

struct listed_model {
    struct span id;
    const struct config_model *model;
};

/* In the order of the configuration; what a wildcard stands for where that stands. */
struct listed {
    struct listed_model *all;
    size_t count, room;
    struct arena arena;
    bool failed;
};

static void add_offer(struct listed *o, struct span id, const struct config_model *m)
{
    if (o->count == o->room) {
        size_t room = o->room ? o->room * 2 : 64;
        struct listed_model *grown = realloc(o->all, room * sizeof *grown);
        if (!grown) {
            o->failed = true;
            return;
        }
        o->all = grown;
        o->room = room;
    }
    o->all[o->count++] = (struct listed_model){id, m};
}

/* How a client asks for the upstream's model by this entry; empty when it cannot. */
static struct span name_of(const struct config_model *m, const struct config_target *t,
                           struct span upstream, struct arena *arena)
{
    const char *pattern = t->model ? t->model : m->name;
    const char *star = strchr(pattern, '*');
    if (!star || !pattern_matches(span_str(pattern), upstream))
        return SPAN_NONE;
    if (!t->model)
        return upstream;
    size_t before = (size_t)(star - pattern), after = strlen(star + 1);
    struct span matched = span_of(upstream.data + before, upstream.len - before - after);
    star = strchr(m->name, '*');
    return arena_printf(arena, "%.*s%.*s%s", (int)(star - m->name), m->name, SPAN_ARG(matched),
                        star + 1);
}

/* A name that leads elsewhere (an entry of its own, a longer wildcard) is that one's. */
static void add_wildcard(struct listed *o, const struct models_query *q,
                         const struct config_model *m)
{
    const struct config_target *t = &m->targets[0];
    struct span names = q->catalog ? catalog_names(q->catalog, t->provider->name) : SPAN_NONE;
    while (names.len) {
        struct span id = name_of(m, t, span_cut(&names, '\n'), &o->arena);
        if (id.len && pattern_list_matches(q->allowed, id) && config_find_model(q->config, id) == m)
            add_offer(o, id, m);
    }
}

static enum err gather(const struct models_query *q, struct listed *o)
{
    *o = (struct listed){0};
    arena_init(&o->arena, 16 << 20);
    for (size_t i = 0; i < q->config->model_count; i++) {
        const struct config_model *m = &q->config->models[i];
        if (!strchr(m->name, '*') && pattern_list_matches(q->allowed, span_str(m->name)))
            add_offer(o, span_str(m->name), m);
        else if (m->list && m->target_count)
            add_wildcard(o, q, m);
    }
    return o->failed || o->arena.failed ? ERR_NOMEM : OK;
}

static void drop(struct listed *o)
{
    free(o->all);
    arena_free(&o->arena);
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

static size_t find_offer(const struct listed *o, struct span id)
{
    size_t i = 0;
    while (i < o->count && !span_equals(id, o->all[i].id))
        i++;
    return i;
}

/* A page of Anthropic's list: [from, to), at most `limit` of them. */
struct page {
    size_t from, to;
    uint64_t limit;
};

static enum err read_page(const struct models_query *q, const struct listed *o, struct page *p)
{
    struct span limit = parameter(q->query, "limit");
    struct span after = parameter(q->query, "after_id");
    struct span before = parameter(q->query, "before_id");
    *p = (struct page){0, o->count, LIMIT_DEFAULT};
    if (limit.data && (!span_to_u64(limit, &p->limit) || p->limit < 1 || p->limit > LIMIT_MOST))
        return ERR_INVALID;
    if (after.len) {
        p->from = find_offer(o, after) + 1;
        if (p->from > o->count)
            return ERR_INVALID;
    }
    if (before.len) {
        p->to = find_offer(o, before);
        if (p->to == o->count)
            return ERR_INVALID;
    }
    return OK;
}

static void write_id_or_null(struct json_writer *w, const char *key,
                             const struct listed_model *offer)
{
    jw_key(w, key);
    if (offer)
        jw_string(w, offer->id);
    else
        jw_null(w);
}

static enum err write_page(const struct models_query *q, const struct listed *o,
                           struct json_writer *w)
{
    struct page page;
    enum err e = read_page(q, o, &page);
    if (e != OK)
        return e;
    const struct listed_model *first = NULL, *last = NULL;
    size_t i = page.from;
    jw_object(w);
    jw_key(w, "data");
    jw_array(w);
    for (; i < page.to && page.limit > 0; i++, page.limit--) {
        last = &o->all[i];
        first = first ? first : last;
        write_anthropic(w, q, last->id);
    }
    jw_array_end(w);
    jw_key(w, "has_more");
    jw_bool(w, i < page.to);
    write_id_or_null(w, "first_id", first);
    write_id_or_null(w, "last_id", last);
    jw_object_end(w);
    return OK;
}

static void write_all(const struct models_query *q, const struct listed *o, struct json_writer *w)
{
    jw_object(w);
    jw_key(w, "object");
    jw_str(w, "list");
    jw_key(w, "data");
    jw_array(w);
    for (size_t i = 0; i < o->count; i++)
        write_openai(w, q, o->all[i].id, o->all[i].model);
    jw_array_end(w);
    jw_object_end(w);
}

enum err models_write_list(const struct models_query *q, struct buf *out)
{
    struct json_writer w = {.out = out};
    struct listed offers;
    enum err e = gather(q, &offers);
    if (e == OK && q->anthropic)
        e = write_page(q, &offers, &w);
    else if (e == OK)
        write_all(q, &offers, &w);
    drop(&offers);
    return e ? e : buf_check(out);
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
