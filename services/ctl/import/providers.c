/* Which provider of ours a deployment of LiteLLM's has: by its address, its headers and its key. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/base/json.h"
#include "proto/provider_info.h"
#include "services/ctl/import/import.h"

/* ---- its address ---- */

static bool is_web(const char *text)
{
    return strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

static const char *joined(struct import *im, const char *base, const char *path)
{
    struct span root = span_str(base);
    while (root.len && root.data[root.len - 1] == '/')
        root.len--;
    if (*path && root.len > strlen(path) && span_is(span_skip(root, root.len - strlen(path)), path))
        path = "";
    struct span text = arena_printf(&im->arena, "%.*s%s%c", SPAN_ARG(root), path, 0);
    return text.data ? text.data : base;
}

static const char *variable_text(struct import *im, const char *name)
{
    struct span text = arena_printf(&im->arena, "${%s}%c", name, 0);
    return text.data ? text.data : "${}";
}

/* Where there is none in the file, or it may not be written down: an address that nobody has. */
static const char *placeholder(struct import *im, const struct litellm_row *row)
{
    struct span text =
        arena_printf(&im->arena, "https://%s.address-to-be-written.invalid/v1%c", row->name, 0);
    return text.data ? text.data : "https://address-to-be-written.invalid/v1";
}

/* NULL: our own default. */
static const char *address(struct import *im, const struct deployment *d,
                           const struct litellm_row *row)
{
    const struct yaml *node = deployment_base(d);
    const char *given = litellm_text(node), *variable = litellm_variable(node);
    struct import_place at =
        deployment_at(im, d, deployment_get(d, "api_base") || !node ? "api_base" : "base_url");
    const char *path = row->kind == LITELLM_OLLAMA  ? "/v1"
                       : row->kind == LITELLM_AZURE ? "/openai/v1"
                                                    : "";
    if (!given && row->kind != LITELLM_NEEDED && row->kind != LITELLM_AZURE)
        return *row->base ? joined(im, row->base, path) : NULL;
    if (variable) {
        if (*path)
            report_add(&im->report, FATE_CHANGED, at, "the variable must end in %s", path);
        else
            report_add(&im->report, FATE_CARRIED, at, "%s", "");
        return variable_text(im, variable);
    }
    if (!given || !is_web(given) || strpbrk(given, "@?#")) {
        report_add(&im->report, FATE_LEFT, at,
                   !given ? "needs an address: write it into endpoints"
                          : "is no plain address, or holds a query or a password: write it into "
                            "endpoints");
        return placeholder(im, row);
    }
    if (*path)
        report_add(&im->report, FATE_CHANGED, at, "OpenAI's protocol is below %s", path);
    else
        report_add(&im->report, FATE_CARRIED, at, "%s", "");
    return joined(im, given, path);
}

/* ---- keys and headers ---- */

/* A variable for a secret that stands in the file: IMPORTED_GROQ_KEY_1. */
static const char *made_up(struct import *im, struct import_provider *p, const char *what)
{
    char name[128];
    int n = snprintf(name, sizeof name, "IMPORTED_%s_%s_%zu", p->name, what, ++p->unnamed);
    for (int i = 0; i < n && i < (int)sizeof name - 1; i++) {
        unsigned char c = (unsigned char)name[i];
        name[i] = isalnum(c) ? (char)toupper(c) : '_';
    }
    return arena_strdup(&im->arena, span_str(name));
}

static void add_key(struct import *im, struct import_provider *p, const char *text,
                    const char *literal)
{
    if (p->key_count == IMPORT_KEYS_MAX)
        return;
    if (!p->keys) {
        p->keys = ARENA_ARRAY(&im->arena, const char *, IMPORT_KEYS_MAX);
        p->literals = ARENA_ARRAY(&im->arena, const char *, IMPORT_KEYS_MAX);
    }
    if (!p->keys || !p->literals)
        return;
    for (size_t i = 0; i < p->key_count; i++) {
        if (strcmp(p->keys[i], text) == 0)
            return;
    }
    p->keys[p->key_count] = text;
    p->literals[p->key_count++] = literal;
}

static const char *known_literal(const struct import_provider *p, const char *literal)
{
    for (size_t i = 0; i < p->key_count; i++) {
        if (p->literals[i] && strcmp(p->literals[i], literal) == 0)
            return p->keys[i];
    }
    return NULL;
}

static void take_key(struct import *im, struct import_provider *p, const struct deployment *d)
{
    const struct yaml *node = deployment_get(d, "api_key");
    const char *variable = node ? litellm_variable(node) : NULL, *literal = litellm_text(node);
    struct import_place at = deployment_at(im, d, "api_key");
    if (!node) {
        if (*p->row->variable)
            add_key(im, p, variable_text(im, p->row->variable), NULL);
    } else if (variable) {
        add_key(im, p, variable_text(im, variable), NULL);
        report_add(&im->report, FATE_CARRIED, at, "%s", "");
    } else if (literal && known_literal(p, literal)) {
        report_add(&im->report, FATE_CHANGED, at, "the same key as above");
    } else if (literal) {
        const char *name = made_up(im, p, "KEY");
        if (name)
            add_key(im, p, variable_text(im, name), literal);
        report_add(&im->report, FATE_CHANGED, at,
                   "set %s to it in the environment of the worker of %s", name ? name : "",
                   p->name);
    }
}

/* Values that are no secrets, whoever reads our file. */
static bool is_harmless(const char *header)
{
    static const char *const names[] = {"http-referer",      "x-title",        "user-agent",
                                        "openai-beta",       "anthropic-beta", "accept",
                                        "anthropic-version", "content-type",   "accept-language"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcasecmp(header, names[i]) == 0)
            return true;
    }
    return false;
}

/* Which headers a provider has, for comparison: values included, so this text is never shown. */
static const char *header_identity(struct import *im, const struct deployment *d)
{
    const struct yaml *extra = deployment_get(d, "extra_headers"),
                      *plain = deployment_get(d, "headers");
    const char *a = extra ? litellm_json(&im->arena, extra) : "",
               *b = plain ? litellm_json(&im->arena, plain) : "";
    struct span both = arena_printf(&im->arena, "%s%s%c", a ? a : "", b ? b : "", 0);
    return both.data ? both.data : "";
}

static void write_header(struct import *im, struct import_provider *p, size_t parent,
                         const struct deployment *d, const char *list, const struct yaml *h)
{
    const char *variable = litellm_variable(h), *text = litellm_text(h);
    struct import_place at =
        import_at(im, d->file, h, "model_list[%zu].litellm_params.%s.%s", d->index, list, h->key);
    if (!text) {
        report_add(&im->report, FATE_LEFT, at, "is no text");
        return;
    }
    if (!variable && !is_harmless(h->key)) {
        variable = made_up(im, p, "HEADER");
        report_add(&im->report, FATE_CHANGED, at,
                   "set %s to it in the environment of the worker of %s", variable ? variable : "",
                   p->name);
    } else {
        report_add(&im->report, FATE_CARRIED, at, "%s", "");
    }
    (void)draft_add(&im->draft, parent, at, "%s: %s", litellm_quoted(&im->arena, h->key),
                    litellm_quoted(&im->arena, variable ? variable_text(im, variable) : text));
}

/* ---- the provider ---- */

/* "http://Multi_Modal:8000" is multi-modal. */
static const char *first_label(const char *base, char out[64])
{
    const char *at = strstr(base, "://");
    size_t n = 0;
    for (at = at ? at + 3 : base; n < 40 && *at && !strchr(".:/", *at); at++)
        out[n++] = isalnum((unsigned char)*at) ? (char)tolower((unsigned char)*at) : '-';
    out[n] = '\0';
    return n && !isdigit((unsigned char)out[0]) ? out : "server";
}

static bool name_is_taken(const struct import *im, const char *name)
{
    for (size_t i = 0; i < im->provider_count; i++) {
        if (strcmp(im->providers[i]->name, name) == 0)
            return true;
    }
    return false;
}

/* A name that is known to us stands for our own address of it, so another address has another. */
static const char *choose_name(struct import *im, const struct litellm_row *row, const char *base)
{
    char label[64], name[96];
    bool own = base && (strcmp(row->prefix, "openai") == 0 || row->kind == LITELLM_NEEDED);
    const char *stem = own ? first_label(base, label) : row->name;
    (void)snprintf(name, sizeof name, "%s", stem);
    for (unsigned i = 2; name_is_taken(im, name) || (own && provider_info_find(name)); i++)
        (void)snprintf(name, sizeof name, "%s-%u", stem, i);
    return arena_strdup(&im->arena, span_str(name));
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static const char *key_identity(const struct deployment *d)
{
    const char *text = litellm_text(deployment_get(d, "api_key"));
    return text ? text : "";
}

static const char *organization_of(struct import *im, const struct deployment *d)
{
    const struct yaml *node = deployment_get(d, "organization");
    const char *text = litellm_text(node), *variable = litellm_variable(node);
    if (!text)
        return NULL;
    report_add(&im->report, FATE_CARRIED, deployment_at(im, d, "organization"), "%s", "");
    return variable ? variable_text(im, variable) : text;
}

static void write_headers(struct import *im, struct import_provider *p, const struct deployment *d,
                          size_t parent)
{
    static const char *const lists[] = {"extra_headers", "headers"};
    size_t at = 0;
    for (size_t i = 0; i < 2; i++) {
        const struct yaml *map = deployment_get(d, lists[i]);
        for (const struct yaml *h = map && map->kind == YAML_MAP ? map->first : NULL; h;
             h = h->next) {
            if (!at)
                at = draft_add(&im->draft, parent, deployment_at(im, d, lists[i]), "headers:");
            write_header(im, p, at, d, lists[i], h);
        }
    }
}

bool provider_find(struct import *im, struct deployment *d, bool by_key)
{
    const struct litellm_row *row = d->row;
    const char *base = address(im, d, row), *organization = organization_of(im, d);
    const char *headers = header_identity(im, d), *key = by_key ? key_identity(d) : NULL;
    struct import_provider *p = NULL;
    for (size_t i = 0; i < im->provider_count && !p; i++) {
        struct import_provider *q = im->providers[i];
        if (strcmp(q->row->name, row->name) == 0 && same(q->base, base) &&
            same(q->organization, organization) && same(q->headers, headers) &&
            same(q->only_key, q->only_key ? key_identity(d) : key))
            p = q;
    }
    if (!p) {
        p = im->provider_count < IMPORT_PROVIDERS_MAX
                ? ARENA_ARRAY(&im->arena, struct import_provider, 1)
                : NULL;
        if (!p) {
            report_add(&im->report, FATE_LEFT, deployment_at(im, d, "model"),
                       "there are more than %d providers", IMPORT_PROVIDERS_MAX);
            return false;
        }
        *p = (struct import_provider){.name = choose_name(im, row, base),
                                      .row = row,
                                      .base = base,
                                      .organization = organization,
                                      .headers = headers,
                                      .only_key = key,
                                      .private = base && strncmp(base, "http://", 7) == 0,
                                      .from = deployment_at(im, d, "model")};
        if (!p->name)
            return false;
        im->providers[im->provider_count++] = p;
    }
    take_key(im, p, d);
    d->provider = p;
    return true;
}

static void write_keys(struct import *im, const struct import_provider *p, size_t parent)
{
    struct buf list = {0};
    for (size_t i = 0; i < p->key_count; i++)
        buf_printf(&list, "%s%s", i ? ", " : "", litellm_quoted(&im->arena, p->keys[i]));
    if (p->key_count)
        (void)draft_add(&im->draft, parent, p->from, "api_keys: [%.*s]", SPAN_ARG(buf_span(&list)));
    buf_free(&list);
}

/* The first deployment of a provider, which has its headers. */
static const struct deployment *first_of(const struct import *im, const struct import_provider *p)
{
    for (size_t i = 0; i < im->deployment_count; i++) {
        if (im->deployments[i].provider == p)
            return &im->deployments[i];
    }
    return NULL;
}

static void write_provider(struct import *im, struct import_provider *p, size_t parent)
{
    struct draft *draft = &im->draft;
    const struct deployment *first = first_of(im, p);
    const struct provider_info *info = provider_info_find(p->name);
    size_t at = draft_add(draft, parent, p->from, "%s: # line %u",
                          litellm_quoted(&im->arena, p->name), p->from.line);
    if (!info || strcmp(protocol_info(info->protocol)->name, p->row->type) != 0)
        (void)draft_add(draft, at, p->from, "type: %s", p->row->type);
    write_keys(im, p, at);
    const char *base = p->base;
    if (!base && !info) /* one of a name that is ours, but for a number behind it */
        base = provider_info_find(p->row->name) ? provider_info_find(p->row->name)->base_url : NULL;
    if (base)
        (void)draft_add(draft, at, p->from, "endpoints: [%s]", litellm_quoted(&im->arena, base));
    if (p->private)
        (void)draft_add(draft, at, p->from, "private: true");
    if (p->organization)
        (void)draft_add(draft, at, p->from, "organization: %s",
                        litellm_quoted(&im->arena, p->organization));
    if (first)
        write_headers(im, p, first, at);
}

void providers_write(struct import *im)
{
    if (!im->provider_count)
        return;
    size_t at = draft_add(&im->draft, 0, im->providers[0]->from, "providers:");
    for (size_t i = 0; i < im->provider_count; i++)
        write_provider(im, im->providers[i], at);
}
