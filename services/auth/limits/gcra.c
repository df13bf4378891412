#include "services/auth/limits/gcra.h"

__extension__ typedef unsigned __int128 wide;

/* Debts are bounded, so that no arithmetic on a bad number can lock a key out for longer. The
 * longest period is a day. */
#define LONGEST_NS (7 * 24 * GCRA_HOUR)

static uint64_t cost_ns(const struct gcra_rate *r, uint64_t units, bool round_up)
{
    wide ns = (wide)units * r->period_ns;
    if (round_up)
        ns += r->count - 1;
    ns /= r->count;
    return ns > LONGEST_NS ? LONGEST_NS : (uint64_t)ns;
}

static uint64_t owed_ns(const struct gcra *g, uint64_t now_ns)
{
    return g->full_ns > now_ns ? g->full_ns - now_ns : 0;
}

/* Each unit's cost is rounded up when charged, so the burst must hold as many rounded ones. */
static uint64_t room_ns(const struct gcra *g)
{
    return cost_ns(&g->rate, g->rate.burst, true) + g->rate.burst;
}

uint64_t gcra_wait_ns(const struct gcra *g, uint64_t now_ns, uint64_t units)
{
    if (g->rate.count == 0 || units == 0)
        return 0;
    if (units > g->rate.burst)
        return GCRA_NEVER;
    uint64_t need = owed_ns(g, now_ns) + cost_ns(&g->rate, units, true), room = room_ns(g);
    return need > room ? need - room : 0;
}

void gcra_charge(struct gcra *g, uint64_t now_ns, uint64_t units)
{
    if (g->rate.count == 0)
        return;
    uint64_t owed = owed_ns(g, now_ns) + cost_ns(&g->rate, units, true);
    g->full_ns = now_ns + (owed > LONGEST_NS ? LONGEST_NS : owed);
}

void gcra_refund(struct gcra *g, uint64_t units)
{
    if (g->rate.count == 0)
        return;
    uint64_t back = cost_ns(&g->rate, units, false);
    g->full_ns = g->full_ns > back ? g->full_ns - back : 0;
}

void gcra_set_rate(struct gcra *g, uint64_t now_ns, struct gcra_rate rate)
{
    const struct gcra_rate old = g->rate;
    g->rate = rate;
    if (old.count == 0 || rate.count == 0 ||
        (old.count == rate.count && old.period_ns == rate.period_ns))
        return;
    wide units_by_period = (wide)owed_ns(g, now_ns) * old.count / old.period_ns * rate.period_ns;
    wide owed = units_by_period / rate.count;
    g->full_ns = now_ns + (owed > LONGEST_NS ? LONGEST_NS : (uint64_t)owed);
}

uint64_t gcra_remaining(const struct gcra *g, uint64_t now_ns)
{
    if (g->rate.count == 0)
        return UINT64_MAX;
    uint64_t room = room_ns(g), owed = owed_ns(g, now_ns);
    if (owed >= room)
        return 0;
    wide units = (wide)(room - owed) * g->rate.count / g->rate.period_ns;
    return units > g->rate.burst ? g->rate.burst : (uint64_t)units;
}

bool gcra_owes(const struct gcra *g, uint64_t now_ns)
{
    return g->rate.count && owed_ns(g, now_ns) > room_ns(g);
}

uint64_t gcra_reset_ns(const struct gcra *g, uint64_t now_ns)
{
    return g->rate.count ? owed_ns(g, now_ns) : 0;
}

bool gcra_rate_parse(struct span text, struct gcra_rate *out)
{
    static const struct {
        const char *word;
        uint64_t seconds;
    } periods[] = {{"s", 1},       {"sec", 1},  {"second", 1},  {"m", 60},    {"min", 60},
                   {"minute", 60}, {"h", 3600}, {"hour", 3600}, {"d", 86400}, {"day", 86400}};
    struct span rest = text;
    struct span count = span_trim(span_cut(&rest, '/'));
    rest = span_trim(rest);
    uint64_t n;
    if (!span_to_u64(count, &n) || n == 0)
        return false;
    for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
        if (span_is(rest, periods[i].word)) {
            *out = (struct gcra_rate){n, periods[i].seconds * GCRA_SECOND, n};
            return true;
        }
    }
    return false;
}
