/* Scalars of the configuration file: durations, sizes, rates, prices; and suggestions for misspelt
 * words. */
#ifndef COMMON_RUNTIME_CONFIG_VALUE_H
#define COMMON_RUNTIME_CONFIG_VALUE_H

#include <stdbool.h>
#include <stdint.h>

/* "250ms", "10s", "5m", "2h", "0". */
bool value_duration_ms(const char *text, uint64_t *out);
/* "65536", "64k", "32MiB", "1GiB": powers of 1024. */
bool value_size(const char *text, uint64_t *out);
/* "10000/hour": second, minute, hour, day, or s, m, h, d. Count and period are above 0. */
bool value_rate(const char *text, uint64_t *count_out, uint64_t *period_ms_out);
/* Dollars per million tokens → pico-dollars per token (per thousand calls → nano-dollars per call).
 * Not negative, at most 1e6. */
bool value_price_pico(const char *text, uint64_t *out);
/* yes/no, true/false, on/off. */
bool value_bool(const char *text, bool *out);
/* Decimal digits that fit 32 bits. */
bool value_u32(const char *text, uint32_t *out);
/* A finite decimal number. */
bool value_number(const char *text, double *out);
/* The word of the NULL-ended list nearest to `text` when it is near enough to be meant; NULL
 * otherwise. */
const char *value_nearest(const char *text, const char *const *words);

#endif
