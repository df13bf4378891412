/* What is known of the model that a pipeline asks: prices and capabilities. */
#include "services/worker/pipeline/pipeline_internal.h"

static const struct model_row unknown_row = {.pattern = "",
                                             .provider = "",
                                             .mode = "chat",
                                             .context = 128000,
                                             .max_out = 8192,
                                             .sampling = true,
                                             .tools = true};

/* As the table of models has it. */
static const char *provider_name(const struct pipeline_spec *s)
{
    const struct config_provider *p = s->provider_config;
    return p && p->name ? p->name : provider_protocol(s->provider);
}

void pipeline_look_up(struct pipeline *c)
{
    const struct pipeline_spec *s = &c->spec;
    c->compat = compat_describe(s->provider_config, s->base_url);
    c->compat.no_stream_options |= s->learned && s->learned->no_stream_options;
    c->compat.chat_only |= s->learned && s->learned->chat_only;
    c->row = &unknown_row;
    if (s->table) {
        c->row = model_table_find(s->table, provider_name(s), provider_protocol(s->provider),
                                  s->target_model, s->model_config, &c->row_scratch);
    } else if (s->model_config && s->model_config->price.set) {
        c->row_scratch = unknown_row;
        c->row_scratch.tariff = &s->model_config->price.tariff;
        c->row = &c->row_scratch;
    }
}

/* The entry whose upstream has answered, for a price: a name with more behind it is a version of
 * it.
 */
static const struct config_model *entry_of(const struct pipeline_spec *s, struct span upstream)
{
    const struct config_model *best = NULL;
    size_t best_len = 0;
    for (size_t i = 0; s->config && i < s->config->model_count; i++) {
        const struct config_model *m = &s->config->models[i];
        for (size_t t = 0; t < m->target_count; t++) {
            const char *name = m->targets[t].model ? m->targets[t].model : m->name;
            if (m->targets[t].provider == s->provider_config && span_starts(upstream, name) &&
                strlen(name) > best_len) {
                best = m;
                best_len = strlen(name);
            }
        }
    }
    return best;
}

void pipeline_look_up_answer(struct pipeline *c)
{
    if (c->spec.model.len || !c->upstream_model.len || c->spec.target_model.len)
        return;
    c->spec.target_model = c->upstream_model;
    c->spec.model_config = entry_of(&c->spec, c->upstream_model);
    pipeline_look_up(c);
}
