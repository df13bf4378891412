#include "services/worker/providers/replicate/schema_cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/buf.h"
#include "common/base/json.h"

struct schema_entry {
    struct buf model, schemas;
    uint64_t at_s;
    bool used;
};

struct schema_cache {
    pthread_mutex_t lock; /* pipelines of large requests work beside the loop */
    struct buf folder;
    struct schema_entry entries[SCHEMA_CACHE_MAX_MODELS];
};

struct schema_cache *schema_cache_create(const char *folder)
{
    struct schema_cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    (void)pthread_mutex_init(&c->lock, NULL);
    if (folder)
        buf_append_str(&c->folder, folder);
    return c;
}

void schema_cache_destroy(struct schema_cache **c)
{
    if (!*c)
        return;
    for (size_t i = 0; i < SCHEMA_CACHE_MAX_MODELS; i++) {
        buf_free(&(*c)->entries[i].model);
        buf_free(&(*c)->entries[i].schemas);
    }
    buf_free(&(*c)->folder);
    (void)pthread_mutex_destroy(&(*c)->lock);
    free(*c);
    *c = NULL;
}

static struct schema_entry *find(struct schema_cache *c, struct span model)
{
    for (size_t i = 0; i < SCHEMA_CACHE_MAX_MODELS; i++) {
        if (c->entries[i].used && span_equals(buf_span(&c->entries[i].model), model))
            return &c->entries[i];
    }
    return NULL;
}

static void put(struct schema_cache *c, struct span model, uint64_t now_s, struct span schemas)
{
    if (schemas.len == 0 || schemas.len > SCHEMA_CACHE_MAX_BYTES)
        return;
    struct schema_entry *entry = find(c, model);
    for (size_t i = 0; !entry && i < SCHEMA_CACHE_MAX_MODELS; i++)
        entry = c->entries[i].used ? NULL : &c->entries[i];
    if (!entry) {
        entry = &c->entries[0];
        for (size_t i = 1; i < SCHEMA_CACHE_MAX_MODELS; i++)
            entry = c->entries[i].at_s < entry->at_s ? &c->entries[i] : entry;
    }
    buf_clear(&entry->model);
    buf_clear(&entry->schemas);
    buf_append(&entry->model, model);
    buf_append(&entry->schemas, schemas);
    entry->at_s = now_s;
    entry->used = !entry->model.failed && !entry->schemas.failed;
}

void schema_cache_put(struct schema_cache *c, struct span model, uint64_t now_s,
                      struct span schemas)
{
    if (!c)
        return;
    (void)pthread_mutex_lock(&c->lock);
    put(c, model, now_s, schemas);
    (void)pthread_mutex_unlock(&c->lock);
}

/* ---- files ---- */

static bool is_name(struct span s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '-' || c == '_' || (c == '.' && i > 0);
        if (!ok)
            return false;
    }
    return s.len > 0 && s.len <= 128;
}

/* "owner/name", a version behind it or not; nothing that could leave the folder. */
static bool path_of(const struct schema_cache *c, struct span model, struct buf *path)
{
    struct span name = span_first(model, span_find(model, ':'));
    struct span owner = span_cut(&name, '/');
    if (c->folder.len == 0 || !is_name(owner) || !is_name(name))
        return false;
    buf_append(path, buf_span(&c->folder));
    buf_append_char(path, '/');
    buf_append(path, owner);
    buf_append_char(path, '/');
    buf_append(path, name);
    buf_append_str(path, ".json");
    buf_append_char(path, '\0');
    return buf_check(path) == OK;
}

static bool read_text(const char *path, struct buf *text)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    size_t n = 1;
    while (n > 0) {
        char *at = buf_reserve(text, 4096);
        n = at ? fread(at, 1, 4096, f) : 0;
        text->len += n;
    }
    bool ok = !ferror(f) && buf_check(text) == OK;
    (void)fclose(f);
    return ok;
}

static void learn_from_file(struct schema_cache *c, struct span model, uint64_t now_s)
{
    struct buf path = {0}, text = {.max = SCHEMA_CACHE_MAX_BYTES}, whole = {0};
    struct json_doc doc = {0};
    if (path_of(c, model, &path) && read_text(path.data, &text) &&
        json_parse(&doc, buf_span(&text), JSON_DEPTH_CLIENT) == OK &&
        json_type(json_root(&doc)) == JSON_OBJECT) {
        bool schemas =
            json_type(json_get(json_get(json_root(&doc), "Input"), "properties")) == JSON_OBJECT;
        buf_append_str(&whole, schemas ? "" : "{\"Input\":{\"properties\":");
        buf_append(&whole, json_raw(json_root(&doc)));
        buf_append_str(&whole, schemas ? "" : "}}");
        if (buf_check(&whole) == OK)
            put(c, model, now_s, buf_span(&whole));
    }
    json_doc_free(&doc);
    buf_free(&path);
    buf_free(&text);
    buf_free(&whole);
}

struct span schema_cache_get(struct schema_cache *c, struct span model, uint64_t now_s,
                             struct arena *arena)
{
    if (!c)
        return SPAN_NONE;
    (void)pthread_mutex_lock(&c->lock);
    struct schema_entry *entry = find(c, model);
    if (!entry || now_s > entry->at_s + SCHEMA_CACHE_KEEP_S) {
        if (entry)
            entry->used = false;
        learn_from_file(c, model, now_s);
        entry = find(c, model);
    }
    struct span schemas = entry ? arena_copy(arena, buf_span(&entry->schemas)) : SPAN_NONE;
    (void)pthread_mutex_unlock(&c->lock);
    return schemas;
}
