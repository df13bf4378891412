#include "common/runtime/config/value.h"

#include <math.h>
#include <stdlib.h>

#include "common/base/span.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* digits, then one of the units; 0 needs none. */
static bool with_unit(const char *text, const struct unit *units, bool unit_needed, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t v;
    if (!span_to_u64(span_of(text, digits), &v))
        return false;
    const char *unit = text + digits;
    if (!*unit) {
        *out = v;
        return v == 0 || !unit_needed;
    }
    for (; units->name; units++) {
        if (strcasecmp(unit, units->name) == 0)
            return !__builtin_mul_overflow(v, units->factor, out);
    }
    return false;
}

bool value_duration_ms(const char *text, uint64_t *out)
{
    static const struct unit units[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
    return with_unit(text, units, true, out);
}

bool value_size(const char *text, uint64_t *out)
{
    static const struct unit units[] = {{"k", 1 << 10},   {"KiB", 1 << 10}, {"m", 1 << 20},
                                        {"MiB", 1 << 20}, {"g", 1u << 30},  {"GiB", 1u << 30},
                                        {NULL, 0}};
    return with_unit(text, units, false, out);
}

bool value_rate(const char *text, uint64_t *count_out, uint64_t *period_ms_out)
{
    static const struct unit periods[] = {{"second", 1000},  {"s", 1000},       {"minute", 60000},
                                          {"m", 60000},      {"hour", 3600000}, {"h", 3600000},
                                          {"day", 86400000}, {"d", 86400000},   {NULL, 0}};
    struct span rest = span_str(text);
    struct span count = span_cut(&rest, '/');
    if (!span_to_u64(count, count_out) || *count_out == 0)
        return false;
    for (const struct unit *p = periods; p->name; p++) {
        if (span_is_nocase(rest, p->name)) {
            *period_ms_out = p->factor;
            return true;
        }
    }
    return false;
}

bool value_price_pico(const char *text, uint64_t *out)
{
    char *end;
    double dollars = strtod(text, &end);
    if (end == text || *end || !(dollars >= 0 && dollars <= 1e6))
        return false;
    *out = (uint64_t)llround(dollars * 1e6);
    return true;
}

bool value_bool(const char *text, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *out = i & 1;
            return true;
        }
    }
    return false;
}

bool value_u32(const char *text, uint32_t *out)
{
    uint64_t v;
    if (!span_to_u64(span_str(text), &v) || v > UINT32_MAX)
        return false;
    *out = (uint32_t)v;
    return true;
}

bool value_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && isfinite(*out);
}

enum { WORD_MAX = 63 };

/* Levenshtein; words longer than WORD_MAX are infinitely far. */
static size_t distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    size_t row[WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[m];
}

const char *value_nearest(const char *text, const char *const *words)
{
    const char *best = NULL;
    size_t best_distance = strlen(text) / 3 + 1;
    for (; *words; words++) {
        size_t d = distance(text, *words);
        if (d <= best_distance && (!best || d < best_distance)) {
            best = *words;
            best_distance = d;
        }
    }
    return best;
}
