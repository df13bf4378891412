#include "services/broker/driver.h"

#include "common/base/crypto.h"
#include "common/base/log.h"
#include "proto/error_class.h"
#include "services/broker/report.h"

enum { REPORT_MS = 500 };

static uint64_t now_us(const struct core_driver *driver)
{
    return loop_now_us(driver->d->loop);
}

/* ---- what the core asks for ---- */

static void send_message(void *self, struct bus_peer *to, struct header h, enum message_type type,
                         const void *message)
{
    (void)self;
    if (bus_send(to, h, type, message) != OK)
        log_debug("edge_unreachable", LSTR("edge", bus_peer_name(to)));
}

/* xorshift64*: for spreading load and jitter, not for secrets. */
static uint32_t chance(void *self)
{
    struct core_driver *driver = self;
    driver->chance ^= driver->chance >> 12;
    driver->chance ^= driver->chance << 25;
    driver->chance ^= driver->chance >> 27;
    return (uint32_t)(driver->chance * 0x2545F4914F6CDD1Du >> 32);
}

static void waited(void *self, uint64_t us)
{
    const struct core_driver *driver = self;
    metric_observe_us(driver->d->metrics, METRIC_QUEUE_WAIT, NULL, us);
}

static void retried(void *self, const char *provider, unsigned error_class)
{
    const struct core_driver *driver = self;
    metric_add(driver->d->metrics, METRIC_RETRIES,
               METRIC_LABELS(span_str(provider), span_str(error_info(error_class)->name)), 1);
}

const struct core_ops driver_ops = {send_message, chance, waited, retried};

/* ---- time ---- */

static void on_due(void *self)
{
    struct core_driver *driver = self;
    driver->due_us = UINT64_MAX;
    core_step(driver->core, &(struct core_event){.kind = EVENT_TICK}, now_us(driver));
}

static void on_turn_end(void *self)
{
    struct core_driver *driver = self;
    uint64_t next = core_next_due_us(driver->core);
    if (next >= driver->due_us)
        return; /* a timer that comes too early sets itself again */
    driver->due_us = next;
    loop_timer_start_us(driver->d->loop, &driver->due,
                        next > now_us(driver) ? next - now_us(driver) : 0, on_due, driver);
}

static void on_report(void *self)
{
    struct core_driver *driver = self;
    report_all(driver->d->metrics, driver->core, driver->workers, &driver->stale_reported);
    loop_timer_start(driver->d->loop, &driver->report, REPORT_MS, on_report, driver);
}

void driver_init(struct core_driver *driver, struct daemon *d, struct workers *workers)
{
    *driver = (struct core_driver){.d = d, .workers = workers, .due_us = UINT64_MAX};
    crypto_random(&driver->chance, sizeof driver->chance);
    driver->chance |= 1;
}

void driver_start(struct core_driver *driver, struct core *core)
{
    driver->core = core;
    driver->turn = (struct loop_hook){.fn = on_turn_end, .ctx = driver};
    loop_hook_turn_end(driver->d->loop, &driver->turn);
    on_report(driver);
}

void driver_stop(struct core_driver *driver)
{
    loop_hook_remove(driver->d->loop, &driver->turn);
    loop_timer_stop(driver->d->loop, &driver->due);
    loop_timer_stop(driver->d->loop, &driver->report);
}
