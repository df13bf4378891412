#include "services/broker/timers.h"

#include "common/base/crypto.h"
#include "proto/error_class.h"
#include "services/broker/report.h"

enum { REPORT_MS = 500 };

static uint64_t now_us(const struct host *h)
{
    return loop_now_us(h->d->loop);
}

/* ---- what calls.c asks for ---- */

static enum err send_message(void *self, struct bus_peer *to, struct header h,
                             enum message_type type, const void *message)
{
    (void)self;
    return bus_send(to, h, type, message);
}

static enum err forward_message(void *self, struct bus_peer *to, struct header h,
                                const struct bus_message *m)
{
    (void)self;
    return bus_forward(to, h, m);
}

/* xorshift64*: for spreading load and jitter, not for secrets. */
static uint32_t chance(void *self)
{
    struct host *host = self;
    host->chance ^= host->chance >> 12;
    host->chance ^= host->chance << 25;
    host->chance ^= host->chance >> 27;
    return (uint32_t)(host->chance * 0x2545F4914F6CDD1Du >> 32);
}

static void waited(void *self, uint64_t us)
{
    const struct host *host = self;
    metric_observe_us(host->d->metrics, METRIC_QUEUE_WAIT, NULL, us);
}

static void retried(void *self, const char *provider, unsigned error_class)
{
    const struct host *host = self;
    metric_add(host->d->metrics, METRIC_RETRIES,
               METRIC_LABELS(span_str(provider), span_str(error_info(error_class)->name)), 1);
}

const struct calls_ops host_ops = {send_message, forward_message, chance, waited, retried};

/* ---- time ---- */

static void on_due(void *self)
{
    struct host *host = self;
    host->due_us = UINT64_MAX;
    calls_tick(host->calls, now_us(host));
}

static void on_turn_end(void *self)
{
    struct host *host = self;
    uint64_t next = calls_next_due_us(host->calls);
    if (next >= host->due_us)
        return; /* a timer that comes too early sets itself again */
    host->due_us = next;
    loop_timer_start_us(host->d->loop, &host->due, next > now_us(host) ? next - now_us(host) : 0,
                        on_due, host);
}

static void on_report(void *self)
{
    struct host *host = self;
    calls_unstick(host->calls, now_us(host));
    report_all(host->d->metrics, host->calls, host->workers);
    loop_timer_start(host->d->loop, &host->report, REPORT_MS, on_report, host);
}

void host_init(struct host *host, struct daemon *d, struct workers *workers)
{
    *host = (struct host){.d = d, .workers = workers, .due_us = UINT64_MAX};
    crypto_random(&host->chance, sizeof host->chance);
    host->chance |= 1;
}

void host_start(struct host *host, struct calls *calls)
{
    host->calls = calls;
    host->turn = (struct loop_hook){.fn = on_turn_end, .ctx = host};
    loop_hook_turn_end(host->d->loop, &host->turn);
    on_report(host);
}

void host_stop(struct host *host)
{
    loop_hook_remove(host->d->loop, &host->turn);
    loop_timer_stop(host->d->loop, &host->due);
    loop_timer_stop(host->d->loop, &host->report);
}
