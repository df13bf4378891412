/* A histogram of durations in nanoseconds: 128 buckets for each doubling, so that a quantile is off
 * by less than 1 %. The caller's memory, all zero = empty. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_FINE = 128, HISTOGRAM_BUCKETS = HISTOGRAM_FINE * 40 };

struct histogram {
    uint64_t count, max_ns;
    uint32_t buckets[HISTOGRAM_BUCKETS];
};

static inline size_t histogram_bucket(uint64_t ns)
{
    if (ns < HISTOGRAM_FINE)
        return (size_t)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - 7;
    size_t i = (size_t)(shift + 1) * HISTOGRAM_FINE + (size_t)((ns >> shift) - HISTOGRAM_FINE);
    return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
    h->buckets[histogram_bucket(ns)]++;
    h->count++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

/* The duration that `share` (0 to 1) of all don't exceed, in microseconds; 0 when empty. */
static inline double histogram_quantile_us(const struct histogram *h, double share)
{
    uint64_t wanted = (uint64_t)((double)h->count * share), seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS && h->count; i++) {
        seen += h->buckets[i];
        if (seen > wanted || seen == h->count) {
            size_t octave = i / HISTOGRAM_FINE;
            double low = octave ? (double)((i % HISTOGRAM_FINE) + HISTOGRAM_FINE) *
                                      (double)(1ull << (octave - 1))
                                : (double)i;
            return low / 1000;
        }
    }
    return 0;
}
