/* `models:` of the configuration. */
#include "common/runtime/config/reader.h"

#include "common/runtime/config/value.h"

static void complain_unknown(struct config_reader *r, unsigned line, const char *where,
                             const char *what, const char *name, const char *const *names)
{
    const char *near = names ? value_nearest(name, names) : NULL;
    if (near)
        yaml_complain(&r->yaml, line, where, "no %s %s (did you mean %s?)", what, name, near);
    else
        yaml_complain(&r->yaml, line, where, "no %s %s under %ss:", what, name, what);
}

static void find_provider(struct config_reader *r, const struct yaml *node, const char *where,
                          struct config_target *t)
{
    const char *name = reader_text(r, yaml_member(node, "provider"), where);
    if (!name)
        yaml_complain(&r->yaml, node->line, where, "a target needs a provider");
    t->provider = name ? config_find_provider(r->config, name) : NULL;
    if (!name || t->provider || r->yaml.error_count > YAML_MAX_COMPLAINTS)
        return;
    const char **names = ARENA_ARRAY(r->yaml.arena, const char *, r->config->provider_count + 1);
    for (size_t i = 0; names && i < r->config->provider_count; i++)
        names[i] = r->config->providers[i].name;
    complain_unknown(r, node->line, where, "provider", name, names);
}

static void read_target(struct config_reader *r, const struct yaml *node, const char *where,
                        struct config_target *t)
{
    reader_set_defaults(r, "target", t);
    reader_read_group(r, node, "target", where, t);
    find_provider(r, node, where, t);
}

static void read_targets(struct config_reader *r, const struct yaml *model, const char *where,
                         struct config_model *m)
{
    enum { TARGETS_MAX = 64 };
    const struct yaml *node = yaml_member(model, "targets");
    size_t count = node && node->kind == YAML_LIST ? reader_count(node) : 0;
    if (count == 0) {
        yaml_complain(&r->yaml, model->key_line, where, "needs targets: [{provider: NAME}]");
        return;
    }
    if (count > TARGETS_MAX) {
        yaml_complain(&r->yaml, node->line, where, "targets: more than %d", TARGETS_MAX);
        return;
    }
    m->targets = ARENA_ARRAY(r->yaml.arena, struct config_target, count);
    for (const struct yaml *t = node->first; t && m->targets; t = t->next)
        read_target(r, t, reader_place(r, where, "targets"), &m->targets[m->target_count++]);
}

/* The keys of the map that nothing can be computed without; all its keys have been looked at. */
static bool has_needed(struct config_reader *r, const struct yaml *node, const char *where,
                       const char *const *needed, const char *like)
{
    for (; *needed; needed++) {
        if (yaml_member(node, *needed))
            continue;
        yaml_complain(&r->yaml, node->line, where, "%s, in dollars per million tokens", like);
        return false;
    }
    return true;
}

static void read_long_price(struct config_reader *r, const struct yaml *node, const char *where,
                            struct tariff_tier *tier)
{
    static const char *const needed[] = {"over", "input", NULL};
    struct config_price_long price = {.rates = tier->long_rates};
    if (!node)
        return;
    where = reader_place(r, where, "long");
    reader_read_group(r, node, "price_long", where, &price);
    if (!has_needed(r, node, where, needed,
                    "a price of long requests is {over: 200000, input: 6, output: 22.5}"))
        return;
    tier->long_over = price.over;
    tier->long_rates = price.rates;
}

static void read_tier_price(struct config_reader *r, const struct yaml *price, const char *where,
                            enum service_tier which, struct tariff *tariff)
{
    static const char *const needed[] = {"input", NULL};
    struct tariff_tier *tier = &tariff->tiers[which];
    const char *word = service_tier_word(which);
    const struct yaml *node = yaml_member(price, word);
    struct config_price_tier read = {tier->rates};
    if (!node)
        return;
    where = reader_place(r, where, word);
    reader_read_group(r, node, "price_tier", where, &read);
    if (!has_needed(r, node, where, needed, "a tier's price is {input: 15, output: 30}"))
        return;
    tier->set = true;
    tier->rates = read.rates;
    read_long_price(r, yaml_member(node, "long"), where, tier);
}

static void read_price(struct config_reader *r, const struct yaml *node, const char *where,
                       struct config_price *p)
{
    static const char *const needed[] = {"input", "output", NULL};
    tariff_init(&p->tariff);
    if (!node)
        return;
    reader_read_group(r, node, "price", where, p);
    if (!has_needed(r, node, where, needed, "a price is {input: 30, output: 60}"))
        return;
    p->set = p->tariff.tiers[TIER_STANDARD].set = true;
    read_long_price(r, yaml_member(node, "long"), where, &p->tariff.tiers[TIER_STANDARD]);
    for (unsigned i = TIER_STANDARD + 1; i < SERVICE_TIERS; i++)
        read_tier_price(r, node, where, (enum service_tier)i, &p->tariff);
    tariff_complete(&p->tariff);
}

static void read_parameters(struct config_reader *r, const struct yaml *node, const char *where,
                            struct config_model *m)
{
    if (!reader_is_map(r, node, where) || reader_count(node) == 0)
        return;
    reader_check_passed(r, node, "parameter", where, false);
    m->defaults = ARENA_ARRAY(r->yaml.arena, struct config_default, reader_count(node));
    for (const struct yaml *d = node->first; d && m->defaults; d = d->next)
        m->defaults[m->default_count++] =
            (struct config_default){d->key, yaml_to_json(&r->yaml, d)};
}

static void read_capabilities(struct config_reader *r, const struct yaml *node, const char *where,
                              struct config_model *m)
{
    if (!reader_is_map(r, node, where) || reader_count(node) == 0)
        return;
    reader_check_passed(r, node, "capability", where, true);
    m->capabilities = yaml_to_json(&r->yaml, node);
}

static void read_rate(struct config_reader *r, const struct yaml *node, const char *where,
                      struct config_model *m)
{
    const struct yaml *limit = yaml_member(node, "rate_limit"), *burst = yaml_member(node, "burst");
    const char *rate = reader_text(r, limit, where);
    if (rate && !value_rate(rate, &m->rate_count, &m->rate_period_ms))
        yaml_complain(&r->yaml, limit->line, reader_place(r, where, "rate_limit"),
                      "expected a rate such as 10000/hour");
    if (!burst)
        m->rate_burst = m->rate_count;
    else if (m->rate_burst > m->rate_count)
        yaml_complain(&r->yaml, burst->line, reader_place(r, where, "burst"),
                      "expected at most the count of rate_limit");
}

static void read_model(struct config_reader *r, const struct yaml *node, struct config_model *m)
{
    const char *where = reader_place(r, "models", node->key);
    const char *star = strchr(node->key, '*');
    m->name = node->key;
    m->line = node->key_line;
    if (star && strchr(star + 1, '*'))
        yaml_complain(&r->yaml, node->key_line, where, "a name may hold one * at most");
    reader_set_defaults(r, "model", m);
    m->deadline_ms = r->config->options.edge_deadline;
    reader_read_group(r, node, "model", where, m);
    if (node->kind != YAML_MAP && node->kind != YAML_TEXT)
        return;
    read_targets(r, node, where, m);
    if (m->list && !star)
        yaml_complain(&r->yaml, node->key_line, reader_place(r, where, "list"),
                      "only a name with a * stands for models that a provider may list");
    if (m->list && m->target_count && m->targets[0].provider &&
        m->targets[0].provider->protocol == PROTOCOL_REPLICATE)
        yaml_complain(&r->yaml, node->key_line, reader_place(r, where, "list"),
                      "Replicate has no list of models to show");
    read_rate(r, node, where, m);
    read_price(r, yaml_member(node, "price"), reader_place(r, where, "price"), &m->price);
    read_parameters(r, yaml_member(node, "defaults"), reader_place(r, where, "defaults"), m);
    read_capabilities(r, yaml_member(node, "capabilities"), reader_place(r, where, "capabilities"),
                      m);
}

void read_models(struct config_reader *r, const struct yaml *node)
{
    size_t count = reader_count(node);
    if (!reader_is_map(r, node, "models") || count == 0)
        return;
    r->config->models = ARENA_ARRAY(r->yaml.arena, struct config_model, count);
    for (const struct yaml *m = node->first; m && r->config->models; m = m->next)
        read_model(r, m, &r->config->models[r->config->model_count++]);
}

static void check_model_name(struct config_reader *r, unsigned line, const char *where,
                             const char *name)
{
    if (config_find_model(r->config, span_str(name)) || r->yaml.error_count > YAML_MAX_COMPLAINTS)
        return;
    const char **names = ARENA_ARRAY(r->yaml.arena, const char *, r->config->model_count + 1);
    for (size_t i = 0; names && i < r->config->model_count; i++)
        names[i] = r->config->models[i].name;
    complain_unknown(r, line, where, "model", name, names);
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
        const struct config_list *lists[] = {&m->fallbacks, &m->context_fallbacks,
                                             &m->policy_fallbacks};
        for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++)
            for (size_t f = 0; f < lists[l]->count; f++)
                check_model_name(r, m->line, reader_place(r, "models", m->name),
                                 lists[l]->items[f]);
    }
}
