#include "common/runtime/config.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/json.h"
#include "common/runtime/config_value.h"
#include "common/runtime/config_yaml.h"

/* What holds everything a struct config points to. */
struct memory {
    unsigned holders;
    struct arena arena;
    struct config config;
};

struct reader {
    struct yaml_reader yaml;
    struct config *config;
    const struct config_paths *paths;
};

static void complain(struct reader *r, const struct yaml *at, const char *where, const char *what)
{
    yaml_complain(&r->yaml, at->line, where, "%s", what);
}

static const char *place(struct reader *r, const char *section, const char *key)
{
    struct span s = arena_printf(r->yaml.arena, "%s.%s", section, key);
    return s.data ? s.data : section;
}

/* ---- scalars and lists ---- */

static const char *text_of(struct reader *r, const struct yaml *node, const char *where)
{
    if (!node)
        return NULL;
    if (node->kind != YAML_TEXT) {
        complain(r, node, where, "expected one value");
        return NULL;
    }
    return node->text;
}

/* One value is a list of one; an empty text is an empty list. */
static struct config_list list_of(struct reader *r, const struct yaml *node, const char *where)
{
    struct config_list list = {NULL, 0};
    if (!node || (node->kind == YAML_TEXT && !*node->text))
        return list;
    if (node->kind == YAML_MAP) {
        complain(r, node, where, "expected a list");
        return list;
    }
    size_t count = 0;
    for (const struct yaml *i = node->first; i; i = i->next)
        count++;
    list.items = ARENA_ARRAY(r->yaml.arena, const char *, count + 1);
    if (!list.items)
        return list;
    if (node->kind == YAML_TEXT)
        list.items[list.count++] = node->text;
    for (const struct yaml *i = node->first; i; i = i->next) {
        const char *text = text_of(r, i, where);
        if (text)
            list.items[list.count++] = text;
    }
    return list;
}

/* ---- options ---- */

enum option_type { OPTION_BOOL, OPTION_U32, OPTION_SIZE, OPTION_MS, OPTION_STR, OPTION_LIST };

struct option {
    const char *section, *name;
    enum option_type type;
    size_t offset;
    const char *def, *help;
};

static const struct option options[] = {
#define OPTION(section, name, type, def, help)                                                     \
    {#section, #name, OPTION_##type, offsetof(struct config_options, section##_##name), def, help},
#include "common/runtime/options.def"
#undef OPTION
};

enum { OPTION_COUNT = sizeof options / sizeof options[0] };

/* {run} and {state} become the directories. */
static const char *with_paths(struct reader *r, const char *text)
{
    static const char *const names[] = {"{run}", "{state}"};
    const char *values[] = {r->paths->run, r->paths->state};
    for (int i = 0; i < 2; i++) {
        const char *at = strstr(text, names[i]);
        if (at && values[i]) {
            struct span s = arena_printf(r->yaml.arena, "%.*s%s%s", (int)(at - text), text,
                                         values[i], at + strlen(names[i]));
            text = s.data ? s.data : text;
        }
    }
    return text;
}

static bool set_scalar(struct reader *r, const struct option *o, const char *text)
{
    void *at = (char *)&r->config->options + o->offset;
    switch (o->type) {
    case OPTION_BOOL:
        return value_bool(text, at);
    case OPTION_U32:
        return value_u32(text, at);
    case OPTION_SIZE:
        return value_size(text, at);
    case OPTION_MS:
        return value_duration_ms(text, at);
    case OPTION_STR:
        *(const char **)at = with_paths(r, text);
        return true;
    case OPTION_LIST:
        break;
    }
    return false;
}

static const char *const type_words[] = {"expected true or false",
                                         "expected a whole number",
                                         "expected a size such as 32MiB",
                                         "expected a duration with its unit, such as 10s or 250ms",
                                         "expected text",
                                         "expected a list"};

static void set_list(struct reader *r, const struct option *o, struct config_list list)
{
    for (size_t i = 0; i < list.count; i++)
        list.items[i] = with_paths(r, list.items[i]);
    *(struct config_list *)(void *)((char *)&r->config->options + o->offset) = list;
}

/* "a,b" of the table's default column. */
static struct config_list split_default(struct reader *r, const char *text)
{
    struct config_list list = {ARENA_ARRAY(r->yaml.arena, const char *, strlen(text) + 1), 0};
    struct span rest = span_str(text);
    while (list.items && rest.len)
        list.items[list.count++] = arena_strdup(r->yaml.arena, span_cut(&rest, ','));
    return list;
}

static void set_defaults(struct reader *r)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (options[i].type == OPTION_LIST)
            set_list(r, &options[i], split_default(r, options[i].def));
        else
            (void)set_scalar(r, &options[i], options[i].def);
    }
}

static bool is_section(const char *name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strcmp(options[i].section, name) == 0)
            return true;
    }
    return false;
}

static void read_section(struct reader *r, const struct yaml *section)
{
    const char *names[OPTION_COUNT + 1];
    size_t n = 0;
    if (section->kind == YAML_TEXT && !*section->text)
        return; /* `edge:` with nothing below */
    if (section->kind != YAML_MAP) {
        complain(r, section, section->key, "expected keys and values");
        return;
    }
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        if (strcmp(o->section, section->key) != 0)
            continue;
        names[n++] = o->name;
        const struct yaml *node = yaml_member(section, o->name);
        const char *where = node ? place(r, section->key, o->name) : "";
        if (!node)
            continue;
        if (o->type == OPTION_LIST) {
            set_list(r, o, list_of(r, node, where));
        } else {
            const char *text = text_of(r, node, where);
            if (text && !set_scalar(r, o, text))
                complain(r, node, where, type_words[o->type]);
        }
    }
    names[n] = NULL;
    yaml_check_keys(&r->yaml, section, section->key, names);
}

/* ---- providers ---- */

static const char *const provider_types[] = {"openai", "anthropic", "replicate", NULL};
static const char *const provider_keys[] = {
    "type",    "api_keys", "api_key_files", "endpoints", "headers", "organization",
    "ca_file", "proxy",    "private",       "quirks",    NULL};
static const char *const quirk_words[] = {
    "openai", "max_tokens", "no_stream_options",      "echo_reasoning",
    "top_k",  "many_stops", "no_parallel_tool_calls", NULL};

static bool is_word(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(text, *words) == 0)
            return true;
    }
    return false;
}

static void read_headers(struct reader *r, const struct yaml *node, const char *where,
                         struct config_provider *p)
{
    size_t count = 0;
    if (!node)
        return;
    if (node->kind != YAML_MAP) {
        complain(r, node, where, "expected names and values");
        return;
    }
    for (const struct yaml *h = node->first; h; h = h->next)
        count++;
    p->headers = ARENA_ARRAY(r->yaml.arena, struct config_header, count + 1);
    for (const struct yaml *h = node->first; h && p->headers; h = h->next) {
        const char *value = text_of(r, h, where);
        if (value)
            p->headers[p->header_count++] = (struct config_header){h->key, value};
    }
}

static void check_type(struct reader *r, const struct yaml *node, struct config_provider *p)
{
    if (!p->type && is_word(p->name, provider_types))
        p->type = p->name;
    if (!p->type) {
        yaml_complain(&r->yaml, node->key_line, place(r, "providers", p->name),
                      "needs a type: openai, anthropic or replicate");
        p->type = "openai";
    } else if (!is_word(p->type, provider_types)) {
        const char *near = value_nearest(p->type, provider_types);
        yaml_complain(&r->yaml, node->key_line, place(r, "providers", p->name),
                      near ? "unknown type %s (did you mean %s?)"
                           : "unknown type %s: one of openai, anthropic, replicate",
                      p->type, near);
    }
}

static void check_endpoints(struct reader *r, const struct yaml *node, const char *where,
                            struct config_provider *p)
{
    for (size_t i = 0; i < p->endpoints.count; i++) {
        const char *url = p->endpoints.items[i];
        if (strncmp(url, "https://", 8) == 0 && url[8])
            continue;
        if (strncmp(url, "http://", 7) != 0 || !url[7])
            complain(r, node, where, "an endpoint is a URL: https://host/v1");
        else if (!p->private_network)
            complain(r, node, where,
                     "plain http is only for hosts of your own: add `private: true`, or use https");
    }
}

static void read_provider(struct reader *r, const struct yaml *node, struct config_provider *p)
{
    const char *where = place(r, "providers", node->key);
    p->name = node->key;
    p->line = node->key_line;
    if (node->kind != YAML_MAP && !(node->kind == YAML_TEXT && !*node->text)) {
        complain(r, node, where,
                 "expected keys and values, such as { api_keys: [\"${OPENAI_API_KEY}\"] }");
        return;
    }
    if (node->kind == YAML_MAP)
        yaml_check_keys(&r->yaml, node, where, provider_keys);
    p->type = text_of(r, yaml_member(node, "type"), where);
    check_type(r, node, p);
    p->api_keys = list_of(r, yaml_member(node, "api_keys"), where);
    p->api_key_files = list_of(r, yaml_member(node, "api_key_files"), where);
    p->organization = text_of(r, yaml_member(node, "organization"), where);
    p->ca_file = text_of(r, yaml_member(node, "ca_file"), where);
    p->proxy = text_of(r, yaml_member(node, "proxy"), where);
    const char *private_text = text_of(r, yaml_member(node, "private"), where);
    if (private_text && !value_bool(private_text, &p->private_network))
        complain(r, node, where, "private: expected true or false");
    p->endpoints = list_of(r, yaml_member(node, "endpoints"), where);
    check_endpoints(r, node, where, p);
    read_headers(r, yaml_member(node, "headers"), where, p);
    p->quirks = list_of(r, yaml_member(node, "quirks"), where);
    for (size_t i = 0; i < p->quirks.count; i++) {
        const char *near = value_nearest(p->quirks.items[i], quirk_words);
        if (!is_word(p->quirks.items[i], quirk_words))
            yaml_complain(&r->yaml, node->line, where,
                          near ? "unknown quirk %s (did you mean %s?)" : "unknown quirk %s",
                          p->quirks.items[i], near);
    }
}

static size_t count_members(struct reader *r, const struct yaml *node, const char *where)
{
    size_t count = 0;
    if (!node || (node->kind == YAML_TEXT && !*node->text))
        return 0;
    if (node->kind != YAML_MAP) {
        complain(r, node, where, "expected names and their settings");
        return 0;
    }
    for (const struct yaml *m = node->first; m; m = m->next)
        count++;
    return count;
}

static void read_providers(struct reader *r, const struct yaml *node)
{
    size_t count = count_members(r, node, "providers");
    r->config->providers = ARENA_ARRAY(r->yaml.arena, struct config_provider, count + 1);
    if (!r->config->providers || !count)
        return;
    for (const struct yaml *m = node->first; m; m = m->next)
        read_provider(r, m, &r->config->providers[r->config->provider_count++]);
}

/* ---- models ---- */

static const char *const model_keys[] = {"targets",     "rate_limit",   "burst",    "timeout",
                                         "deadline",    "fallbacks",    "defaults", "price",
                                         "completions", "capabilities", NULL};
static const char *const target_keys[] = {"provider", "model", "weight", NULL};
static const char *const price_keys[] = {"input", "output", "cached_input", "cache_write", NULL};

static void complain_unknown_provider(struct reader *r, const struct yaml *at, const char *where,
                                      const char *name)
{
    const char **names = ARENA_ARRAY(r->yaml.arena, const char *, r->config->provider_count + 1);
    for (size_t i = 0; names && i < r->config->provider_count; i++)
        names[i] = r->config->providers[i].name;
    const char *near = names ? value_nearest(name, names) : NULL;
    yaml_complain(
        &r->yaml, at->line, where,
        near ? "no provider %s (did you mean %s?)" : "no provider %s under providers:", name, near);
}

static void read_target(struct reader *r, const struct yaml *node, const char *where,
                        struct config_target *t)
{
    t->weight = 1;
    if (node->kind != YAML_MAP) {
        complain(r, node, where, "a target is {provider: NAME, model: NAME}");
        return;
    }
    yaml_check_keys(&r->yaml, node, where, target_keys);
    const char *provider = text_of(r, yaml_member(node, "provider"), where);
    if (!provider) {
        complain(r, node, where, "a target needs a provider");
        return;
    }
    t->provider = config_find_provider(r->config, provider);
    if (!t->provider)
        complain_unknown_provider(r, node, where, provider);
    t->model = text_of(r, yaml_member(node, "model"), where);
    const char *weight = text_of(r, yaml_member(node, "weight"), where);
    if (weight && (!value_u32(weight, &t->weight) || t->weight > 1000000))
        complain(r, node, where, "weight: expected a whole number up to 1000000");
}

static void read_targets(struct reader *r, const struct yaml *model, const char *where,
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

static void read_price(struct reader *r, const struct yaml *node, const char *where,
                       struct config_price *p)
{
    uint64_t *const into[] = {&p->input_nano, &p->output_nano, &p->cached_nano,
                              &p->cache_write_nano};
    p->cached_nano = p->cache_write_nano = UINT64_MAX;
    if (!node)
        return;
    if (node->kind != YAML_MAP || !yaml_member(node, "input") || !yaml_member(node, "output")) {
        complain(r, node, where,
                 "a price is {input: 30, output: 60}, in dollars per million tokens");
        return;
    }
    yaml_check_keys(&r->yaml, node, where, price_keys);
    p->set = true;
    for (int i = 0; price_keys[i]; i++) {
        const char *text = text_of(r, yaml_member(node, price_keys[i]), where);
        if (text && !value_price_nano(text, into[i]))
            complain(r, node, where, "a price is dollars per million tokens, not negative");
    }
}

static void read_model_defaults(struct reader *r, const struct yaml *node, const char *where,
                                struct config_model *m)
{
    size_t count = node ? count_members(r, node, where) : 0;
    m->defaults = ARENA_ARRAY(r->yaml.arena, struct config_default, count + 1);
    for (const struct yaml *d = count ? node->first : NULL; d && m->defaults; d = d->next)
        m->defaults[m->default_count++] =
            (struct config_default){d->key, yaml_to_json(&r->yaml, d)};
}

static void read_limits(struct reader *r, const struct yaml *node, const char *where,
                        struct config_model *m)
{
    const char *rate = text_of(r, yaml_member(node, "rate_limit"), where);
    const char *burst = text_of(r, yaml_member(node, "burst"), where);
    if (rate && !value_rate(rate, &m->rate_count, &m->rate_period_ms))
        complain(r, yaml_member(node, "rate_limit"), where,
                 "rate_limit: expected a rate such as 10000/hour");
    m->rate_burst = m->rate_count;
    if (burst && (!span_to_u64(span_str(burst), &m->rate_burst) || m->rate_burst == 0 ||
                  m->rate_burst > m->rate_count))
        complain(r, yaml_member(node, "burst"), where,
                 "burst: expected a whole number, at most the rate's count");
    const char *timeout = text_of(r, yaml_member(node, "timeout"), where);
    const char *deadline = text_of(r, yaml_member(node, "deadline"), where);
    m->timeout_ms = 60000;
    m->deadline_ms = r->config->options.edge_deadline;
    if (timeout && (!value_duration_ms(timeout, &m->timeout_ms) || !m->timeout_ms))
        complain(r, yaml_member(node, "timeout"), where,
                 "timeout: expected a duration such as 60s");
    if (deadline && (!value_duration_ms(deadline, &m->deadline_ms) || !m->deadline_ms))
        complain(r, yaml_member(node, "deadline"), where,
                 "deadline: expected a duration such as 600s");
}

static void read_model(struct reader *r, const struct yaml *node, struct config_model *m)
{
    const char *where = place(r, "models", node->key);
    const char *star = strchr(node->key, '*');
    m->name = node->key;
    m->line = node->key_line;
    if (star && strchr(star + 1, '*'))
        yaml_complain(&r->yaml, node->key_line, where, "a name may hold one * at most");
    if (node->kind != YAML_MAP) {
        complain(r, node, where,
                 "expected keys and values, such as { targets: [{provider: openai}] }");
        return;
    }
    yaml_check_keys(&r->yaml, node, where, model_keys);
    read_targets(r, node, where, m);
    read_limits(r, node, where, m);
    read_price(r, yaml_member(node, "price"), where, &m->price);
    read_model_defaults(r, yaml_member(node, "defaults"), where, m);
    m->fallbacks = list_of(r, yaml_member(node, "fallbacks"), where);
    m->completions = text_of(r, yaml_member(node, "completions"), where);
    if (m->completions && strcmp(m->completions, "native") != 0)
        complain(r, node, where, "completions: only `native` is known");
    const struct yaml *capabilities = yaml_member(node, "capabilities");
    if (capabilities)
        m->capabilities = yaml_to_json(&r->yaml, capabilities);
}

static void read_models(struct reader *r, const struct yaml *node)
{
    size_t count = count_members(r, node, "models");
    r->config->models = ARENA_ARRAY(r->yaml.arena, struct config_model, count + 1);
    if (!r->config->models || !count)
        return;
    for (const struct yaml *m = node->first; m; m = m->next)
        read_model(r, m, &r->config->models[r->config->model_count++]);
}

static void check_model_name(struct reader *r, unsigned line, const char *where, const char *name)
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

static void check_names(struct reader *r, const struct yaml *root)
{
    const struct yaml *node = yaml_member(root, "default_model");
    if (node) {
        r->config->default_model = text_of(r, node, "default_model");
        if (r->config->default_model)
            check_model_name(r, node->line, "default_model", r->config->default_model);
    }
    for (size_t i = 0; i < r->config->model_count; i++) {
        const struct config_model *m = &r->config->models[i];
        for (size_t f = 0; f < m->fallbacks.count; f++)
            check_model_name(r, m->line, place(r, "models", m->name), m->fallbacks.items[f]);
    }
}

/* ---- the whole file ---- */

static void check_top_keys(struct reader *r, const struct yaml *root)
{
    const char *keys[OPTION_COUNT + 4] = {"default_model", "providers", "models"};
    size_t n = 3;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (i == 0 || strcmp(options[i].section, options[i - 1].section) != 0)
            keys[n++] = options[i].section;
    }
    keys[n] = NULL;
    yaml_check_keys(&r->yaml, root, "", keys);
}

static void read_root(struct reader *r, const struct yaml *root)
{
    check_top_keys(r, root);
    for (const struct yaml *m = root->first; m; m = m->next) {
        if (is_section(m->key))
            read_section(r, m);
    }
    read_providers(r, yaml_member(root, "providers"));
    read_models(r, yaml_member(root, "models"));
    check_names(r, root);
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
    struct reader r = {
        .yaml = {path ? path : "", &memory->arena, errors_out, 0}, .config = c, .paths = paths};
    c->path = path ? arena_strdup(&memory->arena, span_str(path)) : NULL;
    set_defaults(&r);
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

void config_print_defaults(struct buf *out)
{
    const char *section = "";
    buf_append_str(out, "# Every option of tollgate with its default. Sizes are powers of 1024; "
                        "durations need a unit.\n");
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *o = &options[i];
        if (strcmp(section, o->section) != 0) {
            section = o->section;
            buf_printf(out, "\n%s:\n", section);
        }
        buf_printf(out, "  # %s\n", o->help);
        if (o->type == OPTION_LIST) {
            buf_printf(out, "  %s: [", o->name);
            struct span rest = span_str(o->def);
            for (bool first = true; rest.len; first = false) {
                struct span item = span_cut(&rest, ',');
                buf_printf(out, "%s\"%.*s\"", first ? "" : ", ", SPAN_ARG(item));
            }
            buf_append_str(out, "]\n");
        } else if (o->type == OPTION_STR) {
            buf_printf(out, "  %s: \"%s\"\n", o->name, o->def);
        } else {
            buf_printf(out, "  %s: %s\n", o->name, o->def);
        }
    }
}
