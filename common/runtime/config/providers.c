/* `providers:` of the configuration. */
#include "common/runtime/config/reader.h"

#include "common/runtime/config/value.h"

static const char *const provider_types[] = {"openai", "anthropic", "replicate", NULL};
static const char *const provider_keys[] = {
    "type",    "api_keys", "api_key_files", "endpoints", "headers", "organization",
    "ca_file", "proxy",    "private",       "quirks",    NULL};
static const char *const quirk_words[] = {
    "openai", "max_tokens", "no_stream_options",      "echo_reasoning",
    "top_k",  "many_stops", "no_parallel_tool_calls", NULL};

static void read_headers(struct config_reader *r, const struct yaml *node, const char *where,
                         struct config_provider *p)
{
    size_t count = 0;
    if (!node)
        return;
    if (node->kind != YAML_MAP) {
        reader_complain(r, node, where, "expected names and values");
        return;
    }
    for (const struct yaml *h = node->first; h; h = h->next)
        count++;
    p->headers = ARENA_ARRAY(r->yaml.arena, struct config_header, count + 1);
    for (const struct yaml *h = node->first; h && p->headers; h = h->next) {
        const char *value = reader_text(r, h, where);
        if (value)
            p->headers[p->header_count++] = (struct config_header){h->key, value};
    }
}

static void check_type(struct config_reader *r, const struct yaml *node, struct config_provider *p)
{
    if (!p->type && reader_knows(p->name, provider_types))
        p->type = p->name;
    if (!p->type) {
        yaml_complain(&r->yaml, node->key_line, reader_place(r, "providers", p->name),
                      "needs a type: openai, anthropic or replicate");
        p->type = "openai";
    } else if (!reader_knows(p->type, provider_types)) {
        const char *near = value_nearest(p->type, provider_types);
        yaml_complain(&r->yaml, node->key_line, reader_place(r, "providers", p->name),
                      near ? "unknown type %s (did you mean %s?)"
                           : "unknown type %s: one of openai, anthropic, replicate",
                      p->type, near);
    }
}

static void check_endpoints(struct config_reader *r, const struct yaml *node, const char *where,
                            struct config_provider *p)
{
    for (size_t i = 0; i < p->endpoints.count; i++) {
        const char *url = p->endpoints.items[i];
        if (strncmp(url, "https://", 8) == 0 && url[8])
            continue;
        if (strncmp(url, "http://", 7) != 0 || !url[7])
            reader_complain(r, node, where, "an endpoint is a URL: https://host/v1");
        else if (!p->private_network)
            reader_complain(
                r, node, where,
                "plain http is only for hosts of your own: add `private: true`, or use https");
    }
}

static void read_provider(struct config_reader *r, const struct yaml *node,
                          struct config_provider *p)
{
    const char *where = reader_place(r, "providers", node->key);
    p->name = node->key;
    p->line = node->key_line;
    if (node->kind != YAML_MAP && !(node->kind == YAML_TEXT && !*node->text)) {
        reader_complain(r, node, where,
                        "expected keys and values, such as { api_keys: [\"${OPENAI_API_KEY}\"] }");
        return;
    }
    if (node->kind == YAML_MAP)
        yaml_check_keys(&r->yaml, node, where, provider_keys);
    p->type = reader_text(r, yaml_member(node, "type"), where);
    check_type(r, node, p);
    p->api_keys = reader_list(r, yaml_member(node, "api_keys"), where);
    p->api_key_files = reader_list(r, yaml_member(node, "api_key_files"), where);
    p->organization = reader_text(r, yaml_member(node, "organization"), where);
    p->ca_file = reader_text(r, yaml_member(node, "ca_file"), where);
    p->proxy = reader_text(r, yaml_member(node, "proxy"), where);
    const char *private_text = reader_text(r, yaml_member(node, "private"), where);
    if (private_text && !value_bool(private_text, &p->private_network))
        reader_complain(r, node, where, "private: expected true or false");
    p->endpoints = reader_list(r, yaml_member(node, "endpoints"), where);
    check_endpoints(r, node, where, p);
    read_headers(r, yaml_member(node, "headers"), where, p);
    p->quirks = reader_list(r, yaml_member(node, "quirks"), where);
    for (size_t i = 0; i < p->quirks.count; i++) {
        const char *near = value_nearest(p->quirks.items[i], quirk_words);
        if (!reader_knows(p->quirks.items[i], quirk_words))
            yaml_complain(&r->yaml, node->line, where,
                          near ? "unknown quirk %s (did you mean %s?)" : "unknown quirk %s",
                          p->quirks.items[i], near);
    }
}

void read_providers(struct config_reader *r, const struct yaml *node)
{
    size_t count = reader_members(r, node, "providers");
    r->config->providers = ARENA_ARRAY(r->yaml.arena, struct config_provider, count + 1);
    if (!r->config->providers || !count)
        return;
    for (const struct yaml *m = node->first; m; m = m->next)
        read_provider(r, m, &r->config->providers[r->config->provider_count++]);
}
