/* Where one provider's requests go: every base URL with every key is an endpoint, with its
 * own breaker and its own rest after a 429. Owns the secrets: they are expanded here, nowhere else,
 * and never shown. */
#ifndef SERVICES_WORKER_ENDPOINTS_ENDPOINTS_H
#define SERVICES_WORKER_ENDPOINTS_ENDPOINTS_H

#include "common/base/breaker.h"
#include "common/base/secret.h"
#include "common/runtime/config/config.h"
#include "services/worker/neutral/provider.h"

enum { ENDPOINTS_MAX_REST_MS = 24 * 3600 * 1000 };

struct endpoints;
struct fetch_origin;

/* How an attempt on an endpoint ended, as far as it says something about the endpoint. */
enum endpoint_verdict {
    ENDPOINT_WELL,    /* answered; also one that refuses the request itself */
    ENDPOINT_FAILED,  /* its fault */
    ENDPOINT_LIMITED, /* 429: rests as long as it was told to */
    ENDPOINT_UNKNOWN  /* cancelled */
};

/* Read by the worker; changed by the functions below only, but for origin. */
struct endpoint {
    unsigned index;       /* url_index × keys + key_index: what FAIL and DISPATCH name it by */
    unsigned url_index;   /* among the configured base URLs */
    unsigned key_index;   /* among the usable keys */
    struct span base_url; /* without the query … */
    struct span query;    /* … that stands behind every path */
    const struct secret *key_header; /* "Authorization: Bearer …"; NULL = keyless */
    struct fetch_origin *origin;     /* set and destroyed by the worker */
    uint32_t running;
    struct breaker breaker;
    uint64_t rest_until_ms;
};

/* Keys come from api_keys (${ENV} expanded) and api_key_files (0400) and api_key_exec. A provider
 * that names its own endpoints and no key is keyless, as is one that takes its clients'
 * credentials; any other one without a usable key gets no endpoints, and endpoints_why says which
 * was missing. An endpoint that cannot be asked (its variable is not set) is left out. Fails only
 * for lack of memory or past CONFIG_MAX_ENDPOINTS. */
enum err endpoints_create(struct endpoints **out, const struct config_provider *config,
                          const struct provider *provider,
                          const struct breaker_rules *breaker) NODISCARD;
/* There are none, for this reason. */
void endpoints_withhold(struct endpoints *e, const char *why);
/* Wipes the keys; takes NULL, nulls. */
void endpoints_destroy(struct endpoints **e);

/* Why there are no endpoints: "no api key: OPENAI_API_KEY is not set"; NULL when there are some.
 * Names no secret. */
const char *endpoints_why(const struct endpoints *e);
size_t endpoints_count(const struct endpoints *e);
struct endpoint *endpoints_at(struct endpoints *e, size_t index);

/* Takes the least busy endpoint whose breaker allows it, in turn between equals; those named in
 * `avoid` ("0,3") and resting ones only when there is no other. The last resort is one whose
 * breaker is open: nothing is refused here, since the broker knows other targets and this worker
 * does not. NULL only when there are no endpoints. */
struct endpoint *endpoints_take(struct endpoints *e, struct span avoid, uint64_t now_ms);
/* Takes this very endpoint (a stored response lives behind its key). */
void endpoints_take_this(struct endpoints *e, struct endpoint *endpoint, uint64_t now_ms);
void endpoints_give_back(struct endpoints *e, struct endpoint *endpoint,
                         enum endpoint_verdict verdict, uint64_t rest_ms, uint64_t now_ms);
/* What an error class says about its endpoint. */
enum endpoint_verdict endpoints_verdict(unsigned error_class);

#endif
