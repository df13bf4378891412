#include "services/broker/retry.h"

#include <string.h>

#include "proto/error_class.h"

/* ---- budget ---- */

static void advance(struct retry_budget *b, uint64_t now_us)
{
    uint64_t second = now_us / 1000000;
    if (second >= b->second + RETRY_WINDOW_S) {
        memset(b, 0, sizeof *b);
        b->second = second;
    }
    while (b->second < second) {
        b->second++;
        b->requests[b->second % RETRY_WINDOW_S] = 0;
        b->retries[b->second % RETRY_WINDOW_S] = 0;
    }
}

void retry_budget_requests(struct retry_budget *b, uint64_t count, uint64_t now_us)
{
    enum { MOST = 1 << 24 }; /* in a second; no sum of them overflows */
    advance(b, now_us);
    uint32_t *n = &b->requests[b->second % RETRY_WINDOW_S];
    *n = count < MOST - *n ? *n + (uint32_t)count : MOST;
}

bool retry_budget_take(struct retry_budget *b, const struct retry_rules *rules, uint64_t now_us)
{
    advance(b, now_us);
    uint64_t requests = 0, retries = 0;
    for (unsigned i = 0; i < RETRY_WINDOW_S; i++) {
        requests += b->requests[i];
        retries += b->retries[i];
    }
    if (retries >= rules->floor && (retries + 1) * 100 > requests * rules->percent)
        return false;
    b->retries[b->second % RETRY_WINDOW_S]++;
    return true;
}

/* ---- decision ---- */

enum { REST_MS = 1000, REST_MAX_MS = 24 * 3600 * 1000 };

bool retry_is_inside(unsigned error_class)
{
    return error_class == ERROR_WORKER_LOST || error_class == ERROR_WORKER_REFUSED;
}

struct retry_decision retry_decide(const struct retry_rules *rules, const struct retry_failure *f)
{
    struct retry_decision no = {0};
    enum retry kind = error_info(f->error_class)->retry;
    if (f->final || f->attempts >= rules->max_attempts)
        return no;
    if (kind == RETRY_AMBIGUOUS && !f->sent)
        kind = RETRY_SAFE;
    if (kind == RETRY_NEVER || kind == RETRY_CLIENT)
        return no;
    bool ambiguous = kind == RETRY_AMBIGUOUS;
    if (ambiguous && (f->paid || f->ambiguous_used))
        return no;
    return (struct retry_decision){
        .retry = true,
        .ambiguous = ambiguous,
        .inside = retry_is_inside(f->error_class),
        .refused = !ambiguous,
        .elsewhere = kind == RETRY_ELSEWHERE || kind == RETRY_OTHER_MODEL ||
                     f->error_class == ERROR_UPSTREAM_AUTH ||
                     f->error_class == ERROR_UPSTREAM_QUOTA,
        .timed_out = f->error_class == ERROR_UPSTREAM_TIMEOUT ||
                     f->error_class == ERROR_UPSTREAM_CONNECT_TIMEOUT,
    };
}

uint64_t retry_backoff_us(const struct retry_rules *rules, unsigned attempts, uint32_t chance)
{
    unsigned doublings = attempts > 1 ? attempts - 1 : 0;
    uint64_t cap = rules->base_us << (doublings < 16 ? doublings : 16);
    if (cap > rules->max_wait_us && rules->max_wait_us >= rules->base_us)
        cap = rules->max_wait_us;
    return cap * chance / UINT32_MAX;
}

uint64_t retry_rest_ms(unsigned error_class, uint64_t retry_after_ms)
{
    bool limited = error_class == ERROR_UPSTREAM_RATE_LIMITED;
    bool told = retry_after_ms && (limited || error_class == ERROR_UPSTREAM_OVERLOADED);
    if (told)
        return retry_after_ms < REST_MAX_MS ? retry_after_ms : REST_MAX_MS;
    return limited ? REST_MS : 0;
}

bool retry_blames_target(unsigned error_class)
{
    /* A 429 is the quota of one key: the worker's own breaker and Retry-After deal with it. */
    static const bool blames[ERROR_CLASS_COUNT] = {
        [ERROR_UPSTREAM_AUTH] = true,        [ERROR_UPSTREAM_QUOTA] = true,
        [ERROR_UPSTREAM_ERROR] = true,       [ERROR_UPSTREAM_OVERLOADED] = true,
        [ERROR_UPSTREAM_UNREACHABLE] = true, [ERROR_UPSTREAM_RESET] = true,
        [ERROR_UPSTREAM_TLS] = true,         [ERROR_UPSTREAM_CONNECT_TIMEOUT] = true,
        [ERROR_UPSTREAM_TIMEOUT] = true,     [ERROR_UPSTREAM_PROTOCOL] = true,
        [ERROR_UPSTREAM_CLOSED] = true,
    };
    return error_class < ERROR_CLASS_COUNT && blames[error_class];
}

bool retry_is_neutral(unsigned error_class)
{
    return retry_is_inside(error_class) || error_class == ERROR_CLIENT_GONE ||
           error_class == ERROR_DEADLINE || error_class == ERROR_INTERNAL ||
           error_class == ERROR_UPSTREAM_RATE_LIMITED || error_class >= ERROR_CLASS_COUNT;
}
