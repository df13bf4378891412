/* `providers:` of the configuration. */
#include "common/runtime/config/reader.h"

#include "common/runtime/config/value.h"

static const struct option_row *row_of(const char *group, const char *name)
{
    const struct option_row *row = option_first(group);
    while (row && strcmp(row->name, name) != 0)
        row = option_next(row);
    return row;
}

/* RFC 9110, 5.6.2. */
static bool is_header_name(const char *name)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    return *name && !name[strspn(name, allowed)];
}

/* What belongs to a connection or to the framing of a body is Tollgate's own to say. */
static bool is_of_connection(const char *name)
{
    static const char *const names[] = {
        "connection",     "keep-alive",        "proxy-connection", "te",
        "trailer",        "transfer-encoding", "upgrade",          "expect",
        "content-length", "content-encoding",  "accept-encoding"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcasecmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static void read_headers(struct config_reader *r, const struct yaml *node, const char *where,
                         struct config_provider *p)
{
    struct buf why = {0};
    size_t count = reader_count(node);
    if (!reader_is_map(r, node, where) || count == 0)
        return;
    option_check_count(row_of("provider", "headers"), count, &why);
    if (why.len)
        yaml_complain(&r->yaml, node->line, where, "%.*s", SPAN_ARG(buf_span(&why)));
    buf_free(&why);
    p->headers = ARENA_ARRAY(r->yaml.arena, struct config_header, count);
    for (const struct yaml *h = node->first; h && p->headers; h = h->next) {
        const char *value = reader_text(r, h, reader_place(r, where, h->key));
        if (!is_header_name(h->key))
            yaml_complain(&r->yaml, h->key_line, where, "\"%s\" is no header's name", h->key);
        else if (is_of_connection(h->key))
            yaml_complain(&r->yaml, h->key_line, reader_place(r, where, h->key),
                          "belongs to the connection and can't be set");
        else if (value)
            p->headers[p->header_count++] = (struct config_header){h->key, value};
    }
}

/* `type`, else what the row of its name says. */
static void find_protocol(struct config_reader *r, const struct yaml *node, const char *where,
                          struct config_provider *p)
{
    const struct provider_info *row = provider_info_find(p->name);
    if (p->type) {
        (void)protocol_find(p->type, &p->protocol); /* another word has been complained of */
    } else if (row) {
        p->protocol = row->protocol;
    } else {
        struct buf all = {0};
        option_put_limits(row_of("provider", "type"), &all);
        yaml_complain(&r->yaml, node->key_line, where, "needs a type: one of %.*s",
                      SPAN_ARG(buf_span(&all)));
        buf_free(&all);
    }
    p->type = protocol_info(p->protocol)->name;
    p->info = provider_info(p->name, p->protocol);
}

/* A known provider's key is in the variable that everybody knows; but never for other endpoints. */
static void add_known_key(struct config_reader *r, struct config_provider *p)
{
    if (config_takes_client_auth(p) || p->info != provider_info_find(p->name) ||
        config_key_count(p) || p->endpoints.count)
        return;
    struct span text = arena_printf(r->yaml.arena, "${%s}%c", p->info->key_variable, 0);
    p->api_keys.items = ARENA_ARRAY(r->yaml.arena, const char *, 1);
    if (!text.data || !p->api_keys.items)
        return;
    p->api_keys.items[0] = text.data;
    p->api_keys.count = 1;
}

static void check_endpoints(struct config_reader *r, const struct yaml *node, const char *where,
                            const struct config_provider *p)
{
    size_t keys = config_key_count(p);
    for (size_t i = 0; i < p->endpoints.count; i++) {
        const char *text = p->endpoints.items[i];
        const char *fault =
            config_has_variable(text) ? NULL : config_endpoint_fault(p, span_str(text));
        if (fault)
            yaml_complain(&r->yaml, node->line, reader_place(r, where, "endpoints"), "%s: %s", text,
                          fault);
    }
    if (p->endpoints.count * (keys ? keys : 1) > CONFIG_MAX_ENDPOINTS)
        yaml_complain(&r->yaml, node->line, where,
                      "%zu endpoints with %zu keys each: more than %d in all", p->endpoints.count,
                      keys, CONFIG_MAX_ENDPOINTS);
}

static void check_command(struct config_reader *r, const struct yaml *node, const char *where,
                          const struct config_provider *p)
{
    const struct yaml *list = yaml_member(node, "api_key_exec");
    if (list && p->api_key_exec.count && p->api_key_exec.items[0][0] != '/')
        yaml_complain(&r->yaml, list->line, where,
                      "api_key_exec begins with a program's whole path: [/usr/bin/pass, show, x]");
}

static void read_provider(struct config_reader *r, const struct yaml *node,
                          struct config_provider *p)
{
    const char *where = reader_place(r, "providers", node->key);
    p->name = node->key;
    p->line = node->key_line;
    reader_set_defaults(r, "provider", p);
    reader_read_group(r, node, "provider", where, p);
    find_protocol(r, node, where, p);
    add_known_key(r, p);
    check_endpoints(r, yaml_member(node, "endpoints") ? yaml_member(node, "endpoints") : node,
                    where, p);
    check_command(r, node, where, p);
    if (config_takes_client_auth(p) && config_key_count(p))
        yaml_complain(&r->yaml, node->line, where,
                      "auth: client takes each client's own credential: leave api_keys out");
    read_headers(r, yaml_member(node, "headers"), reader_place(r, where, "headers"), p);
    if (yaml_member(node, "compat") && yaml_member(node, "quirks"))
        yaml_complain(&r->yaml, node->line, where, "quirks is the old name of compat: give one");
}

void read_providers(struct config_reader *r, const struct yaml *node)
{
    size_t count = reader_count(node);
    if (!reader_is_map(r, node, "providers") || count == 0)
        return;
    r->config->providers = ARENA_ARRAY(r->yaml.arena, struct config_provider, count);
    for (const struct yaml *m = node->first; m && r->config->providers; m = m->next)
        read_provider(r, m, &r->config->providers[r->config->provider_count++]);
}
