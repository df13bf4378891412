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

static void share_evenly(struct slot_share *shares, size_t count, uint32_t up, uint32_t total)
{
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

/* What it could do without: all beyond what runs there, but for the one that each one has. */
static uint32_t slack(const struct slot_share *s)
{
    uint32_t keeps = s->running ? s->running : 1;
    return s->up && s->offered > keeps ? s->offered - keeps : 0;
}

/* Takes so many back, from those who can do without in equal parts. */
static void take_back(struct slot_share *shares, size_t count, uint64_t excess)
{
    while (excess) {
        uint32_t givers = 0;
        for (size_t i = 0; i < count; i++)
            givers += slack(&shares[i]) > 0;
        if (givers == 0)
            return;
        uint64_t part = excess / givers ? excess / givers : 1;
        for (size_t i = 0; i < count && excess; i++) {
            uint32_t most = slack(&shares[i]);
            uint32_t gives = most < part ? most : (uint32_t)part;
            gives = gives < excess ? gives : (uint32_t)excess;
            shares[i].offered -= gives;
            excess -= gives;
        }
    }
}

bool slots_share(struct slot_share *shares, size_t count, uint32_t total)
{
    uint32_t up = 0;
    uint64_t sum = 0;
    bool uneven = false;
    for (size_t i = 0; i < count; i++) {
        shares[i].offered = shares[i].up ? 1 : 0;
        up += shares[i].up;
    }
    share_evenly(shares, count, up, total);
    for (size_t i = 0; i < count; i++) {
        if (shares[i].up && shares[i].offered < shares[i].running) {
            shares[i].offered = shares[i].running;
            uneven = true;
        }
        sum += shares[i].offered;
    }
    take_back(shares, count, sum > total ? sum - total : 0);
    return uneven;
}

static bool says_the_same(const struct slots_state *a, const struct slots_state *b)
{
    return a->free == b->free && a->why == b->why && b->now_ms - a->now_ms < SLOTS_REPEAT_MS;
}

void slots_update(struct offers *s, const struct slot_share *shares, size_t count,
                  const struct slots_state *state, slots_report report, void *ctx)
{
    for (size_t i = 0; i < count && i < SLOTS_MAX_BROKERS; i++) {
        struct slot_share share = shares[i];
        if (!share.up) {
            s->last[i].reported = false;
            continue;
        }
        if (state->why)
            share.offered = 0;
        if (s->last[i].reported && s->last[i].offered == share.offered &&
            s->last[i].running == share.running && says_the_same(&s->last[i].state, state))
            continue;
        s->last[i].offered = share.offered;
        s->last[i].running = share.running;
        s->last[i].state = *state;
        s->last[i].reported = report(ctx, i, &share, state);
    }
}
