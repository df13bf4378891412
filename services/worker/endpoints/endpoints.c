#include "services/worker/endpoints/endpoints.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/crypto.h"
#include "common/base/log.h"
#include "services/worker/endpoints/key_command.h"

enum { MAX_KEYS = CONFIG_MAX_ENDPOINTS, WHY_BYTES = 160 };

struct endpoints {
    struct endpoint *endpoints;
    size_t count;
    size_t turn; /* where the last choice was made */
    struct secret *keys[MAX_KEYS];
    size_t key_count;
    struct breaker_rules breaker;
    struct buf urls; /* what the endpoints' base_url point into */
    char why[WHY_BYTES];
};

/* ---- keys ---- */

/* The first thing that is missing is the one that is told. */
static void remember_why(struct endpoints *e, const char *lacks, struct span name, const char *what)
{
    if (!e->why[0])
        (void)snprintf(e->why, sizeof e->why, "no %s: %.*s %s", lacks,
                       SPAN_ARG(span_first(name, 80)), what);
}

static void add_key(struct endpoints *e, struct secret *key)
{
    if (e->key_count == MAX_KEYS) {
        log_warn("api_key_ignored", LSTR("why", "too many"));
        secret_destroy(&key);
        return;
    }
    e->keys[e->key_count++] = key;
}

static struct span key_prefix(const struct provider *provider)
{
    return protocol_info(provider->protocol)->auth == AUTH_X_API_KEY
               ? SPAN("x-api-key: ")
               : SPAN("Authorization: Bearer ");
}

static void key_from_text(struct endpoints *e, const char *text, const struct provider *provider)
{
    struct buf expanded;
    struct span missing = SPAN_NONE;
    struct secret *key = NULL;
    buf_init(&expanded, SECRET_MAX_BYTES);
    /* Once grown, never moved: no copy of a key stays behind in freed memory. */
    (void)buf_reserve(&expanded, SECRET_MAX_BYTES);
    enum err err = config_expand(text, &expanded, &missing);
    if (err == OK)
        err = secret_create(key_prefix(provider), span_trim(buf_span(&expanded)), &key);
    if (err == OK)
        add_key(e, key);
    else if (missing.len)
        remember_why(e, "api key", missing, "is not set");
    else
        remember_why(e, "api key", SPAN("an entry of api_keys"), "is not usable");
    if (expanded.data)
        crypto_wipe(expanded.data, expanded.cap);
    buf_free(&expanded);
}

static void key_from_file(struct endpoints *e, const char *path, const struct provider *provider)
{
    struct secret *plain = NULL, *key = NULL;
    enum err err = secret_from_file(path, &plain);
    if (err == OK)
        err = secret_create(key_prefix(provider), secret_reveal(plain), &key);
    secret_destroy(&plain);
    if (err == OK)
        add_key(e, key);
    else if (err == ERR_DENIED)
        remember_why(e, "api key", span_str(path), "may be read by others (chmod 0400)");
    else
        remember_why(e, "api key", span_str(path),
                     err == ERR_NOT_FOUND ? "is not there" : "can't be read");
}

static void key_from_command(struct endpoints *e, const struct config_list *command,
                             const struct provider *provider)
{
    struct secret *plain = NULL, *key = NULL;
    const char *why = NULL;
    enum err err = key_command_run(command, &plain, &why);
    if (err == OK)
        err = secret_create(key_prefix(provider), secret_reveal(plain), &key);
    secret_destroy(&plain);
    if (err == OK)
        add_key(e, key);
    else
        remember_why(e, "api key", span_str(command->items[0]), why ? why : "wrote no usable key");
}

static void gather_keys(struct endpoints *e, const struct config_provider *config,
                        const struct provider *provider)
{
    for (size_t i = 0; i < config->api_keys.count; i++)
        key_from_text(e, config->api_keys.items[i], provider);
    for (size_t i = 0; i < config->api_key_files.count; i++)
        key_from_file(e, config->api_key_files.items[i], provider);
    if (config->api_key_exec.count)
        key_from_command(e, &config->api_key_exec, provider);
    if (e->key_count == 0 && !e->why[0])
        (void)snprintf(e->why, sizeof e->why, "no api key");
}

/* ---- endpoints ---- */

/* Where the text of a base URL lies in e->urls. */
struct url_place {
    size_t at, len;
};

/* NULL, or what is wrong with an endpoint's text. */
static const char *put_url(struct endpoints *e, const struct config_provider *config,
                           const struct provider *provider, const char *text,
                           struct url_place *place)
{
    struct buf expanded = {0};
    struct span missing = SPAN_NONE;
    const char *fault = NULL;
    *place = (struct url_place){.at = e->urls.len};
    if (config_expand(text, &expanded, &missing) != OK)
        fault = "names a variable that is not set";
    struct span url = span_trim(buf_span(&expanded));
    if (!fault)
        fault = config_endpoint_fault(config, url);
    if (!fault && config_endpoint(provider->protocol, url, &e->urls) != OK)
        fault = "is not usable";
    buf_free(&expanded);
    place->len = e->urls.len - place->at;
    if (fault)
        remember_why(e, "endpoint", span_str(text), fault);
    return fault;
}

/* How many can be asked. */
static size_t gather_urls(struct endpoints *e, const struct config_provider *config,
                          const struct provider *provider,
                          struct url_place places[CONFIG_MAX_ENDPOINTS])
{
    const char *own = provider_info(config->name, provider->protocol)->base_url;
    size_t n = 0;
    if (!config->endpoints.count) {
        places[0] = (struct url_place){0, strlen(own)};
        buf_append_str(&e->urls, own);
        return 1;
    }
    for (size_t i = 0; i < config->endpoints.count && i < CONFIG_MAX_ENDPOINTS; i++) {
        const char *fault = put_url(e, config, provider, config->endpoints.items[i], &places[n]);
        if (fault)
            log_warn("endpoint_ignored", LSTR("provider", config->name),
                     LSTR("endpoint", config->endpoints.items[i]), LSTR("why", fault));
        else
            n++;
    }
    return n;
}

static bool is_keyless(const struct config_provider *config)
{
    return config_takes_client_auth(config) ||
           (config_key_count(config) == 0 && config->endpoints.count > 0);
}

static void set_url(struct endpoint *endpoint, struct span url)
{
    endpoint->base_url = span_cut(&url, '?');
    endpoint->query = url;
}

static enum err make_endpoints(struct endpoints *e, const struct config_provider *config,
                               const struct provider *provider)
{
    struct url_place places[CONFIG_MAX_ENDPOINTS];
    bool keyless = is_keyless(config);
    size_t keys = keyless ? 1 : e->key_count;
    if (keys == 0)
        return OK;
    size_t urls = gather_urls(e, config, provider, places);
    if (config->endpoints.count > CONFIG_MAX_ENDPOINTS || urls > CONFIG_MAX_ENDPOINTS / keys)
        return ERR_TOO_BIG;
    e->endpoints = calloc(urls * keys + 1, sizeof *e->endpoints);
    if (!e->endpoints || buf_check(&e->urls) != OK)
        return ERR_NOMEM;
    for (size_t i = 0; i < urls * keys; i++) {
        struct endpoint *endpoint = &e->endpoints[i];
        const struct url_place *place = &places[i / keys];
        endpoint->index = (unsigned)i;
        endpoint->url_index = (unsigned)(i / keys);
        endpoint->key_index = (unsigned)(i % keys);
        endpoint->key_header = keyless ? NULL : e->keys[i % keys];
        set_url(endpoint, span_of(e->urls.data + place->at, place->len));
    }
    e->count = urls * keys;
    return OK;
}

enum err endpoints_create(struct endpoints **out, const struct config_provider *config,
                          const struct provider *provider, const struct breaker_rules *breaker)
{
    *out = NULL;
    struct endpoints *e = calloc(1, sizeof *e);
    if (!e)
        return ERR_NOMEM;
    e->breaker = *breaker;
    if (!is_keyless(config))
        gather_keys(e, config, provider);
    if (e->key_count && e->why[0])
        log_warn("api_key_ignored", LSTR("provider", config->name), LSTR("why", e->why));
    if (e->key_count)
        e->why[0] = '\0';
    enum err err = make_endpoints(e, config, provider);
    if (err == OK)
        *out = e;
    else
        endpoints_destroy(&e);
    return err;
}

void endpoints_withhold(struct endpoints *e, const char *why)
{
    e->count = 0;
    (void)snprintf(e->why, sizeof e->why, "%s", why);
}

void endpoints_destroy(struct endpoints **e)
{
    if (!*e)
        return;
    for (size_t i = 0; i < (*e)->key_count; i++)
        secret_destroy(&(*e)->keys[i]);
    free((*e)->endpoints);
    buf_free(&(*e)->urls);
    free(*e);
    *e = NULL;
}

const char *endpoints_why(const struct endpoints *e)
{
    return e->count ? NULL : e->why;
}

size_t endpoints_count(const struct endpoints *e)
{
    return e->count;
}

struct endpoint *endpoints_at(struct endpoints *e, size_t index)
{
    return index < e->count ? &e->endpoints[index] : NULL;
}

/* ---- choosing ---- */

static bool is_listed(struct span list, unsigned index)
{
    while (list.len) {
        uint64_t n;
        if (span_to_u64(span_trim(span_cut(&list, ',')), &n) && n == index)
            return true;
    }
    return false;
}

enum { RESTS = 1 };

/* The less, the better. */
static unsigned unfitness(const struct endpoint *endpoint, struct span avoid, uint64_t now_ms)
{
    unsigned score = 0;
    if (!breaker_allows(&endpoint->breaker, now_ms * 1000))
        score += 4;
    if (avoid.len && is_listed(avoid, endpoint->index))
        score += 2;
    if (now_ms < endpoint->rest_until_ms)
        score += RESTS;
    return score;
}

static bool is_better(const struct endpoint *endpoint, unsigned score, const struct endpoint *best,
                      unsigned best_score)
{
    if (!best || score != best_score)
        return !best || score < best_score;
    if (endpoint->rest_until_ms != best->rest_until_ms && score & RESTS)
        return endpoint->rest_until_ms < best->rest_until_ms;
    return endpoint->running < best->running;
}

struct endpoint *endpoints_take(struct endpoints *e, struct span avoid, uint64_t now_ms)
{
    struct endpoint *best = NULL;
    unsigned best_score = 0;
    for (size_t i = 1; i <= e->count; i++) {
        struct endpoint *endpoint = &e->endpoints[(e->turn + i) % e->count];
        unsigned score = unfitness(endpoint, avoid, now_ms);
        if (is_better(endpoint, score, best, best_score)) {
            best = endpoint;
            best_score = score;
        }
    }
    if (best) {
        e->turn = best->index;
        endpoints_take_this(e, best, now_ms);
    }
    return best;
}

void endpoints_take_this(struct endpoints *e, struct endpoint *endpoint, uint64_t now_ms)
{
    (void)e;
    endpoint->running++;
    (void)breaker_start(&endpoint->breaker, now_ms * 1000);
}

void endpoints_give_back(struct endpoints *e, struct endpoint *endpoint,
                         enum endpoint_verdict verdict, uint64_t rest_ms, uint64_t now_ms)
{
    /* An attempt does not know whether it is the probe: while one is out, any end counts as its. */
    bool probed = endpoint->breaker.state == BREAKER_PROBING;
    endpoint->running--;
    switch (verdict) {
    case ENDPOINT_WELL:
        breaker_success(&endpoint->breaker);
        return;
    case ENDPOINT_FAILED:
        breaker_failure(&endpoint->breaker, &e->breaker, probed, now_ms * 1000);
        return;
    case ENDPOINT_LIMITED:
        breaker_success(&endpoint->breaker);
        endpoint->rest_until_ms =
            now_ms + (rest_ms < ENDPOINTS_MAX_REST_MS ? rest_ms : ENDPOINTS_MAX_REST_MS);
        return;
    case ENDPOINT_UNKNOWN:
        breaker_abandon(&endpoint->breaker, probed, now_ms * 1000);
        return;
    }
}

enum endpoint_verdict endpoints_verdict(unsigned error_class)
{
    switch (error_class) {
    case ERROR_UPSTREAM_RATE_LIMITED:
        return ENDPOINT_LIMITED;
    case ERROR_UPSTREAM_AUTH:
    case ERROR_UPSTREAM_QUOTA:
    case ERROR_UPSTREAM_ERROR:
    case ERROR_UPSTREAM_OVERLOADED:
    case ERROR_UPSTREAM_UNREACHABLE:
    case ERROR_UPSTREAM_RESET:
    case ERROR_UPSTREAM_TLS:
    case ERROR_UPSTREAM_CONNECT_TIMEOUT:
    case ERROR_UPSTREAM_TIMEOUT:
    case ERROR_UPSTREAM_PROTOCOL:
    case ERROR_UPSTREAM_CLOSED:
        return ENDPOINT_FAILED;
    case ERROR_DEADLINE:
    case ERROR_CLIENT_GONE:
    case ERROR_WORKER_REFUSED:
        return ENDPOINT_UNKNOWN;
    default:
        return ENDPOINT_WELL;
    }
}
