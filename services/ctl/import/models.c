/* model_list of LiteLLM: deployments of one model_name are the targets of one model. */
#include <stdio.h>

#include "services/ctl/import/import.h"
#include "services/ctl/import/params.h"

/* ---- reading ---- */

static const struct yaml *credentials_of(const struct import *im, const struct yaml *params)
{
    const char *name = litellm_text(yaml_member(params, "litellm_credential_name"));
    for (size_t i = 0; name && i < im->file_count; i++) {
        const struct yaml *list = yaml_member(im->files[i].root, "credential_list");
        for (const struct yaml *c = list && list->kind == YAML_LIST ? list->first : NULL; c;
             c = c->next) {
            const char *its =
                c->kind == YAML_MAP ? litellm_text(yaml_member(c, "credential_name")) : NULL;
            const struct yaml *values =
                its && strcmp(its, name) == 0 ? yaml_member(c, "credential_values") : NULL;
            if (values && values->kind == YAML_MAP)
                return values;
        }
    }
    return NULL;
}

static struct import_model *find_or_add(struct import *im, const char *name,
                                        struct import_place from)
{
    struct import_model *m = import_find_model(im, name);
    if (m)
        return m;
    if (im->model_count == IMPORT_MODELS_MAX)
        return NULL;
    m = &im->models[im->model_count++];
    *m = (struct import_model){.name = name, .from = from};
    return m;
}

static bool is_mocked(const struct yaml *params)
{
    for (const struct yaml *p = params->first; p; p = p->next) {
        if (strncmp(p->key, "mock_", 5) == 0)
            return true;
    }
    return false;
}

static void read_entry(struct import *im, const char *file, const struct yaml *entry, size_t index)
{
    const struct yaml *params =
        entry->kind == YAML_MAP ? yaml_member(entry, "litellm_params") : NULL;
    const char *name = params ? litellm_text(yaml_member(entry, "model_name")) : NULL;
    struct import_place at = import_at(im, file, entry, "model_list[%zu]", index);
    if (!name || params->kind != YAML_MAP) {
        report_add(&im->report, FATE_LEFT, at, "needs model_name and litellm_params");
        return;
    }
    if (is_mocked(params)) {
        report_add(&im->report, FATE_LEFT, at, "answers that are made up are not served");
        return;
    }
    struct deployment *d = &im->deployments[im->deployment_count];
    *d = (struct deployment){.entry = entry,
                             .params = params,
                             .credentials = credentials_of(im, params),
                             .file = file,
                             .index = index};
    struct import_place named =
        import_at(im, file, yaml_member(entry, "model_name"), "model_list[%zu].model_name", index);
    struct import_model *m = find_or_add(im, name, named);
    if (!m) {
        report_add(&im->report, FATE_LEFT, at, "there are more than %d models", IMPORT_MODELS_MAX);
        return;
    }
    im->deployment_count++;
    m->count++;
    report_add(&im->report, FATE_CARRIED, named, "%s", "");
}

/* Deployments stand in the file's order; each model gets those of its name. */
static enum err gather(struct import *im)
{
    for (size_t i = 0; i < im->model_count; i++) {
        struct import_model *m = &im->models[i];
        m->deployments = ARENA_ARRAY(&im->arena, struct deployment *, m->count);
        if (!m->deployments)
            return ERR_NOMEM;
        m->count = 0;
    }
    for (size_t i = 0; i < im->deployment_count; i++) {
        struct deployment *d = &im->deployments[i];
        struct import_model *m =
            import_find_model(im, litellm_text(yaml_member(d->entry, "model_name")));
        m->deployments[m->count++] = d;
    }
    return OK;
}

static void find_targets(struct import *im, struct import_model *m)
{
    size_t kept = 0;
    weights_read(im, m);
    for (size_t i = 0; i < m->count; i++)
        (void)provider_row(im, m->deployments[i]);
    bool by_key = weights_are_apart(m);
    for (size_t i = 0; i < m->count; i++) {
        struct deployment *d = m->deployments[i];
        bool carried = d->row && provider_find(im, d, by_key);
        params_report(im, d, m, carried);
        if (carried)
            m->deployments[kept++] = d;
    }
    m->count = kept;
}

/* A model none of whose deployments is carried is none. */
static void forget_empty(struct import *im)
{
    size_t kept = 0;
    for (size_t i = 0; i < im->model_count; i++) {
        if (im->models[i].count)
            im->models[kept++] = im->models[i];
        else
            report_add(&im->report, FATE_LEFT, im->models[i].from,
                       "none of its deployments is carried");
    }
    im->model_count = kept;
}

/* ---- aliases ---- */

static void add_alias(struct import *im, const char *file, const char *list, const struct yaml *a)
{
    const struct yaml *to = a->kind == YAML_MAP ? yaml_member(a, "model") : a;
    struct import_model *target = litellm_text(to) ? import_find_model(im, litellm_text(to)) : NULL;
    struct import_place at = import_at(im, file, a, "%s.%s", list, a->key);
    if (!target) {
        report_add(&im->report, FATE_LEFT, at, "there is no such model");
        return;
    }
    if (import_find_model(im, a->key)) {
        report_add(&im->report, FATE_LEFT, at, "there is a model of that name");
        return;
    }
    size_t index = (size_t)(target - im->models);
    struct import_model *m = find_or_add(im, a->key, at);
    if (!m)
        return;
    target = &im->models[index];
    m->deployments = target->deployments;
    m->count = target->count;
    m->alias_of = target;
    report_add(&im->report, FATE_CHANGED, at, "a model with the same targets");
}

static void read_aliases(struct import *im)
{
    static const char *const lists[][2] = {{"router_settings", "model_group_alias"},
                                           {"litellm_settings", "model_alias_map"}};
    for (size_t i = 0; i < 2; i++) {
        const char *file;
        const struct yaml *map = import_member(im, lists[i][0], lists[i][1], &file);
        for (const struct yaml *a = map && map->kind == YAML_MAP ? map->first : NULL; a;
             a = a->next)
            add_alias(im, file, lists[i][1], a);
    }
}

enum err models_read(struct import *im)
{
    im->deployments = ARENA_ARRAY(&im->arena, struct deployment, IMPORT_DEPLOYMENTS_MAX);
    im->models = ARENA_ARRAY(&im->arena, struct import_model, IMPORT_MODELS_MAX);
    if (!im->deployments || !im->models)
        return ERR_NOMEM;
    for (size_t i = 0; i < im->file_count; i++) {
        const struct yaml *list = yaml_member(im->files[i].root, "model_list");
        size_t index = 0;
        for (const struct yaml *e = list && list->kind == YAML_LIST ? list->first : NULL; e;
             e = e->next, index++) {
            if (im->deployment_count == IMPORT_DEPLOYMENTS_MAX) {
                report_add(&im->report, FATE_LEFT,
                           import_at(im, im->files[i].path, e, "model_list[%zu]", index),
                           "there are more than %d deployments", IMPORT_DEPLOYMENTS_MAX);
                break;
            }
            read_entry(im, im->files[i].path, e, index);
        }
    }
    enum err e = gather(im);
    for (size_t i = 0; !e && i < im->model_count; i++)
        find_targets(im, &im->models[i]);
    if (!e) {
        forget_empty(im);
        read_aliases(im);
    }
    return e;
}

/* ---- writing ---- */

static bool is_same_target(const struct deployment *a, const struct deployment *b)
{
    return a->provider == b->provider && strcmp(a->upstream, b->upstream) == 0;
}

/* Deployments that differ by their key alone are one target. */
static bool is_repeated(const struct import_model *m, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (is_same_target(m->deployments[k], m->deployments[i]))
            return true;
    }
    return false;
}

static uint64_t weight_of(const struct import_model *m, size_t i)
{
    uint64_t weight = 0;
    for (size_t k = i; k < m->count; k++) {
        if (is_same_target(m->deployments[k], m->deployments[i]))
            weight += m->deployments[k]->weight;
    }
    return weight < WEIGHT_MAX ? weight : WEIGHT_MAX;
}

static size_t target_count(const struct import_model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        n += !is_repeated(m, i);
    return n;
}

/* Of `openai/` and a star, what stands for the star goes upstream. */
static const char *upstream_name(const struct import_model *m, const struct deployment *d)
{
    const char *star = strchr(d->upstream, '*');
    if (star && !strchr(m->name, '*'))
        return NULL; /* as the client asked */
    return strcmp(d->upstream, m->name) == 0 && !star ? NULL : d->upstream;
}

static void write_targets(struct import *im, const struct import_model *m, size_t parent)
{
    bool alone = target_count(m) == 1;
    size_t at = draft_add(&im->draft, parent, m->from, "targets:");
    for (size_t i = 0; i < m->count; i++) {
        const struct deployment *d = m->deployments[i];
        const char *upstream = upstream_name(m, d);
        uint64_t weight = weight_of(m, i);
        char share[40] = "";
        if (is_repeated(m, i)) {
            if (!m->alias_of)
                report_add(&im->report, FATE_CHANGED, deployment_at(im, d, "model"),
                           "one target with the deployment above; its keys are used in turn");
            continue;
        }
        if (!alone && weight != 1)
            (void)snprintf(share, sizeof share, ", weight: %llu", (unsigned long long)weight);
        (void)draft_add(
            &im->draft, at, deployment_at(im, d, "model"), "- {provider: %s%s%s%s} # line %u",
            litellm_quoted(&im->arena, d->provider->name), upstream ? ", model: " : "",
            upstream ? litellm_quoted(&im->arena, upstream) : "", share, d->entry->line);
    }
}

static void write_fallbacks(struct import *im, const struct import_model *m, size_t parent)
{
    static const char *const lists[][2] = {{"fallbacks", "fallbacks"},
                                           {"context_window_fallbacks", "context_fallbacks"},
                                           {"content_policy_fallbacks", "policy_fallbacks"}};
    for (size_t i = 0; i < 3; i++) {
        struct settings_list list;
        struct buf text = {0};
        if (!settings_fallbacks(im, lists[i][0], m->alias_of ? m->alias_of->name : m->name, &list))
            continue;
        for (size_t k = 0; k < list.count; k++)
            buf_printf(&text, "%s%s", k ? ", " : "", litellm_quoted(&im->arena, list.items[k]));
        (void)draft_add(&im->draft, parent, list.from, "%s: [%.*s]", lists[i][1],
                        SPAN_ARG(buf_span(&text)));
        buf_free(&text);
    }
}

void models_write(struct import *im)
{
    if (!im->model_count)
        return;
    size_t at = draft_add(&im->draft, 0, im->models[0].from, "models:");
    for (size_t i = 0; i < im->model_count; i++) {
        const struct import_model *m = &im->models[i];
        size_t model = draft_add(&im->draft, at, m->from, "%s: # line %u",
                                 litellm_quoted(&im->arena, m->name), m->from.line);
        write_targets(im, m, model);
        write_fallbacks(im, m, model);
        params_write(im, m, model);
    }
}
