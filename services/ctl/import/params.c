#include "services/ctl/import/params.h"

#include <math.h>
#include <stdio.h>

/* Members of litellm_params that are no parameters of a request. */
enum param_kind {
    PARAM_DONE,   /* providers.c and models.c have said what became of it */
    PARAM_WEIGHT, /* a share among deployments */
    PARAM_TIME,
    PARAM_PRICE,
    PARAM_PARAMETERS, /* a map of parameters */
    PARAM_LEFT
};

static const struct {
    const char *name;
    enum param_kind kind;
    const char *note; /* why it is left, or our word */
} params[] = {
    {"model", PARAM_DONE, ""},
    {"api_base", PARAM_DONE, ""},
    {"base_url", PARAM_DONE, ""},
    {"api_key", PARAM_DONE, ""},
    {"organization", PARAM_DONE, ""},
    {"extra_headers", PARAM_DONE, ""},
    {"headers", PARAM_DONE, ""},
    {"order", PARAM_DONE, ""},
    {"custom_llm_provider", PARAM_WEIGHT, ""},
    {"litellm_credential_name", PARAM_WEIGHT, ""},
    {"weight", PARAM_WEIGHT, ""},
    {"rpm", PARAM_WEIGHT, ""},
    {"tpm", PARAM_WEIGHT, ""},
    {"timeout", PARAM_TIME, "deadline"},
    {"stream_timeout", PARAM_TIME, "timeout"},
    {"extra_body", PARAM_PARAMETERS, ""},
    {"api_version", PARAM_LEFT, "addresses below /openai/v1 need none"},
    {"itpm", PARAM_LEFT, "nearest: models.NAME.rate_limit"},
    {"otpm", PARAM_LEFT, "nearest: models.NAME.rate_limit"},
    {"rpd", PARAM_LEFT, "nearest: models.NAME.rate_limit: N/day"},
    {"tpd", PARAM_LEFT, "nearest: tollgate keys --tpm"},
    {"rpm_limit", PARAM_LEFT, "no setting of LiteLLM's; nearest: models.NAME.rate_limit"},
    {"tpm_limit", PARAM_LEFT, "no setting of LiteLLM's; nearest: tollgate keys --tpm"},
    {"context_window", PARAM_LEFT, "no setting of LiteLLM's; nearest: capabilities.context"},
    {"max_parallel_requests", PARAM_LEFT, "nearest: worker.slots, tollgate keys --concurrent"},
    {"max_retries", PARAM_LEFT, "attempts are counted over all targets: broker.max_attempts"},
    {"num_retries", PARAM_LEFT, "attempts are counted over all targets: broker.max_attempts"},
    {"cooldown_time", PARAM_LEFT, "nearest: broker.breaker_open"},
    {"drop_params", PARAM_LEFT, "what a provider does not take is always dropped, and said"},
    {"additional_drop_params", PARAM_LEFT, "nearest: compat of the provider"},
    {"allowed_openai_params", PARAM_LEFT, "all parameters are passed on"},
    {"max_budget", PARAM_LEFT, "there are no budgets yet"},
    {"budget_duration", PARAM_LEFT, "there are no budgets yet"},
    {"tags", PARAM_LEFT, "requests are not routed by tags"},
    {"tag_regex", PARAM_LEFT, "requests are not routed by tags"},
    {"region_name", PARAM_LEFT, "targets have no region"},
    {"api_type", PARAM_LEFT, "the provider's prefix says it"},
    {"ssl_verify", PARAM_LEFT, "certificates are always checked; nearest: ca_file"},
    {"azure_ad_token", PARAM_LEFT, "nearest: api_keys with the token"},
    {"tenant_id", PARAM_LEFT, "tokens of Azure AD are not fetched"},
    {"client_id", PARAM_LEFT, "tokens of Azure AD are not fetched"},
    {"client_secret", PARAM_LEFT, "tokens of Azure AD are not fetched"},
    {"configurable_clientside_auth_params", PARAM_LEFT, "clients name no addresses or keys"},
    {"use_in_pass_through", PARAM_LEFT, "there are no pass-through paths"},
    {"merge_reasoning_content_in_choices", PARAM_LEFT, "reasoning stays where it is"},
    {"input_cost_per_token", PARAM_PRICE, "input"},
    {"output_cost_per_token", PARAM_PRICE, "output"},
    {"cache_read_input_token_cost", PARAM_PRICE, "cached_input"},
    {"cache_creation_input_token_cost", PARAM_PRICE, "cache_write"},
    {"cache_creation_input_token_cost_above_1hr", PARAM_PRICE, "cache_write_1h"},
};
enum { PARAMS = sizeof params / sizeof params[0] };

/* model_info's words and ours; `supports_` and prices apart. */
static const struct {
    const char *name, *capability;
} capabilities[] = {
    {"supports_vision", "vision"},          {"supports_pdf_input", "pdf"},
    {"supports_function_calling", "tools"}, {"supports_response_schema", "json_schema"},
    {"supports_reasoning", "reasoning"},    {"max_input_tokens", "context"},
    {"max_output_tokens", "max_output"}};
enum { CAPABILITIES = sizeof capabilities / sizeof capabilities[0] };

static int find_param(const char *name)
{
    for (int i = 0; i < (int)PARAMS; i++) {
        if (strcmp(params[i].name, name) == 0)
            return i;
    }
    return -1;
}

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Settings of clouds whose providers we do not have. */
static bool is_cloud(const char *name)
{
    return begins(name, "aws_") || begins(name, "vertex_") || begins(name, "s3_") ||
           begins(name, "watsonx_") || begins(name, "oci_") || begins(name, "gcs_");
}

static bool is_price(const char *name)
{
    return strstr(name, "cost_per_") || strstr(name, "_token_cost");
}

static const struct yaml *info_of(const struct deployment *d)
{
    const struct yaml *info = yaml_member(d->entry, "model_info");
    return info && info->kind == YAML_MAP ? info : NULL;
}

/* ---- what becomes of each ---- */

static void report_weight(struct import *im, const struct deployment *d,
                          const struct import_model *m, struct import_place at, const char *name)
{
    bool limits = strcmp(name, "rpm") == 0 || strcmp(name, "tpm") == 0;
    if (!limits)
        report_add(&im->report, FATE_CARRIED, at, "%s", "");
    else if (strcmp(name, "rpm") == 0 && settings_enforce_rates(im))
        report_add(&im->report, FATE_CHANGED, at, "rate_limit of the model, over its deployments");
    else if (d->weighted)
        report_add(&im->report, FATE_CHANGED, at,
                   "a share among %zu deployments, as LiteLLM's; no limit: nearest is rate_limit",
                   m->count);
    else
        report_add(&im->report, FATE_LEFT, at,
                   "limits nothing in LiteLLM by itself; nearest: models.NAME.rate_limit");
}

/* A text below a name that says it is a secret: it stays where it is. */
static bool is_secret(const struct yaml *v)
{
    static const char *const words[] = {"key", "secret", "token", "passw", "credential", "auth"};
    double number;
    bool truth;
    if (v->kind == YAML_TEXT) {
        for (size_t i = 0; v->key && i < sizeof words / sizeof words[0]; i++) {
            if (strcasestr(v->key, words[i]) && litellm_text(v) && !litellm_number(v, &number) &&
                !litellm_bool(v, &truth))
                return true;
        }
        return false;
    }
    for (const struct yaml *i = v->first; i; i = i->next) {
        if (is_secret(i))
            return true;
    }
    return false;
}

static bool can_be_default(const struct yaml *v)
{
    return !litellm_absent(v) && !litellm_has_variable(v) && !is_secret(v);
}

/* A request's parameter: a default, unless it cannot be one. */
static void report_parameter(struct import *im, struct import_place at, const struct yaml *v)
{
    if (litellm_has_variable(v))
        report_add(&im->report, FATE_LEFT, at, "parameters are not taken from the environment");
    else if (is_secret(v))
        report_add(&im->report, FATE_LEFT, at, "may be a secret: it stays where it is");
    else
        report_add(&im->report, FATE_CARRIED, at, "%s",
                   litellm_absent(v) ? "" : "a default of the model");
}

static void report_param(struct import *im, const struct deployment *d,
                         const struct import_model *m, const struct yaml *v)
{
    struct import_place at = deployment_at(im, d, v->key);
    int i = find_param(v->key);
    double number;
    if (i < 0 && is_cloud(v->key)) {
        report_add(&im->report, FATE_LEFT, at, "of a cloud whose provider is not there yet");
    } else if (i < 0 && is_price(v->key)) {
        report_add(&im->report, FATE_LEFT, at, "nearest: models.NAME.price");
    } else if (i < 0 || params[i].kind == PARAM_PARAMETERS) {
        report_parameter(im, at, v);
    } else if (params[i].kind == PARAM_LEFT) {
        report_add(&im->report, FATE_LEFT, at, "%s", params[i].note);
    } else if (params[i].kind == PARAM_WEIGHT) {
        report_weight(im, d, m, at, v->key);
    } else if (params[i].kind == PARAM_TIME || params[i].kind == PARAM_PRICE) {
        bool fits = litellm_number(v, &number);
        report_add(&im->report, fits ? FATE_CARRIED : FATE_LEFT, at, "%s%s",
                   fits ? "" : "is no number here; write it into ", fits ? "" : params[i].note);
    }
}

static void report_info(struct import *im, const struct deployment *d, const struct yaml *v)
{
    static const char *const routes[] = {"chat", "completion", "embedding", "responses", NULL};
    struct import_place at =
        import_at(im, d->file, v, "model_list[%zu].model_info.%s", d->index, v->key);
    const char *text = litellm_text(v);
    int price = find_param(v->key);
    for (size_t i = 0; i < CAPABILITIES; i++) {
        if (strcmp(v->key, capabilities[i].name) == 0) {
            report_add(&im->report, FATE_CARRIED, at, "capabilities.%s",
                       capabilities[i].capability);
            return;
        }
    }
    for (size_t i = 0; strcmp(v->key, "mode") == 0 && text && routes[i]; i++) {
        if (strcmp(text, routes[i]) == 0) {
            report_add(&im->report, FATE_CARRIED, at, "the path says it");
            return;
        }
    }
    if (price >= 0 && params[price].kind == PARAM_PRICE)
        report_add(&im->report, FATE_CARRIED, at, "price.%s", params[price].note);
    else if (strcmp(v->key, "mode") == 0)
        report_add(&im->report, FATE_LEFT, at, "there is no such path in this version");
    else if (strcmp(v->key, "access_groups") == 0)
        report_add(&im->report, FATE_LEFT, at, "nearest: tollgate keys --models");
    else
        report_add(&im->report, FATE_LEFT, at,
                   is_price(v->key) ? "nearest: models.NAME.price" : "nothing here reads it");
}

void params_report(struct import *im, const struct deployment *d, const struct import_model *m,
                   bool carried)
{
    const struct yaml *info = info_of(d);
    if (!carried)
        return; /* the entry as a whole has been reported */
    for (const struct yaml *v = d->params->first; v; v = v->next)
        report_param(im, d, m, v);
    for (const struct yaml *v = d->entry->first; v; v = v->next) {
        struct import_place at = import_at(im, d->file, v, "model_list[%zu].%s", d->index, v->key);
        if (strcmp(v->key, "rpm") == 0 || strcmp(v->key, "tpm") == 0)
            report_weight(im, d, m, at, v->key);
        else if (strcmp(v->key, "model_name") != 0 && strcmp(v->key, "litellm_params") != 0 &&
                 strcmp(v->key, "model_info") != 0)
            report_add(&im->report, FATE_LEFT, at, "no setting of LiteLLM's that is known here");
    }
    for (const struct yaml *v = info ? info->first : NULL; v; v = v->next)
        report_info(im, d, v);
}

/* ---- writing ---- */

/* The first of the model's deployments that has it, in litellm_params or model_info. */
static const struct yaml *first_value(const struct import_model *m, const char *name,
                                      const struct deployment **of)
{
    for (size_t i = 0; i < m->count; i++) {
        const struct yaml *info = info_of(m->deployments[i]);
        const struct yaml *v = deployment_get(m->deployments[i], name);
        if (!v && info)
            v = yaml_member(info, name);
        if (!litellm_absent(v)) {
            *of = m->deployments[i];
            return v;
        }
    }
    return NULL;
}

static void write_times(struct import *im, const struct import_model *m, size_t parent)
{
    static const char *const names[][3] = {{"timeout", "deadline", "request_timeout"},
                                           {"stream_timeout", "timeout", "stream_timeout"}};
    for (size_t i = 0; i < 2; i++) {
        const struct deployment *d = NULL;
        const struct yaml *v = first_value(m, names[i][0], &d);
        struct import_place at = d ? deployment_at(im, d, names[i][0]) : m->from;
        double seconds;
        if (!v)
            v = settings_get(im, names[i][0]);
        if (!v)
            v = settings_get(im, names[i][2]);
        if (litellm_number(v, &seconds) && seconds < 1e6)
            (void)draft_add(&im->draft, parent, at, "%s: %.0f%s", names[i][1],
                            seconds * (seconds == floor(seconds) ? 1 : 1000),
                            seconds == floor(seconds) ? "s" : "ms");
    }
}

static void write_rate(struct import *im, const struct import_model *m, size_t parent)
{
    double sum = 0, rpm;
    for (size_t i = 0; i < m->count; i++) {
        const struct yaml *v = deployment_get(m->deployments[i], "rpm");
        if (litellm_number(v ? v : yaml_member(m->deployments[i]->entry, "rpm"), &rpm))
            sum += rpm;
    }
    if (settings_enforce_rates(im) && sum >= 1 && sum < 1e12)
        (void)draft_add(&im->draft, parent, m->from, "rate_limit: %.0f/minute", sum);
}

static void write_price(struct import *im, const struct import_model *m, size_t parent)
{
    size_t at = 0;
    bool input = false, output = false;
    for (size_t i = 0; i < PARAMS; i++) {
        const struct deployment *d = NULL;
        const struct yaml *v =
            params[i].kind == PARAM_PRICE ? first_value(m, params[i].name, &d) : NULL;
        const char *price = v ? litellm_per_million(&im->arena, v) : NULL;
        if (!price)
            continue;
        if (!at)
            at = draft_add(&im->draft, parent, m->from, "price:");
        input |= strcmp(params[i].note, "input") == 0;
        output |= strcmp(params[i].note, "output") == 0;
        (void)draft_add(&im->draft, at,
                        import_at(im, d->file, v, "model_list[%zu].%s", d->index, params[i].name),
                        "%s: %s", params[i].note, price);
    }
    if (at && !input)
        (void)draft_add(&im->draft, at, m->from, "input: 0");
    if (at && !output)
        (void)draft_add(&im->draft, at, m->from, "output: 0");
}

static void write_capabilities(struct import *im, const struct import_model *m, size_t parent)
{
    size_t at = 0;
    for (size_t i = 0; i < CAPABILITIES; i++) {
        const struct deployment *d = NULL;
        const struct yaml *v = first_value(m, capabilities[i].name, &d);
        const char *json = v ? litellm_json(&im->arena, v) : NULL;
        if (!json)
            continue;
        if (!at)
            at = draft_add(&im->draft, parent, m->from, "capabilities:");
        (void)draft_add(&im->draft, at,
                        import_at(im, d->file, v, "model_list[%zu].model_info.%s", d->index,
                                  capabilities[i].name),
                        "%s: %s", capabilities[i].capability, json);
    }
}

static void write_default(struct import *im, const struct deployment *d, const struct yaml *v,
                          size_t parent, size_t *at)
{
    const char *json = can_be_default(v) ? litellm_json(&im->arena, v) : NULL;
    if (!json)
        return;
    if (!*at)
        *at = draft_add(&im->draft, parent, deployment_at(im, d, "model"), "defaults:");
    (void)draft_add(
        &im->draft, *at,
        import_at(im, d->file, v, "model_list[%zu].litellm_params.%s", d->index, v->key), "%s: %s",
        litellm_quoted(&im->arena, v->key), json);
}

/* A model has one set of defaults: those of its first deployment that is carried. */
static void write_defaults(struct import *im, const struct import_model *m, size_t parent)
{
    size_t at = 0;
    const struct deployment *d = m->deployments[0];
    for (const struct yaml *v = d->params->first; v; v = v->next) {
        int i = find_param(v->key);
        if (i < 0 && !is_cloud(v->key) && !is_price(v->key))
            write_default(im, d, v, parent, &at);
    }
    const struct yaml *body = deployment_get(d, "extra_body");
    for (const struct yaml *v = body && body->kind == YAML_MAP ? body->first : NULL; v;
         v = v->next) {
        if (!yaml_member(d->params, v->key))
            write_default(im, d, v, parent, &at);
    }
}

void params_write(struct import *im, const struct import_model *m, size_t parent)
{
    write_times(im, m, parent);
    write_rate(im, m, parent);
    write_price(im, m, parent);
    write_capabilities(im, m, parent);
    write_defaults(im, m, parent);
}
