/* tollgate keys create|list|show|revoke|reset-limits: asks auth; shows a key's text once, at its
 * creation. */
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "services/ctl/ask_auth.h"
#include "services/ctl/sheet.h"
#include "services/ctl/when.h"

struct create_options {
    const char *name, *expires, *models, *model_limits;
    const char *per_minute, *per_hour, *tokens, *concurrent;
    bool json, quiet;
};

static struct json_writer begin(struct buf *line, const char *command)
{
    struct json_writer w = {.out = line};
    jw_object(&w);
    jw_key(&w, "command");
    jw_str(&w, command);
    return w;
}

static void put_text(struct json_writer *w, const char *name, const char *text)
{
    if (!text)
        return;
    jw_key(w, name);
    jw_str(w, text);
}

static bool put_count(struct json_writer *w, const char *name, const char *text)
{
    uint64_t n;
    if (!text)
        return true;
    if (!span_to_u64(span_str(text), &n) || n > (uint64_t)1000000000000)
        return false;
    jw_key(w, name);
    jw_u64(w, n);
    return true;
}

static int write_create(const struct command *self, const struct create_options *o,
                        struct buf *line)
{
    struct json_writer w = begin(line, "key.create");
    put_text(&w, "name", o->name);
    put_text(&w, "models", o->models);
    put_text(&w, "model_limits", o->model_limits);
    uint64_t now_ms = clock_wall_ms(&clock_real), expires_ms;
    if (o->expires) {
        if (!when_future(span_str(o->expires), now_ms, &expires_ms))
            return usage_error(self, "'%s' is no date; write 2026-12-31 or 30d", o->expires);
        if (expires_ms <= now_ms)
            return usage_error(self, "'%s' is in the past", o->expires);
        jw_key(&w, "expires_ms");
        jw_u64(&w, expires_ms);
    }
    if (!put_count(&w, "requests_per_minute", o->per_minute) ||
        !put_count(&w, "requests_per_hour", o->per_hour) ||
        !put_count(&w, "tokens_per_minute", o->tokens) ||
        !put_count(&w, "concurrent", o->concurrent))
        return usage_error(self, "limits are whole numbers");
    jw_object_end(&w);
    return -1;
}

static void print_created(const struct answer *a, const struct create_options *o)
{
    struct span secret = json_text(json_get(a->root, "secret"));
    struct json key = json_get(a->root, "key");
    if (o->json)
        printf("%.*s\n", SPAN_ARG(json_raw(a->root)));
    else if (o->quiet)
        printf("%.*s\n", SPAN_ARG(secret));
    else
        printf("%.*s\n\nThis is key %.*s (%.*s). It is shown only now: keep it safe.\n",
               SPAN_ARG(secret), SPAN_ARG(json_text(json_get(key, "id"))),
               SPAN_ARG(json_text(json_get(key, "name"))));
}

static int create(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    struct create_options o = {0};
    struct positionals rest;
    const struct arg args[] = {
        {"name", "NAME", "for people; unique among valid keys", &o.name, NULL},
        {"expires", "WHEN", "2026-12-31, 2026-12-31T12:00:00Z, 30d, 12h (default: never)",
         &o.expires, NULL},
        {"models", "LIST", "patterns, comma-separated: gpt-4,claude-* (default: all)", &o.models,
         NULL},
        {"rpm", "N", "requests per minute (default: no limit, as below)", &o.per_minute, NULL},
        {"rph", "N", "requests per hour", &o.per_hour, NULL},
        {"tpm", "N", "tokens per minute", &o.tokens, NULL},
        {"concurrent", "N", "requests at the same time", &o.concurrent, NULL},
        {"model-limits", "LIST", "requests by model: gpt-4=100/hour,claude-*=5/minute",
         &o.model_limits, NULL},
        {"quiet", NULL, "print the key and nothing else", NULL, &o.quiet},
        {"json", NULL, "print JSON", NULL, &o.json},
        PATHS_ARGS(paths),
        {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (!o.name && rest.count == 1)
        o.name = rest.items[0];
    else if (rest.count)
        return usage_error(self, "unexpected argument '%s'", rest.items[0]);
    if (!o.name)
        return usage_error(self, "a name is needed");
    struct buf line = {0};
    struct answer a;
    code = write_create(self, &o, &line);
    if (code < 0)
        code = ask_auth(&paths, buf_span(&line), &a);
    buf_free(&line);
    if (code >= 0)
        return code;
    print_created(&a, &o);
    crypto_wipe(a.text.data, a.text.len);
    answer_free(&a);
    return EXIT_DONE;
}

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

static void print_key(struct json key)
{
    static const struct {
        const char *label, *name;
    } limits[] = {{"per minute", "requests_per_minute"},
                  {"per hour", "requests_per_hour"},
                  {"tokens/minute", "tokens_per_minute"},
                  {"concurrent", "concurrent"}};
    char when[20];
    print_text(key, "id", "id", "");
    print_text(key, "name", "name", "");
    print_text(key, "key", "hint", "");
    print_text(key, "state", "state", "");
    when_text(number(key, "created_ms"), when);
    printf("%-14s %s\n", "created", when);
    when_text(number(key, "expires_ms"), when);
    printf("%-14s %s\n", "expires", when);
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

static int print_list(struct json keys)
{
    struct sheet s;
    struct buf out = {0};
    char when[20];
    sheet_init(&s, "ID|NAME|KEY|STATE|CREATED|EXPIRES|>RPM|>RPH|>TPM|>CONC|MODELS");
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
    }
    enum err e = sheet_write(&s, &out);
    printf("%.*s", (int)out.len, out.data ? out.data : "");
    sheet_free(&s);
    buf_free(&out);
    return e ? failure("out of memory") : EXIT_DONE;
}

static int list(const struct command *self, int argc, char **argv)
{
    struct suite_paths paths = {0};
    bool json = false;
    struct positionals rest;
    const struct arg args[] = {{"json", NULL, "print JSON", NULL, &json}, PATHS_ARGS(paths), {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count)
        return usage_error(self, "unexpected argument '%s'", rest.items[0]);
    struct answer a;
    code = ask_auth(&paths, SPAN("{\"command\":\"key.list\"}"), &a);
    if (code >= 0)
        return code;
    if (json)
        printf("%.*s\n", SPAN_ARG(json_raw(json_get(a.root, "keys"))));
    else
        code = print_list(json_get(a.root, "keys"));
    answer_free(&a);
    return code < 0 ? EXIT_DONE : code;
}

/* show, revoke and reset-limits: one key, by id or name. */
static int about_one(const struct command *self, const char *command, int argc, char **argv)
{
    struct suite_paths paths = {0};
    bool json = false;
    struct positionals rest;
    const struct arg args[] = {{"json", NULL, "print JSON", NULL, &json}, PATHS_ARGS(paths), {0}};
    int code = args_parse(self, args, argc, argv, &rest);
    if (code >= 0)
        return code;
    if (rest.count != 1)
        return usage_error(self, "one key is needed, by its id or name");
    struct buf line = {0};
    struct json_writer w = begin(&line, command);
    put_text(&w, "key", rest.items[0]);
    jw_object_end(&w);
    struct answer a;
    code = ask_auth(&paths, buf_span(&line), &a);
    buf_free(&line);
    if (code >= 0)
        return code;
    struct json key = json_get(a.root, "key");
    if (json)
        printf("%.*s\n", SPAN_ARG(json_raw(key)));
    else
        print_key(key);
    answer_free(&a);
    return EXIT_DONE;
}

static int show(const struct command *self, int argc, char **argv)
{
    return about_one(self, "key.show", argc, argv);
}

static int revoke(const struct command *self, int argc, char **argv)
{
    return about_one(self, "key.revoke", argc, argv);
}

static int reset_limits(const struct command *self, int argc, char **argv)
{
    return about_one(self, "key.reset_limits", argc, argv);
}

static int keys(const struct command *self, int argc, char **argv)
{
    static const struct command table[] = {
        {"keys create", "Make a key, and show it once.", "[OPTION]... NAME", NULL, create},
        {"keys list", "List all keys, revoked ones too.", "[OPTION]...", NULL, list},
        {"keys show", "Show one key's limits.", "[OPTION]... ID|NAME", NULL, show},
        {"keys revoke", "Make a key useless, at once, for good.", "[OPTION]... ID|NAME", NULL,
         revoke},
        {"keys reset-limits", "Let a key's limits begin anew: what it owes them is forgotten.",
         "[OPTION]... ID|NAME", NULL, reset_limits},
        {0}};
    (void)self;
    return dispatch("tollgate keys", table, NULL, argc, argv);
}

const struct command command_keys = {
    "keys", "Create, list, show and revoke client keys, and reset their limits.", "COMMAND", NULL,
    keys};
