/* Attempts as memory: made from a DISPATCH on an endpoint of their choice, kept for reuse, freed.
 */
#include "services/worker/attempt/attempt_internal.h"

#include <stdlib.h>

#include "common/base/log.h"
#include "services/worker/attempt/room.h"
#include "proto/message_copy.h"

void attempt_release(struct attempt *attempt)
{
    struct attempt_env *env = attempt->env;
    if (attempt->transfers_running || attempt->pumping || attempt->work)
        return; /* the last of these comes here again */
    loop_timer_stop(env->loop, &attempt->deadline);
    loop_timer_stop(env->loop, &attempt->poll);
    room_leave(attempt);
    pipeline_destroy(&attempt->pipeline);
    free(attempt->texts);
    attempt->texts = NULL;
    secret_destroy(&attempt->credential);
    setup_unref(&attempt->setup);
    if (attempt->prev_all)
        attempt->prev_all->next_all = attempt->next_all;
    else
        env->all = attempt->next_all;
    if (attempt->next_all)
        attempt->next_all->prev_all = attempt->prev_all;
    if (env->idle_count >= MAX_IDLE_ATTEMPTS) {
        arena_free(&attempt->arena);
        free(attempt);
        return;
    }
    arena_reset(&attempt->arena);
    attempt->next_all = env->idle;
    env->idle = attempt;
    env->idle_count++;
}

static struct attempt *take_attempt(struct attempt_env *env)
{
    struct attempt *attempt = env->idle;
    struct arena arena;
    if (attempt) {
        env->idle = attempt->next_all;
        env->idle_count--;
        arena = attempt->arena;
    } else {
        attempt = malloc(sizeof *attempt);
        if (!attempt)
            return NULL;
        arena_init(&arena, 0);
    }
    *attempt = (struct attempt){.env = env, .arena = arena, .next_all = env->all};
    if (env->all)
        env->all->prev_all = attempt;
    env->all = attempt;
    return attempt;
}

/* The message ends with its handler; the attempt keeps a copy. */
static bool copy_dispatch(struct attempt *attempt, const struct dispatch *d)
{
    attempt->d = *d;
    attempt->d.credential = SPAN_NONE; /* kept apart, and wiped */
    if (d->credential.len && config_takes_client_auth(attempt->setup->provider_config) &&
        secret_create(SPAN_NONE, d->credential, &attempt->credential) != OK)
        return false;
    d = &attempt->d;
    /* not from the arena: its chunks are larger than most requests, and there may be thousands of
     * these */
    attempt->texts = malloc(message_text_bytes(MESSAGE_DISPATCH, d) + REQUEST_ID_TEXT);
    if (!attempt->texts)
        return false;
    attempt->id_text = message_own_text(MESSAGE_DISPATCH, &attempt->d, attempt->texts);
    if (attempt->d.target_model.len == 0)
        attempt->d.target_model = attempt->d.model;
    return true;
}

/* ---- endpoints ---- */

/* "0,3" */
static bool names_endpoint(struct span list, unsigned index)
{
    uint64_t n;
    while (list.len)
        if (span_to_u64(span_cut(&list, ','), &n) && n == index)
            return true;
    return false;
}

/* A stored response is only known behind the endpoint and key that made it: as its
 * edge was told, else as this worker remembers. */
static struct endpoint *choose_endpoint(struct setup *s, const struct dispatch *d, uint64_t now_ms)
{
    struct stored_response stored = {.endpoint = d->stored_endpoint};
    if (!stored.endpoint &&
        stored_responses_find(&s->responses, d->response_id, d->key_id, &stored) == RESPONSE_OWN &&
        names_endpoint(d->avoid, stored.endpoint - 1))
        stored.endpoint = 0;              /* it said no already */
    unsigned index = stored.endpoint - 1; /* 0, not known, becomes a number that none has */
    if (index >= endpoints_count(s->endpoints))
        return endpoints_take(s->endpoints, d->avoid, now_ms);
    struct endpoint *endpoint = endpoints_at(s->endpoints, index);
    endpoints_take_this(s->endpoints, endpoint, now_ms);
    return endpoint;
}

/* Made by this client key, as far as is known here? */
static bool may_have(const struct setup *s, const struct dispatch *d)
{
    return stored_responses_find(&s->responses, d->response_id, d->key_id, NULL) !=
           RESPONSE_FOREIGN;
}

void attempt_give_endpoint_back(struct attempt *attempt, enum endpoint_verdict verdict,
                                uint64_t rest_ms)
{
    struct endpoint *endpoint = attempt->endpoint;
    if (!endpoint)
        return;
    enum breaker_state before = endpoint->breaker.state;
    endpoints_give_back(attempt->setup->endpoints, endpoint, verdict, rest_ms,
                        loop_now_ms(attempt->env->loop));
    attempt->endpoint = NULL;
    if (endpoint->breaker.state == BREAKER_OPEN && before != BREAKER_OPEN &&
        verdict == ENDPOINT_FAILED)
        log_warn("breaker_open", LSTR("provider", attempt->setup->provider_config->name),
                 LU64("endpoint", endpoint->index), LSPAN("url", endpoint->base_url),
                 LU64("key", endpoint->key_index),
                 LU64("for_ms", endpoint->breaker.open_us / 1000));
    else if (before != BREAKER_CLOSED && endpoint->breaker.state == BREAKER_CLOSED)
        log_info("breaker_closed", LSTR("provider", attempt->setup->provider_config->name),
                 LU64("endpoint", endpoint->index), LSPAN("url", endpoint->base_url),
                 LU64("key", endpoint->key_index));
}

void attempt_lose_endpoint(struct attempt *attempt)
{
    attempt_give_endpoint_back(attempt, ENDPOINT_UNKNOWN, 0);
}

/* ---- making ---- */

static bool is_ready(struct attempt *attempt, struct attempt_env *env, struct setup *setup,
                     struct endpoint *endpoint)
{
    if (!attempt)
        return false;
    attempt->setup = setup_ref(setup);
    attempt->endpoint = endpoint;
    attempt->started_us = loop_now_us(env->loop);
    attempt->started_wall_ms = clock_wall_ms(loop_clock(env->loop));
    attempt->state = ATTEMPT_RUNNING;
    return true;
}

#define NO_CREDENTIAL                                                                              \
    "This model is answered with your own credential of its provider: send that as "               \
    "`Authorization` or `x-api-key`, and the key of this service as `x-tollgate-key`."

struct attempt *attempt_create(struct attempt_env *env, struct setup *setup, struct bus_peer *from,
                               const struct bus_message *m)
{
    if (!may_have(setup, &m->body->dispatch)) {
        struct api_error none = {.error_class = ERROR_NOT_FOUND,
                                 .message = SPAN("There is no response with this id.")};
        attempt_refuse(env, from, m, &none, 0);
        return NULL;
    }
    if (config_takes_client_auth(setup->provider_config) && !m->body->dispatch.credential.len) {
        struct api_error none = {.error_class = ERROR_NO_KEY, .message = SPAN(NO_CREDENTIAL)};
        attempt_refuse(env, from, m, &none, 0);
        return NULL;
    }
    struct endpoint *endpoint = choose_endpoint(setup, &m->body->dispatch, loop_now_ms(env->loop));
    struct attempt *attempt = endpoint ? take_attempt(env) : NULL;
    if (is_ready(attempt, env, setup, endpoint) && copy_dispatch(attempt, &m->body->dispatch)) {
        attempt->head = m->header;
        attempt->peer = from;
        attempt->credit = m->body->dispatch.credit;
        return attempt;
    }
    if (endpoint)
        endpoints_give_back(setup->endpoints, endpoint, ENDPOINT_UNKNOWN, 0,
                            loop_now_ms(env->loop));
    if (attempt)
        attempt_release(attempt);
    struct api_error fault = {.error_class = ERROR_WORKER_REFUSED,
                              .message =
                                  endpoint ? SPAN("Out of memory.")
                                           : SPAN("The service has no API key for this provider.")};
    attempt_refuse(env, from, m, &fault, 0);
    return NULL;
}

struct attempt *attempt_create_carrier(const struct attempt *like, struct span body,
                                       struct batch *batch)
{
    struct attempt_env *env = like->env;
    struct dispatch d = like->d;
    struct endpoint *endpoint =
        endpoints_take(like->setup->endpoints, d.avoid, loop_now_ms(env->loop));
    struct attempt *attempt = endpoint ? take_attempt(env) : NULL;
    d.body = body;
    d.input_tokens = 0; /* one caller's: the whole body's is estimated anew */
    if (is_ready(attempt, env, like->setup, endpoint) && copy_dispatch(attempt, &d)) {
        attempt->head = (struct header){.id = like->head.id, .attempt = like->head.attempt};
        attempt->carries = batch;
        return attempt;
    }
    if (endpoint)
        endpoints_give_back(like->setup->endpoints, endpoint, ENDPOINT_UNKNOWN, 0,
                            loop_now_ms(env->loop));
    if (attempt)
        attempt_release(attempt);
    return NULL;
}
