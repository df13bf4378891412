/* `models:` of the configuration. */
#include "common/runtime/config/reader.h"

#include "common/runtime/config/value.h"

static const char *const model_keys[] = {"targets",     "rate_limit",   "burst",    "timeout",
                                         "deadline",    "fallbacks",    "defaults", "price",
                                         "completions", "capabilities", NULL};
static const char *const target_keys[] = {"provider", "model", "weight", NULL};
static const char *const price_keys[] = {"input", "output", "cached_input", "cache_write", NULL};

static void complain_unknown_provider(struct config_reader *r, const struct yaml *at,
                                      const char *where, const char *name)
{
    const char **names = ARENA_ARRAY(r->yaml.arena, const char *, r->config->provider_count + 1);
    for (size_t i = 0; names && i < r->config->provider_count; i++)
        names[i] = r->config->providers[i].name;
    const char *near = names ? value_nearest(name, names) : NULL;
    yaml_complain(
        &r->yaml, at->line, where,
        near ? "no provider %s (did you mean %s?)" : "no provider %s under providers:", name, near);
}

static void read_target(struct config_reader *r, const struct yaml *node, const char *where,
                        struct config_target *t)
{
    t->weight = 1;
    if (node->kind != YAML_MAP) {
        reader_complain(r, node, where, "a target is {provider: NAME, model: NAME}");
        return;
    }
    yaml_check_keys(&r->yaml, node, where, target_keys);
    const char *provider = reader_text(r, yaml_member(node, "provider"), where);
    if (!provider) {
        reader_complain(r, node, where, "a target needs a provider");
        return;
    }
    t->provider = config_find_provider(r->config, provider);
    if (!t->provider)
        complain_unknown_provider(r, node, where, provider);
    t->model = reader_text(r, yaml_member(node, "model"), where);
    const char *weight = reader_text(r, yaml_member(node, "weight"), where);
    if (weight && (!value_u32(weight, &t->weight) || t->weight > 1000000))
        reader_complain(r, node, where, "weight: expected a whole number up to 1000000");
}

static void read_targets(struct config_reader *r, const struct yaml *model, const char *where,
                         struct config_model *m)
{
    const struct yaml *node = yaml_member(model, "targets");
    size_t count = 0;
    if (!node || node->kind != YAML_LIST || !node->first) {
        yaml_complain(&r->yaml, model->key_line, where, "needs targets: [{provider: NAME}]");
        return;
    }
    for (const struct yaml *t = node->first; t; t = t->next)
        count++;
    m->targets = ARENA_ARRAY(r->yaml.arena, struct config_target, count);
    for (const struct yaml *t = node->first; t && m->targets; t = t->next)
        read_target(r, t, where, &m->targets[m->target_count++]);
}

static void read_price(struct config_reader *r, const struct yaml *node, const char *where,
                       struct config_price *p)
{
    uint64_t *const into[] = {&p->input_nano, &p->output_nano, &p->cached_nano,
                              &p->cache_write_nano};
    p->cached_nano = p->cache_write_nano = UINT64_MAX;
    if (!node)
        return;
    if (node->kind != YAML_MAP || !yaml_member(node, "input") || !yaml_member(node, "output")) {
        reader_complain(r, node, where,
                        "a price is {input: 30, output: 60}, in dollars per million tokens");
        return;
    }
    yaml_check_keys(&r->yaml, node, where, price_keys);
    p->set = true;
    for (int i = 0; price_keys[i]; i++) {
        const char *text = reader_text(r, yaml_member(node, price_keys[i]), where);
        if (text && !value_price_nano(text, into[i]))
            reader_complain(r, node, where, "a price is dollars per million tokens, not negative");
    }
}

static void read_model_defaults(struct config_reader *r, const struct yaml *node, const char *where,
                                struct config_model *m)
{
    size_t count = node ? reader_members(r, node, where) : 0;
    m->defaults = ARENA_ARRAY(r->yaml.arena, struct config_default, count + 1);
    for (const struct yaml *d = count ? node->first : NULL; d && m->defaults; d = d->next)
        m->defaults[m->default_count++] =
            (struct config_default){d->key, yaml_to_json(&r->yaml, d)};
}

static void read_limits(struct config_reader *r, const struct yaml *node, const char *where,
                        struct config_model *m)
{
    const char *rate = reader_text(r, yaml_member(node, "rate_limit"), where);
    const char *burst = reader_text(r, yaml_member(node, "burst"), where);
    if (rate && !value_rate(rate, &m->rate_count, &m->rate_period_ms))
        reader_complain(r, yaml_member(node, "rate_limit"), where,
                        "rate_limit: expected a rate such as 10000/hour");
    m->rate_burst = m->rate_count;
    if (burst && (!span_to_u64(span_str(burst), &m->rate_burst) || m->rate_burst == 0 ||
                  m->rate_burst > m->rate_count))
        reader_complain(r, yaml_member(node, "burst"), where,
                        "burst: expected a whole number, at most the rate's count");
    const char *timeout = reader_text(r, yaml_member(node, "timeout"), where);
    const char *deadline = reader_text(r, yaml_member(node, "deadline"), where);
    m->timeout_ms = 60000;
    m->deadline_ms = r->config->options.edge_deadline;
    if (timeout && (!value_duration_ms(timeout, &m->timeout_ms) || !m->timeout_ms))
        reader_complain(r, yaml_member(node, "timeout"), where,
                        "timeout: expected a duration such as 60s");
    if (deadline && (!value_duration_ms(deadline, &m->deadline_ms) || !m->deadline_ms))
        reader_complain(r, yaml_member(node, "deadline"), where,
                        "deadline: expected a duration such as 600s");
}

static void read_model(struct config_reader *r, const struct yaml *node, struct config_model *m)
{
    const char *where = reader_place(r, "models", node->key);
    const char *star = strchr(node->key, '*');
    m->name = node->key;
    m->line = node->key_line;
    if (star && strchr(star + 1, '*'))
        yaml_complain(&r->yaml, node->key_line, where, "a name may hold one * at most");
    if (node->kind != YAML_MAP) {
        reader_complain(r, node, where,
                        "expected keys and values, such as { targets: [{provider: openai}] }");
        return;
    }
    yaml_check_keys(&r->yaml, node, where, model_keys);
    read_targets(r, node, where, m);
    read_limits(r, node, where, m);
    read_price(r, yaml_member(node, "price"), where, &m->price);
    read_model_defaults(r, yaml_member(node, "defaults"), where, m);
    m->fallbacks = reader_list(r, yaml_member(node, "fallbacks"), where);
    m->completions = reader_text(r, yaml_member(node, "completions"), where);
    if (m->completions && strcmp(m->completions, "native") != 0)
        reader_complain(r, node, where, "completions: only `native` is known");
    const struct yaml *capabilities = yaml_member(node, "capabilities");
    if (capabilities)
        m->capabilities = yaml_to_json(&r->yaml, capabilities);
}

void read_models(struct config_reader *r, const struct yaml *node)
{
    size_t count = reader_members(r, node, "models");
    r->config->models = ARENA_ARRAY(r->yaml.arena, struct config_model, count + 1);
    if (!r->config->models || !count)
        return;
    for (const struct yaml *m = node->first; m; m = m->next)
        read_model(r, m, &r->config->models[r->config->model_count++]);
}

static void check_model_name(struct config_reader *r, unsigned line, const char *where,
                             const char *name)
{
    if (config_find_model(r->config, span_str(name)))
        return;
    const char **names = ARENA_ARRAY(r->yaml.arena, const char *, r->config->model_count + 1);
    for (size_t i = 0; names && i < r->config->model_count; i++)
        names[i] = r->config->models[i].name;
    const char *near = names ? value_nearest(name, names) : NULL;
    yaml_complain(&r->yaml, line, where,
                  near ? "no model %s (did you mean %s?)" : "no model %s under models:", name,
                  near);
}

void check_model_names(struct config_reader *r, const struct yaml *root)
{
    const struct yaml *node = yaml_member(root, "default_model");
    if (node) {
        r->config->default_model = reader_text(r, node, "default_model");
        if (r->config->default_model)
            check_model_name(r, node->line, "default_model", r->config->default_model);
    }
    for (size_t i = 0; i < r->config->model_count; i++) {
        const struct config_model *m = &r->config->models[i];
        for (size_t f = 0; f < m->fallbacks.count; f++)
            check_model_name(r, m->line, reader_place(r, "models", m->name), m->fallbacks.items[f]);
    }
}
