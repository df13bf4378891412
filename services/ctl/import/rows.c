/* What a deployment of LiteLLM's says of its model: the provider's prefix, the upstream's name. */
#include <string.h>

#include "proto/provider_info.h"
#include "services/ctl/import/import.h"

static const struct litellm_row rows[] = {
#define LITELLM(prefix, name, type, base, variable, kind)                                          \
    {prefix, name, type, base, variable, LITELLM_##kind},
#include "services/ctl/import/litellm.def"
#undef LITELLM
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* Models that LiteLLM knows without a prefix. */
static const struct {
    const char *begins, *prefix;
} bare[] = {{"gpt-", "openai"},
            {"o1", "openai"},
            {"o3", "openai"},
            {"o4", "openai"},
            {"chatgpt-", "openai"},
            {"ft:gpt-", "openai"},
            {"text-embedding-", "openai"},
            {"claude", "anthropic"},
            {"gemini", "vertex_ai"}};

static const struct litellm_row *find_row(struct span prefix)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (span_is(prefix, rows[i].prefix))
            return &rows[i];
    }
    return NULL;
}

const struct yaml *deployment_get(const struct deployment *d, const char *name)
{
    const struct yaml *v = yaml_member(d->params, name);
    if (litellm_absent(v) && d->credentials)
        v = yaml_member(d->credentials, name);
    return litellm_absent(v) ? NULL : v;
}

struct import_place deployment_at(struct import *im, const struct deployment *d, const char *name)
{
    const struct yaml *v = yaml_member(d->params, name);
    return import_at(im, d->file, v ? v : d->entry, "model_list[%zu].litellm_params.%s", d->index,
                     name);
}

/* ---- the row ---- */

const struct yaml *deployment_base(const struct deployment *d)
{
    const struct yaml *base = deployment_get(d, "api_base");
    return base ? base : deployment_get(d, "base_url");
}

/* Does the address begin with a known provider's, host and path? Never anywhere inside it: a key
 * must not go to who has that in his path. */
static const struct litellm_row *row_of_base(const char *base)
{
    for (size_t i = 0; base && i < ROWS; i++) {
        const struct provider_info *info = provider_info_find(rows[i].name);
        const char *known = *rows[i].base ? rows[i].base : info ? info->base_url : "";
        size_t n = strlen(known);
        if (rows[i].kind == LITELLM_KNOWN && n && strncmp(base, known, n) == 0 &&
            (base[n] == '\0' || base[n] == '/'))
            return &rows[i];
    }
    return NULL;
}

static const struct litellm_row *row_of_bare(const char *model)
{
    for (size_t i = 0; i < sizeof bare / sizeof bare[0]; i++) {
        if (strncmp(model, bare[i].begins, strlen(bare[i].begins)) == 0)
            return find_row(span_str(bare[i].prefix));
    }
    return NULL;
}

/* "responses/gpt-5": a word of LiteLLM's own, of which API to use. */
static const char *without_infix(struct import *im, const struct deployment *d, const char *model)
{
    static const char *const infixes[] = {"responses/", "converse/", "invoke/", "chat/"};
    for (size_t i = 0; i < sizeof infixes / sizeof infixes[0]; i++) {
        size_t n = strlen(infixes[i]);
        if (strncmp(model, infixes[i], n) != 0)
            continue;
        report_add(&im->report, FATE_CHANGED, deployment_at(im, d, "model"),
                   "the client chooses the API: %.*s is taken off", (int)n - 1, infixes[i]);
        return model + n;
    }
    return model;
}

static const struct litellm_row *find_by_name(struct deployment *d, const char *model)
{
    const char *named = litellm_text(deployment_get(d, "custom_llm_provider"));
    const char *slash = strchr(model, '/');
    const struct litellm_row *row = named   ? find_row(span_str(named))
                                    : slash ? find_row(span_of(model, (size_t)(slash - model)))
                                            : NULL;
    d->upstream = model;
    if (row && slash && span_is(span_of(model, (size_t)(slash - model)), row->prefix))
        d->upstream = slash + 1;
    if (row || named)
        return row;
    const char *base = litellm_text(deployment_base(d));
    row = row_of_base(base);
    if (row)
        return row;
    if (base)
        return find_row(SPAN("openai")); /* whole string as model */
    return row_of_bare(model);
}

bool provider_row(struct import *im, struct deployment *d)
{
    struct import_place at = deployment_at(im, d, "model");
    const char *model = litellm_text(deployment_get(d, "model"));
    if (!model || litellm_variable(deployment_get(d, "model"))) {
        report_add(&im->report, FATE_LEFT, at,
                   model ? "a model's name is not taken from the environment"
                         : "there is no model");
        return false;
    }
    const struct litellm_row *row = find_by_name(d, model);
    if (!row) {
        report_add(&im->report, FATE_LEFT, at,
                   "its provider is not known: write PROVIDER/MODEL, or an api_base");
        return false;
    }
    if (row->kind == LITELLM_FOREIGN) {
        report_add(&im->report, FATE_LEFT, at, "there is no provider of type %s in this version",
                   row->prefix);
        return false;
    }
    d->upstream = without_infix(im, d, d->upstream);
    report_add(&im->report, FATE_CARRIED, at, "%s", "");
    d->row = row;
    return true;
}
