#include "unit/services/metrics/test_prometheus.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/json.h"

static bool is_name(const char *s, bool colon)
{
    if (!(isalpha((unsigned char)*s) || *s == '_' || (colon && *s == ':')))
        return false;
    for (; *s; s++)
        if (!(isalnum((unsigned char)*s) || *s == '_' || (colon && *s == ':')))
            return false;
    return true;
}

static void copy(char *out, size_t size, struct span s)
{
    assert_true(s.len < size);
    memcpy(out, s.data, s.len);
    out[s.len] = '\0';
}

static void unescape(char *out, size_t size, struct span *rest)
{
    size_t n = 0;
    for (;;) {
        assert_true(rest->len > 0 && n + 1 < size);
        char c = rest->data[0];
        *rest = span_skip(*rest, 1);
        if (c == '"')
            break;
        assert_true(c != '\n');
        if (c == '\\') {
            assert_true(rest->len > 0);
            char e = rest->data[0];
            *rest = span_skip(*rest, 1);
            assert_true(e == '\\' || e == '"' || e == 'n');
            c = e == 'n' ? '\n' : e;
        }
        out[n++] = c;
    }
    out[n] = '\0';
    assert_true(utf8_valid(span_of(out, n)));
}

static struct span take_until(struct span *rest, const char *stops)
{
    size_t n = 0;
    while (n < rest->len && !strchr(stops, rest->data[n]))
        n++;
    struct span s = span_first(*rest, n);
    *rest = span_skip(*rest, n);
    return s;
}

static void expect(struct span *rest, char c)
{
    assert_true(rest->len > 0 && rest->data[0] == c);
    *rest = span_skip(*rest, 1);
}

static void parse_labels(struct prom_sample *s, struct span *rest)
{
    expect(rest, '{');
    for (;;) {
        assert_true(s->labels < PROM_LABELS);
        copy(s->label[s->labels], sizeof s->label[0], take_until(rest, "="));
        assert_true(is_name(s->label[s->labels], false));
        for (unsigned i = 0; i < s->labels; i++)
            assert_string_not_equal(s->label[i], s->label[s->labels]);
        expect(rest, '=');
        expect(rest, '"');
        unescape(s->value[s->labels], sizeof s->value[0], rest);
        s->labels++;
        if (rest->len && rest->data[0] == '}')
            break;
        expect(rest, ',');
    }
    expect(rest, '}');
}

static bool ends_family(const char *name, const char *family, const char *type)
{
    size_t n = strlen(family);
    if (strcmp(type, "histogram") != 0)
        return strcmp(name, family) == 0;
    return strncmp(name, family, n) == 0 &&
           (strcmp(name + n, "_bucket") == 0 || strcmp(name + n, "_sum") == 0 ||
            strcmp(name + n, "_count") == 0);
}

static bool same_labels(const struct prom_sample *a, const struct prom_sample *b, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(a->label[i], b->label[i]) != 0 || strcmp(a->value[i], b->value[i]) != 0)
            return false;
    return true;
}

static void parse_sample(struct prom *p, struct span line, const char *family, const char *type)
{
    assert_true(p->count < PROM_MAX);
    struct prom_sample *s = &p->samples[p->count];
    memset(s, 0, sizeof *s);
    copy(s->name, sizeof s->name, take_until(&line, "{ "));
    assert_true(is_name(s->name, true));
    copy(s->family, sizeof s->family, span_str(family));
    copy(s->type, sizeof s->type, span_str(type));
    assert_true(ends_family(s->name, family, type));
    if (line.len && line.data[0] == '{')
        parse_labels(s, &line);
    expect(&line, ' ');
    char number[64], *end;
    copy(number, sizeof number, line);
    assert_true(number[0] && !isspace((unsigned char)number[0]));
    s->number = strtod(number, &end);
    assert_int_equal(*end, '\0');
    for (unsigned i = 0; i < p->count; i++)
        if (strcmp(p->samples[i].name, s->name) == 0 && p->samples[i].labels == s->labels)
            assert_false(same_labels(&p->samples[i], s, s->labels));
    if (strcmp(type, "counter") == 0) {
        assert_true(s->number >= 0);
        assert_true(span_ends(span_str(s->name), "_total"));
    }
    p->count++;
}

/* "# HELP name text" and then "# TYPE name type". */
static void parse_head(struct prom *p, struct span help, struct span type_line, char *family,
                       char *type)
{
    assert_true(span_starts(help, "# HELP ") && span_starts(type_line, "# TYPE "));
    help = span_skip(help, 7);
    type_line = span_skip(type_line, 7);
    copy(family, 128, take_until(&help, " "));
    expect(&help, ' ');
    assert_true(help.len > 0);
    assert_true(span_equals(take_until(&type_line, " "), span_str(family)));
    expect(&type_line, ' ');
    copy(type, 16, type_line);
    assert_true(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 ||
                strcmp(type, "histogram") == 0);
    for (unsigned i = 0; i < p->family_count; i++)
        assert_string_not_equal(p->families[i], family);
    assert_true(p->family_count < 256);
    copy(p->families[p->family_count++], 128, span_str(family));
}

static double bound_of(const struct prom_sample *s)
{
    assert_string_equal(s->label[s->labels - 1], "le");
    return strcmp(s->value[s->labels - 1], "+Inf") == 0 ? INFINITY
                                                        : strtod(s->value[s->labels - 1], NULL);
}

/* Buckets stand together: ascending bounds and counts, +Inf last, then _sum, then _count equal to
 * +Inf's. */
static void check_histograms(const struct prom *p)
{
    for (unsigned i = 0; i < p->count;) {
        const struct prom_sample *s = &p->samples[i];
        if (strcmp(s->type, "histogram") != 0) {
            i++;
            continue;
        }
        double bound = -1, count = 0;
        unsigned labels = s->labels - 1;
        for (; bound < INFINITY; i++) {
            const struct prom_sample *b = &p->samples[i];
            assert_true(i < p->count && span_ends(span_str(b->name), "_bucket"));
            assert_true(same_labels(s, b, labels));
            assert_true(bound_of(b) > bound && b->number >= count);
            bound = bound_of(b);
            count = b->number;
        }
        assert_true(i + 1 < p->count);
        assert_true(span_ends(span_str(p->samples[i].name), "_sum") &&
                    p->samples[i].labels == labels);
        assert_true(span_ends(span_str(p->samples[i + 1].name), "_count") &&
                    p->samples[i + 1].number >= count);
        assert_true(p->samples[i + 1].number <= count);
        i += 2;
    }
}

void prom_parse(struct prom *p, struct span text)
{
    char family[128] = "", type[16] = "";
    p->count = p->family_count = 0;
    assert_true(utf8_valid(text));
    assert_true(!text.len || text.data[text.len - 1] == '\n');
    while (text.len) {
        struct span line = span_cut(&text, '\n');
        assert_true(line.len > 0);
        if (line.data[0] == '#')
            parse_head(p, line, span_cut(&text, '\n'), family, type);
        else
            parse_sample(p, line, family, type);
    }
    check_histograms(p);
}

const struct prom_sample *prom_find(const struct prom *p, const char *name, const char *labels)
{
    for (unsigned i = 0; i < p->count; i++) {
        const struct prom_sample *s = &p->samples[i];
        char all[PROM_LABELS * PROM_TEXT];
        size_t n = 0;
        all[0] = '\0';
        for (unsigned k = 0; k < s->labels; k++)
            n += (size_t)snprintf(all + n, sizeof all - n, "%s%s=\"%s\"", k ? "," : "", s->label[k],
                                  s->value[k]);
        if (strcmp(s->name, name) == 0 && strcmp(all, labels) == 0)
            return s;
    }
    return NULL;
}
