#include "services/auth/limits/outputs.h"

#include "services/auth/limits/table.h"

/* Older answers count less and less: all counts are halved when there are so many. */
enum { REMEMBERED = 1000, SMALL = 8, STEPS = 4 };

static uint64_t hash_of(struct span model)
{
    return table_hash(0, model) | 1;
}

static unsigned size_index(uint64_t tokens)
{
    if (tokens < SMALL)
        return (unsigned)tokens;
    unsigned log = 63 - (unsigned)__builtin_clzll(tokens);
    unsigned index = SMALL + (log - 3) * STEPS + (unsigned)(tokens >> (log - 2) & (STEPS - 1));
    return index < OUTPUTS_SIZES ? index : OUTPUTS_SIZES - 1;
}

/* The largest of its size. */
static uint64_t size_of(unsigned index)
{
    if (index < SMALL)
        return index;
    unsigned log = (index - SMALL) / STEPS + 3, step = (index - SMALL) % STEPS;
    return ((uint64_t)(STEPS + step + 1) << (log - 2)) - 1;
}

static void halve(struct output_sizes *s)
{
    s->total = 0;
    for (unsigned i = 0; i < OUTPUTS_SIZES; i++) {
        s->count[i] /= 2;
        s->total += s->count[i];
    }
}

void outputs_learn(struct outputs *o, struct span model, uint64_t tokens)
{
    uint64_t hash = hash_of(model);
    struct output_sizes *s = &o->of[(hash >> 32) % OUTPUTS_MODELS];
    if (s->model != hash)
        *s = (struct output_sizes){.model = hash};
    s->count[size_index(tokens)]++;
    if (++s->total >= REMEMBERED)
        halve(s);
}

uint64_t outputs_expected(const struct outputs *o, struct span model)
{
    uint64_t hash = hash_of(model);
    const struct output_sizes *s = &o->of[(hash >> 32) % OUTPUTS_MODELS];
    if (s->model != hash || s->total < OUTPUTS_LEAST)
        return OUTPUTS_UNKNOWN;
    uint32_t longer = 0;
    unsigned i = OUTPUTS_SIZES - 1;
    while (i > 0 && (longer + s->count[i]) * 20 <= s->total)
        longer += s->count[i--];
    return size_of(i);
}
