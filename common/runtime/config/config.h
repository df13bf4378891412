/* The one YAML file that every daemon reads: parsed, checked whole, swapped at once. */
#ifndef COMMON_RUNTIME_CONFIG_CONFIG_H
#define COMMON_RUNTIME_CONFIG_CONFIG_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/span.h"
#include "common/base/tariff.h"
#include "proto/provider_info.h"

#define OPTION_CTYPE_BOOL bool
#define OPTION_CTYPE_U32 uint32_t
#define OPTION_CTYPE_U64 uint64_t
#define OPTION_CTYPE_PRICE uint64_t
#define OPTION_CTYPE_SIZE uint64_t
#define OPTION_CTYPE_MS uint64_t
#define OPTION_CTYPE_STR const char *
#define OPTION_CTYPE_LIST struct config_list

struct config_list {
    const char **items;
    size_t count;
};

/* Flat: options.edge_port, options.broker_queue_size … */
struct config_options {
#define SECTION(...)
#define OPTION(section, name, type, ...) OPTION_CTYPE_##type section##_##name;
#include "common/runtime/config/options.def"
#undef OPTION
#undef SECTION
};

/* `price:` of a model, completed. */
struct config_price {
    bool set;
    struct tariff tariff;
};

/* While they are read: `long:` of a price or of one of its tiers, and a tier. */
struct config_price_long {
    uint64_t over;
    struct tariff_rates rates;
};
struct config_price_tier {
    struct tariff_rates rates;
};

struct config_header {
    const char *name;
    const char *value; /* ${ENV} not yet expanded: see config_expand */
};

struct config_provider {
    const char *name;
    const char *type; /* the protocol's name */
    enum protocol protocol;
    const struct provider_info *info; /* the defaults of its name; never NULL once read */
    struct config_list api_keys; /* as written, "${OPENAI_API_KEY}"; only its worker expands them */
    struct config_list api_key_files; /* alternative: 0400 files … */
    struct config_list api_key_exec;  /* … or the output of a command, by its argument list */
    const char *auth; /* "key"; "client": requests carry their client's own credential */
    struct config_list endpoints; /* as written: see config_endpoint; empty = its own */
    struct config_header *headers;
    size_t header_count;
    const char *organization;
    struct config_list forward_headers; /* names of client's fields, or beginnings with a * */
    const char *ca_file;
    const char *proxy;
    const char *http2;    /* "true", "false"; NULL = as worker.http2 says */
    bool private_network; /* `private: true`: addresses in private ranges and plain http are fine */
    struct config_list compat; /* what a compatible server does differently: "max_tokens" … */
    unsigned line;
};

struct config_target {
    const struct config_provider *provider;
    const char *model; /* upstream's name; NULL = as the client asked */
    uint32_t weight;   /* 1 unless given */
};

struct config_default {
    const char *name; /* "max_tokens" */
    const char *json; /* its value as JSON text */
};

struct config_model {
    const char *name; /* may hold one `*` */
    struct config_target *targets;
    size_t target_count;
    struct config_list fallbacks; /* model names, all known; so are the next two */
    struct config_list context_fallbacks;
    struct config_list policy_fallbacks;
    uint64_t rate_count; /* rate_limit: 10000/hour; 0 = none */
    uint64_t rate_period_ms;
    uint64_t rate_burst;       /* = rate_count unless `burst` */
    uint64_t timeout_ms;       /* to first content and between bytes; 0 = not given */
    uint64_t total_timeout_ms; /* to first content over all attempts; 0 = not given */
    uint64_t deadline_ms;      /* the whole; 600 s unless given */
    struct config_default *defaults;
    size_t default_count;
    struct config_price price;
    bool list;                /* of a wildcard: /v1/models has what its provider's list says */
    const char *completions;  /* "native" or NULL */
    const char *capabilities; /* JSON text that overrides the table's row, or NULL */
    unsigned line;
};

struct config {
    const char *path;
    const char *default_model; /* NULL = none */
    struct config_provider *providers;
    size_t provider_count;
    struct config_model *models;
    size_t model_count;
    struct config_options options;
    const char *warnings; /* one line per thing that may be meant as it stands; "" = none */
    void *memory_;        /* everything above lives in it */
};

/* Where files and sockets go when the configuration does not say. */
struct config_paths {
    const char *run;   /* sockets; default $XDG_RUNTIME_DIR/tollgate or /run/tollgate */
    const char *state; /* store; default $XDG_STATE_HOME/tollgate or /var/lib/tollgate */
};

/* Reads and checks the whole file. On ERR_INVALID, errors_out holds one line per problem:
 * "tollgate.yaml:12: models.gpt-4.rate_limt: unknown key (did you mean rate_limit?)". What the file
 * may hold, and within which bounds, is in options.def and entries.def; the bounds of its size are
 * in yaml.h. `path` NULL: defaults only (no providers, no models). Owned by the caller. */
enum err config_load(const char *path, const struct config_paths *paths, struct config **out,
                     struct buf *errors_out) NODISCARD;
/* The same of a text in memory, which need not outlive the call; `name` stands for the file in
 * messages. Reads no other file and no environment. */
enum err config_read(struct span text, const char *name, const struct config_paths *paths,
                     struct config **out, struct buf *errors_out) NODISCARD;
/* A file's text: at most one byte more than yaml_read takes, so that it can tell. On false errno
 * says why. */
bool config_read_file(const char *path, struct buf *out);
/* At a reload: gives `fresh` the values that `old` has of options which only a start takes, and
 * tells of each that was changed ("edge.port"). ERR_NOMEM: `fresh` is of no use. */
enum err config_keep_start_only(struct config *fresh, const struct config *old,
                                void (*on_changed)(void *ctx, const char *section,
                                                   const char *name),
                                void *ctx) NODISCARD;
/* Another holder: work that outlives a reload keeps the configuration it began with. Every holder
 * destroys once. */
struct config *config_retain(const struct config *config);
/* Gives up one hold; the last one frees. Takes NULL, nulls. */
void config_destroy(struct config **config);

const struct config_provider *config_find_provider(const struct config *c, const char *name);
/* Exact name first, then the longest matching wildcard; NULL when none fits. */
const struct config_model *config_find_model(const struct config *c, struct span name);
/* What to ask the upstream of a target with this `model` (may be NULL) for when the client asked
 * for `asked` of the model entry of this name: a * in the target's model stands for what the * of
 * the entry's name matched
 * (`openai/` and * to *: gpt-4o for openai/gpt-4o). A view of the configuration, of asked or of
 * out; cut off at size. */
struct span config_upstream_model(const char *entry, const char *model, struct span asked,
                                  char *out, size_t size);

/* How many keys it names, wherever they come from. */
size_t config_key_count(const struct config_provider *p);
/* Do its requests carry their client's own credential? */
bool config_takes_client_auth(const struct config_provider *p);
/* May a client's field of this name travel to a provider with these `forward_headers`? Credentials,
 * cookies and what belongs to a connection never do. */
bool config_forwards(const struct config_list *patterns, struct span name);

/* Replaces ${NAME}, or a whole os.environ/NAME, by the environment's value, appending to out.
 * ERR_NOT_FOUND when one is unset or empty: *missing_out then names it (a view of text). Only a
 * worker does this, for its own provider. */
enum err config_expand(const char *text, struct buf *out, struct span *missing_out) NODISCARD;
/* Is there anything that config_expand would look up? */
bool config_has_variable(const char *text);
/* Calls fn with the name of every variable that this provider's worker looks up, until it fails. */
enum err config_each_variable(const struct config_provider *p,
                              enum err (*fn)(void *ctx, struct span name), void *ctx) NODISCARD;

enum { CONFIG_MAX_ENDPOINTS = 256 }; /* of one provider: base URLs times keys */
/* The base URL that is asked for an endpoint, variables replaced: without the slash at its end, and
 * with the /v1 that its server has before the routes of this protocol, where it is not written.
 * Taken as they are: a path with a version in it (/v1beta/openai, /api/paas/v4), Azure's
 * deployments, a path with a query, the base URL of a known provider; and what stands before the
 * route when somebody has written all of it (https://host/api/chat/completions). ERR_INVALID: no
 * URL. */
enum err config_endpoint(enum protocol protocol, struct span text, struct buf *out) NODISCARD;
/* What is wrong with an endpoint of this provider, as a literal; NULL when nothing is. */
const char *config_endpoint_fault(const struct config_provider *p, struct span url);

/* Every key with its default, bounds and meaning, as YAML with comments: a valid file. */
void config_print_defaults(struct buf *out);
/* The same for people: docs/configuration.md. */
void config_print_markdown(struct buf *out);

#endif
