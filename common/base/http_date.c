#include "common/base/http_date.h"

/* Ten years: what is longer is no wait, and the sums below can't overflow. */
#define MAX_MS ((uint64_t)10 * 366 * 24 * 3600 * 1000)

struct date {
    uint64_t year, month, day, hour, minute, second;
};

static bool is_leap(uint64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static uint64_t days_before_year(uint64_t year)
{
    uint64_t y = year - 1;
    return y * 365 + y / 4 - y / 100 + y / 400;
}

/* Seconds since 1970 of a UTC date; false when there is no such date or it lies before. */
static bool to_unix(const struct date *d, uint64_t *out)
{
    static const unsigned lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (d->year < 1970 || d->year > 9999 || d->month < 1 || d->month > 12 || d->day < 1)
        return false;
    bool leap = is_leap(d->year);
    if (d->day > lengths[d->month - 1] + (d->month == 2 && leap ? 1u : 0u))
        return false;
    if (d->hour > 23 || d->minute > 59 || d->second > 60)
        return false;
    uint64_t days = days_before_year(d->year) - days_before_year(1970) + d->day - 1;
    for (uint64_t m = 1; m < d->month; m++)
        days += lengths[m - 1] + (m == 2 && leap ? 1u : 0u);
    *out = days * 86400 + d->hour * 3600 + d->minute * 60 + d->second;
    return true;
}

/* ---- a cursor over the text ---- */

static bool eat(struct span *s, const char *literal)
{
    if (!span_starts(*s, literal))
        return false;
    *s = span_skip(*s, strlen(literal));
    return true;
}

static bool digits(struct span *s, size_t n, uint64_t *out)
{
    if (s->len < n || !span_to_u64(span_first(*s, n), out))
        return false;
    *s = span_skip(*s, n);
    return true;
}

static bool month_name(struct span *s, uint64_t *out)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    for (uint64_t m = 0; m < 12; m++) {
        if (s->len >= 3 && strncasecmp(s->data, names + m * 3, 3) == 0) {
            *out = m + 1;
            *s = span_skip(*s, 3);
            return true;
        }
    }
    return false;
}

static bool clock_time(struct span *s, struct date *d)
{
    return digits(s, 2, &d->hour) && eat(s, ":") && digits(s, 2, &d->minute) && eat(s, ":") &&
           digits(s, 2, &d->second);
}

/* ---- HTTP dates ---- */

/* "Wed, 21 Oct 2026 07:28:00 GMT" */
static bool imf_date(struct span s, struct date *d)
{
    return digits(&s, 2, &d->day) && eat(&s, " ") && month_name(&s, &d->month) && eat(&s, " ") &&
           digits(&s, 4, &d->year) && eat(&s, " ") && clock_time(&s, d) && span_is(s, " GMT");
}

/* "Wednesday, 21-Oct-26 07:28:00 GMT": two digits mean this century (the form is older than that,
 * its users are not) */
static bool rfc850_date(struct span s, struct date *d)
{
    bool ok = digits(&s, 2, &d->day) && eat(&s, "-") && month_name(&s, &d->month) && eat(&s, "-") &&
              digits(&s, 2, &d->year) && eat(&s, " ") && clock_time(&s, d) && span_is(s, " GMT");
    d->year += d->year < 70 ? 2000 : 1900;
    return ok;
}

/* "Wed Oct 21 07:28:00 2026", the day padded by a space */
static bool asctime_date(struct span s, struct date *d)
{
    if (!month_name(&s, &d->month) || !eat(&s, " "))
        return false;
    bool one = eat(&s, " ");
    return digits(&s, one ? 1 : 2, &d->day) && eat(&s, " ") && clock_time(&s, d) && eat(&s, " ") &&
           digits(&s, 4, &d->year) && s.len == 0;
}

bool http_date_parse(struct span text, uint64_t *unix_s_out)
{
    struct span s = span_trim(text);
    struct date d = {0};
    size_t comma = span_find(s, ',');
    if (comma < s.len) {
        struct span rest = span_skip(s, comma + 1);
        if (!eat(&rest, " "))
            return false;
        struct date again = {0};
        return (imf_date(rest, &d) && to_unix(&d, unix_s_out)) ||
               (rfc850_date(rest, &again) && to_unix(&again, unix_s_out));
    }
    return s.len > 4 && s.data[3] == ' ' && asctime_date(span_skip(s, 4), &d) &&
           to_unix(&d, unix_s_out);
}

/* ---- RFC 3339 ---- */

static void fraction_ms(struct span *s, uint64_t *ms)
{
    uint64_t scale = 100;
    while (s->len && s->data[0] >= '0' && s->data[0] <= '9') {
        *ms += (uint64_t)(s->data[0] - '0') * scale;
        scale /= 10;
        *s = span_skip(*s, 1);
    }
}

/* "Z" or "+01:30" to the end; the seconds to take off and to add. */
static bool offset(struct span s, uint64_t *minus, uint64_t *plus)
{
    uint64_t hours, minutes;
    if (span_is_nocase(s, "z"))
        return true;
    bool east = span_starts(s, "+");
    if (s.len == 0 || (!east && s.data[0] != '-'))
        return false;
    s = span_skip(s, 1);
    if (!digits(&s, 2, &hours) || !eat(&s, ":") || !digits(&s, 2, &minutes) || s.len ||
        hours > 23 || minutes > 59)
        return false;
    *(east ? minus : plus) = hours * 3600 + minutes * 60;
    return true;
}

bool rfc3339_parse(struct span text, uint64_t *unix_ms_out)
{
    struct span s = span_trim(text);
    struct date d = {0};
    uint64_t seconds, ms = 0, minus = 0, plus = 0;
    if (!digits(&s, 4, &d.year) || !eat(&s, "-") || !digits(&s, 2, &d.month) || !eat(&s, "-") ||
        !digits(&s, 2, &d.day) || !(eat(&s, "T") || eat(&s, "t") || eat(&s, " ")) ||
        !clock_time(&s, &d))
        return false;
    if (eat(&s, "."))
        fraction_ms(&s, &ms);
    if (!offset(s, &minus, &plus) || !to_unix(&d, &seconds) || seconds + plus < minus)
        return false;
    *unix_ms_out = (seconds + plus - minus) * 1000 + ms;
    return true;
}

/* ---- durations ---- */

/* A decimal number without sign or exponent. False: none here. */
static bool amount(struct span *s, double *out)
{
    double value = 0, scale = 1;
    bool any = false, point = false;
    while (s->len) {
        char c = s->data[0];
        if (c == '.' && !point) {
            point = true;
        } else if (c >= '0' && c <= '9') {
            any = true;
            value = value * 10 + (c - '0');
            scale *= point ? 10 : 1;
        } else {
            break;
        }
        *s = span_skip(*s, 1);
    }
    *out = value / scale;
    return any;
}

static double unit_ms(struct span *s)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1},      {"us", 0.001}, {"\xc2\xb5s", 0.001}, {"ns", 0.000001},
                 {"h", 3600000}, {"m", 60000},  {"s", 1000},          {"d", 86400000}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (eat(s, units[i].name))
            return units[i].ms;
    }
    return 0;
}

static bool to_ms(double ms, uint64_t *out)
{
    if (!(ms >= 0) || ms > (double)MAX_MS)
        return false;
    *out = (uint64_t)ms;
    *out += (double)*out < ms ? 1 : 0;
    return true;
}

bool seconds_parse(struct span text, uint64_t *ms_out)
{
    struct span s = span_trim(text);
    double seconds;
    return s.len <= 32 && amount(&s, &seconds) && s.len == 0 && to_ms(seconds * 1000, ms_out);
}

bool duration_parse(struct span text, uint64_t *ms_out)
{
    struct span s = span_trim(text);
    if (seconds_parse(s, ms_out))
        return true;
    if (s.len == 0 || s.len > 64)
        return false;
    double total = 0;
    while (s.len) {
        double value, unit;
        if (!amount(&s, &value) || (unit = unit_ms(&s)) == 0)
            return false;
        total += value * unit;
    }
    return to_ms(total, ms_out);
}
