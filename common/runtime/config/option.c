#include "common/runtime/config/option.h"

#include <stdlib.h>

#include "common/runtime/config/value.h"

/* ---- the tables ---- */

#define ANY                                                                                        \
    {                                                                                              \
        0                                                                                          \
    }
#define NONE NULL
#define FROM(low, high)                                                                            \
    {                                                                                              \
        .least = (low), .most = (high)                                                             \
    }
#define OFF_OR(low, high)                                                                          \
    {                                                                                              \
        .least = (low), .most = (high), .off = true                                                \
    }
#define WORDS(...)                                                                                 \
    {                                                                                              \
        .words = (const char *const[])                                                             \
        {                                                                                          \
            __VA_ARGS__, NULL                                                                      \
        }                                                                                          \
    }
#define LISTED(array)                                                                              \
    {                                                                                              \
        .words = (array)                                                                           \
    }
#define CHECKED(name)                                                                              \
    {                                                                                              \
        .check = &option_check_##name                                                              \
    }
#define EACH(low, high, name)                                                                      \
    {                                                                                              \
        .least = (low), .most = (high), .check = &option_check_##name                              \
    }
#define VARIABLES                                                                                  \
    {                                                                                              \
        .variables = true                                                                          \
    }
#define VARIABLES_FROM(low, high)                                                                  \
    {                                                                                              \
        .least = (low), .most = (high), .variables = true                                          \
    }
#define RELOAD OPTION_RELOAD
#define START OPTION_START

const struct option_group option_groups[] = {
#define OPTION(...)
#define SECTION(section, help) {#section, #section, true, help},
#include "common/runtime/config/options.def"
#undef SECTION
#undef OPTION
#define KEY(...)
#define OWN(...)
#define PASSED(...)
#define GROUP(group, path, help) {#group, path, false, help},
#include "common/runtime/config/entries.def"
#undef GROUP
#undef PASSED
#undef OWN
#undef KEY
    {0}};

const struct option_row option_rows[] = {
#define SECTION(...)
#define OPTION(section, name, type, def, limits, when, help)                                       \
    {#section, #name,  OPTION_##type, offsetof(struct config_options, section##_##name),           \
     def,      limits, when,          help},
#include "common/runtime/config/options.def"
#undef OPTION
#undef SECTION
#define GROUP(...)
#define KEY(group, name, member, type, def, limits, help)                                          \
    {#group, #name,  OPTION_##type, offsetof(struct config_##group, member),                       \
     def,    limits, RELOAD,        help},
#define OWN(group, name, type, def, limits, help)                                                  \
    {#group, #name, OPTION_##type, OPTION_UNSTORED, def, limits, RELOAD, help},
#define PASSED(group, name, type, limits, help)                                                    \
    {#group, #name, OPTION_##type, OPTION_UNSTORED, NONE, limits, RELOAD, help},
#include "common/runtime/config/entries.def"
#undef PASSED
#undef OWN
#undef KEY
#undef GROUP
    {0}};

/* What a KEY row names is of the type that the row says. */
#define SECTION(...)
#define OPTION(...)
#define GROUP(...)
#define OWN(...)
#define PASSED(...)
#define KEY(group, name, member, type, ...)                                                        \
    _Static_assert(__builtin_types_compatible_p(__typeof__(((struct config_##group *)0)->member),  \
                                                OPTION_CTYPE_##type),                              \
                   "entries.def: type of " #group "." #name);
#include "common/runtime/config/entries.def"

const struct option_row *option_first(const char *group)
{
    for (const struct option_row *row = option_rows; row->name; row++) {
        if (strcmp(row->group, group) == 0)
            return row;
    }
    return NULL;
}

const struct option_row *option_next(const struct option_row *row)
{
    bool more = row[1].name && strcmp(row[1].group, row->group) == 0;
    return more ? row + 1 : NULL;
}

bool option_is_section(const char *name)
{
    for (const struct option_group *g = option_groups; g->name; g++) {
        if (g->is_section && strcmp(g->name, name) == 0)
            return true;
    }
    return false;
}

void option_names(const char *group, const char **out)
{
    size_t n = 0;
    for (const struct option_row *o = option_first(group); o && n < OPTION_GROUP_MAX;
         o = option_next(o))
        out[n++] = o->name;
    for (const struct option_group *g = option_groups; g->name && strcmp(group, "root") == 0; g++) {
        if (g->is_section && n < OPTION_GROUP_MAX)
            out[n++] = g->name;
    }
    out[n] = NULL;
}

/* ---- values ---- */

bool option_parse(const struct option_row *row, const char *text, void *at)
{
    union {
        bool flag;
        uint32_t u32;
        uint64_t u64;
        double number;
        const char *text;
    } none;
    void *into = at ? at : &none;
    switch (row->type) {
    case OPTION_BOOL:
        return value_bool(text, into);
    case OPTION_U32:
        return value_u32(text, into);
    case OPTION_U64:
        return span_to_u64(span_str(text), into);
    case OPTION_SIZE:
        return value_size(text, into);
    case OPTION_MS:
        return value_duration_ms(text, into);
    case OPTION_PRICE:
        return value_price_pico(text, into);
    case OPTION_NUMBER:
        return value_number(text, into);
    case OPTION_STR:
        *(const char **)into = text;
        return true;
    case OPTION_LIST:
    case OPTION_RATE:
    case OPTION_MAP:
    case OPTION_MAPS:
    case OPTION_JSON:
    case OPTION_TYPES:
        break;
    }
    return false;
}

/* A value of a numeric type as a number to compare; 0 of any other type. */
static double as_number(const struct option_row *row, const char *text)
{
    union {
        uint32_t u32;
        uint64_t u64;
        double number;
        const char *text;
    } v = {.u64 = 0};
    if (!option_parse(row, text, &v))
        return 0;
    return row->type == OPTION_U32 ? v.u32 : row->type == OPTION_NUMBER ? v.number : (double)v.u64;
}

static void put_words(const char *const *words, struct buf *out)
{
    for (size_t i = 0; words[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : "", words[i]);
}

static void check_word(const char *text, const char *const *words, struct buf *why)
{
    for (size_t i = 0; words[i]; i++) {
        if (strcmp(words[i], text) == 0)
            return;
    }
    const char *near = value_nearest(text, words);
    buf_printf(why, "\"%s\" is none of ", text);
    put_words(words, why);
    if (near)
        buf_printf(why, " (did you mean %s?)", near);
}

void option_check_limits(const struct option_row *row, const char *text, struct buf *why)
{
    const struct option_limits *l = &row->limits;
    if (l->words)
        check_word(text, l->words, why);
    if (l->check && !l->check->fits(text))
        buf_printf(why, "\"%s\" is not %s", text, l->check->expects);
    if (!l->least || row->type == OPTION_LIST)
        return;
    double v = as_number(row, text);
    if ((l->off && v == 0) || (v >= as_number(row, l->least) && v <= as_number(row, l->most)))
        return;
    buf_printf(why, "%s is out of range: ", text);
    option_put_limits(row, why);
}

void option_check_count(const struct option_row *row, size_t count, struct buf *why)
{
    uint64_t least = 0, most = UINT64_MAX;
    if (!row->limits.least || !span_to_u64(span_str(row->limits.least), &least) ||
        !span_to_u64(span_str(row->limits.most), &most) || (count >= least && count <= most))
        return;
    buf_printf(why, "%zu entries are out of range: ", count);
    option_put_limits(row, why);
}

const char *option_type_text(enum option_type type)
{
    static const char *const texts[OPTION_TYPES] = {
        [OPTION_BOOL] = "true or false",
        [OPTION_U32] = "a whole number",
        [OPTION_U64] = "a whole number",
        [OPTION_SIZE] = "a size such as 32MiB",
        [OPTION_MS] = "a duration with its unit, such as 10s or 250ms",
        [OPTION_STR] = "one value",
        [OPTION_LIST] = "a list",
        [OPTION_RATE] = "a rate such as 10000/hour",
        [OPTION_PRICE] = "dollars per million tokens, not negative",
        [OPTION_NUMBER] = "a number",
        [OPTION_MAP] = "keys and values",
        [OPTION_MAPS] = "a list of keys and values",
        [OPTION_JSON] = "a value",
    };
    return texts[type];
}

void option_put_limits(const struct option_row *row, struct buf *out)
{
    const struct option_limits *l = &row->limits;
    bool counts = row->type == OPTION_LIST || row->type == OPTION_MAP || row->type == OPTION_MAPS;
    if (l->words)
        put_words(l->words, out);
    if (l->least)
        buf_printf(out, "%s to %s%s%s", l->least, l->most, counts ? " entries" : "",
                   l->off ? ", or 0" : "");
    if (l->check)
        buf_printf(out, "%s%s", l->least ? "; each " : "", l->check->expects);
}
