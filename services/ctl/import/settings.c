/* router_settings, litellm_settings, general_settings and the rest of a LiteLLM file. */
#include <stdio.h>

#include "services/ctl/import/import.h"

const struct yaml *settings_get(const struct import *im, const char *key)
{
    const struct yaml *v = import_member(im, "router_settings", key, NULL);
    if (litellm_absent(v))
        v = import_member(im, "litellm_settings", key, NULL);
    return litellm_absent(v) ? NULL : v;
}

bool settings_enforce_rates(const struct import *im)
{
    const struct yaml *checks = settings_get(im, "optional_pre_call_checks");
    for (const struct yaml *i = checks && checks->kind == YAML_LIST ? checks->first : NULL; i;
         i = i->next) {
        const char *word = litellm_text(i);
        if (word && strcmp(word, "enforce_model_rate_limits") == 0)
            return true;
    }
    return false;
}

/* ---- fallbacks ---- */

/* B of a list: a name, or {model: B, …}. */
static const char *fallback_name(const struct yaml *item)
{
    return litellm_text(item->kind == YAML_MAP ? yaml_member(item, "model") : item);
}

static void take_list(struct import *im, const struct yaml *list, const char *model,
                      struct settings_list *out)
{
    enum { MOST = sizeof out->items / sizeof out->items[0] };
    for (const struct yaml *i = list && list->kind == YAML_LIST ? list->first : NULL; i;
         i = i->next) {
        const char *name = fallback_name(i);
        if (name && out->count < MOST && strcmp(name, model) != 0 && import_find_model(im, name))
            out->items[out->count++] = name;
    }
}

/* Of [{A: [B, C]}, …] the entry of this very name; "*" holds for all that have none. */
static const struct yaml *list_of(const struct yaml *lists, const char *model)
{
    const struct yaml *of_all = NULL;
    for (const struct yaml *i = lists && lists->kind == YAML_LIST ? lists->first : NULL; i;
         i = i->next) {
        const struct yaml *own = i->kind == YAML_MAP ? yaml_member(i, model) : NULL;
        if (own)
            return own;
        if (!of_all && i->kind == YAML_MAP)
            of_all = yaml_member(i, "*");
    }
    return of_all;
}

bool settings_fallbacks(struct import *im, const char *list, const char *model,
                        struct settings_list *out)
{
    *out = (struct settings_list){0};
    const char *file = im->files[0].path;
    const struct yaml *own = list_of(settings_get(im, list), model);
    if (!own && strcmp(list, "fallbacks") == 0)
        own = settings_get(im, "default_fallbacks");
    (void)import_member(im, "router_settings", list, &file);
    take_list(im, own, model, out);
    out->from = import_at(im, file, own, "%s.%s", list, model);
    return out->count > 0;
}

static void report_fallbacks(struct import *im, const char *file, const struct yaml *lists)
{
    for (const struct yaml *i = lists->kind == YAML_LIST ? lists->first : NULL; i; i = i->next) {
        for (const struct yaml *a = i->kind == YAML_MAP ? i->first : NULL; a; a = a->next) {
            struct import_place at = import_at(im, file, a, "%s.%s", lists->key, a->key);
            size_t missing = 0, changed = 0;
            for (const struct yaml *b = a->kind == YAML_LIST ? a->first : NULL; b; b = b->next) {
                missing += !fallback_name(b) || !import_find_model(im, fallback_name(b));
                changed += b->kind == YAML_MAP;
            }
            if (strcmp(a->key, "*") != 0 && !import_find_model(im, a->key))
                report_add(&im->report, FATE_LEFT, at, "there is no such model in the file");
            else if (missing)
                report_add(&im->report, FATE_LEFT, at, "%zu of these models are not carried",
                           missing);
            else
                report_add(&im->report, changed ? FATE_CHANGED : FATE_CARRIED, at, "%s",
                           changed ? "the parameters of a fallback are its model's own" : "");
        }
    }
}

/* ---- settings that have a counterpart ---- */

enum setting_kind {
    SET_COUNT,     /* NAME: N */
    SET_PLUS_ONE,  /* NAME: N + 1 */
    SET_SECONDS,   /* NAME: Nms */
    SET_MEGABYTES, /* NAME: NMiB */
    SET_IF_TRUE,   /* what stands in `ours`, if true */
    SET_FALLBACKS, /* models.c writes it */
    SET_OF_MODELS, /* the same of times */
    SET_ALWAYS,    /* what we always do */
    SET_LEFT
};

static const struct setting {
    const char *section, *name;
    enum setting_kind kind;
    const char *ours, *key; /* "broker", "max_attempts"; or the reason */
} known[] = {
    {"router_settings", "num_retries", SET_PLUS_ONE, "broker", "max_attempts"},
    {"litellm_settings", "num_retries", SET_PLUS_ONE, "broker", "max_attempts"},
    {"router_settings", "allowed_fails", SET_COUNT, "broker", "breaker_failures"},
    {"litellm_settings", "allowed_fails", SET_COUNT, "broker", "breaker_failures"},
    {"router_settings", "cooldown_time", SET_SECONDS, "broker", "breaker_open"},
    {"litellm_settings", "cooldown_time", SET_SECONDS, "broker", "breaker_open"},
    {"router_settings", "retry_after", SET_SECONDS, "broker", "retry_base"},
    {"general_settings", "max_request_size_mb", SET_MEGABYTES, "edge", "max_body"},
    {"litellm_settings", "json_logs", SET_IF_TRUE, "log", "format: json"},
    {"router_settings", "fallbacks", SET_FALLBACKS, "", ""},
    {"litellm_settings", "fallbacks", SET_FALLBACKS, "", ""},
    {"router_settings", "context_window_fallbacks", SET_FALLBACKS, "", ""},
    {"litellm_settings", "context_window_fallbacks", SET_FALLBACKS, "", ""},
    {"router_settings", "content_policy_fallbacks", SET_FALLBACKS, "", ""},
    {"litellm_settings", "content_policy_fallbacks", SET_FALLBACKS, "", ""},
    {"router_settings", "default_fallbacks", SET_OF_MODELS, "", "fallbacks of each model without"},
    {"litellm_settings", "default_fallbacks", SET_OF_MODELS, "", "fallbacks of each model without"},
    {"router_settings", "timeout", SET_OF_MODELS, "", "deadline of each model without"},
    {"litellm_settings", "request_timeout", SET_OF_MODELS, "", "deadline of each model without"},
    {"router_settings", "stream_timeout", SET_OF_MODELS, "", "timeout of each model without"},
    {"litellm_settings", "stream_timeout", SET_OF_MODELS, "", "timeout of each model without"},
    {"router_settings", "model_group_alias", SET_FALLBACKS, "", ""},
    {"litellm_settings", "model_alias_map", SET_FALLBACKS, "", ""},
    {"litellm_settings", "drop_params", SET_ALWAYS, "",
     "what a provider does not take is always dropped, and said in x-tollgate-dropped"},
    {"litellm_settings", "modify_params", SET_ALWAYS, "",
     "requests are translated as each provider needs them"},
    {"general_settings", "background_health_checks", SET_ALWAYS, "",
     "health is learned from requests"},
    {"general_settings", "disable_spend_logs", SET_LEFT, "",
     "the ledger is always kept; nearest: auth.keep_usage"},
    {"general_settings", "maximum_spend_logs_retention_period", SET_LEFT, "",
     "nearest: auth.keep_usage"},
    {"general_settings", "master_key", SET_LEFT, "",
     "make it a key of yours: tollgate keys create --name master --key -"},
    {"general_settings", "database_url", SET_LEFT, "", "the store is a file; for its keys: --keys"},
    {"general_settings", "store_model_in_db", SET_LEFT, "", "models are in this file alone"},
    {"general_settings", "max_parallel_requests", SET_LEFT, "",
     "nearest: worker.slots, tollgate keys --concurrent"},
    {"general_settings", "global_max_parallel_requests", SET_LEFT, "", "nearest: worker.slots"},
    {"general_settings", "pass_through_endpoints", SET_LEFT, "", "there are no pass-through paths"},
    {"general_settings", "custom_auth", SET_LEFT, "", "Python code is not run"},
    {"general_settings", "enable_jwt_auth", SET_LEFT, "", "there is no sign-in by tokens yet"},
    {"general_settings", "allowed_ips", SET_LEFT, "", "nearest: the firewall, or edge.bind"},
    {"general_settings", "forward_client_headers_to_llm_api", SET_LEFT, "",
     "nearest: forward_headers of a provider"},
    {"router_settings", "routing_strategy", SET_LEFT, "", "targets are chosen by weight and load"},
    {"router_settings", "retry_policy", SET_LEFT, "",
     "nearest: broker.max_attempts; a 400 or 401 is never repeated"},
    {"router_settings", "allowed_fails_policy", SET_LEFT, "", "nearest: broker.breaker_failures"},
    {"router_settings", "enable_pre_call_checks", SET_LEFT, "",
     "a prompt that is too long goes to context_fallbacks"},
    {"router_settings", "redis_host", SET_LEFT, "", "not needed"},
    {"router_settings", "redis_port", SET_LEFT, "", "not needed"},
    {"router_settings", "redis_password", SET_LEFT, "", "not needed"},
    {"router_settings", "redis_url", SET_LEFT, "", "not needed"},
    {"litellm_settings", "callbacks", SET_LEFT, "",
     "Prometheus is built in; others are not called"},
    {"litellm_settings", "success_callback", SET_LEFT, "",
     "Prometheus is built in; others are not called"},
    {"litellm_settings", "failure_callback", SET_LEFT, "",
     "Prometheus is built in; others are not called"},
    {"litellm_settings", "cache", SET_LEFT, "", "answers are not cached"},
    {"litellm_settings", "cache_params", SET_LEFT, "", "answers are not cached"},
    {"litellm_settings", "max_budget", SET_LEFT, "", "there are no budgets yet"},
    {"litellm_settings", "budget_duration", SET_LEFT, "", "there are no budgets yet"},
    {"litellm_settings", "ssl_verify", SET_LEFT, "",
     "certificates are always checked; nearest: ca_file of a provider"},
    {"litellm_settings", "set_verbose", SET_LEFT, "", "nearest: log.level: debug"},
    {"litellm_settings", "default_team_settings", SET_LEFT, "", "there are no teams yet"},
};
enum { KNOWN = sizeof known / sizeof known[0] };

/* The options that have been written, by section: their lines go below one head. */
struct written {
    const char *section;
    size_t at;
    const char *keys[8];
    size_t count;
};
enum { SECTIONS = 4 };

static struct written *section_of(struct import *im, struct written all[SECTIONS],
                                  const char *section, struct import_place from)
{
    for (size_t i = 0; i < SECTIONS; i++) {
        if (all[i].section && strcmp(all[i].section, section) != 0)
            continue;
        if (!all[i].section) {
            all[i].section = section;
            all[i].at = draft_add(&im->draft, 0, from, "%s:", section);
        }
        return &all[i];
    }
    return NULL;
}

static bool value_of(const struct setting *s, const struct yaml *v, char out[64])
{
    double n;
    bool truth;
    if (s->kind == SET_IF_TRUE) {
        out[0] = '\0';
        return litellm_bool(v, &truth) && truth;
    }
    if (!litellm_number(v, &n) || n > 1e9)
        return false;
    switch (s->kind) {
    case SET_COUNT:
        (void)snprintf(out, 64, ": %.0f", n);
        return true;
    case SET_PLUS_ONE:
        (void)snprintf(out, 64, ": %.0f", n + 1);
        return true;
    case SET_SECONDS:
        (void)snprintf(out, 64, ": %.0fms", n * 1000);
        return true;
    case SET_MEGABYTES:
        (void)snprintf(out, 64, ": %.0fMiB", n);
        return true;
    case SET_IF_TRUE:
    case SET_FALLBACKS:
    case SET_OF_MODELS:
    case SET_ALWAYS:
    case SET_LEFT:
        break;
    }
    return false;
}

static bool is_written(const struct written *w, const char *key)
{
    for (size_t i = 0; i < w->count; i++) {
        if (strcmp(w->keys[i], key) == 0)
            return true;
    }
    return false;
}

static void carry(struct import *im, const struct setting *s, const struct yaml *v,
                  struct import_place at, struct written all[SECTIONS])
{
    char text[64];
    if (!value_of(s, v, text)) {
        report_add(&im->report, litellm_has_variable(v) ? FATE_LEFT : FATE_CHANGED, at,
                   litellm_has_variable(v)
                       ? "settings are not taken from the environment: write %s.%s"
                       : "is no number, or off: %s.%s keeps its default",
                   s->ours, s->key);
        return;
    }
    struct written *w = section_of(im, all, s->ours, at);
    if (!w || is_written(w, s->key)) {
        report_add(&im->report, FATE_LEFT, at, "%s.%s has been given above", s->ours, s->key);
        return;
    }
    if (w->count < sizeof w->keys / sizeof w->keys[0])
        w->keys[w->count++] = s->key;
    (void)draft_add(&im->draft, w->at, at, "%s%s", s->key, text);
    report_add(&im->report,
               s->kind == SET_SECONDS || s->kind == SET_COUNT ? FATE_CHANGED : FATE_CARRIED, at,
               "%s.%s", s->ours, s->key);
}

static const struct setting *find_setting(const char *section, const char *name)
{
    for (size_t i = 0; i < KNOWN; i++) {
        if (strcmp(known[i].section, section) == 0 && strcmp(known[i].name, name) == 0)
            return &known[i];
    }
    return NULL;
}

static void read_setting(struct import *im, const char *file, const char *section,
                         const struct yaml *v, struct written all[SECTIONS])
{
    struct import_place at = import_at(im, file, v, "%s.%s", section, v->key);
    const struct setting *s = find_setting(section, v->key);
    if (litellm_absent(v)) {
        report_add(&im->report, FATE_CARRIED, at, "is empty");
    } else if (!s) {
        report_add(&im->report, FATE_LEFT, at, "has no counterpart");
    } else if (s->kind == SET_FALLBACKS) {
        report_fallbacks(im, file, v);
    } else if (s->kind == SET_OF_MODELS || s->kind == SET_ALWAYS) {
        report_add(&im->report, FATE_CARRIED, at, "%s", s->key);
    } else if (s->kind == SET_LEFT) {
        report_add(&im->report, FATE_LEFT, at, "%s", s->key);
    } else {
        carry(im, s, v, at, all);
    }
}

/* Variables of LiteLLM's own process; their values are not shown. */
static void read_environment(struct import *im, const char *file, const struct yaml *map)
{
    for (const struct yaml *v = map->kind == YAML_MAP ? map->first : NULL; v; v = v->next)
        report_add(&im->report, FATE_LEFT,
                   import_at(im, file, v, "environment_variables.%s", v->key),
                   "set it where the daemons start, if one of our settings names it");
}

static void read_top(struct import *im, const char *file, const struct yaml *v,
                     struct written all[SECTIONS])
{
    static const char *const sections[] = {"router_settings", "litellm_settings",
                                           "general_settings"};
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        if (strcmp(v->key, sections[i]) != 0)
            continue;
        for (const struct yaml *m = v->kind == YAML_MAP ? v->first : NULL; m; m = m->next)
            read_setting(im, file, sections[i], m, all);
        return;
    }
    if (strcmp(v->key, "environment_variables") == 0)
        read_environment(im, file, v);
    else if (strcmp(v->key, "model_list") != 0 && strcmp(v->key, "include") != 0 &&
             strcmp(v->key, "credential_list") != 0)
        report_add(&im->report, FATE_LEFT, import_at(im, file, v, "%s", v->key),
                   litellm_absent(v) ? "is empty" : "has no counterpart");
}

void settings_write(struct import *im)
{
    struct written all[SECTIONS] = {0};
    for (size_t i = 0; i < im->file_count; i++) {
        for (const struct yaml *v = im->files[i].root->first; v; v = v->next)
            read_top(im, im->files[i].path, v, all);
    }
}
