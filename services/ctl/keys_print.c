#include "services/ctl/keys_print.h"

#include <stdio.h>

#include "services/ctl/command.h"
#include "services/ctl/sheet.h"
#include "services/ctl/when.h"

static uint64_t number(struct json key, const char *name)
{
    int64_t n = 0;
    return json_i64(json_get(key, name), &n) && n > 0 ? (uint64_t)n : 0;
}

static void print_text(struct json key, const char *label, const char *name, const char *otherwise)
{
    struct buf text = {0};
    json_text_decode(json_text(json_get(key, name)), &text);
    printf("%-14s %.*s\n", label, (int)(text.len ? text.len : strlen(otherwise)),
           text.len ? text.data : otherwise);
    buf_free(&text);
}

static void print_time(struct json key, const char *label, const char *name)
{
    char when[20];
    when_text(number(key, name), when);
    printf("%-14s %s\n", label, when);
}

void keys_print_one(struct json key)
{
    static const struct {
        const char *label, *name;
    } limits[] = {{"per minute", "requests_per_minute"},
                  {"per hour", "requests_per_hour"},
                  {"tokens/minute", "tokens_per_minute"},
                  {"concurrent", "concurrent"}};
    static const struct {
        const char *label, *name;
    } times[] = {{"created", "created_ms"}, {"expires", "expires_ms"}};
    static const struct {
        const char *label, *name;
    } rare[] = {{"changed", "changed_ms"},
                {"blocked", "blocked_ms"},
                {"revoked", "revoked_ms"},
                {"old secret to", "old_secret_until_ms"}};
    print_text(key, "id", "id", "");
    print_text(key, "name", "name", "");
    print_text(key, "key", "hint", "");
    print_text(key, "state", "state", "");
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++)
        print_time(key, times[i].label, times[i].name);
    for (size_t i = 0; i < sizeof rare / sizeof rare[0]; i++) {
        if (number(key, rare[i].name))
            print_time(key, rare[i].label, rare[i].name);
    }
    print_text(key, "tags", "tags", "none");
    print_text(key, "models", "models", "all");
    print_text(key, "model limits", "model_limits", "none");
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        uint64_t n = number(key, limits[i].name);
        if (n)
            printf("%-14s %llu\n", limits[i].label, (unsigned long long)n);
        else
            printf("%-14s no limit\n", limits[i].label);
    }
}

static void limit_cell(struct sheet *s, uint64_t n)
{
    if (n)
        sheet_u64(s, n);
    else
        sheet_str(s, "-");
}

static void text_cell(struct sheet *s, struct json v, const char *otherwise)
{
    struct buf text = {0};
    json_text_decode(json_text(v), &text);
    sheet_cell(s, text.len ? buf_span(&text) : span_str(otherwise));
    buf_free(&text);
}

int keys_print_all(struct json keys)
{
    struct sheet s;
    struct buf out = {0};
    char when[20];
    sheet_init(&s, "ID|NAME|KEY|STATE|CREATED|EXPIRES|>RPM|>RPH|>TPM|>CONC|MODELS|TAGS");
    for (struct json_iter i = json_iter(keys); json_next(&i);) {
        char hint[24];
        (void)snprintf(hint, sizeof hint, "sk-...%.*s",
                       SPAN_ARG(span_first(json_text(json_get(i.value, "hint")), 8)));
        text_cell(&s, json_get(i.value, "id"), "");
        text_cell(&s, json_get(i.value, "name"), "");
        sheet_str(&s, hint);
        text_cell(&s, json_get(i.value, "state"), "");
        when_text(number(i.value, "created_ms"), when);
        sheet_str(&s, when);
        when_text(number(i.value, "expires_ms"), when);
        sheet_str(&s, when);
        limit_cell(&s, number(i.value, "requests_per_minute"));
        limit_cell(&s, number(i.value, "requests_per_hour"));
        limit_cell(&s, number(i.value, "tokens_per_minute"));
        limit_cell(&s, number(i.value, "concurrent"));
        text_cell(&s, json_get(i.value, "models"), "all");
        text_cell(&s, json_get(i.value, "tags"), "");
    }
    enum err e = sheet_write(&s, &out);
    printf("%.*s", (int)out.len, out.data ? out.data : "");
    sheet_free(&s);
    buf_free(&out);
    return e ? failure("out of memory") : EXIT_DONE;
}
