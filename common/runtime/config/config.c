#include "common/runtime/config/config.h"

#include <stdlib.h>

#include "common/runtime/config/reader.h"

/* What holds everything a struct config points to. */
struct memory {
    unsigned holders;
    struct arena arena;
    struct config config;
};

static void check_top_keys(struct config_reader *r, const struct yaml *root)
{
    const char *keys[3 + OPTION_SECTIONS_MAX] = {"default_model", "providers", "models"};
    option_sections(keys + 3);
    yaml_check_keys(&r->yaml, root, "", keys);
}

static void read_root(struct config_reader *r, const struct yaml *root)
{
    check_top_keys(r, root);
    for (const struct yaml *m = root->first; m; m = m->next) {
        if (is_option_section(m->key))
            read_option_section(r, m);
    }
    read_providers(r, yaml_member(root, "providers"));
    read_models(r, yaml_member(root, "models"));
    check_model_names(r, root);
}

enum err config_load(const char *path, const struct config_paths *paths, struct config **out,
                     struct buf *errors_out)
{
    *out = NULL;
    struct memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return ERR_NOMEM;
    arena_init(&memory->arena, (size_t)64 << 20);
    struct config *c = &memory->config;
    c->memory_ = memory;
    memory->holders = 1;
    struct config_reader r = {
        .yaml = {path ? path : "", &memory->arena, errors_out, 0}, .config = c, .paths = paths};
    c->path = path ? arena_strdup(&memory->arena, span_str(path)) : NULL;
    read_option_defaults(&r);
    if (path) {
        const struct yaml *root = yaml_read_file(&r.yaml, path);
        if (root)
            read_root(&r, root);
    }
    if (r.yaml.error_count) {
        config_destroy(&c);
        return ERR_INVALID;
    }
    *out = c;
    return OK;
}

struct config *config_retain(const struct config *config)
{
    struct memory *memory = config->memory_;
    memory->holders++;
    return &memory->config;
}

void config_destroy(struct config **config)
{
    struct memory *memory = *config ? (*config)->memory_ : NULL;
    *config = NULL;
    if (!memory || --memory->holders)
        return;
    arena_free(&memory->arena);
    free(memory);
}

const struct config_provider *config_find_provider(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->provider_count; i++) {
        if (strcmp(c->providers[i].name, name) == 0)
            return &c->providers[i];
    }
    return NULL;
}

static bool wildcard_fits(const char *pattern, struct span name)
{
    const char *star = strchr(pattern, '*');
    if (!star)
        return false;
    size_t before = (size_t)(star - pattern), after = strlen(star + 1);
    return name.len >= before + after && memcmp(name.data, pattern, before) == 0 &&
           span_ends(name, star + 1);
}

const struct config_model *config_find_model(const struct config *c, struct span name)
{
    const struct config_model *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; i < c->model_count; i++) {
        const struct config_model *m = &c->models[i];
        if (span_is(name, m->name))
            return m;
        size_t len = strlen(m->name);
        if (wildcard_fits(m->name, name) && (!best || len > best_len)) {
            best = m;
            best_len = len;
        }
    }
    return best;
}

enum err config_expand(const char *text, struct buf *out, struct span *missing_out)
{
    while (*text) {
        const char *open = strstr(text, "${");
        const char *close = open ? strchr(open, '}') : NULL;
        if (!close) {
            buf_append_str(out, text);
            break;
        }
        buf_append(out, span_of(text, (size_t)(open - text)));
        char name[128];
        size_t len = (size_t)(close - open) - 2;
        *missing_out = span_of(open + 2, len);
        if (len == 0 || len >= sizeof name)
            return ERR_NOT_FOUND;
        memcpy(name, open + 2, len);
        name[len] = '\0';
        const char *value = getenv(name);
        if (!value || !*value)
            return ERR_NOT_FOUND;
        buf_append_str(out, value);
        text = close + 1;
    }
    return buf_check(out);
}
