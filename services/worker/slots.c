#include "services/worker/slots.h"

static uint32_t need(const struct slot_share *s)
{
    return s->queued > UINT32_MAX - s->running ? UINT32_MAX : s->running + s->queued;
}

/* Gives every hungry broker an equal part of `left`, at most up to its need; returns what remains.
 */
static uint32_t feed(struct slot_share *shares, size_t count, uint32_t left)
{
    for (;;) {
        uint32_t hungry = 0;
        for (size_t i = 0; i < count; i++)
            hungry += shares[i].up && shares[i].offered < need(&shares[i]);
        if (hungry == 0 || left == 0)
            return left;
        uint32_t part = left / hungry ? left / hungry : 1;
        for (size_t i = 0; i < count && left; i++) {
            struct slot_share *s = &shares[i];
            if (!s->up || s->offered >= need(s))
                continue;
            uint32_t lacks = need(s) - s->offered;
            uint32_t gets = lacks < part ? lacks : part;
            gets = gets < left ? gets : left;
            s->offered += gets;
            left -= gets;
        }
    }
}

void slots_share(struct slot_share *shares, size_t count, uint32_t total)
{
    uint32_t up = 0;
    for (size_t i = 0; i < count; i++) {
        shares[i].offered = shares[i].up ? 1 : 0;
        up += shares[i].up;
    }
    if (up == 0 || total <= up)
        return;
    uint32_t left = feed(shares, count, total - up);
    uint32_t part = left / up, rest = left % up;
    for (size_t i = 0; i < count; i++) {
        if (!shares[i].up)
            continue;
        shares[i].offered += part + (rest ? 1 : 0);
        rest -= rest ? 1 : 0;
    }
}

void slots_update(struct offers *s, struct slot_share *shares, size_t count, uint32_t total,
                  const char *why, slots_report report, void *ctx)
{
    if (count > SLOTS_MAX_BROKERS)
        count = SLOTS_MAX_BROKERS;
    slots_share(shares, count, total);
    for (size_t i = 0; i < count; i++) {
        if (!shares[i].up) {
            s->last[i].reported = false;
            continue;
        }
        if (why)
            shares[i].offered = 0;
        if (s->last[i].reported && s->last[i].offered == shares[i].offered && s->last[i].why == why)
            continue;
        s->last[i].offered = shares[i].offered;
        s->last[i].why = why;
        s->last[i].reported = report(ctx, i, shares[i].offered, why);
    }
}
