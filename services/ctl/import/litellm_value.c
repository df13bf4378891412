#include "services/ctl/import/litellm_value.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/base/json.h"

enum { NUMBER_MAX = 64, PER_MILLION = 6, DIGITS_MAX = 60 };
static const char reference[] = "os.environ/";

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strcasecmp(text, *words) == 0)
            return true;
    }
    return false;
}

static bool is_null(const struct yaml *node)
{
    static const char *const words[] = {"", "~", "null", NULL};
    return node->kind == YAML_TEXT && !node->quoted && is_one_of(node->text, words);
}

bool litellm_absent(const struct yaml *node)
{
    return !node || is_null(node);
}

const char *litellm_text(const struct yaml *node)
{
    return litellm_absent(node) || node->kind != YAML_TEXT ? NULL : node->text;
}

const char *litellm_variable(const struct yaml *node)
{
    const char *text = litellm_text(node);
    if (!text || strncmp(text, reference, sizeof reference - 1) != 0)
        return NULL;
    const char *name = text + sizeof reference - 1;
    if (!isalpha((unsigned char)*name) && *name != '_')
        return NULL;
    for (const char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_')
            return NULL;
    }
    return name;
}

bool litellm_has_variable(const struct yaml *node)
{
    const char *text = litellm_text(node);
    if (text)
        return strncmp(text, reference, sizeof reference - 1) == 0;
    if (node->kind == YAML_TEXT)
        return false;
    for (const struct yaml *i = node->first; i; i = i->next) {
        if (litellm_has_variable(i))
            return true;
    }
    return false;
}

/* Without the underscores of YAML 1.1; false when it is no number. */
static bool plain_number(const char *text, char out[NUMBER_MAX])
{
    size_t n = 0;
    bool digits = false;
    for (const char *c = text; *c; c++) {
        if (*c == '_' && digits)
            continue;
        if (n + 1 >= NUMBER_MAX || !strchr("+-.eE0123456789", *c))
            return false;
        digits |= isdigit((unsigned char)*c) != 0;
        out[n++] = *c;
    }
    out[n] = '\0';
    char *end;
    double v = strtod(out, &end);
    return digits && *end == '\0' && isfinite(v);
}

bool litellm_number(const struct yaml *node, double *out)
{
    char number[NUMBER_MAX];
    const char *text = litellm_text(node);
    if (!text || !plain_number(text, number))
        return false;
    *out = strtod(number, NULL);
    return *out >= 0;
}

bool litellm_bool(const struct yaml *node, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on", NULL};
    static const char *const no[] = {"false", "no", "off", NULL};
    const char *text = litellm_text(node);
    if (!text)
        return false;
    *out = is_one_of(text, yes);
    return *out || is_one_of(text, no);
}

/* "+1", ".5" and "5." are numbers to Python and none to JSON. */
static void put_number(struct json_writer *w, const char *number)
{
    struct json_doc doc = {0};
    char text[NUMBER_MAX];
    if (json_parse(&doc, span_str(number), 1) == OK) {
        jw_raw(w, span_str(number));
    } else {
        (void)snprintf(text, sizeof text, "%.17g", strtod(number, NULL));
        jw_raw(w, span_str(text));
    }
    json_doc_free(&doc);
}

static void put_scalar(struct json_writer *w, const struct yaml *node)
{
    char number[NUMBER_MAX];
    bool truth;
    if (is_null(node))
        jw_raw(w, SPAN("null"));
    else if (!node->quoted && litellm_bool(node, &truth))
        jw_bool(w, truth);
    else if (!node->quoted && plain_number(node->text, number))
        put_number(w, number);
    else
        jw_str(w, node->text);
}

static void put_json(struct json_writer *w, const struct yaml *node)
{
    if (node->kind == YAML_TEXT) {
        put_scalar(w, node);
        return;
    }
    bool map = node->kind == YAML_MAP;
    if (map)
        jw_object(w);
    else
        jw_array(w);
    for (const struct yaml *i = node->first; i; i = i->next) {
        struct buf key = {0};
        if (map) {
            json_append_text(&key, span_str(i->key));
            jw_key_text(w, buf_span(&key));
        }
        buf_free(&key);
        put_json(w, i);
    }
    if (map)
        jw_object_end(w);
    else
        jw_array_end(w);
}

const char *litellm_json(struct arena *arena, const struct yaml *node)
{
    struct buf text = {0};
    struct json_writer w = {.out = &text};
    put_json(&w, node);
    const char *copy = buf_check(&text) ? NULL : arena_strdup(arena, buf_span(&text));
    buf_free(&text);
    return copy;
}

const char *litellm_quoted(struct arena *arena, const char *text)
{
    struct buf out = {0};
    json_append_string(&out, span_str(text));
    const char *copy = buf_check(&out) ? NULL : arena_strdup(arena, buf_span(&out));
    buf_free(&out);
    return copy ? copy : "\"\"";
}

/* The digits of a number, and where its point stands among them. */
struct decimal {
    char digits[DIGITS_MAX];
    int count, point;
};

static bool read_decimal(const char *number, struct decimal *out)
{
    *out = (struct decimal){0};
    bool behind = false;
    const char *c = number;
    for (c += *c == '+'; *c && *c != 'e' && *c != 'E'; c++) {
        if (*c == '.') {
            behind = true;
            continue;
        }
        if (!isdigit((unsigned char)*c) || out->count == DIGITS_MAX)
            return false;
        out->digits[out->count++] = *c;
        out->point += !behind;
    }
    long exponent = *c ? strtol(c + 1, NULL, 10) : 0;
    if (labs(exponent) > DIGITS_MAX)
        return false;
    out->point += (int)exponent;
    return true;
}

const char *litellm_per_million(struct arena *arena, const struct yaml *node)
{
    char number[NUMBER_MAX];
    struct decimal d;
    struct buf out = {0};
    const char *text = litellm_text(node);
    if (!text || !plain_number(text, number) || !read_decimal(number, &d))
        return NULL;
    d.point += PER_MILLION;
    int from = 0, to = d.count;
    while (from < d.point && (from >= d.count || d.digits[from] == '0'))
        from++;
    while (to > d.point && to > 0 && d.digits[to - 1] == '0')
        to--;
    if (from >= d.point)
        buf_append_char(&out, '0');
    for (int i = from; i < d.point; i++)
        buf_append_char(&out, i < d.count ? d.digits[i] : '0');
    if (to > d.point) {
        buf_append_char(&out, '.');
        for (int i = d.point; i < to; i++)
            buf_append_char(&out, i < 0 ? '0' : d.digits[i]);
    }
    const char *copy = buf_check(&out) ? NULL : arena_strdup(arena, buf_span(&out));
    buf_free(&out);
    return copy;
}
