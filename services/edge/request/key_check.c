#include "services/edge/request/key_check.h"

#include <stdlib.h>
#include <utlist.h>

enum { UNKNOWN_LIFE_MS = 5000, MAX_CHECKS = 1024 };

/* An exchange whose body waits, or comes slowly; its user until it is requested. */
struct key_waiter {
    struct key_check *check;
    struct http_exchange *x;
    struct key_waiter *prev, *next;
};

/* One question to auth, however many wait for its answer. */
struct key_check {
    UT_hash_handle hh, hh_id; /* in edge.key_checks, edge.key_checks_by_id */
    uint8_t key[SHA256_BYTES];
    struct request_id id;
    uint64_t until_ms;
    struct key_waiter *waiters;
};

static const char cannot_check[] = "API keys cannot be checked at the moment. Try again shortly.";

/* An AUTHORIZE without a model asks for the key alone, and reserves nothing. */
static void ask(struct edge *e, const struct key_check *check)
{
    struct header h = {.id = check->id, .deadline_ms = EDGE_PATIENCE_MS};
    struct authorize question = {.key_digest = span_of(check->key, sizeof check->key)};
    if (!bus_peer_up(e->d->auth))
        return;
    enum err error = bus_send(e->d->auth, h, MESSAGE_AUTHORIZE, &question);
    (void)error; /* until_ms passes, or auth comes up again */
}

static struct key_check *find(const struct edge *e, const struct request_id *id)
{
    struct key_check *check = NULL;
    HASH_FIND(hh_id, e->key_checks_by_id, id->bytes, sizeof id->bytes, check);
    return check;
}

static void forget(struct edge *e, struct key_check *check)
{
    if (check->hh.tbl)
        HASH_DELETE(hh, e->key_checks, check);
    if (check->hh_id.tbl)
        HASH_DELETE(hh_id, e->key_checks_by_id, check);
}

static struct key_check *start(struct edge *e, const uint8_t key[SHA256_BYTES])
{
    uint64_t since = edge_now_ms(e);
    struct key_check *check =
        HASH_COUNT(e->key_checks) < MAX_CHECKS ? calloc(1, sizeof *check) : NULL;
    if (!check)
        return NULL;
    memcpy(check->key, key, SHA256_BYTES);
    check->id = edge_new_id(e);
    HASH_ADD(hh, e->key_checks, key, SHA256_BYTES, check);
    HASH_ADD(hh_id, e->key_checks_by_id, id.bytes, sizeof check->id.bytes, check);
    if (!check->hh.tbl || !check->hh_id.tbl) {
        forget(e, check);
        free(check);
        return NULL;
    }
    if (!bus_peer_up(e->d->auth) && e->auth_down_ms)
        since = e->auth_down_ms;
    check->until_ms = since + EDGE_PATIENCE_MS;
    ask(e, check);
    return check;
}

static bool wait_for(struct key_check *check, struct http_exchange *x, bool hold)
{
    struct key_waiter *w = calloc(1, sizeof *w);
    if (!w)
        return false;
    w->check = check;
    w->x = x;
    DL_APPEND(check->waiters, w);
    http_set_user(x, w);
    if (hold)
        http_hold(x);
    return true;
}

void key_check_begin(const struct arrival *a, struct span key, bool hold)
{
    struct edge *e = a->edge;
    uint8_t digest[SHA256_BYTES];
    struct key_check *check = NULL;
    crypto_sha256(key, digest);
    http_set_owner(a->x, digest);
    switch (known_keys_find(e->known_keys, digest, edge_now_ms(e))) {
    case KEY_IS_KNOWN:
        return;
    case KEY_IS_UNKNOWN:
        arrival_refuse(a, ERROR_BAD_KEY, "Incorrect API key provided.");
        return;
    case KEY_NOT_ASKED:
        break;
    }
    HASH_FIND(hh, e->key_checks, digest, SHA256_BYTES, check);
    if (!check)
        check = start(e, digest);
    if ((!check || !wait_for(check, a->x, hold)) && hold)
        arrival_refuse(a, ERROR_OVERLOADED, cannot_check);
}

/* The exchange is its own again. */
static struct http_exchange *release(struct key_waiter *w)
{
    struct http_exchange *x = w->x;
    DL_DELETE(w->check->waiters, w);
    free(w);
    http_set_user(x, NULL);
    return x;
}

void key_check_leave(struct edge *e, struct http_exchange *x)
{
    (void)e;
    (void)release(http_user(x)); /* the answer is kept, for whoever comes next */
}

/* To all that wait: their bodies are read, or they get the failure. */
static void answer(struct edge *e, struct key_check *check, const struct api_error *failure)
{
    forget(e, check);
    while (check->waiters) {
        struct http_exchange *x = release(check->waiters);
        struct arrival a = arrive(e, x);
        if (failure)
            arrival_fail(&a, failure);
        else
            http_read_body(x);
    }
    free(check);
}

void key_check_on_allow(struct edge *e, const struct bus_message *m)
{
    struct key_check *check = find(e, &m->header.id);
    if (!check)
        return;
    known_keys_put(e->known_keys, check->key, true, m->body->allow.known_ms, edge_now_ms(e));
    answer(e, check, NULL);
}

void key_check_on_deny(struct edge *e, const struct bus_message *m)
{
    struct key_check *check = find(e, &m->header.id);
    if (!check)
        return;
    struct api_error failure = api_error_of_deny(&m->body->deny);
    if (failure.error_class == ERROR_BAD_KEY)
        known_keys_put(e->known_keys, check->key, false, UNKNOWN_LIFE_MS, edge_now_ms(e));
    answer(e, check, &failure);
}

void key_check_on_auth_up(struct edge *e)
{
    struct key_check *check, *next;
    HASH_ITER(hh, e->key_checks, check, next)
    {
        check->until_ms = edge_now_ms(e) + EDGE_PATIENCE_MS;
        ask(e, check);
    }
}

void key_check_tick(struct edge *e)
{
    const struct api_error late = {.error_class = ERROR_UNAVAILABLE,
                                   .message = span_str(cannot_check)};
    struct key_check *check, *next;
    HASH_ITER(hh, e->key_checks, check, next)
    {
        if (edge_now_ms(e) >= check->until_ms)
            answer(e, check, &late);
    }
}

void key_checks_free(struct edge *e)
{
    struct key_check *check, *next;
    HASH_ITER(hh, e->key_checks, check, next)
    {
        forget(e, check);
        free(check);
    }
}
